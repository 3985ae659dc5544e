"""The tutorials are stored as they ran, are small, and run from top to bottom."""

import re
from pathlib import Path

import nbformat
import pytest

from tools.dev.run_tutorials import run

FOLDER = Path(__file__).parents[2] / "docs/tutorials"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
MAXIMUM_BYTES = 300_000


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_there_are_six():
    assert len(NAMES) == 6


@pytest.mark.parametrize("name", NAMES)
def test_stored_as_it_ran(name):
    file = FOLDER / f"{name}.ipynb"
    assert file.stat().st_size < MAXIMUM_BYTES
    book = read(name)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert all(output.output_type != "error" for output in outputs)
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 3
    text = str([output.get("text", "") for output in outputs])
    # What depends on the machine, and what a reader cannot use.
    assert not re.search(r"/home/|/root/|/work/|/tmp/|Warning|Traceback|\x1b", text)
    assert book.metadata.language_info == {"name": "python"}  # the site colours the code by it
    assert all(set(cell.metadata) <= {"tags"} for cell in book.cells)


@pytest.mark.parametrize("name", NAMES)
def test_uses_public_names_alone(name):
    source = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "code")
    assert not re.search(r"import _|\._[a-z]", source)
    assert "data/" not in source.replace("work_dirs/data/", "")


@pytest.mark.tutorial
@pytest.mark.parametrize("name", NAMES)
def test_runs(name, checkout, tmp_path, monkeypatch):
    """In a folder of its own, so without the checkout's data, and with the same pictures."""
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    book = read(name)
    stored = [len(cell.get("outputs", ())) for cell in book.cells]
    run(book, tmp_path)
    assert [len(cell.get("outputs", ())) for cell in book.cells] == stored
