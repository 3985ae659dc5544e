"""The shared parts of commands: arguments, the device, the config with its overrides, errors.

OpenMMLab looks for a GPU when it is imported. So this module imports it only inside functions,
after `choose_device`.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import functools
import gc
import inspect
import logging
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError, one_line
from mmlevelset.files import write_text

if TYPE_CHECKING:
    from mmengine.config import Config


LOST_PROCESS = re.compile(
    r"connection (was )?(closed|reset) by (remote )?peer|broken pipe|remote process exited"
    r"|ncclRemoteError|failed to recv|socket has likely closed",
    re.IGNORECASE,
)
"""Errors of gloo, NCCL and torch's store after another process has ended."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LAUNCHERS = dict(
    pytorch=("RANK", "torchrun"),
    slurm=("SLURM_PROCID", "srun"),
    mpi=("OMPI_COMM_WORLD_RANK", "mpirun"),
)
"""Launcher -> the first variable that mmengine reads, and the program that sets it."""


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every command that runs a config."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("config", help="path of the config file")
    made.add_argument("--work-dir", help="where logs and checkpoints go [work_dirs/CONFIG'S NAME]")
    made.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    made.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    made.add_argument(
        "--gpus",
        type=int,
        metavar="N",
        help="0 forces the CPU; more than one GPU needs --launcher",
    )
    add_config_options(made)
    return made


def add_config_options(made: argparse.ArgumentParser) -> None:
    """Add the options of each command that builds a config's model on one device."""
    made.add_argument(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="override values of the config: optim_wrapper.optimizer.lr=0.01 a.b=[1,2] list.0.c=x",
    )
    made.add_argument(
        "--allow-new-keys",
        action="store_true",
        help="let --cfg-options add keys that the config does not have",
    )
    made.add_argument("--device", choices=["cpu", "cuda"], help="the GPU, if there is one")
    made.add_argument(
        "--traceback", action="store_true", help="show the whole traceback of an error"
    )


@contextmanager
def short_errors(name: str, arguments: argparse.Namespace) -> Iterator[None]:
    """End an error with one line; its traceback goes to a file in the work dir.

    If there are several processes, the line and the file's name have the rank.
    """
    logging.raiseExceptions = False  # on a full disk, each line of the log would print a traceback
    try:
        yield
    except InputError as error:
        sys.exit(_complain(name, one_line(error), 2))
    except Exception as error:
        if arguments.traceback:
            raise
        config = getattr(arguments, "loaded", None)
        unknown = _unregistered_type(error, config)
        if unknown:
            sys.exit(_complain(name, unknown, 2))
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # The error of a data loader's worker holds a traceback: its last line is the message.
        message = lines[-1 if "Original Traceback" in str(error) else 0] if lines else ""
        kind = type(error).__name__
        rank = _rank()
        if rank is not None and LOST_PROCESS.search(str(error)):
            message = (
                "another process of this run has ended: its message or the launcher's says why"
            )
            if hasattr(arguments, "resume"):
                message += "; --resume goes on from the latest checkpoint"
        elif not message.startswith(kind):
            message = f"{kind}: {message}"
        if re.search(r"DataLoader worker .*(killed by signal|exited unexpectedly)", message):
            message += _images_of_workers(message)
            message += "; often for lack of memory: fewer num_workers take less"
        if isinstance(error, OSError) and error.errno in NO_SPACE and not error.filename:
            message += f" (a file in {config.work_dir if config is not None else Path.cwd()})"
        if config is not None:
            message += _keep_traceback(Path(config.work_dir))
        sys.exit(_complain(name, message, 1))
    finally:
        logging.raiseExceptions = True


def _images_of_workers(message: str) -> str:
    from mmlevelset.engine.lost_worker import images_of_killed_workers

    images = images_of_killed_workers(message)
    return f", while it read {', '.join(images)}" if images else ""


def _keep_traceback(work_dir: Path) -> str:
    """Write the traceback of the current error into the work dir; return the end of the message."""
    rank = _rank()
    file = work_dir / f"traceback{'' if rank is None else f'_rank{rank}'}.txt"
    try:
        write_text(file, traceback.format_exc())
    except OSError as error:
        return f" (no traceback: {file} cannot be written: {error.strerror or error})"
    return f" (traceback: {file})"


def _complain(name: str, message: str, code: int) -> int:
    rank = _rank()
    who = "" if rank is None else f"rank {rank}: "
    # One write, so that lines of several processes do not mix.
    sys.stderr.write(f"{name}: error: {who}{message}\n")
    sys.stderr.flush()
    return code


def _rank() -> int | None:
    """Return the rank of this process; None if it is the only process."""
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        return None
    return int(os.environ["RANK"])


