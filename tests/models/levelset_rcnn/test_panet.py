import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config

from mmlevelset.models import (
    AdaptiveFeaturePooling,
    LevelSetMaskHead,
    PANetLevelSetMaskHead,
    PANetMaskHead,
)

SMALL = dict(num_convs=2, in_channels=8, conv_out_channels=8, num_classes=3)


def pooling(strides=(4, 8)):
    torch.manual_seed(0)
    layer = dict(type="RoIAlign", output_size=7, sampling_ratio=2)
    return AdaptiveFeaturePooling(layer, 6, list(strides))


def test_pooling_takes_the_maximum_over_the_levels():
    extractor = pooling()
    feats = (torch.randn(2, 6, 16, 16), torch.randn(2, 6, 8, 8))
    rois = torch.tensor([[0.0, 4, 4, 40, 30], [1, 0, 10, 20, 64], [0, 1, 1, 9, 9]])
    pooled = extractor(feats, rois)
    assert pooled.shape == (3, 6, 7, 7)
    for roi, features in zip(rois, pooled, strict=True):
        levels = [
            extractor.convs[level].conv(extractor.roi_layers[level](feats[level], roi[None]))
            for level in range(2)
        ]
        expected = torch.stack(levels).clamp(min=0).max(0).values[0]
        torch.testing.assert_close(features, expected)
    assert extractor(feats, rois[:0]).shape == (0, 6, 7, 7)
    larger = rois.clone()
    larger[:, 1:3] -= (rois[:, 3:] - rois[:, 1:3]) / 4
    larger[:, 3:] += (rois[:, 3:] - rois[:, 1:3]) / 4
    torch.testing.assert_close(extractor(feats, rois, 1.5), extractor(feats, larger))


def test_each_level_learns_where_it_is_the_maximum():
    extractor = pooling()
    with torch.no_grad():
        for conv, bias in zip(extractor.convs, (1.0, 2.0), strict=True):
            conv.conv.weight.zero_()
            conv.conv.bias.fill_(bias)
    feats = (torch.randn(1, 6, 16, 16), torch.randn(1, 6, 8, 8))
    extractor(feats, torch.tensor([[0.0, 4, 4, 40, 30]])).sum().backward()
    assert not extractor.convs[0].conv.bias.grad.any()
    assert (extractor.convs[1].conv.bias.grad == 49).all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(num_convs=1),
        dict(upsample_cfg=dict(type="bilinear", scale_factor=2)),
        dict(upsample_cfg=dict(type=None)),
        dict(class_agnostic=True, norm_cfg=dict(type="GN", num_groups=2)),
    ],
)
def test_fusion_adds_one_map_to_all_classes(options):
    torch.manual_seed(0)
    head = PANetMaskHead(**SMALL | options)
    plain = MODELS.build(dict(type="FCNMaskHead", **SMALL | options))
    unknown = plain.load_state_dict(head.state_dict(), strict=False).unexpected_keys
    assert {name.split(".")[0] for name in unknown} == {"fusion_convs", "fusion_fc"}
    x = torch.randn(2, 8, 14, 14)
    added = head(x) - plain(x)
    side = 14 if options.get("upsample_cfg", {}).get("type", "") is None else 28
    assert added.shape == (2, 1 if "class_agnostic" in options else 3, side, side)
    torch.testing.assert_close(added, added[:, :1].expand_as(added), rtol=0, atol=1e-5)
    *before, _ = plain.convs
    for conv in before:
        x = conv(x)
    branch = head.fusion_convs(x).reshape(2, -1)
    expected = (branch @ head.fusion_fc.weight.T + head.fusion_fc.bias).reshape(2, side, side)
    torch.testing.assert_close(added[:, 0], expected, rtol=0, atol=1e-5)


def test_fusion_needs_a_convolution_and_features_of_its_size():
    with pytest.raises(ValueError, match="num_convs must be positive, but is 0"):
        PANetMaskHead(**SMALL | dict(num_convs=0))
    with pytest.raises(ValueError, match="roi_feat_size"):
        PANetMaskHead(**SMALL)(torch.randn(2, 8, 7, 7))


def test_the_fused_map_moves_the_initial_level_set():
    torch.manual_seed(0)
    options = dict(SMALL, num_steps=0, mask_size=28)
    head, plain = PANetLevelSetMaskHead(**options), LevelSetMaskHead(**options)
    plain.load_state_dict(head.state_dict(), strict=False)
    x, labels = torch.randn(2, 8, 14, 14), torch.tensor([0, 2])
    with torch.no_grad():
        head.fusion_fc.weight.zero_()
        head.fusion_fc.bias.copy_(torch.linspace(-1, 1, 28 * 28))
        difference = head(x, labels).trajectory - plain(x, labels).trajectory
    expected = torch.linspace(-1, 1, 28 * 28).view(1, 1, 28, 28).expand_as(difference)
    torch.testing.assert_close(difference, expected, rtol=0, atol=1e-5)


def small_panet():
    """The published configuration, narrow."""
    config = Config.fromfile(
        "configs/levelset_rcnn/levelset-rcnn_wrn38-dcn_pafpn_24k_cityscapes.py"
    )
    config.merge_from_dict(
        {
            "model.backbone": dict(
                base_channels=4,
                structure=(1, 1, 1, 1, 1, 1),
                norm_cfg=dict(type="GN", num_groups=4, requires_grad=True),
                frozen_stages=0,
                init_cfg=None,
            ),
            "model.neck": dict(in_channels=[16, 32, 64, 256], out_channels=8),
            "model.rpn_head": dict(in_channels=8, feat_channels=8),
            "model.roi_head.bbox_roi_extractor.out_channels": 8,
            "model.roi_head.bbox_head": dict(in_channels=8, fc_out_channels=8),
            "model.roi_head.mask_roi_extractor.out_channels": 8,
            "model.roi_head.mask_head": dict(in_channels=8, conv_out_channels=8, mask_size=28),
            "model.roi_head.mask_head.hyperparameter_head": dict(conv_channels=8, fc_channels=8),
            "model.roi_head.mask_head.feature_head": dict(
                conv_channels=8, upsample_channels=(8, 4)
            ),
            "model.train_cfg.rcnn.sampler.num": 16,
            "model.test_cfg.rcnn": dict(score_thr=0.0, max_per_img=3),
        }
    )
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return model


@pytest.mark.parametrize("objects", [2, 0])
def test_a_training_step_with_all_modifications_reaches_every_parameter(objects):
    model = small_panet()
    inputs = demo_mm_inputs(
        1, image_shapes=[(3, 96, 96)], num_items=[objects], num_classes=8, with_mask=True
    )
    losses = model(**model.data_preprocessor(inputs, True), mode="loss")
    total, _ = model.parse_losses(losses)
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if objects and "fusion" in name:
            assert parameter.grad.any(), name


def test_prediction_with_all_modifications():
    model = small_panet().eval()
    inputs = demo_mm_inputs(1, image_shapes=[(3, 96, 80)], num_items=[1], num_classes=8)
    with torch.no_grad():
        (result,) = model(**model.data_preprocessor(inputs), mode="predict")
    assert result.pred_instances.masks.shape == (3, 96, 80)
