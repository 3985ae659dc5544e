"""The code of the commands in ``tools/``.

Importing this package imports nothing else, so that the help of a command comes at once.
"""
