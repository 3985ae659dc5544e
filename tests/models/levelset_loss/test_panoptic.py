"""The level-set loss in mmdet's semantic heads."""

import pytest
import torch
from mmdet.models import FusedSemanticHead, PanopticFPNHead
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData

from mmlevelset.models.levelset_loss import LevelSetLoss, LossSum
from mmlevelset.registry import MODELS

CROSS_ENTROPY = dict(type="CrossEntropyLoss", ignore_index=255, loss_weight=0.5)
LEVEL_SET = dict(type="mmlevelset.LevelSetLoss", loss_weight=0.01)
BOTH = dict(type="mmlevelset.LossSum", losses=[CROSS_ENTROPY, LEVEL_SET])
pytestmark = pytest.mark.filterwarnings("ignore:Default ``avg_non_ignore`` is False")


def level_set(logits, labels):
    return LevelSetLoss(loss_weight=0.01)(logits, labels)


def test_sum_passes_its_arguments_on():
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    labels = torch.randint(3, (2, 4, 5))
    labels[:, 0] = 9
    first, second = (
        MODELS.build(dict(type="mmlevelset.LossSum", losses=[loss])) for loss in BOTH["losses"]
    )
    both = MODELS.build(BOTH)
    given = dict(ignore_index=9, weight=torch.rand(2, 4, 5))
    total = both(logits, labels, **given)
    assert total.shape == ()
    assert torch.equal(total, first(logits, labels, **given) + second(logits, labels, **given))
    assert second(logits, labels, **given) == MODELS.build(LEVEL_SET)(logits, labels, **given)
    total.backward()
    assert logits.grad.any()


@pytest.mark.parametrize("losses", [[], (), LEVEL_SET])
def test_sum_of_nothing_is_refused(losses):
    with pytest.raises(ValueError, match="losses must be a list of at least one config, but is"):
        LossSum(losses)


THINGS, STUFF = 3, 4


def heads(loss, **others):
    """Our head and mmdet's head with the same weights."""
    register_all_modules(init_default_scope=False)
    config = dict(
        num_things_classes=THINGS,
        num_stuff_classes=STUFF,
        in_channels=4,
        inner_channels=4,
        norm_cfg=dict(type="GN", num_groups=2),
        **others,
    )
    ours = MODELS.build(dict(type="mmlevelset.PanopticFPNHead", loss_seg=loss, **config))
    theirs = PanopticFPNHead(loss_seg=CROSS_ENTROPY, **config)
    ours.init_weights()
    with torch.no_grad():  # initial scores are nearly equal
        ours.conv_logits.weight.normal_()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def batch(size=(32, 64), stride=4):
    generator = torch.Generator().manual_seed(0)
    features = [
        torch.randn(2, 4, size[0] // step, size[1] // step, generator=generator)
        for step in (stride, 2 * stride, 4 * stride, 8 * stride)
    ]
    labels = torch.randint(THINGS + STUFF, (2, 1, *size), generator=generator)
    labels[:, :, -8:] = 255
    labels[0][labels[0] == 5] = 4
    samples = [DetDataSample(gt_sem_seg=PixelData(sem_seg=some)) for some in labels]
    return features, samples


@pytest.mark.parametrize("start", [0, 1])
def test_panoptic_head_is_mmdets_with_cross_entropy(start):
    ours, theirs = heads(CROSS_ENTROPY, start_level=start)
    features, samples = batch()
    loss, want = (head.loss(features, samples)["loss_seg"] for head in (ours, theirs))
    torch.testing.assert_close(loss, want)
    for head, value in ((ours, loss), (theirs, want)):
        value.backward()
        assert all(weight.grad.any() for weight in head.parameters())
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)


def test_panoptic_head_gives_the_loss_whole_maps():
    ours, theirs = heads(BOTH)
    features, samples = batch()
    loss = ours.loss(features, samples)["loss_seg"]
    cross_entropy = theirs.loss(features, samples)["loss_seg"]
    labels = torch.stack([sample.gt_sem_seg.sem_seg[0, ::4, ::4] for sample in samples])
    # The head predicts the stuff classes and a last class for all things.
    labels = labels.where(labels >= THINGS, THINGS + STUFF)
    labels = labels.where(labels == 255, labels - THINGS)
    logits = ours(features)["seg_preds"]
    assert logits.shape == (2, STUFF + 1, 8, 16)
    assert set(labels.unique().tolist()) == {0, 1, 2, 3, 4, 255}
    torch.testing.assert_close(loss, cross_entropy + level_set(logits, labels))
    merged = logits.movedim(1, 0).flatten(1)[None, :, None], labels.flatten()[None, None]
    assert (level_set(logits, labels) - level_set(*merged)).abs() > 1e-3


def test_panoptic_fpn_trains_with_it():
    register_all_modules(init_default_scope=False)
    config = Config.fromstring(
        '_base_ = ["mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py"]', file_format=".py"
    )
    config.merge_from_dict(
        {
            "model.backbone.depth": 18,
            "model.backbone.init_cfg": None,
            "model.backbone.base_channels": 8,
            "model.neck.in_channels": [8, 16, 32, 64],
            "model.roi_head.bbox_head.fc_out_channels": 8,
            "model.semantic_head.type": "mmlevelset.PanopticFPNHead",
            "model.semantic_head.loss_seg": dict(_delete_=True, **BOTH),
        }
    )
    model = MODELS.build(config.model).train()
    size = (64, 96)
    samples = []
    for shift in (0, 8):
        masks = torch.zeros(1, *size)
        masks[:, 8 : 40 + shift, 16:70] = 1
        labels = torch.full((1, *size), 90)
        labels[masks.bool()] = 0
        labels[:, -4:] = 255
        boxes = torch.tensor([[16.0, 8.0, 70.0, 40.0 + shift]])
        instances = InstanceData(bboxes=boxes, labels=torch.zeros(1, dtype=torch.long))
        instances.masks = BitmapMasks(masks.byte().numpy(), *size)
        meta = dict.fromkeys(("img_shape", "pad_shape", "batch_input_shape", "ori_shape"), size)
        samples.append(
            DetDataSample(
                metainfo=dict(meta, scale_factor=(1.0, 1.0)),
                gt_instances=instances,
                gt_sem_seg=PixelData(sem_seg=labels),
            )
        )
    losses = model.loss(torch.randn(2, 3, *size), samples)
    assert losses["loss_seg"].isfinite()
    losses["loss_seg"].backward()
    assert all(weight.grad.any() for weight in model.semantic_head.conv_logits.parameters())
    assert model.backbone.layer4[0].conv1.weight.grad.any()


def test_fused_head_of_htc_takes_the_sum():
    head = FusedSemanticHead(
        num_ins=3, fusion_level=1, in_channels=4, conv_out_channels=4, num_classes=5, loss_seg=BOTH
    )
    features = [torch.randn(2, 4, 32 >> i, 48 >> i) for i in range(3)]
    labels = torch.randint(5, (2, 1, 128, 192))
    labels[:, :, :9] = 255
    logits, _ = head(features)
    loss = head.loss(logits, labels)
    small = labels[:, 0, ::8, ::8]
    cross_entropy = MODELS.build(dict(type="mmlevelset.LossSum", losses=[CROSS_ENTROPY]))
    torch.testing.assert_close(loss, cross_entropy(logits, small) + level_set(logits, small))
    loss.backward()
    assert head.conv_logits.weight.grad.any()
