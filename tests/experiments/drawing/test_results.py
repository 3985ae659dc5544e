import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmlevelset.datasets import ShapesSegDataset
from mmlevelset.experiments.drawing.results import boxes_around, main, mean_iou
from mmlevelset.visualization import comparison_panels, evolution_panels

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "configs/quickstart"
SEMANTIC = """
_base_ = ["{root}/configs/_base_/datasets/shapes_semantic.py"]
default_scope = "mmdet"
model = dict(
    type="mmlevelset.SemanticSegmentor",
    data_preprocessor=dict(type="DetDataPreprocessor"),
    backbone=dict(type="ResNet", depth=18, base_channels=4),
    decode_head=dict(type="mmlevelset.FCNHead", in_channels=(4, 8, 16, 32), num_classes=5),
)
"""

CROPS = """
_base_ = [
    "{root}/configs/_base_/models/rls_conv.py",
    "{root}/configs/_base_/datasets/pennfudan_single.py",
]
default_scope = "mmdet"
val_dataloader = dict(
    dataset=dict(
        data_root="{folder}/",
        ann_file="a.json",
        data_prefix=dict(img=""),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            dict(type="mmlevelset.CropInstance", factor=1.2),
            dict(type="PackDetInputs", meta_keys=("img_id", "ori_shape", "img_shape", "crop_box")),
        ],
    )
)
"""

BOXES = """
_base_ = ["{root}/configs/quickstart/mask-rcnn_shapes.py"]
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="mmlevelset.CocoDataset",
        metainfo=dict(classes=("star",), palette=[(9, 9, 9)]),
        ann_file="{folder}/a.json",
        data_prefix=dict(img="{folder}"),
        test_mode=True,
        masks="unread",
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(64, 64), keep_ratio=True),
            dict(
                type="PackDetInputs",
                meta_keys=("img_id", "ori_shape", "img_shape", "scale_factor"),
            ),
        ],
    )
)
val_evaluator = dict(_delete_=True, type="mmlevelset.LevelSetCocoMetric", masks="unread")
model = dict(roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)))
"""


@pytest.fixture
def draw(monkeypatch):
    """Draw the results of a checkpoint on three small images of generated shapes."""
    for name in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    small = ("val_dataloader.dataset.length=3", "val_dataloader.dataset.image_size=(64,64)")

    def run(config: str | Path, checkpoint: Path, *more: str, options=small) -> None:
        words = [QUICKSTART / config, checkpoint, "--device=cpu", "--size=64"]
        words += ["--score-thr=0", *more, "--cfg-options", *options]
        main([*map(str, words)])

    return run


