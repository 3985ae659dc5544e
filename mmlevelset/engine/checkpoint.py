"""A checkpoint hook for runs that may be killed at any moment."""

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import hooks
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from mmlevelset.registry import HOOKS

BACKEND = "mmlevelset_atomic"


class AtomicBackend(LocalBackend):
    """Local files that appear under their name only when complete."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to ``<filepath>.tmp``, then rename it to ``filepath``."""
        temporary = f"{filepath}.tmp"
        os.makedirs(os.path.dirname(os.path.abspath(filepath)), exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:  # of a full disk: it names no file
            raise OSError(error.errno, error.strerror, str(filepath)) from error
        os.replace(temporary, filepath)


register_backend(BACKEND, AtomicBackend, force=True)


def newest_whole(folder: Path, template: str) -> tuple[Path | None, list[Path]]:
    """Return the checkpoint of the last step that is whole, and the broken ones of later steps.

    Args:
        folder: The folder of the checkpoints.
        template: The template of their names, such as ``epoch_{}.pth``.

    Returns:
        The path of the checkpoint, or None if no checkpoint is whole; and the paths of the
        checkpoints of later steps, which are truncated or damaged.
    """
    pattern = re.escape(template).replace(re.escape("{}"), r"(\d+)")
    steps = {
        int(found[1]): path
        for path in folder.glob(template.replace("{}", "*"))
        if (found := re.fullmatch(pattern, path.name))
    }
    broken: list[Path] = []
    for _, path in sorted(steps.items(), reverse=True):
        if is_whole(path):
            return path, broken
        broken.append(path)
    return None, broken


def is_whole(path: Path) -> bool:
    """Return whether a file is a complete archive of torch: all its parts have their checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # a damaged archive fails in many ways, a damaged path too
        return False


def as_plain(value: Any) -> Any:
    """Return a value with plain Python types, which ``torch.load(weights_only=True)`` reads.

    Histories of mmengine become dicts of tensors, NumPy's numbers and arrays those of Python, and
    subclasses of dict, list and tuple their base. Other values stay.
    """
    if isinstance(value, HistoryBuffer):
        # The arrays are attributes without a public name.
        arrays = value._log_history, value._count_history
        log, count = (torch.from_numpy(np.asarray(array, np.float64).copy()) for array in arrays)
        return dict(log_history=log, count_history=count, max_length=value.max_length)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: as_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return (list if isinstance(value, list) else tuple)(map(as_plain, value))
    return value


def as_history(value: Any) -> Any:
    """Return mmengine's history of a dict that :func:`as_plain` made of it; other values stay."""
    if isinstance(value, dict) and value.keys() == {"log_history", "count_history", "max_length"}:
        log, count = value["log_history"].tolist(), value["count_history"].tolist()
        return HistoryBuffer(log, count, value["max_length"])
    return value


@HOOKS.register_module()
class CheckpointHook(hooks.CheckpointHook):
    """mmengine's ``CheckpointHook``, changed so that a killed run can always be resumed.

    mmengine's hook deletes the oldest checkpoint before it writes a new one. It writes in place;
    after a new best score it overwrites the checkpoint that ``last_checkpoint`` names. A run that
    is killed at such a moment is left with a truncated file or with no file. This hook differs on
    local disks:

    - A checkpoint is written under a temporary name, ``<name>.pth.tmp``, and renamed when it is
      complete. The next run deletes the temporary files of a killed run.
    - The oldest checkpoint is deleted after the new checkpoint is complete, so
      ``max_keep_ckpts + 1`` files exist for a moment.
    - ``last_checkpoint`` may be missing or empty, or name a missing file after the working
      directory was moved, or a broken file. The next run that resumes makes it name the newest
      whole checkpoint.
    - A checkpoint holds plain types alone: ``torch.load(weights_only=True)`` reads it.

    Another file backend (``backend_args``, or ``out_dir`` with a prefix such as ``s3://``) writes
    in its own way.

    Args: as for :class:`mmengine.hooks.CheckpointHook`.

    Example:
        >>> default_hooks = dict(
        ...     checkpoint=dict(type="mmlevelset.CheckpointHook", interval=1, max_keep_ckpts=3))
    """

    backend_args: dict | None

    def before_run(self, runner: Runner) -> None:
        """Repair ``last_checkpoint`` before it is read for resuming."""
        pointer = Path(runner.work_dir, "last_checkpoint")
        resumes = runner._resume and runner._load_from is None
        if is_main_process() and (resumes or pointer.is_file()):
            named = pointer.read_text(errors="replace").strip() if pointer.is_file() else ""
            if "://" not in named and not (named and is_whole(Path(named))):
                self._point_to_newest(runner, pointer, named)
        barrier()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Make plain types of all but the weights."""
        for key in checkpoint.keys() - {"state_dict"}:
            checkpoint[key] = as_plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Make histories of the numbers that mmengine goes on with."""
        hub = checkpoint.get("message_hub")
        if isinstance(hub, dict):
            scalars = hub.get("log_scalars", {})
            hub["log_scalars"] = {key: as_history(value) for key, value in scalars.items()}

    def before_train(self, runner: Runner) -> None:
        """Use the atomic backend for local files; delete the temporary files of a killed run."""
        super().before_train(runner)
        plain = self.backend_args is None and self.file_client_args is None
        if plain and type(get_file_backend(self.out_dir)) is LocalBackend:
            self.backend_args = dict(backend=BACKEND)
            if is_main_process():
                for leftover in Path(self.out_dir).glob("*.pth.tmp"):
                    leftover.unlink()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        expired = None
        if (
            self.max_keep_ckpts > 0
            and len(self.keep_ckpt_ids) == self.max_keep_ckpts
            and self.keep_ckpt_ids[-1] != step
        ):
            expired = self.keep_ckpt_ids.popleft()
        super()._save_checkpoint_with_step(runner, step, meta)
        if expired is not None and is_main_process():
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(expired))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def _point_to_newest(self, runner: Runner, pointer: Path, named: str) -> None:
        folder = pointer.parent
        if self.out_dir is not None:  # mmengine adds the run's name only in before_train
            folder = Path(self.out_dir, folder.resolve().name)
        newest, _ = newest_whole(folder, self.filename_tmpl)
        if newest is not None:
            runner.logger.warning(
                f"{pointer} named {named!r}, which is no whole file; it now names {newest}"
            )
            AtomicBackend().put(str(newest).encode(), pointer)
