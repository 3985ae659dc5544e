from pathlib import Path

import pytest

from mmlevelset.experiments.drawing.energies import main

ROOT = Path(__file__).parents[3]
CONFIG = str(ROOT / "configs/quickstart/box-levelset_shapes.py")


@pytest.fixture(autouse=True)
def restored_environment(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")


def test_which_masks_have_the_least_energy(capsys, tmp_path):
    main([CONFIG, "--images", "6", "--gpus", "0", "--work-dir", str(tmp_path)])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if "|" in line]
    table = {row[0].strip(): [float(cell) for cell in row[1:]] for row in rows[2:]}
    assert table["true mask"][0] < 0.8 * table["box"][0]
    # With one region, the energy is the image's variance.
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
def test_errors_name_the_argument(capsys, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as ended:
        main([CONFIG, "--gpus", "0", "--work-dir", str(tmp_path), *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
