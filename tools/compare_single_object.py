"""Compare networks and solvers: python tools/compare_single_object.py CONFIG [options]."""

from mmlevelset.experiments.single_object.comparison import main

if __name__ == "__main__":
    main()
