"""What all converters share: errors of one line, files that are whole or not there."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


class InputError(Exception):
    """Something is wrong with the files to convert; the message names it."""


def require(path: Path, what: str) -> Path:
    """The path, which must exist."""
    if not path.exists():
        raise InputError(f"{what} {path} does not exist")
    return path


def run(main: Callable[[], None]) -> None:
    """Call ``main``; what is wrong with the input ends it with one line."""
    try:
        main()
    except InputError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: error: {error}")


def write_whole(path: Path, write: Callable[[str], object]) -> None:
    """Call ``write`` with the name of a new file beside ``path``, which it then becomes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        write(unfinished)
        os.chmod(unfinished, 0o644)  # mkstemp's own mode shuts out other users
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
