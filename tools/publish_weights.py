"""Make small weights from a checkpoint: python tools/publish_weights.py CHECKPOINT --out FILE."""

from mmlevelset.experiments.weights.publishing import main

if __name__ == "__main__":
    main()
