"""Count the launches of the tree filter and of chan_vese: python tools/benchmarks/launches.py."""

from mmlevelset.experiments.benchmarks.launches import main

if __name__ == "__main__":
    main()
