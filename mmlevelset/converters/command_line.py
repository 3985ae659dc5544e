"""The command line of converters, and checks of its arguments."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from mmlevelset.errors import InputError


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows the description as it is written."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_part_options(parser: argparse.ArgumentParser, published: str | Mapping[str, int]) -> None:
    """Add the options of a converter that works in parts.

    Args:
        parser: The parser that gets the options.
        published: The published size of the data, such as "131 scans", or the number of images of
            each split.
    """
    if not isinstance(published, str):
        published = " and ".join(f"{count} images of {split}" for split, count in published.items())
    parser.add_argument("--workers", type=whole_number, metavar="N", help="processes (all cores)")
    parser.add_argument(
        "--allow-partial", action="store_true", help=f"convert less than the {published}"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="forget the finished parts and begin anew"
    )


def whole_number(text: str) -> int:
    """Return the positive integer that a word of the command line gives."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r}")
    return int(text)


def require(path: Path, what: str) -> Path:
    """Return the path; raise InputError if it does not exist."""
    if not path.exists():
        raise InputError(f"{what} {path} does not exist")
    return path


def check_counts(what: str, found: int, published: int, allow_partial: bool = False) -> None:
    """Compare a number with the published number. With ``allow_partial``, only warn.

    Raises:
        InputError: The numbers differ, and ``allow_partial`` is False.
    """
    if found == published:
        return
    difference = f"{what}: {found} found, {published} published"
    if not allow_partial:
        raise InputError(f"{difference}; --allow-partial converts the data that is there")
    print(f"warning: {difference}", file=sys.stderr)
