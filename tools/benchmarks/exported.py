"""Time exported models: tools/benchmarks/exported.py CONFIG CHECKPOINT --images PHOTO..."""

from mmlevelset.experiments.benchmarks.exported import main

if __name__ == "__main__":
    main()
