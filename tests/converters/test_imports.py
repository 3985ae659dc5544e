"""Converters and their workers start fast: they load neither torch nor mmdet."""

import subprocess
import sys

import pytest

CODE = """
import importlib, pkgutil, sys
import mmlevelset.converters as room

for module in pkgutil.walk_packages(room.__path__, "mmlevelset.converters."):
    importlib.import_module(module.name)
    print(module.name)
print("heavy:", *(name for name in ("torch", "mmcv", "mmdet") if name in sys.modules))
"""


def test_no_converter_imports_torch_or_mmdet(checkout):
    pytest.importorskip("nibabel")
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, cwd=checkout, timeout=120
    )
    assert done.returncode == 0, done.stderr
    *modules, heavy = done.stdout.splitlines()
    assert "mmlevelset.converters.models.check_released" in modules
    assert heavy == "heavy:"