def _unregistered_type(error: Exception, config: Config | None) -> str | None:
    found = re.search(r"(\S+) is not in the (\S+) registry", str(error))
    if not isinstance(error, KeyError) or not found:
        return None
    name = found[1].strip("'\"")
    keys = [] if config is None else sorted(_keys_of_type(config.to_dict(), name))
    where = f"{keys[0]}.type" if keys else "a `type` of the config"
    return f"{where} = {name!r} is no registered {found[2].split('::')[-1]}"


def _keys_of_type(value: Any, name: str, key: str = "") -> Iterator[str]:
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        if value.get("type") == name:
            yield key
        items = list(value.items())
    elif isinstance(value, (list, tuple)):
        items = list(enumerate(value))
    for step, inner in items:
        yield from _keys_of_type(inner, name, f"{key}.{step}" if key else str(step))


def choose_device(arguments: argparse.Namespace) -> None:
    """Apply --gpus and --device, before any library looks for a GPU."""
    os.environ.setdefault("LOCAL_RANK", str(getattr(arguments, "local_rank", 0)))
    gpus = getattr(arguments, "gpus", None)
    if gpus is not None and gpus < 0:
        raise InputError(f"--gpus must be 0 or more, and was {gpus}")
    if gpus is not None and gpus > 1 and arguments.launcher == "none":
        raise InputError(f"--gpus {gpus} needs a process per GPU: add --launcher pytorch")
    if gpus == 0 and arguments.device == "cuda":
        raise InputError("--gpus 0 and --device cuda contradict each other")
    if gpus == 0 or arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if arguments.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("--device cuda was given, but torch finds no CUDA device")


def load_config(arguments: argparse.Namespace) -> Config:
    """Return the config with the overrides, the launcher and the work dir in it."""
    config = read_config(arguments)
    config.launcher = arguments.launcher
    default = Path("work_dirs", Path(arguments.config).stem)
    config.work_dir = arguments.work_dir or config.get("work_dir") or str(default)
    arguments.loaded = config  # for short_errors
    prepare_processes(config)
    return config


def read_config(arguments: argparse.Namespace, text: str | None = None) -> Config:
    """Return a config with the overrides.

    Args:
        arguments: ``config``, the path of the file or the name of the text in an error, and those
            of :func:`add_config_options`.
        text: The content of a flat config; None reads the file.

    Raises:
        InputError: The config cannot be read, or an override does not fit it.
    """
    if text is None:
        require_file(arguments.config, "the config")
    from mmlevelset.quiet import quieten
    from mmlevelset.requirements import require_openmmlab

    try:
        require_openmmlab()
    except ImportError as error:
        raise InputError(str(error)) from error
    quieten()
    from mmengine.config import Config

    from mmlevelset.experiments.overrides import is_variable, override
    from mmlevelset.experiments.overrides import read_config as read_file

    remember_files_and_formats()
    try:
        if text is None:
            config = read_file(arguments.config)
        else:
            config = Config.fromstring(text, ".py")
    except InputError as error:
        if arguments.traceback and error.__cause__ is not None:
            raise error.__cause__ from None
        raise
    except Exception as error:
        if arguments.traceback:
            raise
        raise InputError(f"{arguments.config} cannot be read: {error}") from error
    options = _parse_options(arguments.cfg_options)
    for key in options:
        what = f"--cfg-options {key}"
        if not arguments.allow_new_keys:
            hint = "" if is_variable(key.split(".")[0]) else " (--allow-new-keys adds it)"
            require_key(config, key, what, hint)
        if key == "launcher":
            raise InputError(f"{what} would have no effect: take --launcher")
        if key == "work_dir" and arguments.work_dir:
            raise InputError(f"{what} and --work-dir contradict each other")
    if options:
        path = arguments.config if text is None else None
        config = override(config, path, options, "--cfg-options")
    return config


def remember_files_and_formats() -> None:
    """Spare this process seconds of repeated work in mmengine.

    For each base ``mmdet::...``, mmengine parses all metafiles of mmdet. A runner formats the text
    of its config five times. After this call, each metafile is parsed once, and each text is
    formatted once.
    """
    from mmengine.config import utils
    from yapf.yapflib import yapf_api

    if hasattr(utils.load, "cache_info"):
        return
    utils.load = functools.cache(utils.load)
    format_code = yapf_api.FormatCode
    formatted: dict[tuple, Any] = {}

    def format_once(text: str, *args: Any, **settings: Any) -> Any:
        key = (text, repr(args), repr(settings))
        if key not in formatted:
            formatted[key] = format_code(text, *args, **settings)
        return formatted[key]

    yapf_api.FormatCode = format_once


def _parse_options(words: list[str]) -> dict[str, Any]:
    from mmengine.config import DictAction

    for word in words:
        if not re.match(r"[^=]+=", word):
            raise InputError(f"--cfg-options takes KEY=VALUE, and got {word!r}")
    options = argparse.ArgumentParser()
    options.add_argument("--cfg-options", nargs="*", action=DictAction)
    return options.parse_args(["--cfg-options", *words]).cfg_options or {}


