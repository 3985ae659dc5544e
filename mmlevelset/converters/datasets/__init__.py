"""One module for each command in ``tools/dataset_converters/``."""
