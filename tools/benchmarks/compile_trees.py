"""Compile the kernels of trees for GPUs: python tools/benchmarks/compile_trees.py [options]."""

from mmlevelset.experiments.benchmarks.compile_trees import main

if __name__ == "__main__":
    main()
