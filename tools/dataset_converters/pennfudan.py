"""Convert Penn-Fudan's pedestrians to COCO's layout.

python tools/dataset_converters/pennfudan.py SOURCE TARGET
"""

from mmlevelset.converters.datasets.pennfudan import main

if __name__ == "__main__":
    main()
