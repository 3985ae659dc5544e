"""The networks that are traced give mmdet's results: each family, on images of several sizes."""

import pytest
import torch
from mmengine.config import Config

from mmlevelset.experiments.export import command, comparison, families
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
        head = model.roi_head if hasattr(model, "roi_head") else network.model.mask_head
        head.test_cfg.score_thr = 2.0
        if not hasattr(model, "roi_head"):
            model.mask_head.test_cfg.score_thr = 2.0
        assert difference(SIZES[0]).text == "no objects in both"
