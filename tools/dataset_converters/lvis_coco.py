"""Restrict LVIS to COCO's categories.

python tools/dataset_converters/lvis_coco.py LVIS.json COCO
"""

from mmlevelset.converters.datasets.lvis_coco import main

if __name__ == "__main__":
    main()
