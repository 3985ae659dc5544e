"""The report on a data set that ``tools/verify_dataset.py`` writes."""
