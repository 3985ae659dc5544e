"""Run a table of experiments and make the table: python tools/sweep.py SWEEP [options]."""

from mmlevelset.experiments.sweep.command import main

if __name__ == "__main__":
    main()
