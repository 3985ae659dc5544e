"""A checkpoint hook for runs that may be killed at any moment."""

import os
from pathlib import Path
from typing import Any

from mmengine import hooks
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.runner import Runner

from mmlevelset.registry import HOOKS

BACKEND = "mmlevelset_atomic"


class AtomicBackend(LocalBackend):
    """Local files that appear under their name only when complete."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to ``<filepath>.tmp``, then rename it to ``filepath``."""
        temporary = f"{filepath}.tmp"
        os.makedirs(os.path.dirname(os.path.abspath(filepath)), exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(obj)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, filepath)


register_backend(BACKEND, AtomicBackend, force=True)


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
    - ``last_checkpoint`` may be empty, or name a missing file after the working directory was
      moved. The next run then makes it name the newest checkpoint.

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
        if is_main_process() and pointer.is_file():
            named = pointer.read_text().strip()
            if "://" not in named and not Path(named).is_file():
                self._point_to_newest(runner, pointer, named)
        barrier()

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
        checkpoints = folder.glob(self.filename_tmpl.format("*"))
        newest = max(checkpoints, key=lambda path: path.stat().st_mtime, default=None)
        if newest is not None:
            runner.logger.warning(
                f"{pointer} named {named!r}, which is no file; it now names {newest}"
            )
            AtomicBackend().put(str(newest).encode(), pointer)
