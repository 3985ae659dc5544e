"""Time chan_vese: python tools/benchmarks/chan_vese.py [options]."""

from mmlevelset.experiments.benchmarks.chan_vese import main

if __name__ == "__main__":
    main()
