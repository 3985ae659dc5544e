"""The networks that are traced give mmdet's results: each family, on images of several sizes."""

import pytest
import torch
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmengine.config import Config

from mmlevelset.experiments.export import command, comparison, families
from mmlevelset.experiments.export.parts import SameConv
from tests.experiments.export.conftest import build, picture

SIZES = ((96, 128), (131, 97), (40, 210))
DETECTORS = (
    "mask-rcnn_shapes",
    "mask-rcnn_refined_shapes",
    "levelset-rcnn_image_shapes",
    "levelset-rcnn_refined_shapes",
    "solov2_shapes",
    "box-levelset_shapes",
)
MAPS = (
    "fcn-32s_shapes",
    "deeplabv2_shapes",
    "deeplab-largefov_shapes",
    "rls_shapes",
    "rls_conv_shapes",
    "f-connet_shapes",
)


@pytest.mark.parametrize("name", [*DETECTORS, *MAPS])
def test_results_are_mmdets(checkout, name):
    config = Config.fromfile(checkout / f"configs/quickstart/{name}.py")
    model = build(config)
    network, _ = families.network_of(model)
    reference = comparison.Reference(model, command.resize_of(config))

    def difference(size: tuple[int, int]) -> comparison.Difference:
        data = reference.load(picture(*size))
        with torch.no_grad():
            outputs = network(*map(torch.from_numpy, comparison.inputs_of(data)))
        got = {name: value.numpy() for name, value in outputs.items()}
        return comparison.compare(reference.predict(data), got)

    for size in SIZES:
        found = difference(size)
        assert found.allowed, found.text
        assert not found.text.startswith("no objects")
    if name in DETECTORS:
        for each in (model, network.model):
            head = each.roi_head if hasattr(each, "roi_head") else each.mask_head
            head.test_cfg.score_thr = 2.0
        assert difference(SIZES[0]).text == "no objects in both"


@pytest.mark.parametrize("side", [32, 33, 45])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (3, 1), (5, 3)])
def test_padding_like_tensorflow(side, kernel, stride):
    conv = Conv2dAdaptivePadding(3, 4, kernel, stride)
    maps = torch.randn(1, 3, side, side + 2)
    torch.testing.assert_close(SameConv(conv)(maps), conv(maps))
