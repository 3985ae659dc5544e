"""The error that means: the input is wrong, and whoever gave it can put it right."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(Exception):
    """An argument, a config or a file is wrong; the message names it and says what is expected.

    A command ends with this message in one line and with exit code 2.
    """


@contextmanager
def exit_on_input_error(command: str) -> Iterator[None]:
    """Turn an InputError into the line ``COMMAND: error: MESSAGE`` and exit code 2.

    So it does with an error of the operating system that names a file: a full disk, a read-only
    folder, a file in the place of a folder.

    Args:
        command: The file name of the command, such as ``isaid.py``.
    """
    try:
        yield
    except InputError as error:
        print(f"{command}: error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.strerror is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"{command}: error: {place}{error.strerror}", file=sys.stderr)
        sys.exit(2)


def one_line(error: InputError) -> str:
    """Return the message in one line: it may quote a library's message of several lines."""
    return " ".join(part.strip() for part in str(error).splitlines())
