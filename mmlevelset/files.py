"""Files that are whole or not there: they are written under another name, then renamed."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[str], object]) -> None:
    """Let ``write`` make a file under a temporary name, then give it its own name.

    If ``write`` fails, or the process is killed, an older file at ``path`` stays as it was. The
    folder of ``path`` is made if it is missing.

    Args:
        path: The file.
        write: Is called with the temporary name, in the folder of ``path``.

    Raises:
        OSError: The file cannot be written.
    """
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


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 as :func:`write_whole` does."""
    write_whole(path, lambda unfinished: Path(unfinished).write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, indented by two spaces, as :func:`write_whole` does."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def shipped_folder(name: str) -> Path:
    """Return the folder ``configs``, ``tools`` or ``weights`` of this installation.

    A wheel has them in ``mmlevelset/.mim``; a checkout has them beside the package.
    """
    package = Path(__file__).resolve().parent
    packed = package / ".mim" / name
    return packed if packed.is_dir() else package.parent / name
