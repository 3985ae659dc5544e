from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from mmlevelset.models import (
    ChanVeseFeatureHead,
    GlobalHyperparameters,
    HyperparameterHead,
    LevelSetMaskHead,
    TSDFLoss,
)
from mmlevelset.models.levelset_rcnn.result import LevelSets
from mmlevelset.models.levelset_rcnn.targets import image_tsdf
from tests.models.levelset_rcnn.builders import SMALL

LABELS = torch.tensor([0, 2])
L1 = dict(type="mmlevelset.TSDFLoss", bce_weight=0.0)


def mask_head(**options):
    torch.manual_seed(0)
    head = LevelSetMaskHead(**(SMALL | dict(mask_size=32) | options))
    head.init_weights()
    return head


@pytest.mark.parametrize("make", [HyperparameterHead, GlobalHyperparameters])
def test_hyperparameters_start_where_the_evolution_is_gentle(make):
    head = make(num_steps=4, in_channels=8)
    head.init_weights()
    settings = head(torch.zeros(5, 8, 14, 14))
    assert settings.eps.shape == settings.dt.shape == (5, 4)
    for name, values in settings._asdict().items():
        assert (values - 1).abs().max() < 0.05, name


def test_hyperparameters_stay_in_range():
    head = HyperparameterHead(num_steps=2, in_channels=8, num_convs=0)
    head.init_weights()
    with torch.no_grad():
        head.output.weight.normal_(std=100)
    settings = head(torch.randn(64, 8, 14, 14) * 10)
    for name in ("lambda1", "lambda2", "mu", "dt"):
        assert (getattr(settings, name) >= 0).all() and (getattr(settings, name) <= 2).all()
    assert settings.eps.min() >= 1e-2


def test_feature_head():
    head = ChanVeseFeatureHead(8, 2, 16, (12, 10, 6))
    head.init_weights()
    assert head(torch.randn(2, 8, 14, 14), 112).shape == (2, 6, 112, 112)
    assert head(torch.randn(0, 8, 14, 14), 56).shape == (0, 6, 56, 56)
    assert (head(torch.randn(2, 8, 14, 14), 112) < 0).any(), "the last convolution has no ReLU"


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_level_sets(steps):
    head = mask_head(num_steps=steps)
    found = head(torch.randn(2, 8, 14, 14), LABELS)
    assert found.trajectory.shape == (2, steps + 1, 32, 32)
    assert found.trajectory.dtype == torch.float32
    assert found.refined is None and found.velocity is None
    none = head(torch.randn(0, 8, 14, 14), torch.zeros(0, dtype=torch.long))
    assert none.trajectory.shape == (0, steps + 1, 32, 32)


def test_the_class_selects_the_channel():
    head = mask_head()
    x = torch.randn(1, 8, 14, 14).repeat(3, 1, 1, 1)
    each = head(x, torch.tensor([0, 1, 2])).initial
    assert not torch.equal(each[0], each[1]) and not torch.equal(each[1], each[2])
    agnostic = mask_head(class_agnostic=True)(x, torch.tensor([0, 1, 2])).trajectory
    assert torch.equal(agnostic[0], agnostic[2])


@pytest.mark.parametrize("detach", [True, False])
def test_gradients_through_the_initial_level_set(detach):
    head = mask_head(detach_initial=detach)
    head(torch.randn(2, 8, 14, 14), LABELS).final.sum().backward()
    assert (head.conv_logits.weight.grad.abs().sum() == 0) == detach
    assert head.feature_head.output.weight.grad.abs().sum() > 0
    assert head.hyperparameter_head.output.bias.grad.abs().min() > 0


def test_image_features_and_data_scale():
    head = mask_head(image_features=True, data_scale=10.0)
    x, image = torch.randn(2, 8, 14, 14), torch.randn(2, 3, 32, 32)
    found, other = head(x, LABELS, image), head(x, LABELS, -image + image**2)
    assert not torch.equal(found.trajectory[:, 1], other.trajectory[:, 1])
    found.final.sum().backward()
    assert head.sources.logits.grad.all()
    assert head.sources.weights().tolist() == pytest.approx([10, 10])
    with pytest.raises(ValueError, match="image must be given"):
        head(x, LABELS)


def test_autocast_leaves_the_level_sets_in_float32():
    head = mask_head(image_features=True)
    x, image = torch.randn(2, 8, 14, 14), torch.randn(2, 3, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        level_sets = head(x, LABELS, image).trajectory
    assert level_sets.dtype == torch.float32
    expected = head(x, LABELS, image).trajectory
    torch.testing.assert_close(level_sets, expected, rtol=0.1, atol=0.1)
    level_sets.sum().backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_features_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"roi_feat_size must be the output_size.*\(7, 7\)"):
        mask_head()(torch.randn(1, 8, 7, 7))


