"""Files that are whole or not there: they are written under another name, then renamed."""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmlevelset.errors import InputError


def make_folder(folder: Path, argument: str) -> None:
    """Make a folder of results, before the work that fills it.

    Args:
        folder: The folder.
        argument: The argument that names it, for errors.

    Raises:
        InputError: It is a file, or cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InputError(f"{argument} must be a folder, and {folder} is a file") from error
    except OSError as error:
        raise InputError(f"{argument} {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{argument} {folder} cannot be written")


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
    unfinished = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name may have 255 bytes: the temporary name of a long one is cut.
        handle, unfinished = tempfile.mkstemp(prefix=f".{path.name[:40]}-", dir=path.parent)
        os.close(handle)
        write(unfinished)
        os.chmod(unfinished, 0o644)  # mkstemp's own mode shuts out other users
        os.replace(unfinished, path)
    except BaseException as error:
        if unfinished:
            Path(unfinished).unlink(missing_ok=True)
        # The error of a full disk names no file.
        unnamed = (None, unfinished)
        if isinstance(error, OSError) and error.errno and error.filename in unnamed:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 as :func:`write_whole` does."""
    write_whole(path, lambda unfinished: Path(unfinished).write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of bytes as :func:`write_whole` does."""
    write_whole(path, lambda unfinished: Path(unfinished).write_bytes(content))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, indented by two spaces, as :func:`write_whole` does."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_picture(path: Path, picture: Any, settings: Sequence[int] = ()) -> None:
    """Write an image as :func:`write_whole` does; the suffix names the format.

    Args:
        path: The file.
        picture: The pixels (H, W) or (H, W, 3) in BGR, an array of uint8.
        settings: OpenCV's settings of the format.
    """
    import cv2

    _, encoded = cv2.imencode(path.suffix, picture, list(settings))
    write_bytes(path, encoded.tobytes())


def write_figure(path: Path, figure: Any) -> None:
    """Write a figure of Matplotlib as :func:`write_whole` does; the suffix names the format.

    Raises:
        ValueError: Matplotlib does not know the format.
    """
    kind = path.suffix.removeprefix(".") or "png"
    write_whole(path, lambda unfinished: figure.savefig(unfinished, format=kind))


def whole_number(digits: str) -> int | float:
    """Return a whole number of a JSON text; infinity where a float cannot hold it.

    It is the ``parse_int`` of all readers: a long number would end sums and curves with an error.
    """
    return int(digits) if len(digits) < 300 else float(digits)


def read_json(path: Path, kind: type = dict) -> Any:
    """Return the value in a JSON file.

    Args:
        path: The file.
        kind: The type that the value must have.

    Raises:
        InputError: The file cannot be read, is no JSON, or holds a value of another type.
    """
    try:
        value = json.loads(path.read_bytes(), parse_int=whole_number)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        empty = "is empty" if not path.stat().st_size else "is no JSON, or is truncated"
        raise InputError(f"{path} {empty}: {error}") from error
    if not isinstance(value, kind):
        raise InputError(f"{path} must hold a {kind.__name__}, and holds {value!s:.60}")
    return value


def shipped_folder(name: str) -> Path:
    """Return the folder ``configs``, ``tools`` or ``weights`` of this installation.

    A wheel has them in ``mmlevelset/.mim``; a checkout has them beside the package.
    """
    package = Path(__file__).resolve().parent
    packed = package / ".mim" / name
    return packed if packed.is_dir() else package.parent / name
