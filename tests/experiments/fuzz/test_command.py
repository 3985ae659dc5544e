"""The fuzz command finds nothing in the ops, and finds what is planted."""

import pytest
import torch

from mmlevelset import ops
from mmlevelset.experiments.fuzz.command import NAMES, main


@pytest.mark.parametrize("name", NAMES)
def test_no_findings(name, capsys):
    main(["--ops", name, "--count", "80", "--together", "20"])
    assert capsys.readouterr().out == f"{name}: 80 inputs\n0 findings\n"


def test_a_planted_fault_is_a_finding_with_its_command(monkeypatch, capsys):
    right = ops.region_energy

    def without_gradient_at_zero(*args, **kwargs):
        energy = right(*args, **kwargs)
        return torch.where(energy > 0, energy, energy.detach())

    monkeypatch.setattr(ops, "region_energy", without_gradient_at_zero)
    with pytest.raises(SystemExit) as ended:
        main(["--ops", "region_energy", "--count", "80", "--together", "20"])
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert "region_energy, gradient of" in printed
    again = printed.splitlines()[1].split("fuzz_ops.py ")[1].split()
    with pytest.raises(SystemExit):
        main(again)
    assert printed.splitlines()[0] in capsys.readouterr().out


def test_bad_counts_are_named(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--count", "0"])
    assert ended.value.code == 2
    assert "--count: must be positive, but is 0" in capsys.readouterr().err
