"""Convert Weizmann's one-object images and their masks.

python tools/dataset_converters/weizmann.py SOURCE TARGET
"""

from mmlevelset.converters.datasets.weizmann import main

if __name__ == "__main__":
    main()
