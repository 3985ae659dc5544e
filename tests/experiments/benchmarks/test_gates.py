"""A benchmark times nothing if one number is wrong: in one region, one pixel, one gradient."""

import pytest
import torch

from mmlevelset import ops
from mmlevelset.experiments.benchmarks import (
    chan_vese,
    contours,
    evolution,
    region_energy,
    signed_distance,
    tree_filter,
)

QUICK = ["--threads", "1", "--rounds", "1"]
SMALL = {
    evolution: ["--regions", "8", "--channels", "3", "--size", "9", "11", "--no-compile"],
    region_energy: ["--regions", "5", "--channels", "4", "--size", "12", "14", "--no-compile"],
    signed_distance: ["--regions", "6", "--size", "20", "24", "--side", "30"],
    tree_filter: ["--masks", "4", "--size", "9", "10"],
    chan_vese: ["--iterations", "3"],
    contours: ["--regions", "3", "--size", "40", "50"],
}


class Scaled(torch.autograd.Function):
    """The identity, whose gradient is wrong by a part in a hundred in one place."""

    @staticmethod
    def forward(ctx, x, index):
        ctx.index = index
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        grad = grad.clone()
        place = grad.abs().argmax() if ctx.index is None else ctx.index
        grad.view(-1)[place] *= 1.01
        return grad, None


def one_wrong_value(function, place):
    def wrong(*args, **kwargs):
        result = function(*args, **kwargs)
        first = result[0] if isinstance(result, tuple) else result
        bump = torch.zeros_like(first).view(-1)
        bump[place] = 0.01 * first.detach().abs().max()
        changed = first + bump.view(first.shape)
        return (changed, *result[1:]) if isinstance(result, tuple) else changed

    return wrong


def one_wrong_gradient(function, argument):
    def wrong(*args, **kwargs):
        args = list(args)
        args[argument] = Scaled.apply(args[argument], None)
        return function(*args, **kwargs)

    return wrong


@pytest.fixture(scope="module", autouse=True)
def small_pictures():
    with pytest.MonkeyPatch.context() as patch:
        images = {"one": torch.rand(1, 1, 24, 20, dtype=torch.float64)}
        patch.setattr(chan_vese, "workloads", lambda dtype, device: (images, "noise"))
        yield


@pytest.mark.parametrize("module", SMALL, ids=lambda module: module.__name__.split(".")[-1])
def test_right_values_are_timed(module, tables):
    checks, rows = tables(module.main, *SMALL[module], *QUICK)
    assert checks and rows


FAULTS = [
    *((evolution, "evolve_chan_vese", one_wrong_value, 3 * 99 + at) for at in (0, 50)),
    *((evolution, "evolve_chan_vese", one_wrong_gradient, argument) for argument in range(7)),
    *((region_energy, "region_energy", one_wrong_value, at) for at in (0, 2, 4)),
    *((region_energy, "region_energy", one_wrong_gradient, argument) for argument in (0, 1)),
    *((signed_distance, "signed_distance", one_wrong_value, at) for at in (0, 1300)),
    *((tree_filter, "tree_filter", one_wrong_value, at) for at in (0, 200)),
    *((tree_filter, "tree_filter", one_wrong_gradient, argument) for argument in (0, 2)),
]


@pytest.mark.parametrize(("module", "name", "fault", "where"), FAULTS)
def test_one_wrong_number_is_red(module, name, fault, where, monkeypatch, capsys):
    monkeypatch.setattr(module, name, fault(getattr(ops, name), where))
    with pytest.raises(SystemExit, match="nothing is timed"):
        module.main([*SMALL[module], *QUICK])
    printed = capsys.readouterr().out
    assert "RED" in printed and "median" not in printed


@pytest.mark.parametrize("fault", ["point", "ring", "region"])
def test_one_wrong_contour_is_red(fault, monkeypatch, capsys):
    def wrong(phi):
        found = ops.contours(phi)
        if phi.ndim == 2:
            return found
        if fault == "point":
            found[2][0][1] += 0.01
        elif fault == "ring":
            found[2].pop()
        else:
            found[0], found[1] = found[1], found[0]
        return found

    monkeypatch.setattr(contours, "contours", wrong)
    with pytest.raises(SystemExit, match="nothing is timed"):
        contours.main([*SMALL[contours], *QUICK])
    assert "RED" in capsys.readouterr().out


def test_one_wrong_energy_or_pixel_of_a_solver_is_red(monkeypatch, capsys):
    right = ops.chan_vese
    for part in range(3):

        def wrong(image, *args, part=part, **kwargs):
            mask, phi, energies = right(image, *args, **kwargs)
            if part == 0:
                mask[0, 3, 4] ^= True
            elif part == 1:
                phi[0, 3, 4] += 0.01
            else:
                energies[0][1] *= 1.01
            return mask, phi, energies

        monkeypatch.setattr(chan_vese, "chan_vese", wrong)
        with pytest.raises(SystemExit, match="nothing is timed"):
            chan_vese.main([*SMALL[chan_vese], *QUICK])
        assert "RED" in capsys.readouterr().out
