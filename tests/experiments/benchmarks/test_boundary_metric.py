"""The benchmark of the boundary metric runs, and its values pass, on few small images."""

from mmlevelset.experiments.benchmarks.boundary_metric import main


def test_parts_of_the_evaluation(capsys):
    main(["--images", "3", "--objects", "4", "--size", "90", "120", "--boundary-ap"])
    printed = capsys.readouterr().out
    assert "RED" not in printed
    assert "12 objects, 36 detections" in printed
    lines = [line.strip("|").split("|") for line in printed.splitlines() if line[:1] == "|"]
    seconds = {cells[0].strip(): float(cells[1]) for cells in lines[2:]}
    whole = seconds.pop("whole evaluation")
    assert seconds.keys() == {"of it AF and BF", "of it Boundary AP"}
    assert sum(seconds.values()) <= whole + 0.2  # rounded
