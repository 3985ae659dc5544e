"""What all tests share."""

import functools
import os
import sys
from pathlib import Path

import pytest
import torch

from tests import fake_slurm

if not torch.cuda.is_available():
    # Before the first import of Triton: its kernels then run in its interpreter, on the CPU.
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def metafiles_read_once():
    """Else mmengine parses mmdet's 102 metafiles for each base ``mmdet::...`` of a config."""
    with pytest.MonkeyPatch.context() as patch:
        utils = sys.modules.get("mmengine.config.utils")
        if utils is not None:
            patch.setattr(utils, "load", functools.cache(utils.load))
        yield


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> None:
    """Has ``srun`` and ``scontrol`` on the PATH, which run a job's tasks on this machine."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    fake_slurm.install(folder)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
