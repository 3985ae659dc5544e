"""Options and fixtures of all tests."""

import gc
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests import fake_slurm
from tests.quick_python import QuickPython, leave_configs_unformatted

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores, and so do the processes that their tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

if not torch.cuda.is_available():
    # Set before the first import of Triton, so that its interpreter runs the kernels on the CPU.
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from what is imported: mmengine calls it for each data set."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def quick_configs():
    """Spare all tests the work that mmengine repeats for each config."""
    if importlib.util.find_spec("mmengine") is not None:
        from mmlevelset.experiments.command_line import remember_files_and_formats

        leave_configs_unformatted()
        remember_files_and_formats()


@pytest.fixture(autouse=True)
def mmengine_state():
    """Undo what a test sets for its process: mmengine's scope, loggers, message hubs, visualizers.

    A runner in a test would otherwise leave the next test its scope, its iteration, and a logger
    with a file in a folder that is gone.
    """
    if "mmengine.utils" not in sys.modules:
        yield
        return
    from mmengine.utils import ManagerMixin

    before = {kind: dict(kind._instance_dict) for kind in _subclasses(ManagerMixin)}
    yield
    for kind in _subclasses(ManagerMixin):
        for name, instance in kind._instance_dict.items():
            if isinstance(instance, logging.Logger) and name not in before.get(kind, {}):
                for handler in instance.handlers:
                    handler.close()
        kind._instance_dict.clear()
        kind._instance_dict.update(before.get(kind, {}))


def _subclasses(kind: type) -> Iterator[type]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _subclasses(sub)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def quick_python(tmp_path_factory) -> Iterator[str]:
    """A stand-in for ``sys.executable`` that starts with torch, mmdet and mmlevelset imported."""
    server = QuickPython(tmp_path_factory.mktemp("quick_python"))
    yield str(server.path)
    server.close()


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> None:
    """Put ``srun`` and ``scontrol`` on the PATH that run a job's tasks on this machine."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    fake_slurm.install(folder)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.fixture
def iteration():
    """Set the iteration of mmengine's runner; None: no runner."""
    from mmengine.logging import MessageHub

    hub = MessageHub.get_current_instance()
    before = hub.get_info("iter")
    yield lambda value: hub.update_info("iter", value)
    hub.update_info("iter", before)
