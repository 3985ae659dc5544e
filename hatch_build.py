"""Puts configs, tools and model-index.yml where mim looks for them in a wheel.

onedl-mim takes the first path segment in the installed RECORD, which is sorted, for the package's
folder: hence ``_mmlevelset_mim``, which sorts before everything else. openmim looks in the module's
folder. Both then want ``.mim`` in it. A console script would sort first ("../../../bin") and hide
the folder from onedl-mim.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("_mmlevelset_mim", "mmlevelset")
UNWANTED = shutil.ignore_patterns("__pycache__", "dev")


class MimLayout(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        # One source can be included in one place only, so there are two copies, outside the tree.
        self.copies = tempfile.TemporaryDirectory()
        root = Path(self.root)
        for folder in FOLDERS:
            copy = Path(self.copies.name, folder)
            for name in ("configs", "tools"):
                shutil.copytree(root / name, copy / name, ignore=UNWANTED)
            shutil.copy(root / "model-index.yml", copy)
            build_data["force_include"][str(copy)] = f"{folder}/.mim"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self.copies.cleanup()