def test_a_mask_rcnn_checkpoint_fits_the_trunk():
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead

    other = FCNMaskHead(num_convs=1, in_channels=8, conv_out_channels=8, num_classes=3)
    head = mask_head()
    missing, unexpected = head.load_state_dict(other.state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {
        "hyperparameter_head",
        "feature_head",
        "sources",
    }
    assert torch.equal(head.conv_logits.weight, other.conv_logits.weight)


def sampled(boxes, masks, size=64):
    """Sampling result and annotations of one image; each object is its own RoI."""
    indices = torch.arange(len(boxes))
    sampling = SimpleNamespace(
        pos_priors=boxes, pos_assigned_gt_inds=indices, pos_gt_labels=indices * 0
    )
    return [sampling], [SimpleNamespace(masks=BitmapMasks(masks, size, size))]


def test_the_true_level_set_has_no_loss():
    masks = np.zeros((2, 64, 64), dtype=np.uint8)
    masks[0, 10:50, 20:48] = 1
    masks[1, 30:60, 5:25] = 1
    boxes = torch.tensor([[16.0, 6, 52, 54], [5, 30, 25, 60]])
    head = mask_head(mask_size=28, truncation=4.0, num_steps=0, loss_tsdf=L1)
    truth = image_tsdf(torch.from_numpy(masks), boxes, torch.arange(2), 28, 4.0)
    losses = head.loss_and_target(LevelSets(truth[:, None]), *sampled(boxes, masks), None)[
        "loss_mask"
    ]
    assert losses["loss_tsdf_initial"] < 1e-6 and losses["iou_initial"] == 1
    wrong = head.loss_and_target(LevelSets(truth[:, None] / 2), *sampled(boxes, masks), None)[
        "loss_mask"
    ]
    assert wrong["loss_tsdf_initial"] > 0.1


def test_the_truncation_is_measured_on_the_grid_of_the_initial_level_set():
    mask = np.zeros((1, 64, 64), dtype=np.uint8)
    mask[0, :, 32:] = 1
    boxes = torch.tensor([[4.0, 4, 60, 60]])  # two pixels a sample of 28, one of 56
    _, tsdfs = mask_head(mask_size=56)._targets(*sampled(boxes, mask))
    distance = (torch.arange(56) - 27.5) / 8
    expected = distance.clamp(-1, 1)[:48]  # further on, the image's edge is near
    torch.testing.assert_close(tsdfs[0, 28, :48], expected)


def test_polygon_masks_give_the_same_targets():
    mask = np.zeros((1, 64, 64), dtype=np.uint8)
    mask[0, 20:40, 10:30] = 1
    boxes = torch.tensor([[6.0, 16, 34, 44]])
    sampling, truth = sampled(boxes, mask)
    outline = np.array([10.0, 20, 30, 20, 30, 40, 10, 40])
    polygons = [SimpleNamespace(masks=PolygonMasks([[outline]], 64, 64))]
    for one, other in zip(
        mask_head()._targets(sampling, truth), mask_head()._targets(sampling, polygons), strict=True
    ):
        assert torch.equal(one, other)


def test_loss_weights():
    masks = np.zeros((1, 64, 64), dtype=np.uint8)
    masks[0, 20:40, 10:30] = 1
    batch = sampled(torch.tensor([[6.0, 16, 34, 44]]), masks)
    level_sets = LevelSets(torch.randn(1, 4, 32, 32))
    plain = mask_head(initial_weight=1.0, final_weight=1.0).loss_and_target(
        level_sets, *batch, None
    )
    two = mask_head(initial_weight=2.0, final_weight=3.0).loss_and_target(level_sets, *batch, None)
    for name, factor in (("loss_tsdf_initial", 2), ("loss_tsdf_final", 3)):
        torch.testing.assert_close(two["loss_mask"][name], factor * plain["loss_mask"][name])


def test_the_image_alone():
    head = mask_head(image_features=True, feature_head=None)
    found = head(torch.randn(2, 8, 14, 14), LABELS, torch.randn(2, 3, 32, 32))
    assert found.trajectory.shape[1] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(num_steps=-1), "num_steps must not be negative"),
        (dict(truncation=0), "truncation must be positive"),
        (dict(data_scale=-1.0), "data_scale must be positive"),
        (dict(feature_head=None), "fine_channels is 0 and image_features is off"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        mask_head(**options)


def test_loss_is_the_definition():
    phi = torch.randn(2, 5, 5, dtype=torch.float64)
    tsdf, mask = torch.rand(2, 5, 5, dtype=torch.float64) * 2 - 1, torch.rand(2, 5, 5) > 0.5
    soft = 0.5 + torch.atan(phi / 0.1) / torch.pi
    expected = (phi - tsdf).abs().mean() + torch.nn.functional.binary_cross_entropy(
        soft, mask.double()
    )
    torch.testing.assert_close(TSDFLoss()(phi, tsdf, mask), expected)
    torch.testing.assert_close(
        TSDFLoss(l1_weight=0.0, bce_weight=2.0)(phi, tsdf, mask),
        2 * (expected - (phi - tsdf).abs().mean()),
    )


def test_loss_is_finite_far_from_the_truth():
    phi = torch.tensor([[[1e12, -1e12]]], requires_grad=True)
    loss = TSDFLoss()(phi, torch.zeros(1, 1, 2), torch.tensor([[[False, True]]]))
    loss.backward()
    assert loss.isfinite() and phi.grad.isfinite().all()


def test_loss_without_regions():
    phi = torch.zeros(0, 4, 4, requires_grad=True)
    loss = TSDFLoss()(phi, torch.zeros(0, 4, 4), torch.zeros(0, 4, 4, dtype=torch.bool))
    loss.backward()
    assert loss == 0
