"""The level-set loss in mmsegmentation's heads, if mmsegmentation is installed."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData

pytest.importorskip("mmseg.models", reason="mmsegmentation is not installed")
from mmseg.structures import SegDataSample

from mmlevelset.models.levelset_loss import LevelSetLoss

CLASSES = 4
CROSS_ENTROPY = dict(type="CrossEntropyLoss", avg_non_ignore=True)
LEVEL_SET = dict(type="mmlevelset.LevelSetLoss", loss_weight=0.01)


@pytest.fixture(autouse=True)
def _mmseg_scope():
    with DefaultScope.overwrite_default_scope("mmseg"):
        yield


def network(**head):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type="mmseg.EncoderDecoder",
            data_preprocessor=dict(
                type="SegDataPreProcessor", size=(32, 48), seg_pad_val=255, pad_val=0
            ),
            backbone=dict(type="ResNetV1c", depth=18, base_channels=4, stem_channels=4),
            decode_head=dict(
                type="FCNHead",
                in_channels=32,
                in_index=3,
                channels=8,
                num_convs=1,
                num_classes=CLASSES,
                norm_cfg=dict(type="BN"),
                align_corners=False,
                **head,
            ),
        )
    ).train()


def batch(size=(30, 40)):
    """Two images that are smaller than the network's input; padded pixels have no label."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (2, 1, *size), generator=generator)
    labels[0][labels[0] == 2] = 255
    images = list(torch.randint(256, (2, 3, *size), generator=generator, dtype=torch.uint8))
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=some), metainfo=dict(img_shape=size))
        for some in labels
    ]
    return dict(inputs=images, data_samples=samples)


def test_training_step():
    model = network(loss_decode=[CROSS_ENTROPY, LEVEL_SET])
    assert [type(loss) for loss in model.decode_head.loss_decode][1] is LevelSetLoss
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    logs = model.train_step(batch(), optimizer)
    ce, level_set = logs["decode.loss_ce"], logs["decode.loss_level_set"]
    assert ce > 0 and level_set > 0
    torch.testing.assert_close(logs["loss"], ce + level_set)
    for name, weight in model.named_parameters():
        assert weight.isfinite().all()
        assert not torch.equal(weight, before[name]) or name.endswith("conv_seg.bias"), name


def test_loss_is_of_the_resized_logits_and_the_padded_labels():
    model = network(loss_decode=LEVEL_SET, dropout_ratio=0)
    data = model.data_preprocessor(batch(), True)
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in data["data_samples"]])
    assert labels.shape == (2, 32, 48) and (labels[:, 30:] == 255).all()
    logits = model.decode_head(model.extract_feat(data["inputs"])).requires_grad_()
    losses = model.decode_head.loss_by_feat(logits, data["data_samples"])
    full = torch.nn.functional.interpolate(logits, (32, 48), mode="bilinear", align_corners=False)
    want = LevelSetLoss(loss_weight=0.01)(full, labels)
    torch.testing.assert_close(losses["loss_level_set"], want)


def test_pixel_sampler_weighs_the_pixels():
    model = network(
        loss_decode=[CROSS_ENTROPY, LEVEL_SET],
        dropout_ratio=0,
        sampler=dict(type="OHEMPixelSampler", thresh=0.25, min_kept=50),
    )
    head = model.decode_head
    data = model.data_preprocessor(batch(), True)
    logits = head(model.extract_feat(data["inputs"]))
    losses = head.loss_by_feat(logits, data["data_samples"])
    labels = torch.stack([sample.gt_sem_seg.data for sample in data["data_samples"]])
    full = torch.nn.functional.interpolate(logits, (32, 48), mode="bilinear", align_corners=False)
    kept = head.sampler.sample(full, labels)
    assert 0 < kept.sum() < (labels != 255).sum()
    labels = labels[:, 0].where(kept > 0, 255)
    torch.testing.assert_close(
        losses["loss_level_set"], LevelSetLoss(loss_weight=0.01)(full, labels)
    )


def test_sampler_of_pixel_losses_is_refused():
    model = network(loss_decode=LEVEL_SET, sampler=dict(type="OHEMPixelSampler", min_kept=50))
    with pytest.raises(ValueError, match="reduction_override must be one of sum, image, pixel"):
        model(**model.data_preprocessor(batch(), True), mode="loss")
