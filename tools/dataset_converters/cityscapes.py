"""Write Cityscapes' label maps of the 19 evaluated classes.

python tools/dataset_converters/cityscapes.py ROOT
"""

from mmlevelset.converters.datasets.cityscapes import main

if __name__ == "__main__":
    main()
