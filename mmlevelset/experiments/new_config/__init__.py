"""A config for an annotation file: ``tools/new_config.py``."""
