"""Cut iSAID's images into patches with COCO's annotations.

python tools/dataset_converters/isaid.py ROOT OUT
"""

from mmlevelset.converters.datasets.isaid import main

if __name__ == "__main__":
    main()
