"""Time signed_distance: python tools/benchmarks/signed_distance.py [options]."""

from mmlevelset.experiments.benchmarks.signed_distance import main

if __name__ == "__main__":
    main()
