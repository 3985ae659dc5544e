"""The work dir of a training: one training at a time, and none over the checkpoints of another."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import LAUNCHERS

if TYPE_CHECKING:
    from mmengine.config import Config

LOCK = ".training.lock"
CHECKPOINT = re.compile(r"(epoch|iter)_\d+\.pth")


@contextmanager
def claim(config: Config) -> Iterator[None]:
    """Make the work dir of a config, and hold it for one training.

    The operating system releases the lock when the process ends, however it ends. The lock is not
    inherited: a worker that outlives its killed training holds nothing.

    Raises:
        InputError: another training holds the work dir, or the folder cannot be written.
    """
    folder = Path(config.work_dir)
    variable = LAUNCHERS.get(config.get("launcher", "none"), ("",))[0]
    if int(os.environ.get(variable) or 0) > 0:  # the first process holds it for the others
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a+b", buffering=0)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"the work dir {folder} must be a folder, and is a file") from error
    except OSError as error:
        raise InputError(f"the work dir {folder} cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise InputError(
                    f"the work dir {folder} cannot be locked: {error.strerror}"
                ) from error
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "just started"
            raise InputError(
                f"another training works in {folder} ({holder}); give this one another --work-dir"
            ) from error
        yield


def checkpoint_folder(config: Config) -> tuple[Path, str] | None:
    """Return the folder of a config's checkpoints and the template of their names.

    Returns:
        None if the checkpoints are not local files.
    """
    work_dir = Path(config.work_dir)
    hook = (config.get("default_hooks") or {}).get("checkpoint") or {}
    out_dir = hook.get("out_dir")
    if hook.get("backend_args") or "://" in str(out_dir):
        return None
    # mmengine adds the name of the work dir.
    folder = Path(out_dir, work_dir.absolute().name) if out_dir else work_dir
    by_epoch = "epoch_{}.pth" if hook.get("by_epoch", True) else "iter_{}.pth"
    return folder, hook.get("filename_tmpl") or by_epoch


def require_unused(config: Config) -> None:
    """Raise an InputError if the work dir holds checkpoints of an earlier training."""
    folders = {Path(config.work_dir)}
    place = checkpoint_folder(config)
    if place is not None:
        folders.add(place[0])
    found = [path for folder in folders for path in folder.glob("*.pth")]
    found = [path for path in found if CHECKPOINT.fullmatch(path.name)]
    if not found:
        return
    newest = max(found, key=lambda path: path.stat().st_mtime)
    raise InputError(
        f"the work dir {config.work_dir} holds checkpoints of an earlier training,"
        f" {newest.name} the newest: --resume goes on from it, and another --work-dir trains anew"
    )
