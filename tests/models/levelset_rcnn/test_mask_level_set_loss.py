import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.config import Config

from mmlevelset.models import MaskLevelSetLoss
from tests.models.levelset_rcnn.test_detector import batch, total


def naive_energy(logits, truth, eps=0.1):
    """One mask (H, W)."""
    phi = 1 / (1 + (-logits).exp()) - 0.5
    inside = 0.5 * (1 + 2 / torch.pi * (phi / eps).atan())
    energy = 0
    for region in (inside, 1 - inside):
        mean = (region * truth).sum() / region.sum()
        energy = energy + (region * (truth - mean) ** 2).sum()
    return energy / truth.numel()


def example():
    torch.manual_seed(0)
    pred = torch.randn(2, 3, 7, 5, requires_grad=True)
    return pred, (torch.rand(2, 7, 5) > 0.6).float(), torch.tensor([2, 0])


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_loss_is_the_definition(weight):
    pred, target, label = example()
    loss = MaskLevelSetLoss(loss_weight=weight)(pred, target, label)
    logits = torch.stack([pred[0, 2], pred[1, 0]]).double()
    energies = [naive_energy(*pair) for pair in zip(logits, target.double(), strict=True)]
    expected = F.binary_cross_entropy_with_logits(logits, target.double())
    expected = (expected + weight * sum(energies) / 2).float()
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(value, pred)[0] for value in (loss, expected))
    torch.testing.assert_close(ours, theirs)


def test_the_energy_alone_is_least_for_the_true_mask_or_its_inverse():
    _, target, label = example()
    energy = MaskLevelSetLoss(kind="tanh", loss_cross_entropy=None)

    def of(logits):
        return energy(logits[:, None], target, label * 0)

    true = 20 * target - 10
    assert of(true) < 1e-3
    torch.testing.assert_close(of(true), of(-true))
    assert of(true * 0) > 0.1


def test_length():
    _, target, label = example()
    settings = dict(kind="tanh", eps=0.01, loss_cross_entropy=None)
    logits = (20 * target - 10)[:, None]
    energy = MaskLevelSetLoss(**settings)(logits, target, label * 0)
    longer = MaskLevelSetLoss(length_weight=0.5, **settings)(logits, target, label * 0)
    steps = target.diff(dim=1).abs().sum() + target.diff(dim=2).abs().sum()
    torch.testing.assert_close(longer - energy, 0.5 * steps / target.numel())


def test_no_rois():
    pred = torch.zeros(0, 3, 7, 5, requires_grad=True)
    loss = MaskLevelSetLoss()(pred, torch.zeros(0, 7, 5), torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0


def test_half_precision_logits():
    pred, target, label = example()
    expected = MaskLevelSetLoss()(pred, target, label)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = MaskLevelSetLoss()(pred.bfloat16(), target, label)
    torch.testing.assert_close(loss.float(), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(loss_weight=-1.0), "loss_weight must not be negative, but is -1.0"),
        (dict(length_weight=-1.0), "length_weight must not be negative"),
        (dict(eps=0.0), "eps must be positive"),
        (dict(kind="step"), "kind must be one of arctan, tanh, sigmoid, but is 'step'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MaskLevelSetLoss(**options)


HIGH_RESOLUTION = {
    "roi_head.mask_roi_extractor.roi_layer.output_size": 28,
    "roi_head.mask_head.roi_feat_size": 28,
    "train_cfg.rcnn.mask_size": 56,
}


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [("mask-rcnn_level-set", {}, 28), ("mask-rcnn", HIGH_RESOLUTION, 56)],
)
def test_training_step_and_prediction(name, options, size):
    torch.manual_seed(0)
    config = Config.fromfile(f"configs/quickstart/{name}_shapes.py")
    config.merge_from_dict({f"model.{key}": value for key, value in options.items()})
    config = config.model
    config.test_cfg.rcnn.update(score_thr=0.0, max_per_img=5)
    model = MODELS.build(config)
    model.init_weights()
    sizes = []
    model.roi_head.mask_head.register_forward_hook(lambda *call: sizes.append(call[-1].shape[2:]))
    total(model.loss(*batch())).backward()
    assert sizes == [(size, size)]
    for parameter in model.roi_head.mask_head.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any()
    with torch.no_grad():
        for result in model.eval().predict(*batch()):
            assert result.pred_instances.masks.shape == (5, 96, 96)
