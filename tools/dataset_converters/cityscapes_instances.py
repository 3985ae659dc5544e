"""Convert Cityscapes' instances to COCO's layout.

python tools/dataset_converters/cityscapes_instances.py ROOT
"""

from mmlevelset.converters.datasets.cityscapes_instances import main

if __name__ == "__main__":
    main()
