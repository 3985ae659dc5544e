"""Each operator's ONNX nodes against its PyTorch function, on random boxes, and on none."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from mmlevelset.experiments.export import ops, plain
from mmlevelset.ops import evolve_chan_vese, region_means

COUNTS = (0, 1, 40)


class Calling(nn.Module):
    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments: Tensor) -> Tensor:
        return self.function(*arguments)


@pytest.fixture
def onnx_of(tmp_path):
    """A function that exports a function of tensors; the first axes of some tensors may vary."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from mmlevelset.experiments.export import onnx_nodes

    def export(function: Callable, *arguments: Tensor, free: tuple[int, ...]) -> Callable:
        count = Dim("count", min=2, max=10000)
        shapes = tuple({0: count} if index in free else None for index in range(len(arguments)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                Calling(function),
                arguments,
                dynamo=True,
                opset_version=18,
                dynamic_shapes=(shapes,),
                custom_translation_table=onnx_nodes.translations(),
                verbose=False,
            )
        path = str(tmp_path / "function.onnx")
        made.save(path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]

        def run(*values: Tensor) -> np.ndarray:
            inputs = {name: value.numpy() for name, value in zip(names, values, strict=True)}
            return session.run(None, inputs)[0]

        return run

    return export


def boxes_of(count: int, seed: int = 0) -> Tensor:
    """Boxes around an image of 60 x 50 pixels, some of them partly outside."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([60.0, 50.0]) - 5
    return torch.cat([corners, corners + torch.rand(count, 2, generator=generator) * 30 + 0.5], 1)


def test_nms(onnx_of):
    def function(boxes, scores):
        return ops.nms(boxes, scores, 0.3, 0.2, 15)

    run = onnx_of(function, boxes_of(5), torch.rand(5), free=(0, 1))
    for count in (*COUNTS, 300):
        boxes, scores = boxes_of(count), torch.rand(count, generator=torch.manual_seed(count))
        np.testing.assert_array_equal(run(boxes, scores), function(boxes, scores).numpy())


@pytest.mark.parametrize("sampling", [0, 2])
def test_roi_align(onnx_of, sampling):
    levels = [torch.randn(1, 3, 25, 30), torch.randn(1, 3, 13, 15)]

    def function(boxes, owners, first, second):
        return ops.roi_align([first, second], boxes, owners, 7, [0.5, 0.25], sampling)

    run = onnx_of(function, boxes_of(5), torch.tensor([0, 1, 0, 1, 1]), *levels, free=(0, 1))
    for count in COUNTS:
        boxes = boxes_of(count)
        for owners in (torch.arange(count) % 2, torch.ones(count, dtype=torch.int64)):
            wanted = function(boxes, owners, *levels)
            got = run(boxes, owners, *levels)
            np.testing.assert_allclose(got, wanted.numpy(), atol=2e-5)


@pytest.mark.parametrize("border", [True, False])
def test_paste(onnx_of, border):
    def function(maps, boxes):
        return ops.paste(maps, boxes, 50, 60, 0.0 if border else 0.4, border)

    run = onnx_of(function, torch.rand(5, 9, 11), boxes_of(5), free=(0, 1))
    for count in COUNTS:
        maps = torch.rand(count, 9, 11, generator=torch.manual_seed(count))
        maps = maps - 0.5 if border else maps
        boxes = boxes_of(count)
        wanted, got = function(maps, boxes).numpy(), run(maps, boxes)
        assert got.shape == wanted.shape == (count, 50, 60)
        assert (got != wanted).sum() <= 1e-4 * got.size
        if count:
            assert wanted.any()


@pytest.mark.parametrize("delta", ["printed", "derivative"])
def test_plain_evolution(delta):
    """The form for a trace gives the operator's level sets."""
    generator = torch.manual_seed(0)
    phi, features = torch.randn(3, 9, 8, generator=generator), torch.rand(3, 2, 9, 8)
    lambda1, lambda2, mu = torch.rand(3, 3, generator=generator)
    eps, dt = torch.rand(2, 3, 4, generator=generator) + 0.1
    wanted = evolve_chan_vese(
        phi, features, lambda1, lambda2, mu, eps, dt, reduction="sum", delta=delta,
        return_trajectory=True,
    )  # fmt: skip
    got, _, _ = plain.evolve(
        phi, features, lambda1, lambda2, mu, eps, dt, 1e-4, delta == "printed", "torch", [1.0, 1.0]
    )
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


def test_plain_means():
    features, inside = torch.rand(3, 2, 9, 8), torch.rand(3, 9, 8)
    sums = plain.region_sums(features, inside, None, None, False)
    wanted = region_means(features, inside)
    for side, means in enumerate(wanted):
        torch.testing.assert_close((sums[:, side, :2] / sums[:, side, 2:]).float(), means)
