"""Train the model of a config: python tools/train.py CONFIG [options]."""

from mmlevelset.experiments.training import main

if __name__ == "__main__":
    main()
