"""Time the level-set loss: python tools/benchmarks/semantic.py [options]."""

from mmlevelset.experiments.benchmarks.semantic import main

if __name__ == "__main__":
    main()
