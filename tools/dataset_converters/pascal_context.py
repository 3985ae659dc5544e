"""Write Pascal-Context's label maps of 60 classes.

python tools/dataset_converters/pascal_context.py VOC2010 CONTEXT
"""

from mmlevelset.converters.datasets.pascal_context import main

if __name__ == "__main__":
    main()
