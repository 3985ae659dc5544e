"""Time evolve_chan_vese: python tools/benchmarks/evolution.py [options]."""

from mmlevelset.experiments.benchmarks.evolution import main

if __name__ == "__main__":
    main()
