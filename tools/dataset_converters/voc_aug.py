"""Write VOC's label maps, completed with SBD's.

python tools/dataset_converters/voc_aug.py VOC2012 SBD
"""

from mmlevelset.converters.datasets.voc_aug import main

if __name__ == "__main__":
    main()
