"""Convert LiTS's scans to slices with COCO's annotations.

python tools/dataset_converters/lits.py ROOT OUT
"""

from mmlevelset.converters.datasets.lits import main

if __name__ == "__main__":
    main()
