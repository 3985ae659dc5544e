"""Time the evaluation by the boundary metric: python tools/benchmarks/boundary_metric.py."""

from mmlevelset.experiments.benchmarks.boundary_metric import main

if __name__ == "__main__":
    main()
