"""One module for each command in ``tools/model_converters/``."""
