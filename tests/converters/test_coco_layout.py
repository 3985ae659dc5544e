"""COCO's annotations and files."""

import json

import numpy as np
import pycocotools.mask as mask_utils
import pytest

from mmlevelset.converters.coco_layout import make_annotation

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_against_counting():
    mask = np.random.default_rng(0).random((13, 17)) > 0.8
    mask[:2] = mask[:, :3] = False
    found = make_annotation(mask, 4, 2, iscrowd=1)
    rows, columns = np.nonzero(mask)
    x, y = columns.min(), rows.min()
    assert found["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
    assert found["area"] == mask.sum()
    assert np.array_equal(mask_utils.decode(found["segmentation"]), mask)
    assert (found["image_id"], found["category_id"], found["iscrowd"]) == (4, 2, 1)
    assert json.loads(json.dumps(found)) == found


def test_layout_in_memory_does_not_matter():
    mask = np.asfortranarray(np.random.default_rng(1).random((9, 5)) > 0.5)
    found = make_annotation(mask, 0, 1)
    assert found == make_annotation(np.ascontiguousarray(mask), 0, 1)


def test_an_empty_mask_is_none():
    assert make_annotation(np.zeros((4, 4), bool), 0, 1) is None