def require_key(config: Config, key: str, what: str, hint: str = "") -> None:
    """Raise an error if the config lacks the key of an override: the override would do nothing.

    Args:
        config: the config to override.
        key: dotted, as ``model.backbone.depth``.
        what: the name of the override in the error.
        hint: the end of the error if no key of the config is similar.
    """
    from mmengine.runner import Runner

    steps = key.split(".")
    if steps[0] not in config and steps[0] in inspect.signature(Runner.__init__).parameters:
        return
    value: Any = config
    for number, step in enumerate(steps):
        if isinstance(value, (list, tuple)):
            known = [str(index) for index in range(len(value))]
        else:
            known = [str(name) for name in value] if hasattr(value, "keys") else []
        if step not in known:
            above = ".".join(steps[:number]) or "the config"
            close = difflib.get_close_matches(step, known, n=1)
            if close:
                hint = f"; did you mean {'.'.join([*steps[:number], close[0]])}?"
            raise InputError(f"{what}: {above} has no {step!r}{hint}")
        value = value[int(step)] if isinstance(value, (list, tuple)) else value[step]


def prepare_processes(config: Config) -> None:
    """Check the launcher; on a CPU, start the process group.

    mmengine would give each process a CUDA device.

    Raises:
        InputError: The launcher did not start this process.
    """
    import torch

    if config.launcher == "none":
        return
    variable, program = LAUNCHERS[config.launcher]
    if variable not in os.environ:
        raise InputError(
            f"--launcher {config.launcher} needs processes that {program} has started:"
            f" {variable} is not set"
        )
    if torch.cuda.is_available():
        return
    if config.launcher == "mpi":
        raise InputError("--launcher mpi needs CUDA devices; on a CPU, take pytorch or slurm")
    if config.launcher == "slurm":
        _tell_torch_of_slurm()
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    if config.get("model_wrapper_cfg") is None:
        config.model_wrapper_cfg = dict(
            type="MMDistributedDataParallel",
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=config.get("find_unused_parameters", False),
        )


def _tell_torch_of_slurm() -> None:
    """Set the variables of a process and its group that torch reads, as mmengine does."""
    given = os.environ
    given["RANK"] = given["SLURM_PROCID"]
    given["WORLD_SIZE"] = given["SLURM_NTASKS"]
    given["LOCAL_RANK"] = given["SLURM_LOCALID"]
    given.setdefault("MASTER_PORT", "29500")
    if "MASTER_ADDR" not in given:
        if shutil.which("scontrol") is None:
            raise InputError("--launcher slurm needs MASTER_ADDR where there is no scontrol")
        words = ["scontrol", "show", "hostnames", given["SLURM_NODELIST"]]
        hosts = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        given["MASTER_ADDR"] = hosts.split()[0]


def leave_process_group() -> None:
    """End a distributed run in all processes: a thread that still runs may abort the exit."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()  # a model wrapped for training refers to the group
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def require_share(name: str, value: float) -> None:
    """Raise InputError unless the value of an option is in 0..1."""
    if not 0 <= value <= 1:
        raise InputError(f"{name} must be in 0..1, and was {value}")


def require_file(path: str, what: str) -> str:
    """Return the path of a file, which must exist; an address like https://... is not checked."""
    if "://" not in path and not Path(path).is_file():
        fault = "must be a file, and is a folder" if Path(path).is_dir() else "does not exist"
        raise InputError(f"{what} {path} {fault}")
    return path


def build_model(config: Config) -> Any:
    """Return the config's model for inference, without weights, on a GPU if there is one."""
    import torch
    from mmdet.registry import MODELS
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import init_default_scope

    init_default_scope(config.get("default_scope", "mmdet"))
    model = revert_sync_batchnorm(MODELS.build(config.model)).eval()
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def load_weights(model: Any, checkpoint: str, classes: Sequence[str] | None = None) -> None:
    """Load a checkpoint into the model. Both must have the same names and shapes.

    Args:
        model: The model.
        checkpoint: The path or the address of the file.
        classes: The classes of the data; the checkpoint's own must be the same.

    Raises:
        InputError: A weight is missing, unknown or of another shape, the classes differ, or the
            file cannot be read.
    """
    from mmlevelset.experiments.class_names import difference
    from mmlevelset.experiments.weights.loading import load_strictly, read_weights

    weights = read_weights(checkpoint)
    load_strictly(model, weights)
    unlike = difference(weights.classes, classes) if classes and weights.classes else None
    if unlike:
        raise InputError(f"{checkpoint}: {unlike}")


def make_runner(config: Config) -> Any:
    """Return mmengine's runner of a config."""
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from mmlevelset.engine.lost_worker import note_images

    runner = RUNNERS.build(config) if "runner_type" in config else Runner.from_cfg(config)
    note_images(runner)
    return runner
