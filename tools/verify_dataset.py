"""Report on a data set in COCO's layout: python tools/verify_dataset.py CONFIG."""

from mmlevelset.experiments.checks.command import main

if __name__ == "__main__":
    main()
