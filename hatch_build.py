"""Puts configs, tools, weights and model-index.yml where mim looks for them in a wheel.

mim looks in ``.mim`` in the package's folder. onedl-mim takes the first path segment of the
installed RECORD for that folder. RECORD is sorted, and ``_mmlevelset_mim`` comes first in it. A
console script would come before it ("../../../bin"). openmim looks in the module's folder. The
weights are large and lie in the module's folder alone, where this package looks.
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
        # Hatchling includes a source in one place only: hence two copies, outside the tree.
        self.copies = tempfile.TemporaryDirectory()
        root = Path(self.root)
        for folder in FOLDERS:
            copy = Path(self.copies.name, folder)
            for name in ("configs", "tools"):
                shutil.copytree(root / name, copy / name, ignore=UNWANTED)
            shutil.copy(root / "model-index.yml", copy)
            build_data["force_include"][str(copy)] = f"{folder}/.mim"
        build_data["force_include"][str(root / "weights")] = "mmlevelset/.mim/weights"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self.copies.cleanup()
