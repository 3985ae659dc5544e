"""The package and its ops need torch alone; without OpenMMLab, other rooms fail in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

OPTIONAL = (
    "mmengine",
    "mmcv",
    "mmdet",
    "scipy",
    "cv2",
    "contourpy",
    "torchvision",
    "skimage",
    "numba",
)
HIDING = """
import sys

class Hidden:
    names = {hidden!r}

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in Hidden.names:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Hidden())
"""


def run(code: str, checkout: Path, hidden: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", HIDING.format(hidden=hidden) + code],
        capture_output=True,
        text=True,
        cwd=checkout,
        timeout=120,
    )


def test_package_imports_nothing_heavy(checkout):
    code = (
        "import mmlevelset; print(*(name for name in ('torch', 'mmengine') if name in sys.modules))"
    )
    done = run(code, checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_ops_load_torch_alone(checkout):
    # Triton is left out: torch may import it by itself.
    code = f"import mmlevelset.ops; print(*(name for name in {OPTIONAL} if name in sys.modules))"
    done = run(code, checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_ops_work_with_nothing_but_torch(checkout):
    hidden = (*OPTIONAL, "matplotlib", "numpy")
    code = "import mmlevelset.ops as ops, torch; print(float(ops.heaviside(torch.zeros(()))))"
    done = run(code, checkout, hidden)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 0.5


ROOMS = (("engine", "mmengine"), ("evaluation", "mmcv"), ("models", "mmdet"), ("datasets", "mmdet"))


@pytest.fixture(scope="module")
def refusals(checkout) -> list[str]:
    """The errors of the rooms' imports, where the packages appear one after the other."""
    code = f"""
for room, missing in {ROOMS}:
    Hidden.names = Hidden.names[Hidden.names.index(missing):]
    try:
        __import__("mmlevelset." + room)
    except ImportError as error:
        print(f"{{type(error).__name__}}: {{error}}")
"""
    done = run(code, checkout, ("mmengine", "mmcv", "mmdet"))
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("ImportError")]


@pytest.mark.parametrize("index", range(len(ROOMS)), ids=[room for room, _ in ROOMS])
def test_missing_openmmlab_package_is_named(refusals, index):
    assert len(refusals) == len(ROOMS)
    assert refusals[index].startswith(f"ImportError: {ROOMS[index][1]} >= ")
    assert "pip install 'mmlevelset[openmmlab]'" in refusals[index]


def test_too_old_package_is_named(checkout):
    code = (
        "import types; old = types.ModuleType('mmengine'); old.__version__ = '0.8.4';"
        "sys.modules['mmengine'] = old; import mmlevelset.requirements as r;"
        "r.require_openmmlab()"
    )
    done = run(code, checkout)
    assert done.returncode == 1
    assert "mmengine 0.8.4 is too old" in done.stderr.strip().splitlines()[-1]
