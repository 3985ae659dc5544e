"""Pascal VOC and SBD to COCO instances, on a tiny tree in the published layouts."""

import json
import re
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_utils
import pytest
from mmengine.config import Config
from PIL import Image
from scipy.io import savemat

from mmlevelset.converters.datasets import voc_instances
from mmlevelset.datasets import CocoDataset

HEIGHT, WIDTH = 40, 50


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_sbd(path: Path, objects: np.ndarray, classes: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    boundaries = np.empty((len(classes), 1), object)
    boundaries[:] = [[np.zeros(objects.shape, bool)]] * len(classes)
    categories = np.array(classes, np.uint8)[:, None]
    content = dict(Boundaries=boundaries, Segmentation=objects, Categories=categories)
    savemat(path, dict(GTinst=content), do_compression=True)


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


# Image -> (category, mask) of its objects. VOC has a, b and c; SBD a, b, d and e.
TRUTH = {
    "a": [(15, rectangle(2, 2, 12, 9)), (1, rectangle(20, 20, 30, 45))],
    "b": [(20, rectangle(0, 0, 5, 50))],
    "c": [(7, rectangle(1, 1, 3, 3)), (7, rectangle(10, 10, 40, 50))],
    "d": [(12, rectangle(5, 5, 6, 7)), (3, rectangle(8, 0, 40, 4))],
    "e": [(2, rectangle(0, 0, 40, 50))],
}


@pytest.fixture
def tree(tmp_path) -> Path:
    voc, sbd = tmp_path / "VOC2012", tmp_path / "benchmark_RELEASE/dataset"
    for number, (name, truth) in enumerate(TRUTH.items()):
        objects, labels = np.zeros((2, HEIGHT, WIDTH), np.uint8)
        for index, (category, mask) in enumerate(truth, 1):
            objects[mask], labels[mask] = index, category
        save(voc / f"JPEGImages/{name}.jpg", np.full((HEIGHT, WIDTH, 3), 20 * number, np.uint8))
        if name in "abc":
            void = objects == 0
            void[:, 10:] = False  # void pixels beside the objects, in both maps
            voc_objects, voc_labels = np.where(void, 255, objects), np.where(void, 255, labels)
            save(voc / f"SegmentationObject/{name}.png", voc_objects.astype(np.uint8))
            save(voc / f"SegmentationClass/{name}.png", voc_labels.astype(np.uint8))
        if name in "de":
            write_sbd(sbd / f"inst/{name}.mat", objects, [category for category, _ in truth])
        if name in "ab":  # SBD's own objects of VOC's images differ, and are not to be taken
            write_sbd(sbd / f"inst/{name}.mat", np.ones_like(objects), [9])
    for path, names in (
        (voc / "ImageSets/Segmentation/train.txt", "a "),
        (voc / "ImageSets/Segmentation/val.txt", "bc"),
        (voc / "ImageSets/Main/train.txt", "adx"),  # SBD has no masks of x
        (voc / "ImageSets/Main/val.txt", "bce"),  # nor of c
        (sbd / "train.txt", "abd"),
        (sbd / "val.txt", "e"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names))
    return tmp_path


@pytest.fixture
def convert(monkeypatch, tree):
    monkeypatch.setattr(voc_instances, "PART", 1)

    def run(*words: str, partial: bool = True, workers: int = 1) -> dict[str, dict]:
        options = ["--out", str(tree / "out"), "--workers", str(workers), *words]
        options += ["--allow-partial"] if partial else []
        voc_instances.main([str(tree / "VOC2012"), str(tree / "benchmark_RELEASE"), *options])
        folder = tree / "out/annotations"
        splits = ("train", "val")
        name = "voc_2012_detection" if "detection" in words else "voc_2012"
        return {s: json.loads((folder / f"{name}_{s}.json").read_text()) for s in splits}

    return run


def test_masks_boxes_and_categories(convert, tree, checkout, capsys):
    found = convert()
    config = Config.fromfile(checkout / "configs/_base_/datasets/voc_boxes.py")
    for split, names in (("train", "ade"), ("val", "bc")):
        content = found[split]
        assert [image["file_name"] for image in content["images"]] == [f"{n}.jpg" for n in names]
        categories = {one["id"]: one["name"] for one in content["categories"]}
        assert tuple(categories.values()) == config.metainfo.classes
        assert [one["id"] for one in content["annotations"]] == list(
            range(1, 1 + sum(len(TRUTH[name]) for name in names))
        )
        for image in content["images"]:
            assert (image["height"], image["width"]) == (HEIGHT, WIDTH)
            own = [one for one in content["annotations"] if one["image_id"] == image["id"]]
            for one, (category, mask) in zip(own, TRUTH[image["file_name"][0]], strict=True):
                assert one["category_id"] == category and one["iscrowd"] == 0
                assert np.array_equal(mask_utils.decode(one["segmentation"]), mask)
                assert one["area"] == mask.sum()
                rows, columns = np.nonzero(mask)
                left, top = columns.min(), rows.min()
                size = [columns.max() + 1 - left, rows.max() + 1 - top]
                assert one["bbox"] == [left, top, *size]
            picture = np.array(Image.open(tree / "out" / split / image["file_name"]))
            assert abs(int(picture[0, 0, 0]) - 20 * "abcde".index(image["file_name"][0])) < 3
    warnings = capsys.readouterr().err
    assert (
        "train: 3 found, 10582 published" in warnings and "val: 2 found, 1449 published" in warnings
    )


def test_the_config_reads_it(convert, tree, checkout):
    convert()
    config = Config.fromfile(checkout / "configs/_base_/datasets/voc_boxes.py")
    for loader, names in ((config.train_dataloader, "ade"), (config.val_dataloader, "bc")):
        settings = {**loader.dataset, "data_root": str(tree / "out"), "pipeline": []}
        settings.pop("type")
        items = [CocoDataset(**settings).get_data_info(index) for index in range(len(names))]
        for item, name in zip(items, names, strict=True):
            labels = [category - 1 for category, _ in TRUTH[name]]
            assert [one["bbox_label"] for one in item["instances"]] == labels
            assert Path(item["img_path"]).exists()


def test_the_split_for_detection_has_sbds_masks(convert, tree, checkout, capsys):
    found = convert("--split", "detection")
    config = Config.fromfile(checkout / "configs/_base_/datasets/voc_instance_600.py")
    loaders = dict(train=config.train_dataloader, val=config.val_dataloader)
    for split, truth in (("train", dict(a=[9], d=[12, 3])), ("val", dict(b=[9], e=[2]))):
        settings = {**loaders[split].dataset, "data_root": str(tree / "out"), "pipeline": []}
        settings.pop("type")
        data = CocoDataset(**settings)
        items = [data.get_data_info(index) for index in range(len(data))]
        classes = {
            Path(item["img_path"]).stem: [one["bbox_label"] + 1 for one in item["instances"]]
            for item in items
        }
        assert classes == truth
        assert len(found[split]["images"]) == 2
    warnings = capsys.readouterr().err
    assert "train: 2 found, 5623 published" in warnings
    assert "val: 2 found, 5732 published" in warnings


def test_published_counts_are_demanded(convert, refused):
    assert "images of train: 3 found, 10582 published" in refused(convert, partial=False)


def test_an_interrupted_conversion_goes_on(convert, refused, tree, capsys):
    broken = tree / "benchmark_RELEASE/dataset/inst/e.mat"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:150])
    assert "e.mat holds no GTinst.Segmentation" in refused(convert)
    assert not (tree / "out/annotations").exists()
    assert (tree / "out/train/a.jpg").exists()
    broken.write_bytes(whole)
    capsys.readouterr()
    convert()
    assert "2 of 3 parts were there already" in capsys.readouterr().out
    (tree / "VOC2012/SegmentationObject/a.png").unlink()
    # The part is made again: it was made from that file.
    assert "a.png does not exist" in refused(convert)
    assert "other options (images: link then, copy now" in refused(convert, "--images", "copy")
    assert "a.png does not exist" in refused(convert, "--images", "copy", "--overwrite")


