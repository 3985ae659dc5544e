"""Count the launches of the tree filter and of chan_vese: python tools/benchmarks/launches.py."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before the first import of Triton

from mmlevelset.experiments.benchmarks.launches import main

if __name__ == "__main__":
    main()
