"""Level-set segmentation with MMDetection.

Importing the package imports neither torch nor any OpenMMLab package.
"""

__version__ = "0.1.0"
