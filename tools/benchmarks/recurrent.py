"""Time recurrent level sets: python tools/benchmarks/recurrent.py [options]."""

from mmlevelset.experiments.benchmarks.recurrent import main

if __name__ == "__main__":
    main()
