import re
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets.transforms import PackDetInputs
from mmengine.registry import DefaultScope
from PIL import Image

from mmlevelset.datasets import (
    BinaryLabels,
    ImageMaskDataset,
    LoadMaskAnnotations,
    ShapesSegDataset,
)

LOAD = [dict(type="mmlevelset.LoadImage"), dict(type="mmlevelset.LoadMaskAnnotations")]
SIZE = (6, 8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def mask_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 2, SIZE, np.uint8)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Images a and b, masks of two annotators (0 and 255, 0 and 1), and a list that names b."""
    for number, name in enumerate("ab"):
        save(tmp_path / f"images/{name}.png", np.full((*SIZE, 3), number, np.uint8))
        save(tmp_path / f"masks/one/{name}.png", mask_of(number) * 255)
        save(tmp_path / f"masks/two/{name}.png", mask_of(10 + number))
    (tmp_path / "list.txt").write_text("b\n")
    return tmp_path


def build(folder: Path, seg_map_path: str = "masks", load=LOAD, **kwargs) -> ImageMaskDataset:
    prefix = dict(img_path="images", seg_map_path=seg_map_path)
    return ImageMaskDataset(data_root=str(folder), data_prefix=prefix, pipeline=load, **kwargs)


def test_several_annotators(folder):
    dataset = build(folder, annotators=("one", "two"))
    assert len(dataset) == 2 and dataset.metainfo["classes"] == ("background", "object")
    for number, item in enumerate(dataset):
        assert np.array_equal(item["annotator_maps"], [mask_of(number), mask_of(10 + number)])
        assert np.array_equal(item["gt_seg_map"], mask_of(number))
        assert item["gt_seg_map"].dtype == item["annotator_maps"].dtype == np.uint8
        assert item["ignore_index"] == 255
    (item,) = build(folder, annotators=("two", "one"), ann_file="list.txt")
    assert np.array_equal(item["gt_seg_map"], mask_of(11))


def test_one_folder_of_masks(folder):
    for item, number in zip(build(folder, "masks/one"), (0, 1), strict=True):
        assert np.array_equal(item["annotator_maps"], [mask_of(number)])


def test_a_folder_of_images_alone(folder):
    dataset = ImageMaskDataset(
        data_root=str(folder), data_prefix=dict(img_path="images"), pipeline=LOAD, test_mode=True
    )
    assert "gt_seg_map" not in dataset[0] and "annotator_maps" not in dataset[0]


def test_annotators_take_turns_at_random(folder):
    random = [LOAD[0], dict(LOAD[1], annotator="random")]
    dataset = build(folder, annotators=("one", "two"), load=random)
    seen = {dataset[0]["gt_seg_map"].tobytes() for _ in range(30)}
    assert seen == {mask_of(0).tobytes(), mask_of(10).tobytes()}
    second = build(folder, annotators=("one", "two"), load=[LOAD[0], dict(LOAD[1], annotator=1)])
    assert np.array_equal(second[0]["gt_seg_map"], mask_of(10))


def test_values_without_a_label(folder):
    save(folder / "masks/one/a.png", np.tile(np.uint8([0, 128, 255, 1]), (6, 2)))
    load = [LOAD[0], dict(LOAD[1], ignore_value=128)]
    item = build(folder, "masks/one", load=load)[0]
    assert item["gt_seg_map"][0, :4].tolist() == [0, 255, 1, 1]


def test_all_maps_reach_the_metric_untouched_by_transforms(folder):
    keys = ("img_path", "ori_shape", "annotator_maps")
    load = [
        LOAD[0],
        LOAD[1],
        dict(type="RandomFlip", prob=1.0),
        dict(type="PackDetInputs", meta_keys=keys),
    ]
    with DefaultScope.overwrite_default_scope("mmdet"):
        sample = build(folder, annotators=("one", "two"), load=load)[0]["data_samples"]
    assert np.array_equal(sample.to_dict()["annotator_maps"], [mask_of(0), mask_of(10)])
    assert np.array_equal(sample.gt_sem_seg.sem_seg[0], mask_of(0)[:, ::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(annotators=("one", "three")), r"folder .*'seg_map_path'. .*masks/three does not ex"),
        (dict(seg_map_path="none"), r"folder data_prefix.'seg_map_path'. .*/none does not exist"),
        (dict(ann_file="no.txt"), "ann_file .*/no.txt does not exist"),
    ],
)
def test_what_is_missing_is_named(folder, change, message):
    with pytest.raises(FileNotFoundError, match=message):
        build(folder, **change)


def test_missing_files_are_named(folder):
    (folder / "masks/two/b.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 label maps do not .*two/b.png"):
        build(folder, annotators=("one", "two"))
    (folder / "list.txt").write_text("c\n")
    with pytest.raises(FileNotFoundError, match=r"1 of 1 images do not exist, .*images/c.png"):
        build(folder, "masks/one", ann_file="list.txt")


def test_wrong_settings_are_named(folder):
    with pytest.raises(ValueError, match="annotators must be names of folders, not 'one'"):
        build(folder, annotators="one")
    with pytest.raises(ValueError, match="annotators must be different folders"):
        build(folder, annotators=("one", "one"))
    with pytest.raises(ValueError, match=r"folder of the annotators' .* as dict\(seg_map_path"):
        ImageMaskDataset(data_prefix=dict(img_path=str(folder)), annotators=("one",))
    with pytest.raises(ValueError, match="annotator must be a number from 0 on or 'random', not"):
        LoadMaskAnnotations(annotator="first")
    third = build(folder, annotators=("one", "two"), load=[LOAD[0], dict(LOAD[1], annotator=2)])
    with pytest.raises(ValueError, match=r"annotator must be below 2, .*a.png, but is 2"):
        third[0]


def test_wrong_masks_are_named(folder):
    save(folder / "masks/one/a.png", np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(ValueError, match=r"one/a.png must have 8 bits and one channel, and is"):
        build(folder, "masks/one")[0]
    save(folder / "masks/one/a.png", np.zeros((6, 7), np.uint8))
    with pytest.raises(ValueError, match=r"one/a.png is 7 x 6 pixels .* its image is 8 x 6"):
        build(folder, "masks/one")[0]
    (folder / "masks/one/a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"one/a.png cannot be decoded"):
        build(folder, "masks/one")[0]


# Labels of two classes


def test_all_classes_become_one():
    labels = np.uint8([[0, 1, 4], [255, 2, 0]])
    folded = BinaryLabels()(dict(gt_seg_map=labels, ignore_index=255))["gt_seg_map"]
    assert folded.tolist() == [[0, 1, 1], [255, 1, 0]] and folded.dtype == np.uint8
    chosen = BinaryLabels(foreground=(2, 4))(dict(gt_seg_map=labels))["gt_seg_map"]
    assert chosen.tolist() == [[0, 0, 1], [255, 1, 0]]
    assert BinaryLabels()(dict(img=1)) == dict(img=1)
    with pytest.raises(ValueError, match=re.escape("foreground must name at least one label")):
        BinaryLabels(foreground=())


def test_generated_images_of_one_object():
    load = [
        dict(type="mmlevelset.LoadImage"),
        dict(type="mmlevelset.LoadSemanticAnnotations"),
        BinaryLabels(),
        PackDetInputs(meta_keys=("ori_shape",)),
    ]
    dataset = ShapesSegDataset(
        length=4, image_size=(64, 48), num_objects=(1, 1), noise=2.0, light=1.0, pipeline=load
    )
    for item in dataset:
        labels = item["data_samples"].gt_sem_seg.sem_seg
        assert labels.shape == (1, 48, 64) and labels.unique().tolist() == [0, 1]
