from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import mmlevelset.visualization
from mmlevelset.experiments.drawing import training

ROOT = Path(__file__).parents[3]
CONFIG = """
_base_ = [
    "{root}/configs/_base_/datasets/shapes_instance.py",
    "mmdet::_base_/default_runtime.py",
]
model = dict(
    type="{detector}",
    data_preprocessor=dict(
        type="DetDataPreprocessor", mean=[110] * 3, std=[60] * 3, pad_size_divisor=32
    ),
    backbone=dict(type="ResNet", depth=18, base_channels=8, stem_channels=8, norm_eval=True),
    neck=dict(type="FPN", in_channels=[8, 16, 32, 64], out_channels=8, num_outs=5),
    mask_head=dict(
        type="{head}",
        num_classes=4,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=[8, 8, 16, 32, 32],
        scale_ranges=((1, 24), (12, 48), (24, 96), (48, 192), (96, 384)),
        num_grids=[20, 18, 12, 8, 6],
        norm_cfg=dict(type="GN", num_groups=2),
        mask_feature_head=dict(
            feat_channels=8, start_level=0, end_level=3, out_channels=8, mask_stride=4
        ),
        loss_mask=dict(type="DiceLoss", use_sigmoid=True, loss_weight=3.0),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True),
    ),
    test_cfg=dict(
        nms_pre=50, score_thr=0.1, mask_thr=0.5, filter_thr=0.0, kernel="gaussian", sigma=2.0,
        max_per_img=10,
    ),
)
"""
MMDET = dict(detector="SOLOv2", head="SOLOV2Head")
OURS = dict(detector="mmlevelset.BoxLevelSet", head="mmlevelset.BoxSOLOv2Head")


@pytest.fixture
def run(monkeypatch):
    """Draw a training run, and return the rows of each picture."""
    for name in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    drawn = []
    draw_panels = mmlevelset.visualization.draw_panels

    def record(rows, size):
        drawn.append(rows)
        return draw_panels(rows, size)

    monkeypatch.setattr(mmlevelset.visualization, "draw_panels", record)

    def run(config: Path, work_dir: Path, *more: str) -> list:
        options = []
        for name in ("train_dataloader", "val_dataloader"):
            options += [f"{name}.dataset.length=4", f"{name}.dataset.image_size=(96,64)"]
        words = [config, work_dir, "--device=cpu", *more, "--cfg-options", *options]
        training.main([*map(str, words)])
        return drawn

    return run


def write_run(folder: Path, names=("epoch_2.pth", "epoch_10.pth"), kind=MMDET) -> tuple[Path, Path]:
    """Write a config, and a work dir with weights so large that masks have both values."""
    config = folder / "tiny.py"
    config.write_text(CONFIG.format(root=ROOT, **kind))
    model = build(config)
    work_dir = folder / "run"
    work_dir.mkdir()
    for seed, name in enumerate(names):
        torch.manual_seed(seed)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        torch.save(dict(state_dict=model.state_dict()), work_dir / name)
    return config, work_dir


def build(config: Path):
    init_default_scope("mmdet")
    model = MODELS.build(Config.fromfile(config).model).eval()
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


BOXES = [[10, 10, 30, 25], [3, 40, 60, 70], [70, 5, 100, 98], [0, 0, 120, 100], [90, 60, 96, 66]]


