from collections.abc import Callable

import pytest

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys) -> Refused:
    """Calls a command that must end with one line and exit code 2; gives the line."""

    def call(command: Callable[..., object], *words: object, **options: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            command(*words, **options)
        assert stop.value.code == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert ".py: error: " in line
        return line

    return call
