"""Converters of published data sets and checkpoints.

Importing this package imports nothing else: a converter and its workers load only the modules that
they need.
"""
