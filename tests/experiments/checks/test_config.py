"""A config against its data: what does not fit, and what the shipped configs say."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmlevelset.errors import InputError
from mmlevelset.experiments import testing, training
from mmlevelset.experiments.checks import config as checks
from mmlevelset.experiments.checks import image_files
from mmlevelset.experiments.checks.config import config_troubles, require_fit

CLASSES = ("cat", "dog")


def annotation(number: int, image: int, category: int) -> dict:
    corners = [4, 4, 24, 4, 24, 24, 4, 24]
    made = dict(id=number, image_id=image, category_id=category, bbox=[4, 4, 20, 20], area=400)
    return made | dict(segmentation=[corners])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    content = dict(images=[], annotations=[], categories=[])
    for number in (1, 2):
        cv2.imwrite(f"photos/{number}.png", np.full((48, 64, 3), 90, np.uint8))
        image = dict(id=number, file_name=f"{number}.png", height=48, width=64)
        content["images"].append(image)
        content["annotations"].append(annotation(number, number, number))
        content["categories"].append(dict(id=number, name=CLASSES[number - 1]))
    Path("all.json").write_text(json.dumps(content))
    return content


def instances(**more: object) -> Config:
    dataset = dict(
        type="mmlevelset.CocoDataset",
        metainfo=dict(classes=CLASSES, palette=[(1, 2, 3), (4, 5, 6)]),
        ann_file="all.json",
        data_prefix=dict(img="photos"),
        pipeline=[
            dict(type="mmlevelset.LoadImage"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
        ],
    )
    head = dict(num_classes=2)
    model = dict(
        rpn_head=dict(type="RPNHead"),
        roi_head=dict(
            bbox_head=dict(type="Shared2FCBBoxHead", **head),
            mask_head=dict(type="FCNMaskHead", **head),
        ),
    )
    metric = dict(type="mmlevelset.LevelSetCocoMetric", ann_file="all.json")
    return Config(
        dict(
            default_scope="mmdet",
            model=model,
            train_dataloader=dict(dataset=dataset),
            val_dataloader=dict(dataset=dataset | dict(test_mode=True)),
            val_evaluator=metric,
        )
        | more
    )


def test_a_fitting_config_has_no_troubles(folder):
    for split in ("train", "val", "test"):
        assert config_troubles(instances(), split) == []
    require_fit(instances(), "train", "val")


MODEL = "model.roi_head"
UNFIT = {
    "too few": (
        lambda c: c.model.roi_head.bbox_head.update(num_classes=1),
        r"the data has 2 classes \(cat, dog\), but the model has"
        r" model\.roi_head\.bbox_head\.num_classes=1: --cfg-options"
        r" model\.roi_head\.bbox_head\.num_classes=2$",
    ),
    "too many": (
        lambda c: c.model.roi_head.mask_head.update(num_classes=80),
        "mask_head.num_classes=80: .*mask_head.num_classes=2",
    ),
    "by default": (lambda c: c.model.roi_head.mask_head.pop("num_classes"), "num_classes=80"),
    "cascade": (
        lambda c: c.model.roi_head.update(
            bbox_head=[dict(type="Shared2FCBBoxHead", num_classes=n) for n in (2, 3)]
        ),
        r"bbox_head\.1\.num_classes=3: --cfg-options model\.roi_head\.bbox_head\.1\.num_classes=2",
    ),
    "palette": (
        lambda c: c.train_dataloader.dataset.metainfo.update(palette=[(1, 2, 3)]),
        r"train_dataloader\.dataset\.metainfo\.palette must have a colour for each of the 2"
        r" classes \(cat, dog\), and has 1",
    ),
    "colour": (
        lambda c: c.train_dataloader.dataset.metainfo.update(palette=[(1, 2, 3), (1, 2, 300)]),
        r"palette must hold colours .* holds .*300",
    ),
    "twice": (
        lambda c: c.train_dataloader.dataset.metainfo.update(classes=("cat", "cat")),
        "must have different names, but cat stands twice|classes has cat more than once",
    ),
    "other classes": (
        lambda c: c.train_dataloader.dataset.metainfo.update(classes=("owl", "emu")),
        "none of the classes owl, emu is among its categories cat, dog",
    ),
    "order": (
        lambda c: c.train_dataloader.dataset.metainfo.update(classes=("dog", "cat")),
        r"label 0 would be its category 'cat', but classes\[0\] is 'dog'",
    ),
    "no file": (
        lambda c: c.train_dataloader.dataset.update(ann_file="none.json"),
        "none.json does not exist",
    ),
    "no folder": (
        lambda c: c.train_dataloader.dataset.update(data_prefix=dict(img="elsewhere")),
        "the folder of the images elsewhere does not exist",
    ),
    "no image": (lambda c: Path("photos/2.png").unlink(), r"1 of 2 images do not exist.*2\.png"),
    "no picture": (
        lambda c: Path("photos/2.png").write_bytes(b"text"),
        r"image file photos/2\.png cannot be read",
    ),
    "size": (
        lambda c: Image.new("RGB", (48, 64)).save("photos/2.png"),
        r"photos/2\.png is 48 x 64 pixels \(width x height\), but its annotation says 64 x 48",
    ),
    "twelve bits": (
        lambda c: cv2.imwrite("photos/2.png", np.full((48, 64), 4095, np.uint16)),
        r"photos/2\.png has 16 bits a value, but its largest value is 4095",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_told_in_one_line(folder, case):
    change, message = UNFIT[case]
    config = instances()
    change(config)
    with pytest.raises(InputError, match=message) as caught:
        require_fit(config, "train")
    assert "\n" not in str(caught.value)


def test_annotations_that_are_all_skipped(folder):
    for item in folder["annotations"]:
        item["bbox"] = [str(value) for value in item["bbox"]]
    Path("all.json").write_text(json.dumps(folder))
    (trouble,) = config_troubles(instances(), "val")
    assert trouble.startswith("all 2 annotations of all.json are skipped: 2 bbox is not")


def test_a_class_that_no_training_file_has_is_misspelt(folder):
    folder["categories"][1]["name"] = "buz"
    folder["annotations"] = folder["annotations"][:1]
    Path("typing.json").write_text(json.dumps(folder))
    config = instances()
    config.train_dataloader.dataset.ann_file = "typing.json"
    (trouble,) = config_troubles(config, "train")
    assert trouble.startswith(f"the class {CLASSES[1]} cannot be trained: typing.json has")
    both = dict(type="ConcatDataset", datasets=[config.train_dataloader.dataset.to_dict()])
    both["datasets"].append(both["datasets"][0] | dict(ann_file="all.json"))
    config.train_dataloader.dataset = both
    assert config_troubles(config, "train") == []
    config = instances()
    config.val_dataloader.dataset.ann_file = config.val_evaluator.ann_file = "typing.json"
    assert config_troubles(config, "val") == []


def test_crowds_alone_train_nothing(folder):
    for item in folder["annotations"]:
        item["iscrowd"] = 1
    Path("all.json").write_text(json.dumps(folder))
    (trouble,) = config_troubles(instances(), "train")
    assert trouble == "all.json has no annotation to train on: its 2 annotations are crowds"
    assert config_troubles(instances(), "val") == []


VALUES = {
    "train_cfg.max_epochs": ("abc", 0, -1, 1.5),
    "train_cfg.val_interval": (0,),
    "train_dataloader.batch_size": (0, "2"),
    "train_dataloader.num_workers": (-1,),
    "optim_wrapper.optimizer.lr": ("abc", -1, float("nan"), True),
    "randomness.seed": ("x", -1),
    "optim_wrapper.optimizer.type": ("Foo",),
}


def test_values_that_no_training_can_use_are_named_by_their_keys(folder):
    for key, values in VALUES.items():
        for value in values:
            config = instances(optim_wrapper=dict(optimizer=dict(type="SGD", lr=0)))
            config.merge_from_dict({key: value})
            (trouble,) = config_troubles(config, "train")
            assert trouble.startswith(key) and repr(value) in trouble
    for command in (training.main, testing.main):
        Path("empty.py").write_text("")
        with pytest.raises(SystemExit) as stop:
            command(["empty.py", "x.pth"] if command is testing.main else ["empty.py"])
        assert stop.value.code == 2


def test_boxes_alone_and_a_pipeline_that_loads_masks(folder):
    for item in folder["annotations"]:
        del item["segmentation"]
    Path("all.json").write_text(json.dumps(folder))
    (trouble,) = config_troubles(instances(), "train")
    assert "boxes alone, but the pipeline of train_dataloader.dataset loads masks" in trouble


def test_metric_and_data_set_read_the_same_file_in_the_same_way(folder):
    Path("other.json").write_text(json.dumps(folder))
    config = instances()
    config.val_evaluator.ann_file = "other.json"
    (trouble,) = config_troubles(config, "val")
    assert trouble == (
        "val_evaluator.ann_file is other.json, but val_dataloader.dataset reads all.json:"
        " --cfg-options val_evaluator.ann_file=all.json"
    )
    config = instances()
    config.val_dataloader.dataset.masks = "unread"
    (trouble,) = config_troubles(config, "val")
    assert "val_evaluator.masks is 'required'" in trouble and "'unread'" in trouble


def test_of_many_images_a_sample_is_opened(folder, monkeypatch):
    opened = []
    real = image_files.read_header
    monkeypatch.setattr(
        image_files, "read_header", lambda path, loader: opened.append(path) or real(path, loader)
    )
    folder["images"] += [dict(folder["images"][0], id=n) for n in range(3, 1000)]
    Path("all.json").write_text(json.dumps(folder))
    assert config_troubles(instances(), "train") == []
    assert len(opened) == image_files.SAMPLE
    assert config_troubles(instances(), "train", every_image=True) == []
    assert len(opened) == image_files.SAMPLE + 999


def semantic(*values: int, classes=("background", "cat"), **more: object) -> Config:
    Path("maps").mkdir(exist_ok=True)
    labels = np.full((48, 64), values[0], np.uint8)
    for place, value in enumerate(values):
        labels[place] = value
    for number in (1, 2):
        cv2.imwrite(f"maps/{number}.png", labels)
    dataset = dict(
        type="mmlevelset.SegDataset",
        metainfo=dict(classes=classes),
        img_suffix=".png",
        data_prefix=dict(img_path="photos", seg_map_path="maps"),
        pipeline=[dict(type="mmlevelset.LoadSemanticAnnotations")],
    )
    head = dict(type="mmlevelset.FCNHead", num_classes=len(classes))
    return Config(
        dict(
            default_scope="mmdet",
            model=dict(decode_head=head),
            train_dataloader=dict(dataset=dataset | more),
        )
    )


def test_label_maps(folder):
    assert config_troubles(semantic(0, 1), "train") == []
    assert config_troubles(semantic(0, 1, 255), "train") == []
    (trouble,) = config_troubles(semantic(0, 255), "train")
    assert "hold the values 0, 255 alone" in trouble and "'cat' never occurs" in trouble
    assert "ImageMaskDataset" in trouble
    (trouble,) = config_troubles(semantic(0, 1, 7), "train")
    assert "labels 0 to 1 (background, cat)" in trouble and "holds 7" in trouble
    three = semantic(0, 1, classes=("background", "cat", "dog"))
    assert config_troubles(three, "train") == []
    assert config_troubles(three, "train", every_image=True) == ["no label map holds the class dog"]
    config = semantic(0, 1)
    config.model.decode_head.num_classes = 3
    assert "model.decode_head.num_classes=2" in config_troubles(config, "train")[0]
    masks = dict(
        type="mmlevelset.ImageMaskDataset",
        pipeline=[dict(type="mmlevelset.LoadMaskAnnotations")],
    )
    assert config_troubles(semantic(0, 255, **masks), "train") == []
    cv2.imwrite("maps/1.png", np.zeros((48, 64, 3), np.uint8))
    assert "8 bits and one channel" in config_troubles(semantic_again(), "train")[0]


def semantic_again() -> Config:
    config = semantic(0, 1)
    cv2.imwrite("maps/1.png", np.zeros((48, 64, 3), np.uint8))
    return config


def test_missing_label_maps_are_one_line(folder):
    config = semantic(0, 1)
    Path("maps/2.png").unlink()
    with pytest.raises(InputError, match=r"train_dataloader\.dataset: 1 of 2 label maps do not"):
        require_fit(config, "train")


@pytest.mark.parametrize("command", ["train.py", "test.py"])
def test_commands_check_before_they_start(folder, capsys, command):
    keys = ("optim_wrapper", "train_cfg", "test_cfg", "test_evaluator")
    config = instances(test_dataloader=instances().val_dataloader, **{key: {} for key in keys})
    config.model.roi_head.bbox_head.num_classes = 5
    config.dump("mine.py")
    Path("mine.pth").write_bytes(b"")
    words = ["mine.py", "--device", "cpu"]
    with pytest.raises(SystemExit) as stop:
        if command == "train.py":
            training.main(words)
        else:
            testing.main([words[0], "mine.pth", *words[1:]])
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith(command)]
    assert stop.value.code == 2 and "bbox_head.num_classes=2" in line
    assert not Path("work_dirs").exists()


def test_address_of_a_file_elsewhere_is_not_opened(folder):
    config = instances()
    config.train_dataloader.dataset.ann_file = "s3://bucket/all.json"
    assert config_troubles(config, "train") == []
    assert checks.NOT_A_FILE in config.train_dataloader.dataset.ann_file
