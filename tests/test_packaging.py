"""The contents of the wheel, and their places for mim."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from mmlevelset import __version__


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps"]
    subprocess.run(
        [*command, "--no-build-isolation", "-w", folder, checkout], check=True, timeout=120
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


def files_below(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_first_installed_file_is_in_the_folder_for_mim(wheel):
    # pip writes RECORD sorted, and puts scripts into it as ../../../bin/...
    assert sorted(wheel.namelist())[0].startswith("_mmlevelset_mim/.mim/")
    assert not [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert {name.split("/")[0] for name in wheel.namelist()} == {
        "_mmlevelset_mim",
        "mmlevelset",
        f"mmlevelset-{__version__}.dist-info",
    }


@pytest.mark.parametrize("folder", ["_mmlevelset_mim", "mmlevelset"])
def test_configs_and_tools_are_where_mim_looks(wheel, checkout, folder):
    prefix = f"{folder}/.mim/"
    held = {name.removeprefix(prefix) for name in wheel.namelist() if name.startswith(prefix)}
    configs = {f"configs/{name}" for name in files_below(checkout / "configs")}
    tools = {
        f"tools/{name}" for name in files_below(checkout / "tools") if not name.startswith("dev/")
    }
    weights = {f"weights/{name}" for name in files_below(checkout / "weights")}
    own = weights if folder == "mmlevelset" else set()  # once: they are large
    assert held == {"model-index.yml", *configs, *tools, *own}


def test_package_is_whole(wheel, checkout):
    held = {name for name in wheel.namelist() if name.startswith("mmlevelset/")}
    source = {f"mmlevelset/{name}" for name in files_below(checkout / "mmlevelset")}
    assert "mmlevelset/py.typed" in held
    assert {name for name in held if not name.startswith("mmlevelset/.mim/")} == source


def test_metadata_requires_nothing_that_replaces_an_openmmlab_installation(wheel):
    text = wheel.read(f"mmlevelset-{__version__}.dist-info/METADATA").decode()
    metadata = Parser().parsestr(text)
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    always = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    names = sorted(line.split(">")[0] for line in always)
    assert names == ["contourpy", "numba", "numpy", "scipy", "torch"]
    extra = [line for line in metadata.get_all("Requires-Dist") if "extra == 'openmmlab'" in line]
    assert {line.split(">")[0] for line in extra} >= {
        "onedl-mmengine",
        "onedl-mmcv",
        "onedl-mmdetection",
        "onedl-mim",
    }


def test_base_names_of_configs_are_unique(checkout):
    """mim finds a config by its base name; two configs of one name are an error."""
    names = [path.name for path in (checkout / "configs").rglob("*.py")]
    assert names
    assert sorted(set(names)) == sorted(names)
