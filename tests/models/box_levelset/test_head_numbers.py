"""The losses and the gradients of BoxSOLOv2Head are those of the code before BoxSupervision.

``head_numbers.json`` has the numbers of :func:`numbers_of` on the commit before, on a CPU.
"""

import json
from pathlib import Path

import pytest
import torch

from tests.models.box_levelset.builders import level_set, losses_of, make_head

FILE = Path(__file__).with_name("head_numbers.json")
SCALE = dict(image_mean=(123.675, 116.28, 103.53), image_std=(58.395, 57.12, 57.375))
CONSISTENCY = dict(type="mmlevelset.LocalConsistencyLoss")
REFINEMENT = dict(
    type="mmlevelset.CropRefinement", size=14, feature_channels=2, hidden_channels=2, num_steps=2
)
CASES = {
    "released": {},
    "released, length": dict(loss_level_set=level_set(length_weight=1e-2)),
    "paper, whole image": dict(loss_level_set=level_set(mode="paper", domain="image")),
    "ours": dict(
        **SCALE,
        loss_level_set=level_set(image_weight=0.2, image_space="lab", detach_features=True),
        loss_consistency=CONSISTENCY,
    ),
    "mmdet, projection": dict(architecture="mmdet", loss_level_set=None),
    "mixed, refined": dict(
        supervision="mixed", refinement=REFINEMENT, loss_consistency=CONSISTENCY
    ),
    "masks": dict(supervision="mask"),
}


def numbers_of(case):
    """Losses, and the norm and one product of the gradient of each parameter."""
    head = make_head(**CASES[case])
    masks = "some" if "supervision" in CASES[case] else None
    losses = losses_of(head, masks=masks, img_shape=(60, 90))
    sum(losses.values()).backward()
    gradients = {}
    for name, value in head.named_parameters():
        gradient = value.grad.flatten().double()
        product = gradient @ torch.cos(torch.arange(len(gradient)).double())
        gradients[name] = [gradient.norm().item(), product.item()]
    return dict(losses={name: value.item() for name, value in losses.items()}, gradients=gradients)


@pytest.mark.parametrize("case", CASES)
def test_numbers_are_those_before(case):
    want, found = json.loads(FILE.read_text())[case], numbers_of(case)
    assert found["losses"] == pytest.approx(want["losses"], rel=2e-6)
    assert found["gradients"].keys() == want["gradients"].keys()
    largest = max(norm for norm, _ in want["gradients"].values())
    for name, (norm, product) in want["gradients"].items():
        # Rounding is all that some gradients are.
        close = pytest.approx([norm, product], rel=2e-5, abs=2e-5 * norm + 1e-8 * largest)
        assert found["gradients"][name] == close, name
