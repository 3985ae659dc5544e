"""Time tree_filter: python tools/benchmarks/tree_filter.py [options]."""

from mmlevelset.experiments.benchmarks.tree_filter import main

if __name__ == "__main__":
    main()
