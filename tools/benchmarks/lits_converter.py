"""Time the converter of LiTS: python tools/benchmarks/lits_converter.py [options]."""

from mmlevelset.experiments.benchmarks.lits_converter import main

if __name__ == "__main__":
    main()
