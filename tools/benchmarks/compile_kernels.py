"""Compile the Triton kernels for GPUs: python tools/benchmarks/compile_kernels.py [options]."""

from mmlevelset.experiments.benchmarks.compile_kernels import main

if __name__ == "__main__":
    main()
