"""Wrong input ends a command."""

import pytest

from mmlevelset.errors import InputError, exit_on_input_error


def test_a_command_ends_with_one_line(capsys):
    @exit_on_input_error("lits.py")
    def main():
        raise InputError("the file is wrong:\n - damaged?\n")

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr() == ("", "lits.py: error: the file is wrong: - damaged?\n")
