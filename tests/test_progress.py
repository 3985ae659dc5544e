import io
import sys

import pytest

from mmlevelset.progress import LINES, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("total", [0, 1, 7, 10, 11, 250])
def test_a_pipe_gets_a_few_plain_lines(total, capsys):
    with Progress(total) as progress:
        for _ in range(total):
            progress.update()
    said = capsys.readouterr().err
    assert "\r" not in said and "[" not in said and "\033" not in said
    lines = said.splitlines()
    assert len(lines) == min(total, LINES)
    if total:
        assert lines[-1].startswith(f"{total} of {total}, ")


def test_several_steps_at_once(capsys):
    with Progress(100) as progress:
        for _ in range(4):
            progress.update(25)
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"{done} of 100" for done in (25, 50, 75, 100)
    ]


def test_a_terminal_gets_a_bar_and_its_line_ends(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ValueError), Progress(2) as progress:
        progress.update()
        raise ValueError
    said = sys.stderr.getvalue()
    assert "\r[" in said and "1/2" in said and said.endswith("\n")


def test_a_terminal_without_steps_gets_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress(0):
        pass
    assert sys.stderr.getvalue() == ""
