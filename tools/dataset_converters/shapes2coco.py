"""Write generated data as images and COCO's annotations.

python tools/dataset_converters/shapes2coco.py OUT
"""

from mmlevelset.converters.datasets.shapes2coco import main

if __name__ == "__main__":
    main()
