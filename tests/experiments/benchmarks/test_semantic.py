"""The benchmark of the level-set loss runs, and its values pass, on small images."""

from mmlevelset.experiments.benchmarks.semantic import main


def test_both_parts(tables):
    small = ["--size", "49", "65", "--batch", "2", "--depth", "11"]
    checks, rows = tables(main, *small, "--threads", "1", "--rounds", "1")
    assert checks == 8
    plain = [row for row in rows if row[0] == "cross-entropy"]
    both = [row for row in rows if row[0] == "with ours"]
    assert [row[3] for row in plain] == ["1.000", "1.000"] and len(both) == 2
    extra = float(both[0][5])  # of the losses alone, in softmaxes
    assert 0 < extra < 1.1
