"""Time region_energy: python tools/benchmarks/region_energy.py [options]."""

from mmlevelset.experiments.benchmarks.region_energy import main

if __name__ == "__main__":
    main()
