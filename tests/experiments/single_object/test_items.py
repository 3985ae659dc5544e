import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmlevelset.errors import InputError
from mmlevelset.experiments.single_object.items import Item, images_under, read_item, read_items


def config_of(tmp_path, data, more: str = "") -> Config:
    path = tmp_path / "items.py"
    path.write_text(data + more)
    return Config.fromfile(path)


def test_images_keep_their_own_size(tmp_path, data):
    items = read_items(config_of(tmp_path, data), "test", 2, [0])
    assert [item.image.shape for item in items] == [(40, 32, 3)] * 2
    assert [item.truths.shape for item in items] == [(1, 40, 32)] * 2


def test_another_size_keeps_image_and_truth_aligned(tmp_path, data):
    (own,) = read_items(config_of(tmp_path, data), "test", 1, [0])
    (large,) = read_items(config_of(tmp_path, data), "test", 1, [80, 64])
    np.testing.assert_array_equal(large.truths[:, ::2, ::2], own.truths)
    shrunk = cv2.resize(large.image, (32, 40), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - own.image).mean() < 6


def test_training_images_come_without_augmentation(tmp_path, data):
    config = config_of(tmp_path, data)
    first, again = (read_items(config, "train", 3, [0]) for _ in range(2))
    (test, *_) = read_items(config, "test", 3, [0])
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    assert (first[0].image != test.image).any()


def test_each_annotator_is_a_truth():
    maps = np.random.default_rng(0).integers(0, 2, (2, 10, 12), np.uint8)
    sample = DetDataSample(metainfo=dict(annotator_maps=maps, img_path="a.png"))
    data = dict(inputs=torch.zeros(3, 20, 24, dtype=torch.uint8), data_samples=sample)
    item = read_item(data, "test image 0", [0])
    np.testing.assert_array_equal(item.truths, maps)
    assert item.image.shape == (10, 12, 3)
    assert item.name == "a.png"


def test_labels_of_many_classes(tmp_path, data):
    pipeline = (
        "test_dataloader['dataset']['pipeline'] = [dict(type='LoadImageFromFile'),"
        " dict(type='mmlevelset.LoadSemanticAnnotations'), dict(type='PackDetInputs')]"
    )
    config = config_of(tmp_path, data, f"{pipeline}\n")
    with pytest.raises(InputError, match="labels 0 and 1, but test image .* has label"):
        read_items(config, "test", 4, [0])


def test_no_labels(tmp_path, data):
    pipeline = (
        "test_dataloader['dataset']['pipeline'] = [dict(type='LoadImageFromFile'),"
        " dict(type='PackDetInputs')]"
    )
    config = config_of(tmp_path, data, f"{pipeline}\n")
    with pytest.raises(InputError, match="test image 0 has no gt_sem_seg"):
        read_items(config, "test", 4, [0])


def test_degradations_are_the_same_each_time():
    items = [Item("a", np.full((16, 16, 3), 100, np.uint8), np.zeros((1, 16, 16), np.uint8))] * 2
    first, second = images_under(items, "noise=9", dict(noise=9), 0)
    assert (first != second).any()
    again = images_under(items, "noise=9", dict(noise=9), 0)
    np.testing.assert_array_equal(first, again[0])
    (clean, _) = images_under(items, "clean", {}, 0)
    np.testing.assert_array_equal(clean, items[0].image)
