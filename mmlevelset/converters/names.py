"""Names that come from somebody else's files: none of them leads out of a converter's folder."""

import re
from pathlib import Path

from mmlevelset.errors import InputError


def check_name(name: object, where: object, folders: bool = False) -> str:
    """Return a name of a file, if it is safe to join to a folder.

    Args:
        name: The name.
        where: The file that holds the name, for the error.
        folders: The name may begin with names of folders, ``a/b.png``.

    Raises:
        InputError: The name is no text, is empty or absolute, has ``..``, a backslash, a drive or a
            control character, or begins with a folder that it must not have.
    """
    steps = name.split("/") if isinstance(name, str) else []
    plain = (
        isinstance(name, str)
        and all(step not in ("", ".", "..") for step in steps)
        and not re.search(r"[\\\x00-\x1f\x7f\ud800-\udfff]|^[A-Za-z]:", name)
        and (folders or len(steps) == 1)
    )
    if not plain:
        kind = "a relative path without .." if folders else "the plain name of a file"
        raise InputError(f"{where}: the name {str(name)[:80]!r} must be {kind}")
    return str(name)


def below(folder: Path, *names: str) -> Path:
    """Return the path of a file to write below a folder.

    Args:
        folder: The folder of the converter. It may itself be a link.
        names: Names of folders and of the file.

    Raises:
        InputError: A name is unsafe, or a folder on the way is a link that leads out of ``folder``.
    """
    for name in names:
        check_name(name, folder, folders=True)
    path = folder.joinpath(*names)
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path.parent} is a link that leads out of {folder}: nothing is written")
    return path
