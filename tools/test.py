"""Evaluate a checkpoint of a config's model: python tools/test.py CONFIG CHECKPOINT [options]."""

from mmlevelset.experiments.testing import main

if __name__ == "__main__":
    main()
