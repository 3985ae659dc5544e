"""What all converters share: errors of one line, files that are whole or not there."""

import sys
from collections.abc import Callable
from pathlib import Path

from mmlevelset.errors import InputError


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
