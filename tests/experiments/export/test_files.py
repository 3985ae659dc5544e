"""Exported files give PyTorch's results: each family, on images of several sizes."""

import pytest

from mmlevelset.experiments.export import comparison
from tests.experiments.export.conftest import picture

SIZES = ((96, 128), (131, 97), (64, 210))
INSTANCES = (
    "mask-rcnn_shapes",
    "levelset-rcnn_image_shapes",
    "levelset-rcnn_refined_shapes",
    "mask-rcnn_refined_shapes",
    "solov2_shapes",
)
MAPS = ("fcn-32s_shapes", "deeplabv2_shapes", "rls_shapes", "rls_conv_shapes")


@pytest.mark.parametrize("name", [*INSTANCES, *MAPS])
def test_results_are_pytorchs(exported, name):
    model = exported(name)
    for size in SIZES:
        wanted, got = model.compare(picture(*size))
        difference = comparison.compare(wanted, got)
        assert difference.allowed, difference.text
        if name in INSTANCES:
            assert len(wanted["labels"]) > 10
            assert got["masks"].shape[1:] == size
        else:
            assert got["label_map"].shape == size
