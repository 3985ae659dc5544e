import json
import runpy
import sys
from pathlib import Path

import cv2
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(monkeypatch):
    """Run tools/draw_results.py in this process."""
    for name in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))

    def run(config: str, checkpoint: Path, *more: str) -> None:
        options = ["val_dataloader.dataset.length=3", "val_dataloader.dataset.image_size=(64,64)"]
        words = [ROOT / "configs/quickstart" / config, checkpoint, "--device=cpu", "--size=64"]
        words += ["--score-thr=0", *more, "--cfg-options", *options]
        monkeypatch.setattr(sys, "argv", ["draw_results.py", *map(str, words)])
        runpy.run_path(str(ROOT / "tools/draw_results.py"), run_name="__main__")

    return run


def save_checkpoint(config: str, path: Path) -> Path:
    """Random weights, so that anything may be predicted."""
    torch.manual_seed(0)
    loaded = Config.fromfile(ROOT / "configs/quickstart" / config)
    init_default_scope("mmdet")
    model = MODELS.build(loaded.model)
    classes = [str(label) for label in range(6)]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=classes))), path
    )
    return path


@pytest.mark.parametrize(
    "config, panels", [("levelset-rcnn_shapes.py", 5), ("mask-rcnn_shapes.py", 3)]
)
def test_strips_and_sheet(tool, tmp_path, capsys, config, panels):
    checkpoint = save_checkpoint(config, tmp_path / "work" / "epoch_1.pth")
    log = tmp_path / "work" / "20200101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps(dict(loss=1.0, step=1, epoch=1)) + "\n")
    tool(config, checkpoint, f"--out-dir={tmp_path / 'out'}", "--num=2")

    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    strips = [name for name in written if name not in ("losses.png", "results.png")]
    assert len(strips) == 2 and len(written) == 4
    printed = capsys.readouterr().out
    assert all(f"wrote {tmp_path / 'out' / name}" in printed for name in written)
    for name in strips:
        strip = cv2.imread(str(tmp_path / "out" / name))
        assert strip.shape == (8 + 30 + 64 + 8, 8 + panels * (64 + 8), 3)
    # Image, ground truth, and the initial and final masks or the one prediction.
    columns = 4 if panels == 5 else 3
    sheet = cv2.imread(str(tmp_path / "out" / "results.png"))
    assert sheet.shape == (8 + 2 * (30 + 64 + 8), 8 + columns * (64 + 8), 3)


def test_images_asked_for_from_a_work_dir_without_log(tool, tmp_path, capsys):
    config = "mask-rcnn_shapes.py"
    save_checkpoint(config, tmp_path / "work" / "epoch_1.pth")
    (tmp_path / "work" / "last_checkpoint").write_text("/elsewhere/before/epoch_1.pth")
    tool(config, tmp_path / "work", "--indices", "2", "--format=jpg")
    assert sorted(path.name for path in (tmp_path / "work" / "results").iterdir()) == [
        "000002.jpg",
        "results.jpg",
    ]
    assert "no losses drawn" in capsys.readouterr().out

    with pytest.raises(SystemExit) as stop:
        tool(config, tmp_path / "work", "--indices", "1", "3")
    assert stop.value.code == 2
    assert "--indices must be in 0..2, and [3] are not" in capsys.readouterr().err


@pytest.mark.parametrize(
    "place, message",
    [("missing.pth", "missing.pth does not exist"), (".", "holds no checkpoint")],
)
def test_missing_checkpoint_is_told(tool, tmp_path, capsys, place, message):
    with pytest.raises(SystemExit) as stop:
        tool("mask-rcnn_shapes.py", tmp_path / place)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