def test_workers_give_the_same(convert):
    by_one_worker = convert()
    assert convert("--overwrite", workers=2) == by_one_worker


@pytest.mark.parametrize("how", ["link", "hardlink", "copy"])
def test_images_come_as_asked(convert, tree, how):
    convert()
    convert("--images", how, "--overwrite")
    source, target = tree / "VOC2012/JPEGImages/d.jpg", tree / "out/train/d.jpg"
    assert target.read_bytes() == source.read_bytes()
    assert target.is_symlink() == (how == "link")
    assert target.samefile(source) == (how != "copy")


def test_vocs_own_folder_is_not_written_to(convert, refused, tree):
    (tree / "out").mkdir()
    (tree / "out/train").symlink_to(tree / "VOC2012/JPEGImages")
    assert "is VOC's own folder of images" in refused(convert)


def two_classes(tree: Path) -> None:
    path = tree / "VOC2012/SegmentationClass/a.png"
    labels = np.array(Image.open(path))
    labels[2, 2] = 8  # one pixel of the person
    save(path, labels)


def break_file(tree: Path, name: str) -> None:
    path = tree / name
    path.write_bytes(path.read_bytes()[:-60])


SBD = "benchmark_RELEASE/dataset/inst"
ERRORS = {
    "missing map": (
        lambda tree: (tree / "VOC2012/SegmentationObject/b.png").unlink(),
        "the label map .*b.png does not exist",
    ),
    "truncated map": (
        lambda tree: break_file(tree, "VOC2012/SegmentationClass/c.png"),
        "the label map .*c.png cannot be read",
    ),
    "missing image": (
        lambda tree: (tree / "VOC2012/JPEGImages/d.jpg").unlink(),
        "the image .*d.jpg does not exist",
    ),
    "truncated image": (
        lambda tree: break_file(tree, "VOC2012/JPEGImages/d.jpg"),
        "the image .*d.jpg cannot be read",
    ),
    "missing .mat": (lambda tree: (tree / f"{SBD}/e.mat").unlink(), "e.mat does not exist"),
    "two classes": (two_classes, r"object 1 of .*a.png has pixels of several classes, \[8, 15\]"),
    "VOC's class": (
        lambda tree: save(
            tree / "VOC2012/SegmentationClass/b.png", np.full((HEIGHT, WIDTH), 21, np.uint8)
        ),
        "object 1 of .*b.png has class 21, not one of 1..20",
    ),
    "sizes of maps": (
        lambda tree: save(tree / "VOC2012/SegmentationClass/b.png", np.zeros((4, 6), np.uint8)),
        "SegmentationObject/b.png is 50 x 40 pixels, .*SegmentationClass/b.png 6 x 4",
    ),
    "size of image": (
        lambda tree: save(tree / "VOC2012/JPEGImages/d.jpg", np.zeros((4, 6, 3), np.uint8)),
        "d.jpg is 6 x 4 pixels, its objects in .*d.mat 50 x 40",
    ),
    "SBD's class": (
        lambda tree: write_sbd(tree / f"{SBD}/d.mat", np.ones((HEIGHT, WIDTH), np.uint8), [0]),
        "object 1 of .*d.mat has class 0",
    ),
    "object without class": (
        lambda tree: write_sbd(tree / f"{SBD}/d.mat", np.full((HEIGHT, WIDTH), 3, np.uint8), [1]),
        "d.mat has object 3, but classes of 1 objects alone",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_file(convert, refused, tree, case):
    spoil, message = ERRORS[case]
    spoil(tree)
    assert re.search(message, refused(convert))


def test_majority_settles_objects_of_two_classes(convert, tree):
    two_classes(tree)
    assert convert("--majority")["train"]["annotations"][0]["category_id"] == 15


def test_void_and_background_are_no_majority(convert, tree):
    two_classes(tree)
    path = tree / "VOC2012/SegmentationClass/a.png"
    labels = np.array(Image.open(path))
    inside = np.argwhere(np.array(Image.open(tree / "VOC2012/SegmentationObject/a.png")) == 1)
    kept = int(labels[tuple(inside[1])])  # the first is the pixel of another class
    for row, column in inside[3:]:
        labels[row, column] = 255 if row % 2 else 0
    save(path, labels)
    assert convert("--majority")["train"]["annotations"][0]["category_id"] == kept
