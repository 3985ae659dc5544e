"""Checks of the command line's arguments."""

import pytest

from mmlevelset.converters.command_line import check_counts
from mmlevelset.errors import InputError


def test_counts(capsys):
    check_counts("scans", 5, 5)
    check_counts("scans", 4, 5, allow_partial=True)
    assert capsys.readouterr() == ("", "warning: scans: 4 found, 5 published\n")
    with pytest.raises(InputError, match="^scans: 4 found, 5 published; --allow-partial"):
        check_counts("scans", 4, 5)
