"""Run the tutorials and store what they show: python tools/dev/run_tutorials.py [NAME ...]."""

import base64
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "tutorials"


def run(book: Any, folder: str | Path) -> None:
    """Run a notebook in a folder; its outputs are replaced, and hold nothing of the run's times."""
    from nbclient import NotebookClient

    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(
        book, timeout=900, kernel_name="python3", record_timing=False, resources=resources
    ).execute()
    book.metadata.language_info = {"name": "python"}  # without the version
    for cell in book.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])


def smaller(picture: str) -> str:
    """A PNG file in base64 with 64 colours, which is a third as large."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        few = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    file = io.BytesIO()
    few.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def main(names: list[str]) -> None:
    import nbformat

    for name in names or sorted(path.stem for path in FOLDER.glob("*.ipynb")):
        file = FOLDER / f"{name}.ipynb"
        book = nbformat.read(file, as_version=4)
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            run(book, folder)
        nbformat.write(book, file)
        print(f"{file.name}: {time.monotonic() - start:.0f} s, {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
