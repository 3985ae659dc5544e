"""The benchmark of recurrent level sets runs, and its values pass, on small images."""

from mmlevelset.experiments.benchmarks.recurrent import main

QUICK = ["--threads", "1", "--rounds", "1"]


def test_single_images(tables):
    small = ["--size", "36", "44", "--original", "44", "52", "--batch", "3", "--solved", "1"]
    checks, rows = tables(main, "rls", *small, *QUICK)
    assert checks == 5
    ratios = {row[0]: row[3:] for row in rows[2:]}
    assert ratios["F-ConNet"][0] == ratios["RLS, dense gates"][1] == "1.00"
    assert ratios["F-ConNet, 3 together"][0] == ratios["RLS, dense gates, 3 together"][1] == "1.00"
    assert "scikit-image's Chan-Vese, 44 x 52, tol 0.0001" in ratios


def test_crls(checkout, tables):
    config = str(checkout / "configs" / "quickstart" / "crls_shapes.py")
    small = ["--config", config, "--image-size", "64", "96"]
    checks, rows = tables(main, "crls", *small, *QUICK)
    assert checks == 6
    names = ["RLS, N = 5", "F-ConNet", "no network"]
    assert [row[0] for row in rows] == ["", ":" + "-" * 9, *names] * 2
