"""Parts of the set-up; each new .venv tests the whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.dev import setup_venv


@pytest.fixture
def setup(tmp_path, monkeypatch):
    monkeypatch.setattr(setup_venv, "STAMPS", tmp_path)
    return setup_venv


def test_stage_is_done_once_for_the_same_dependencies(setup):
    done = []
    first = setup.stage("torch", "installing", lambda: done.append(1), "torch==2.13.0")
    again = setup.stage("torch", "installing", lambda: done.append(2), "torch==2.13.0")
    assert done == [1]
    assert first == again
    other = setup.stage("torch", "installing", lambda: done.append(3), "torch==2.14.0")
    assert done == [1, 3]
    assert other != first


def test_failed_stage_is_not_taken_as_done(setup):
    def fails():
        raise KeyboardInterrupt

    done = []
    setup.stage("torch", "installing", lambda: done.append(1), "old")
    with pytest.raises(KeyboardInterrupt):
        setup.stage("torch", "installing", fails, "new")
    # The old stamp does not count either: the failed stage may have changed the installation.
    setup.stage("torch", "installing", lambda: done.append(2), "old")
    assert done == [1, 2]


def test_pins_are_the_lines_of_these_distributions(setup, checkout):
    assert setup.pins("torch") == "torch==2.13.0"
    assert len(setup.pins("scipy").splitlines()) == 2
    # Every distribution that a stage depends on is pinned.
    for name in [*setup.BUILD_TOOLS, "torch", "numpy", "onedl-mmcv", "onedl-mmdetection"]:
        assert setup.pins(name), name


def test_merged_sources_hold_every_file_once_and_keep_conflicts_apart(setup, tmp_path):
    folder = tmp_path / "mmcv/ops/csrc/pytorch"
    (folder / "cpu").mkdir(parents=True)
    names = [f"op{number}" for number in range(9)] + ["roi_align"]
    on_cpu = [*setup.APART, setup.LAST, "nms"]
    for path in [*(folder / name for name in names), *(folder / "cpu" / name for name in on_cpu)]:
        path.with_suffix(".cpp").write_text("")
    setup.merge_sources(tmp_path)

    merged = [path.read_text().splitlines() for path in sorted(folder.glob("*.cpp"))]
    assert len(merged) == 4
    assert not list(folder.glob("cpu/*.cpp"))
    lines = [line for lines in merged for line in lines]
    assert sorted(lines) == sorted(
        [f'#include "{name}.inc"' for name in names]
        + [f'#include "cpu/{name}.inc"' for name in on_cpu]
    )
    for text in merged:
        assert sum(f'#include "cpu/{name}.inc"' in text for name in setup.APART) == 1
        if f'#include "cpu/{setup.LAST}.inc"' in text:
            assert text[-1] == f'#include "cpu/{setup.LAST}.inc"'
    for line in lines:
        assert (folder / line.split('"')[1]).is_file()


def test_missing_python_header_is_told(setup, tmp_path, monkeypatch):
    monkeypatch.setattr(setup.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(SystemExit, match=r"Python\.h is missing from .*; install Python's headers"):
        setup.require_compiler()


def test_missing_compiler_is_told(setup, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SystemExit, match=r"no C\+\+ compiler was found; install g\+\+"):
        setup.require_compiler()


@pytest.mark.parametrize(
    ("release", "message"),
    [
        (None, "no nvcc"),
        ("release 12.4, V12.4.1", "torch was built for CUDA 13.0 but .* is CUDA 12"),
    ],
)
def test_unfit_nvcc_is_told(setup, tmp_path, monkeypatch, release, message):
    if release:
        (tmp_path / "bin").mkdir()
        nvcc = tmp_path / "bin" / "nvcc"
        nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, {release}'\n")
        nvcc.chmod(0o755)
    monkeypatch.setattr(setup, "ask", lambda code: f"13.0 {tmp_path if release else ''}")
    with pytest.raises(SystemExit, match=rf"{message}.*MMLEVELSET_CPU=1 make setup"):
        setup.require_nvcc()


def test_jobs_stay_within_cores_and_memory(setup, monkeypatch):
    files = {
        "/proc/meminfo": "MemTotal: 64000000 kB\nMemAvailable: 32000000 kB\n",
        "/sys/fs/cgroup/cpu.max": "max 100000\n",
        "/sys/fs/cgroup/memory.max": "max\n",
    }
    monkeypatch.setattr(setup, "read", lambda path: files.get(path, ""))
    monkeypatch.setattr(setup.os, "sched_getaffinity", lambda pid: range(64))
    assert setup.compilers_at_once() == 12
    files["/sys/fs/cgroup/cpu.max"] = "400000 100000\n"
    assert setup.compilers_at_once() == 4
    files["/sys/fs/cgroup/memory.max"] = "8000000000\n"
    files["/sys/fs/cgroup/memory.current"] = "2000000000\n"
    assert setup.compilers_at_once() == 2
    files["/sys/fs/cgroup/memory.max"] = "3000000000\n"
    assert setup.compilers_at_once() == 1


def test_interpreter_that_does_not_work_is_told(checkout):
    done = subprocess.run(
        ["sh", "tools/dev/setup.sh"],
        cwd=checkout,
        env={**os.environ, "PYTHON": "no-such-python"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert (
        done.stderr == "setup: PYTHON=no-such-python is not a working Python 3.10, 3.11 or 3.12.\n"
    )


def test_half_installed_distribution_is_noticed(setup, tmp_path, monkeypatch):
    site = tmp_path / "site"
    info = site / "half-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: half\nVersion: 1.0\n")
    code = f"import sysconfig; sysconfig.get_path = lambda name: {str(site)!r}\n"

    def whole() -> bool:
        command = [sys.executable, "-c", code + setup.ARE_ALL_WHOLE]
        return subprocess.run(command, capture_output=True).returncode == 0

    assert not whole()
    (info / "RECORD").write_text("half.py,,\nhalf-1.0.dist-info/METADATA,,\n")
    assert not whole()
    Path(site, "half.py").write_text("")
    assert whole()