@pytest.mark.parametrize("box", BOXES)
def test_mask_is_that_of_the_cell_that_mmdet_trains(tmp_path, box):
    """mmdet's targets for the box give the cell, mmdet's prediction gives the cell's mask."""
    config = tmp_path / "tiny.py"
    config.write_text(CONFIG.format(root=ROOT, **MMDET))
    head = build(config).mask_head
    img_shape, ori_shape = (100, 120), (150, 180)
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1, 8, 32, 32, generator=generator)
    kernels = [torch.randn(1, 8, grid, grid, generator=generator) for grid in head.num_grids]
    boxes = torch.tensor([box], dtype=torch.float32)

    mask = np.zeros((1, 128, 128), np.uint8)
    mask[0, box[1] : box[3], box[0] : box[2]] = 1
    truth = InstanceData(bboxes=boxes, labels=torch.tensor([2]), masks=BitmapMasks(mask, 128, 128))
    head.pos_scale = 1e-6
    _, _, positive, _ = head._get_targets_single(truth, featmap_sizes=(32, 32))
    level = next(number for number, cells in enumerate(positive) if cells.any())
    assert int(positive[level].sum()) == 1
    scores = torch.zeros(sum(grid**2 for grid in head.num_grids), 4)
    first = sum(grid**2 for grid in head.num_grids[:level])
    scores[first + int(positive[level].nonzero()), 2] = 0.9
    (expected,) = head._predict_by_feat_single(
        torch.cat([kernel[0].flatten(1).T for kernel in kernels]),
        scores,
        features,
        dict(img_shape=img_shape, ori_shape=ori_shape),
        ConfigDict(head.test_cfg),
    ).masks

    (found,) = training.masks_of_boxes(head, (kernels, [], features), boxes, img_shape, ori_shape)
    assert found.shape == ori_shape
    assert 0.05 < expected.float().mean() < 0.95
    assert torch.equal(found > 0.5, expected)


def test_a_box_of_no_scale_is_an_error():
    head = ConfigDict(scale_ranges=((8, 16), (16, 32)), num_grids=[2, 2], mask_stride=4)
    features = torch.zeros(1, 1, 4, 4)
    kernels = [torch.zeros(1, 1, 2, 2)] * 2
    sizes = torch.tensor([7.9, 8, 16, 16.1, 32, 32.1])
    boxes = torch.cat([torch.zeros(6, 2), sizes[:, None].expand(6, 2)], 1)
    assert training.levels_of(head, boxes) == [None, 0, 0, 1, 1, None]
    with pytest.raises(ValueError, match="in no scale range"):
        training.masks_of_boxes(head, (kernels, [], features), boxes, (16, 16), (16, 16))


def test_boxes_are_scaled_as_the_input_is():
    sample = DetDataSample(metainfo=dict(img_shape=(120, 240), ori_shape=(60, 80)))
    scaled = training.scaled(torch.tensor([[10.0, 10.0, 20.0, 30.0]]), sample)
    assert scaled.tolist() == [[30, 20, 60, 60]]


def test_panels_show_known_shapes_in_place():
    """A disk with a soft edge on plain grey; its box touches it, and both fit into the panel."""
    row, column = np.mgrid[:60, :80] + 0.5
    distance = 12 - np.hypot(column - 50, row - 30)
    mask = (1 / (1 + np.exp(-distance))).astype(np.float32)
    image = np.full((60, 80, 3), 100, np.uint8)
    disk = training.Object(torch.tensor([38.0, 18.0, 62.0, 42.0]), (distance > 0).astype(np.uint8))
    predicted, true = (
        training.predicted_panel("epoch 1", image, disk, mask),
        training.true_panel(image, disk),
    )
    assert predicted.title == "epoch 1, IoU 1.00" and true.title == "ground truth"
    x1, y1, x2, y2 = training.window(disk.box, image.shape)
    assert (x1, y1, x2, y2) == (33, 13, 67, 47)
    for panel, tolerance in ((predicted, 0.03), (true, 0.75)):
        (box,), (circle,) = panel.outlines
        assert panel.image.shape == (34, 34, 3)
        assert box.min(0).tolist() == [5, 5] and box.max(0).tolist() == [29, 29]
        assert np.abs(np.hypot(*(circle - [17, 17]).T) - 12).max() < tolerance
    assert (true.image == 100).all()
    # The overlay: none outside, a third of its colour inside.
    assert (predicted.image[0, 0] == 100).all()
    assert predicted.image[17, 17].tolist() == [154, 141, 65]


def test_a_contour_that_leaves_the_panel_is_not_closed_along_its_edge():
    mask = np.ones((60, 80), np.float32)
    mask[:, 45:] = 0
    disk = training.Object(torch.tensor([38.0, 18.0, 62.0, 42.0]), np.zeros((60, 80), np.uint8))
    panel = training.predicted_panel("epoch 1", np.zeros((60, 80, 3), np.uint8), disk, mask)
    assert panel.title == "epoch 1"
    _, (polygon,) = panel.outlines
    inside = (polygon >= 0).all(1) & (polygon <= 34).all(1)
    assert inside.any() and (polygon[inside, 0] == 45 - 33).all()
    assert training.true_panel(np.zeros((60, 80, 3), np.uint8), disk).outlines[1] == []


