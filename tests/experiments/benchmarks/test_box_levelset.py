"""The benchmark of BoxLevelSet runs, and its values pass, on small images."""

import pytest

from mmlevelset.experiments.benchmarks.box_levelset import main

QUICK = ["--threads", "1", "--rounds", "1"]


def test_trees(tables):
    _, rows = tables(main, "trees", *QUICK, "--size", "64", "96", "--masks", "3", "2", "1")
    cells = {row[0]: row[1:] for row in rows}
    assert cells["SciPy, two trees for each positive"][2] == "1.00x"
    assert "ours, two trees for each resolution" in cells


@pytest.mark.slow
def test_step(tables):
    small = ["--size", "64", "96", "--depth", "18", "--width", "64", "--batch", "1"]
    _, rows = tables(main, "step", *QUICK, *small, "--objects", "3", "--optimizer")
    cells = {row[0]: row[1:] for row in rows[2:]}
    assert cells["SOLOv2 of mmdet"][2] == "1.00"
    assert len(cells) == 9


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["RTMDet-Ins-s", "CondInst"])
def test_detectors(tables, detector):
    small = ["--size", "64", "96", "--batch", "1", "--objects", "2", "--detectors", detector]
    _, rows = tables(main, "detectors", *QUICK, *small)
    cells = {row[0]: row[1:] for row in rows}
    assert cells["mmdet, full masks"][2] == "1.00x"
    assert "projection, our energy" in cells


def test_size_that_the_levels_do_not_divide_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--size", "60", "96"])
    assert ended.value.code == 2
    message = "error: --size must be multiples of 32, and was [60, 96]"
    assert message in capsys.readouterr().err
