"""Time BoxLevelSet's tree filters and training step: python tools/benchmarks/box_levelset.py."""

from mmlevelset.experiments.benchmarks.box_levelset import main

if __name__ == "__main__":
    main()
