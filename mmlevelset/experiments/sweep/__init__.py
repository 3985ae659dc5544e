"""A table of experiments: variants times seeds."""
