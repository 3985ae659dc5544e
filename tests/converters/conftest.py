from collections.abc import Callable

import pytest

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys) -> Refused:
    """A function that calls a command, checks its exit code 2, and returns its error line."""

    def call(command: Callable[..., object], *words: object, **options: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            command(*words, **options)
        assert stop.value.code == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert ".py: error: " in line
        return line

    return call