def test_checkpoints_in_order_and_evenly_spread(tmp_path):
    for number in range(1, 13):
        (tmp_path / f"epoch_{number}.pth").touch()
    (tmp_path / "best_coco_segm_mAP_epoch_3.pth").touch()

    def numbers(asked, most):
        return [int(path.stem[6:]) for path in training.find_checkpoints(tmp_path, asked, most)]

    assert numbers(None, 20) == list(range(1, 13))
    assert numbers(None, 2) == [1, 12]
    assert numbers(None, 1) == [12]
    five = numbers(None, 5)
    assert five[0] == 1 and five[-1] == 12 and set(np.diff(five)) <= {2, 3}
    asked = [str(tmp_path / "epoch_7.pth"), "epoch_2.pth"]
    assert numbers(asked, 1) == [7, 2]


@pytest.mark.parametrize("kind", [MMDET, OURS])
def test_rows_are_objects_and_columns_checkpoints(run, tmp_path, capsys, kind):
    config, work_dir = write_run(tmp_path, kind=kind)
    first, second, together = run(config, work_dir, "--indices", "2", "0", "--objects=2")
    assert together == first + second
    assert {len(row) for row in together} == {3}
    for row in together:
        assert row[0].title.startswith("epoch 2, IoU ")
        assert row[1].title.startswith("epoch 10, IoU ")
        assert row[2].title == "ground truth" and row[2].outlines[1]
        boxes = [panel.outlines[0][0].tolist() for panel in row]
        assert boxes[0] == boxes[1] == boxes[2]
    assert 1 <= len(first) <= 2 and 1 <= len(second) <= 2
    # The weights differ, and so do the masks.
    assert any(not np.array_equal(row[0].image, row[1].image) for row in together)
    printed = capsys.readouterr().out
    for name in ("000002.png", "000000.png", "training.png"):
        assert (work_dir / "training" / name).stat().st_size > 1000
        assert f"wrote {work_dir / 'training' / name}" in printed


def test_training_images_and_options(run, tmp_path):
    config, work_dir = write_run(tmp_path, ["iter_5.pth", "iter_50.pth"])
    out = tmp_path / "out"
    more = ["--dataset=train", "--num=1", f"--out-dir={out}", "--format=jpg", "--indices", "1"]
    (picture,) = run(config, work_dir, *more)
    assert [panel.title[:8] for panel in picture[0]] == ["iter 50,", "ground t"]
    assert [path.name for path in out.iterdir()] == ["000001.jpg"]
    *_, other = run(config, work_dir, "--num=1", "--indices", "1")
    assert not np.array_equal(picture[0][-1].image, other[0][-1].image)


@pytest.mark.parametrize(
    "more, message",
    [
        (["--indices", "1", "9"], "--indices must be in 0..3, and [9] are not"),
        (["--checkpoints", "epoch_3.pth"], "epoch_3.pth does not exist"),
        (["--objects=0"], "--num and --objects must be at least 1"),
    ],
)
def test_wrong_options_are_errors(run, tmp_path, capsys, more, message):
    config, work_dir = write_run(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run(config, work_dir, *more)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_work_dir_checkpoint_or_head_is_an_error(run, tmp_path, capsys):
    config, work_dir = write_run(tmp_path, ["latest.pth"])
    for place, message in ((work_dir, "holds no checkpoint epoch_"), (tmp_path / "x", "not exist")):
        with pytest.raises(SystemExit) as stop:
            run(config, place)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        box_model = ROOT / "configs/quickstart/mask-rcnn_shapes.py"
        run(box_model, work_dir, "--checkpoints", "latest.pth")
    assert "has no SOLOv2 mask head" in capsys.readouterr().err


def test_weights_of_another_model_are_an_error(run, tmp_path, capsys):
    config, work_dir = write_run(tmp_path)
    weights = torch.load(work_dir / "epoch_2.pth")
    del weights["state_dict"]["mask_head.conv_kernel.weight"]
    torch.save(weights, work_dir / "epoch_2.pth")
    with pytest.raises(SystemExit) as stop:
        run(config, work_dir)
    assert stop.value.code == 2
    assert "mask_head.conv_kernel.weight" in capsys.readouterr().err
