"""Cut a file of instances in two, and give all instances one class.

python tools/dataset_converters/coco_objects.py ANNOTATIONS TARGET
"""

from mmlevelset.converters.datasets.coco_objects import main

if __name__ == "__main__":
    main()
