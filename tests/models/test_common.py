import copy
import pickle
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from mmlevelset.models.common import ImageFeatures, images_of, map_fields, split_rois


class Result(NamedTuple):
    first: Tensor
    second: Tensor | None = None


def test_features_are_a_tuple_that_keeps_its_images():
    maps, images = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 2)], torch.zeros(1, 3, 16, 16)
    features = ImageFeatures(iter(maps), images)
    assert isinstance(features, tuple) and list(features) == maps and features[:1] == (maps[0],)
    assert images_of(features, "mmlevelset.LevelSetRCNN") is images
    with pytest.raises(RuntimeError, match="are tuple: use the detector type 'mmlevelset.X'"):
        images_of(features[:1], "mmlevelset.X")


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda features: pickle.loads(pickle.dumps(features))]
)
def test_features_can_be_copied(copied):
    features = ImageFeatures([torch.ones(1, 2, 4, 4)], torch.arange(3.0).view(1, 3, 1, 1))
    other = copied(features)
    assert isinstance(other, ImageFeatures) and other is not features
    assert len(other) == 1 and torch.equal(other[0], features[0])
    assert torch.equal(other.images, features.images)


def test_a_function_of_each_field():
    one, other = Result(torch.ones(2)), Result(torch.full((2,), 3.0))
    total = map_fields(torch.add, one, other)
    assert isinstance(total, Result) and total.first.tolist() == [4, 4] and total.second is None
    assert map_fields(torch.add, one.first, other.first).tolist() == [4, 4]
    named = map_fields(torch.add, dict(a=one.first), dict(a=other.first))  # a dict is a field too
    assert named["a"].tolist() == [4, 4]


def test_results_are_split_by_their_rois():
    result = Result(torch.arange(5), torch.arange(10).view(5, 2))
    none, three, two = split_rois(result, [0, 3, 2])
    assert none.first.tolist() == [] and none.second.shape == (0, 2)
    assert three.first.tolist() == [0, 1, 2] and two.second.tolist() == [[6, 7], [8, 9]]
    assert [part.tolist() for part in split_rois(result.first, [1, 4])] == [[0], [1, 2, 3, 4]]
