"""Time contours: python tools/benchmarks/contours.py [options]."""

from mmlevelset.experiments.benchmarks.contours import main

if __name__ == "__main__":
    main()
