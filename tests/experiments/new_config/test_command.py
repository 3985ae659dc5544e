"""Configs for annotation files: complete, runnable, and they fit their data."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmlevelset.experiments.checks.config import config_troubles
from mmlevelset.experiments.new_config.command import main, palette
from mmlevelset.experiments.new_config.methods import METHODS

SIZES = ((160, 120), (120, 160))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Ten photographs with two boats each and an owl in each second, in the folder of the run."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    images, annotations = [], []
    for number in range(10):
        width, height = SIZES[number % 2]
        cv2.imwrite(f"photos/{number}.jpg", np.full((height, width, 3), 9 * number, np.uint8))
        images.append(dict(id=number, file_name=f"{number}.jpg", width=width, height=height))
        for place in range(2 + number % 2):
            x, y, w, h = 10 + 30 * place, 20, 20 + number, 40
            points = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append(
                dict(
                    id=len(annotations),
                    image_id=number,
                    category_id=(7, 7, 2)[place],
                    bbox=[x, y, w, h],
                    area=w * h,
                    segmentation=[points],
                )
            )
    categories = [dict(id=n, name=name) for n, name in ((7, "boat"), (1, "none"), (2, 'an "owl"'))]
    content = dict(images=images, categories=categories, annotations=annotations, info="mine")
    Path("all.json").write_text(json.dumps(content))
    return tmp_path


def new_config(*words: str) -> Config:
    main(["all.json", "--images", "photos", "--out", "my.py", *words])
    return Config.fromfile("my.py")


@pytest.mark.parametrize(
    ("method", "backbone"),
    [(name, backbone) for name, method in METHODS.items() for backbone in method.bases],
)
def test_each_method_fits_its_data(folder, capsys, method, backbone):
    config = new_config("--method", method, "--backbone", backbone)
    out = capsys.readouterr().out
    assert "left out the categories without objects: none" in out
    assert "python tools/train.py my.py" in out
    for split in ("train", "val", "test"):
        assert config_troubles(config, split, every_image=True) == []
    assert config.metainfo.classes[-2:] == ("boat", 'an "owl"')
    assert len(config.metainfo.palette) == len(config.metainfo.classes)
    text = Path("my.py").read_text()
    assert len(text.splitlines()) < 130
    assert max(map(len, text.splitlines())) <= 110
    schedule = config.param_scheduler[-1]
    assert schedule.T_max == config.train_cfg.max_epochs == config.max_epochs
    # 1,400 images for a pretrained R-CNN, of which there are 8; 200 epochs at most.
    solo = METHODS[method].family in ("solo", "boxes")
    assert schedule.T_max == (175 if backbone == "lite0" and not solo else 200)
    assert ("warmup_iters" in text) == METHODS[method].from_boxes
    # A wrong number of classes is told with the line that mends it.
    heads = ("roi_head", "panoptic_head", "decode_head", "bbox_head", "mask_head")
    key = next(key for key in heads if key in config.model)
    head = config.model[key].get("bbox_head", config.model[key])
    argument = "num_things_classes" if key == "panoptic_head" else "num_classes"
    head[argument] += 1
    (trouble,) = config_troubles(config, "train")
    assert f"{argument}={head[argument] - 1}" in trouble and "--cfg-options" in trouble


def test_a_backbone_that_a_method_lacks_is_refused(folder, capsys):
    with pytest.raises(SystemExit):
        new_config("--method", "box-rtmdet-ins", "--backbone", "r50")
    assert "box-rtmdet-ins has the backbones lite0, resnet18" in capsys.readouterr().err


def test_an_image_in_both_files_is_told(folder, capsys):
    new_config("--val", "all.json")
    assert "note: 10 images are to train on and to validate" in capsys.readouterr().out


def test_a_class_without_usable_objects_is_told_with_the_reason(folder, capsys):
    content = json.loads(Path("all.json").read_text())
    for item in content["annotations"]:
        if item["category_id"] == 2:
            item["segmentation"] = []
    Path("all.json").write_text(json.dumps(content))
    new_config()
    out = capsys.readouterr().out
    assert 'without objects: none, an "owl"' in out and "5 annotations are skipped: no seg" in out


@pytest.mark.parametrize(
    "method",
    ["refined", "box-levelset", "box-rtmdet-ins", "box-condinst", "box2mask-t", "semantic"],
)
def test_the_models_take_a_training_step(folder, method, iteration):
    iteration(0)
    config = new_config("--method", method, "--backbone", "resnet18-scratch")
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config.model)
        batch = pseudo_collate([DATASETS.build(config.train_dataloader.dataset)[1]])
        data = model.data_preprocessor(batch, True)
        total, _ = model.parse_losses(model(**data, mode="loss"))
    total.backward()
    assert total.isfinite() and any(p.grad is not None for p in model.parameters())


def test_the_split_is_of_whole_images_and_leaves_the_file_alone(folder):
    before = Path("all.json").read_bytes()
    config = new_config("--seed", "3", "--val-share", "0.3")
    assert Path("all.json").read_bytes() == before
    whole = json.loads(before)
    parts = [json.loads(Path(f"my_{name}.json").read_text()) for name in ("train", "val")]
    for part, count in zip(parts, (7, 3), strict=True):
        ids = {image["id"] for image in part["images"]}
        assert len(ids) == count and part["info"] == "mine"
        assert part["annotations"] == [a for a in whole["annotations"] if a["image_id"] in ids]
        assert {a["category_id"] for a in part["annotations"]} == {2, 7}
        assert [c["name"] for c in part["categories"]] == ["boat", 'an "owl"']
    assert config.train_dataloader.dataset.ann_file == "my_train.json"
    assert config.val_evaluator.ann_file == "my_val.json"
    assert config.train_dataloader.dataset.data_prefix.img == "photos"
    new_config("--seed", "3", "--val-share", "0.3", "--overwrite")
    assert json.loads(Path("my_val.json").read_text()) == parts[1]


def test_two_files_and_chosen_classes(folder, capsys):
    Path("val.json").write_bytes(Path("all.json").read_bytes())
    config = new_config("--val", "val.json", "--val-images", "photos", "--classes", "boat")
    assert config.metainfo.classes == ("boat",)
    assert config.model.roi_head.bbox_head.num_classes == 1
    # The file has other categories: verify_dataset.py would ask for them.
    part = json.loads(Path(config.val_dataloader.dataset.ann_file).read_text())
    assert [c["name"] for c in part["categories"]] == ["boat"]
    assert {a["category_id"] for a in part["annotations"]} == {7}
    assert "5 annotations are skipped: category not among the classes" in capsys.readouterr().out


def test_boxes_alone(folder):
    content = json.loads(Path("all.json").read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    Path("all.json").write_text(json.dumps(content))
    config = new_config("--method", "box-levelset")
    assert config.val_evaluator.metric == ["bbox"]
    assert config_troubles(config, "val") == config_troubles(config, "train") == []
    with pytest.raises(SystemExit):
        new_config("--method", "refined", "--overwrite")


WRONG = {
    "--out must end in .py": ["--out", "my.json"],
    "photos2 must be a folder": ["--images", "photos2"],
    "val.json does not exist": ["--val", "val.json"],
    "the class cat is no category of all.json, which has boat, none": ["--classes", "cat"],
    "--val-share must be between 0 and 1": ["--val-share", "1"],
    "--val-images needs --val": ["--val-images", "photos"],
}


@pytest.mark.parametrize("message", WRONG)
def test_errors_are_one_line_and_nothing_is_written(folder, capsys, message):
    with pytest.raises(SystemExit) as stop:
        new_config(*WRONG[message])
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert line.startswith("new_config.py: error: ") and message in line
    assert sorted(path.name for path in folder.iterdir()) == ["all.json", "photos"]


def test_nothing_is_overwritten_unasked(folder, capsys):
    Path("my_val.json").write_text("mine")
    with pytest.raises(SystemExit):
        new_config()
    assert "my_val.json exists: take another --out, or --overwrite" in capsys.readouterr().err
    assert Path("my_val.json").read_text() == "mine" and not Path("my.py").exists()
    Path("my_train.json").write_bytes(Path("all.json").read_bytes())
    with pytest.raises(SystemExit):
        main(["my_train.json", "--images", "photos", "--out", "my.py", "--overwrite"])
    assert "would overwrite my_train.json" in capsys.readouterr().err


def test_a_config_that_does_not_fit_is_written_to_be_changed(folder, capsys):
    path = next(iter(Path("photos").iterdir()))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(SystemExit) as stop:
        new_config()
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and f"image file {path} cannot be read" in line
    assert "(my.py is written: change it" in line and Path("my.py").is_file()


def test_colours_differ():
    colours = palette(100)
    assert len(set(colours)) == 100 and np.all(np.array(colours) < 256)


def test_help_needs_no_torch(checkout):
    code = (
        "import sys\nfrom mmlevelset.experiments.new_config.command import parse\n"
        "parse(['a', '--images', 'b', '--out', 'c.py'])\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=checkout)


def test_two_whole_files_are_taken_as_they_are(folder):
    content = json.loads(Path("all.json").read_text())
    del content["categories"][1]
    Path("all.json").write_text(json.dumps(content))
    config = new_config("--val", "all.json")
    assert config.train_dataloader.dataset.ann_file == "all.json"
    assert config.val_dataloader.dataset.ann_file == config.val_evaluator.ann_file == "all.json"
    assert not list(folder.glob("my_*.json"))
