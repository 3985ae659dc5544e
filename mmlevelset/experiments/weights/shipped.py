"""The weights that come with the package: files in ``weights/``, and the name of the default."""

from __future__ import annotations

import json
from pathlib import Path

from mmlevelset.errors import InputError
from mmlevelset.files import shipped_folder

INDEX = "index.json"


def shipped_weights() -> dict[str, Path]:
    """Return the files of the shipped weights by their names, in the order of the names."""
    return {path.stem: path for path in sorted(shipped_folder("weights").glob("*.pth"))}


def default_name() -> str | None:
    """Return the name in ``weights/index.json``; None if no weights are shipped."""
    return json.loads((shipped_folder("weights") / INDEX).read_text())["default"]


def find_weights(given: str | None) -> str:
    """Return the path or the address of weights.

    Args:
        given: A file, an address, or the name of shipped weights; None is the default's name.

    Raises:
        InputError: There are no such weights.
    """
    if given == "":
        raise InputError("--weights is empty: leave it out for the default")
    shipped = shipped_weights()
    name = given or default_name()
    if name is None:
        raise InputError("this version has no default weights: give --weights FILE")
    if given and ("://" in given or Path(given).is_file()):
        return given
    if name not in shipped:
        known = ", ".join(shipped) or "none"
        raise InputError(f"the weights {name} are no file and no shipped weights ({known})")
    return str(shipped[name])