def save_checkpoint(config: str | Path, path: Path) -> Path:
    """Random weights, so that anything may be predicted."""
    torch.manual_seed(0)
    loaded = Config.fromfile(QUICKSTART / config)
    init_default_scope("mmdet")
    model = MODELS.build(loaded.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def test_a_checkpoint_of_other_classes_is_not_drawn(draw, tmp_path, capsys):
    path = save_checkpoint("mask-rcnn_shapes.py", tmp_path / "epoch_1.pth")
    content = torch.load(path)
    torch.save(content | dict(meta=dict(dataset_meta=dict(classes=("a", "b")))), path)
    with pytest.raises(SystemExit) as stop:
        draw("mask-rcnn_shapes.py", path)
    assert stop.value.code == 2
    assert "the checkpoint's 2 classes (a, b) are not the data" in capsys.readouterr().err


@pytest.mark.parametrize(
    "config, panels", [("levelset-rcnn_shapes.py", 5), ("mask-rcnn_shapes.py", 3)]
)
def test_strips_and_sheet(draw, tmp_path, capsys, config, panels):
    checkpoint = save_checkpoint(config, tmp_path / "work" / "epoch_1.pth")
    log = tmp_path / "work" / "20200101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps(dict(loss=1.0, step=1, epoch=1)) + "\n")
    draw(config, checkpoint, f"--out-dir={tmp_path / 'out'}", "--num=2")

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


@pytest.mark.parametrize("name", ["levelset-rcnn_shapes.py", "levelset-rcnn_refined_shapes.py"])
def test_a_refined_mask_is_no_step_of_the_evolution(draw, tmp_path, monkeypatch, name):
    titles = []

    def panels(*args, **kwargs):
        made = evolution_panels(*args, **kwargs)
        titles.append([panel.title for panel in made])
        return made

    monkeypatch.setattr("mmlevelset.visualization.evolution_panels", panels)
    checkpoint = save_checkpoint(name, tmp_path / "work" / "epoch_1.pth")
    draw(name, checkpoint, "--indices", "0")
    evolution = [rf"$\phi_{{{step}}}$" for step in range(4)]
    refined = ["refined"] if "refined" in name else []
    assert titles == [[*evolution, *refined, "ground truth"]]


def test_chosen_images_of_a_work_dir_without_log(draw, tmp_path, capsys):
    config = "mask-rcnn_shapes.py"
    save_checkpoint(config, tmp_path / "work" / "epoch_1.pth")
    (tmp_path / "work" / "last_checkpoint").write_text("/elsewhere/before/epoch_1.pth")
    draw(config, tmp_path / "work", "--indices", "2", "--format=jpg")
    assert sorted(path.name for path in (tmp_path / "work" / "results").iterdir()) == [
        "000002.jpg",
        "results.jpg",
    ]
    assert "no losses drawn" in capsys.readouterr().out

    with pytest.raises(SystemExit) as stop:
        draw(config, tmp_path / "work", "--indices", "1", "3")
    assert stop.value.code == 2
    assert "--indices must be in 0..2, and [3] are not" in capsys.readouterr().err


@pytest.mark.parametrize(
    "place, message",
    [("missing.pth", "missing.pth does not exist"), (".", "holds no checkpoint")],
)
def test_a_missing_checkpoint_is_an_error(draw, tmp_path, capsys, place, message):
    with pytest.raises(SystemExit) as stop:
        draw("mask-rcnn_shapes.py", tmp_path / place)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_semantic_maps(draw, tmp_path, capsys):
    config = tmp_path / "semantic.py"
    config.write_text(SEMANTIC.format(root=ROOT))
    checkpoint = save_checkpoint(config, tmp_path / "epoch_1.pth")
    draw(config, checkpoint, "--num=2", f"--out-dir={tmp_path / 'out'}")
    assert "by mean IoU among 3 images" in capsys.readouterr().out
    strips = sorted((tmp_path / "out").glob("0*.png"))
    assert len(strips) == 2
    dataset = ShapesSegDataset(
        length=3, image_size=(64, 64), seed=1, noise=0.5, light=0.5, camouflage=0.0,
        metainfo=dict(classes=("background", "star", "ring", "spider", "split")),
        pipeline=[dict(type="mmlevelset.LoadSemanticAnnotations")],
    )  # fmt: skip
    for path in strips:
        strip = cv2.imread(str(path))
        assert strip.shape == (8 + 30 + 64 + 8, 8 + 3 * (64 + 8), 3)
        truth = strip[38:102, 80:144]
        labels = dataset[int(path.stem)]["gt_seg_map"]
        colors = np.array(dataset.metainfo["palette"])[:, ::-1][labels]
        assert np.mean(np.abs(truth.astype(float) - colors).max(-1) < 30) > 0.8
    sheet = cv2.imread(str(tmp_path / "out/results.png"))
    assert sheet.shape == (8 + 2 * (30 + 64 + 8), 8 + 3 * (64 + 8), 3)


def test_the_steps_of_a_recurrent_level_set(draw, tmp_path):
    checkpoint = save_checkpoint("rls_conv_shapes.py", tmp_path / "epoch_1.pth")
    draw("rls_conv_shapes.py", checkpoint, "--indices", "1", f"--out-dir={tmp_path / 'out'}")
    strip = cv2.imread(str(tmp_path / "out/000001.png"))
    assert strip.shape == (8 + 30 + 64 + 8, 8 + 7 * (64 + 8), 3)  # phi_0..phi_5, the truth


def test_crops_of_single_objects(draw, tmp_path):
    """Where an item of the data set is a crop around an object, the picture shows the crop."""
    image = np.zeros((60, 90, 3), np.uint8)
    image[20:50, 10:30] = 255
    cv2.imwrite(str(tmp_path / "a.png"), image)
    ring = [10, 20, 30, 20, 30, 50, 10, 50]
    instance = dict(id=1, image_id=1, category_id=1, bbox=[10, 20, 20, 30], area=600, iscrowd=0)
    content = dict(
        images=[dict(id=1, file_name="a.png", height=60, width=90)],
        categories=[dict(id=1, name="person")],
        annotations=[dict(instance, segmentation=[ring])],
    )
    (tmp_path / "a.json").write_text(json.dumps(content))
    config = tmp_path / "config.py"
    config.write_text(CROPS.format(root=ROOT, folder=tmp_path))
    checkpoint = save_checkpoint(config, tmp_path / "epoch_1.pth")
    out, options = f"--out-dir={tmp_path / 'out'}", ["model.input_size=None"]
    draw(config, checkpoint, "--indices", "0", out, options=options)
    sheet = cv2.imread(str(tmp_path / "out/results.png"))
    width = round(64 * 24 / 36)  # the crop is the box times 1.2
    assert sheet.shape == (8 + 30 + 64 + 8, 8 + 3 * (width + 8), 3)
    assert np.mean(sheet[38:102, 8 : 8 + width] > 128) == pytest.approx(1 / 1.44, abs=0.1)


@pytest.fixture
def boxed(tmp_path):
    """A config whose data have a box for each of two objects, and its checkpoint."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    boxes = [10, 20, 20, 30], [40, 8, 16, 16]
    content = dict(
        images=[dict(id=1, file_name="a.png", height=64, width=64)],
        categories=[dict(id=1, name="star")],
        annotations=[
            dict(id=n, image_id=1, category_id=1, bbox=box, area=600, iscrowd=0)
            for n, box in enumerate(boxes, 1)
        ],
    )
    (tmp_path / "a.json").write_text(json.dumps(content))
    config = tmp_path / "config.py"
    config.write_text(BOXES.format(root=ROOT, folder=tmp_path))
    return config, save_checkpoint(config, tmp_path / "epoch_1.pth"), content


def test_data_with_boxes_alone(draw, boxed, tmp_path, monkeypatch):
    """The truth is the boxes, and the boxes around the predicted masks are compared with them."""
    config, checkpoint, _ = boxed
    seen = []

    def panels(image, masks, truth):
        seen.append((list(masks), truth))
        return comparison_panels(image, masks, truth)

    monkeypatch.setattr("mmlevelset.visualization.comparison_panels", panels)
    draw(
        config,
        checkpoint,
        f"--out-dir={tmp_path / 'out'}",
        options=["val_dataloader.num_workers=0"],
    )
    (titles, truth) = seen[0]
    assert all("IoU of boxes" in title for title in titles)
    assert truth.sum((1, 2)).tolist() == [600, 256] and truth[0, 20:50, 10:30].all()
    assert (tmp_path / "out/results.png").is_file()


def test_an_object_without_a_mask_beside_one_with_a_mask(draw, boxed, tmp_path, monkeypatch):
    config, checkpoint, content = boxed
    content["annotations"][0]["segmentation"] = [[10, 20, 30, 20, 10, 50]]
    (tmp_path / "a.json").write_text(json.dumps(content))
    truths = []
    monkeypatch.setattr(
        "mmlevelset.visualization.comparison_panels",
        lambda image, masks, truth: truths.append(truth) or comparison_panels(image, masks, truth),
    )
    options = ["val_dataloader.dataset.masks=optional", "val_evaluator.masks=optional"]
    draw(config, checkpoint, f"--out-dir={tmp_path / 'out'}", options=options)
    half, whole = truths[0].sum((1, 2))
    assert half == pytest.approx(300, rel=0.1) and whole == 256


def test_a_file_in_the_place_of_the_folder_is_told_at_once(draw, tmp_path, capsys):
    checkpoint = save_checkpoint("mask-rcnn_shapes.py", tmp_path / "epoch_1.pth")
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stop:
        draw("mask-rcnn_shapes.py", checkpoint, f"--out-dir={tmp_path / 'file'}")
    printed = capsys.readouterr()
    assert stop.value.code == 2 and "best" not in printed.out
    assert f"--out-dir must be a folder, and {tmp_path / 'file'} is a file" in printed.err


@pytest.mark.parametrize("score", ["-0.1", "2", "nan"])
def test_a_score_that_no_object_has_is_told_at_once(draw, tmp_path, capsys, score):
    with pytest.raises(SystemExit) as stop:
        draw("mask-rcnn_shapes.py", tmp_path / "none.pth", f"--score-thr={score}")
    assert stop.value.code == 2
    assert f"--score-thr must be in 0..1, and was {float(score)}" in capsys.readouterr().err


def test_boxes_around_masks():
    masks = torch.zeros(2, 4, 5, dtype=torch.bool)
    masks[0, 1, 1] = masks[0, 2, 3] = True
    assert boxes_around(masks)[0].tolist() == [[0] * 5, [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0] * 5]
    assert not boxes_around(masks)[1].any() and boxes_around(masks[:0]).shape == (0, 4, 5)


def test_mean_iou_by_hand():
    truth = np.array([[0, 0, 1, 1, 255]])
    # Class 0: 1 of 2; class 1: 2 of 3; nothing else at labelled pixels.
    assert mean_iou(np.array([[0, 1, 1, 1, 7]]), truth) == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Class 2 is invented: 0.
    assert mean_iou(np.array([[0, 0, 1, 2, 7]]), truth) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert mean_iou(truth, np.full((1, 5), 255)) is None
