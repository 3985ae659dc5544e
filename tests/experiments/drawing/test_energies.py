import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs/quickstart/box-levelset_shapes.py")


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["level_set_energies.py", *arguments])
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    runpy.run_path(str(ROOT / "tools/level_set_energies.py"), run_name="__main__")


def test_which_masks_have_the_least_energy(monkeypatch, capsys, tmp_path):
    run(monkeypatch, CONFIG, "--images", "6", "--gpus", "0", "--work-dir", str(tmp_path))
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if "|" in line]
    table = {row[0].strip(): [float(cell) for cell in row[1:]] for row in rows[2:]}
    assert table["true mask"][0] < 0.8 * table["box"][0]
    # One region: the image's variance, however much of it is inside.
    assert table["box"][0] == pytest.approx(table["flat"][0], abs=2e-3)
    assert table["flat"][1] == 0 < table["true mask"][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "0"], "--images"),
        (["--softness", "0.5"], "--softness"),
        (
            ["--cfg-options", "val_dataloader.dataset.pipeline.2.with_mask=False"],
            "loads no masks",
        ),
    ],
)
def test_errors_name_what_is_wrong(monkeypatch, capsys, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, CONFIG, "--gpus", "0", "--work-dir", str(tmp_path), *arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
