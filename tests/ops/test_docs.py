"""The examples of docs/ops.md run, and its table names every function."""

import re

import pytest

from mmlevelset import ops

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("number", range(4))
def test_example(number, checkout, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # it writes files
    blocks = BLOCK.findall((checkout / "docs" / "ops.md").read_text())
    assert len(blocks) == 4
    exec(compile(blocks[number], f"docs/ops.md, example {number}", "exec"), {})
    if number == 0:
        assert (
            "channel_axis must be given for an image of shape (60, 80, 3)"
            in capsys.readouterr().out
        )


def test_every_function_is_in_the_table(checkout):
    page = (checkout / "docs" / "ops.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert {name for name in ops.__all__ if name[0].islower()} <= named
