"""Convert VOC's and SBD's instances to COCO's layout.

python tools/dataset_converters/voc_instances.py VOC2012 SBD
"""

from mmlevelset.converters.datasets.voc_instances import main

if __name__ == "__main__":
    main()
