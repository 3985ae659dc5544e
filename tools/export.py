"""Write a model as one file without PyTorch: python tools/export.py CONFIG CHECKPOINT --out X."""

from mmlevelset.experiments.export.command import main

if __name__ == "__main__":
    main()
