"""The error that means: the input is wrong, and whoever gave it can put it right."""


class InputError(Exception):
    """An argument, a config or a file is wrong; the message names it and says what is expected.

    A command ends with this message in one line and with exit code 2.
    """
