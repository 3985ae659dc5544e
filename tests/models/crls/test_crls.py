"""CRLS: its stages, the gradients of their losses, and its predictions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData

SIZE = 64
BOXES = ((12, 10, 44, 48), (30, 28, 60, 58))
GRID = 7


def config_of(backbone="fpn", warp=None, **roi_head):
    model = Config.fromfile("configs/quickstart/crls_shapes.py").model
    if backbone == "vgg":
        vgg = Config.fromfile("configs/crls/crls_vgg16_40k_voc.py").model
        vgg.backbone.update(init_cfg=None)
        vgg.rpn_head.update(feat_channels=16)
        vgg.rpn_head.anchor_generator.update(scales=[1, 2, 4])
        vgg.train_cfg.rcnn.sampler.num = 32
        vgg.train_cfg.rpn_proposal.max_per_img = vgg.test_cfg.rpn.max_per_img = 50
        vgg.roi_head.bbox_head.update(fc_out_channels=16, fc_init_cfg=None, num_classes=4)
        model = vgg
    else:
        model.backbone.update(base_channels=8, stem_channels=8)
        model.backbone.norm_cfg.num_groups = 2
        model.neck.in_channels = [8, 16, 32, 64]
        model.roi_head.bbox_head.fc_out_channels = 16
    head = model.roi_head
    head.update(roi_head)
    head.bbox_roi_extractor.update(warp or {}, output_size=GRID)
    head.mask_head.update(roi_feat_size=GRID)
    if backbone != "small":  # as in the paper
        head.mask_head.num_convs = 0
        head.mask_head.network = dict(
            type="mmlevelset.RecurrentLevelSet", size=(GRID, GRID), in_channels=1
        )
    head.bbox_head.update(pool_size=3)
    model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=6)
    return model


def make(*args, **kwargs):
    torch.manual_seed(0)
    model = MODELS.build(config_of(*args, **kwargs))
    model.init_weights()
    return model


def batch(boxes=BOXES, images=2, scale=1.0):
    samples = []
    for _ in range(images):
        masks = np.zeros((len(boxes), SIZE, SIZE), dtype=np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            mask[y1 : (y1 + y2) // 2, x1:x2] = 1
        truth = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            labels=torch.arange(len(boxes)) % 4,
            masks=BitmapMasks(masks, SIZE, SIZE),
        )
        shapes = ("img_shape", "pad_shape", "batch_input_shape")
        meta = dict.fromkeys(shapes, (SIZE, SIZE)) | dict(scale_factor=(scale, scale))
        meta["ori_shape"] = (int(SIZE / scale), int(SIZE / scale))
        sample = DetDataSample(gt_instances=truth, metainfo=meta)
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    generator = torch.Generator().manual_seed(5)
    return torch.randn(images, 3, SIZE, SIZE, generator=generator), samples


def losses_of(model, **given):
    torch.manual_seed(3)  # proposals are sampled
    return model.loss(*batch(**given))


def total(losses):
    return sum(
        sum(value) if isinstance(value, list) else value
        for name, value in losses.items()
        if "loss" in name
    )


@pytest.mark.parametrize("backbone", ["small", "fpn", "vgg"])
def test_training_step_reaches_everything(backbone):
    model = make(backbone).train()
    losses = losses_of(model)
    assert {name for name in losses if "loss" in name} == {
        "loss_rpn_cls",
        "loss_rpn_bbox",
        "loss_mask",
        "loss_cls",
        "loss_bbox",
    }
    assert 0 <= losses["iou_mask"] <= 1
    total(losses).backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert backbone == "vgg" and int(name.split(".")[2]) < 10, name  # two stages
            continue
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if name.startswith("roi_head"):
            assert parameter.grad.any(), name


def losses_and_gradients_of_boxes(**warp):
    """The losses of the RoIs, and the gradient of each to the regression of the proposals."""
    model = make(warp=warp).train()
    assigner = model.roi_head.bbox_assigner  # every RoI that touches an object is positive
    assigner.pos_iou_thr = assigner.neg_iou_thr = assigner.min_pos_iou = 0.1
    model.roi_head.bbox_sampler.add_gt_as_proposals = False
    found = losses_of(model)
    found = {name: found[name] for name in ("loss_mask", "loss_cls", "loss_bbox")}
    weight = model.rpn_head.rpn_reg.weight
    gradients = {
        name: torch.autograd.grad(loss, weight, retain_graph=True, allow_unused=True)[0]
        for name, loss in found.items()
    }
    return found, gradients


def test_later_losses_reach_the_boxes_by_the_chosen_factor():
    losses, stopped = losses_and_gradients_of_boxes()
    assert set(stopped.values()) == {None}  # by default no loss reaches the boxes
    full_losses, full = losses_and_gradients_of_boxes(box_gradient=1.0)
    part_losses, part = losses_and_gradients_of_boxes(box_gradient=0.25)
    for name, gradient in full.items():
        assert gradient.isfinite().all() and gradient.any(), name
        torch.testing.assert_close(part[name], 0.25 * gradient)
        assert losses[name] == part_losses[name] == full_losses[name]


@pytest.mark.parametrize(("config", "factor"), [("vgg16", 1), ("r50_fpn", 0)])
def test_the_papers_network_has_the_full_gradients(config, factor):
    model = Config.fromfile(f"configs/crls/crls_{config}_40k_voc.py").model
    assert MODELS.build(model.roi_head.bbox_roi_extractor).box_gradient == factor


def test_the_loss_of_the_mask_reaches_the_box():
    # A proposal that moves: its features, hence its mask's loss, move with it.
    model = make(warp=dict(box_gradient=1.0)).double()
    head, (_, samples) = model.roi_head, batch(images=1)
    head.eval()
    head.bbox_sampler.add_gt_as_proposals = False
    x = [torch.randn(1, 64, side, side, dtype=torch.float64) for side in (16, 8, 4, 2)]
    samples[0].gt_instances.bboxes = samples[0].gt_instances.bboxes.double()
    boxes = torch.tensor([[10.3, 11.2, 42.4, 46.1], [33.1, 29.7, 58.2, 59.4]], dtype=torch.float64)

    def loss(boxes):
        return head.loss(x, [InstanceData(bboxes=boxes)], samples)["loss_mask"]

    assert torch.autograd.gradcheck(loss, boxes.requires_grad_(), eps=1e-7, atol=1e-5)
    assert torch.autograd.grad(loss(boxes), boxes)[0].any(1).all()


def test_the_loss_of_the_class_reaches_the_mask():
    head = make().roi_head
    x = torch.randn(3, 64, GRID, GRID)
    mask = torch.rand(3, GRID, GRID, requires_grad=True)
    scores, deltas = head.bbox_head(x, mask)
    assert scores.shape == (3, 5) and deltas.shape == (3, 16)
    (gradient,) = torch.autograd.grad(scores.square().sum(), mask)
    assert gradient.flatten(1).any(1).all()


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_classification_as_the_paper_has_it(pool):
    head = make().roi_head.bbox_head.eval()
    head.pool = pool
    x, mask = torch.randn(2, 64, GRID, GRID), torch.rand(2, GRID, GRID)

    def path(layers, features):
        cells = (slice(0, 3), slice(2, 5), slice(4, 7))  # of 7 pixels; neighbours overlap
        pooled = [
            getattr(features[..., rows, columns].flatten(2), dict(max="amax").get(pool, pool))(2)
            for rows in cells
            for columns in cells
        ]
        pooled = torch.stack(pooled, 2).flatten(1)
        first, second = layers[0], layers[3]
        hidden = (pooled @ first.weight.T + first.bias).clamp(min=0)
        return (hidden @ second.weight.T + second.bias).clamp(min=0)

    masked = torch.stack([f * m for f, m in zip(x, mask, strict=True)])
    joined = torch.cat([path(head.box_fcs, x), path(head.mask_fcs, masked)], 1)
    scores, deltas = head(x, mask)
    torch.testing.assert_close(scores, joined @ head.fc_cls.weight.T + head.fc_cls.bias)
    torch.testing.assert_close(deltas, joined @ head.fc_reg.weight.T + head.fc_reg.bias)


def test_convolutions_in_place_of_the_layer_of_the_image():
    config = config_of().roi_head.mask_head
    config.update(num_convs=2, conv_out_channels=5)
    config.network = dict(type="mmlevelset.RecurrentLevelSet", gate="conv", in_channels=3)
    head = MODELS.build(config).eval()
    head.init_weights()
    x = image = torch.randn(3, 64, GRID, GRID)
    for conv in head.convs:
        image = F.conv2d(image, conv.conv.weight, conv.conv.bias, padding=1).clamp(min=0)
    image = torch.einsum("kc,nchw->nkhw", head.conv_image.weight[:, :, 0, 0], image)
    mean = image.mean((2, 3), keepdim=True)
    image = (image - mean) / (image.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    expected = head.network(image)
    torch.testing.assert_close(head(x).logits, expected.logits, atol=1e-4, rtol=1e-4)
    assert not [name for name, _ in head.named_parameters() if name.startswith("fc.")]
    assert head(x[:0]).logits.shape == (0, 2, GRID, GRID)


@pytest.mark.parametrize("standardise", [True, False])
def test_segmentation_as_the_paper_has_it(standardise):
    head = make().roi_head.mask_head.eval()
    head.standardise = standardise
    x = torch.randn(3, 64, GRID, GRID)
    image = (x.flatten(1) @ head.fc.weight.T + head.fc.bias).clamp(min=0)
    if standardise:
        mean, variance = image.mean(1, keepdim=True), image.var(1, correction=0, keepdim=True)
        image = (image - mean) / (variance + 1e-5).sqrt()
    expected = head.network(image.view(3, 1, GRID, GRID))
    found = head(x)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-4)
    assert head(x[:0]).logits.shape == (0, 2, GRID, GRID)


def test_only_positive_proposals_have_a_mask_loss():
    model = make()
    head, (_, samples) = model.roi_head.eval(), batch(images=1)
    head.bbox_sampler.add_gt_as_proposals = False
    x = [torch.randn(1, 64, side, side) for side in (16, 8, 4, 2)]
    good = torch.tensor([[12.0, 10, 44, 44]])
    bad = torch.tensor([[0.0, 50, 10, 60], [50.0, 0, 60, 8]])
    losses = head.loss(x, [InstanceData(bboxes=torch.cat([bad, good]))], samples)
    rois = torch.tensor([[0.0, 12, 10, 44, 44]])
    found = head.mask_head(head.bbox_roi_extractor(x, rois))
    inside = torch.zeros(1, GRID, GRID, dtype=torch.long)
    inside[:, :4] = 1  # a mask that ends at row 29 of a proposal of rows 10 to 44
    torch.testing.assert_close(losses["loss_mask"], F.cross_entropy(found.logits, inside))


@pytest.mark.parametrize("backbone", ["fpn", "vgg"])
def test_a_batch_without_objects(backbone):
    model = make(backbone).train()
    losses = losses_of(model, boxes=())
    assert losses["loss_mask"] == 0 and losses["loss_bbox"] == 0
    total(losses).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("backbone", ["fpn", "vgg"])
@pytest.mark.parametrize("mask_boxes", ["proposals", "detections"])
def test_predictions(backbone, mask_boxes):
    model = make(backbone, mask_boxes=mask_boxes).eval()
    images, samples = batch(scale=0.5)
    with torch.no_grad():
        first = model.predict(images, samples)
    for sample in first:
        found = sample.pred_instances
        assert 0 < len(found) <= 6
        assert found.masks.shape == (len(found), 2 * SIZE, 2 * SIZE)
        assert found.masks.dtype == torch.bool
        assert (found.bboxes >= 0).all() and (found.bboxes <= 2 * SIZE).all()
        assert found.bboxes.max() > SIZE  # at the size of the original image
    with torch.no_grad():
        again = model.predict(*batch(scale=0.5))
    for one, other in zip(first, again, strict=True):  # phi_0 is fixed
        assert torch.equal(one.pred_instances.masks, other.pred_instances.masks)


@pytest.mark.parametrize("mask_boxes", ["proposals", "detections"])
def test_a_mask_lies_in_its_box(mask_boxes):
    model = make(mask_boxes=mask_boxes).eval()
    head = model.roi_head
    with torch.no_grad():
        head.mask_head.network.output.weight.zero_()
        head.mask_head.network.output.bias.copy_(torch.tensor([-9.0, 9.0]).repeat_interleave(49))
        head.bbox_head.fc_reg.weight.zero_()
        head.bbox_head.fc_reg.bias.copy_(torch.tensor([1.0, 0, 0, 0]).repeat(4))
        x = [torch.randn(2, 64, side, side) for side in (16, 8, 4, 2)]
        proposals = [torch.tensor([[10.0, 12, 30, 40]]), torch.zeros(0, 4)]
        found, none = head.predict(
            x, [InstanceData(bboxes=boxes) for boxes in proposals], batch()[1], rescale=True
        )
    assert len(none) == 0 and none.masks.shape == (0, SIZE, SIZE)
    assert len(found) == 4  # one of each class
    torch.testing.assert_close(found.bboxes, torch.tensor([[12.0, 12, 32, 40]]).expand(4, 4))
    shift = 2 if mask_boxes == "detections" else 0
    rows, columns = torch.zeros(2, 4, SIZE, dtype=torch.bool)
    rows[:, 12:40] = columns[:, 10 + shift : 30 + shift] = True
    assert torch.equal(found.masks.any(2), rows) and torch.equal(found.masks.any(1), columns)
    assert (found.masks.sum((1, 2)) > 0.95 * 28 * 20).all()  # mmdet's pasting rounds the corners


def test_no_proposals_at_all():
    head = make().eval().roi_head
    x = [torch.randn(2, 64, side, side) for side in (16, 8, 4, 2)]
    empty = [InstanceData(bboxes=torch.zeros(0, 4)) for _ in range(2)]
    for found in head.predict(x, empty, batch()[1], rescale=True):
        assert len(found) == 0 and found.masks.shape == (0, SIZE, SIZE)
    assert [len(values) for values in head(x, empty)] == [0, 0, 0]


def test_proposals_are_mmdets_with_gradients():
    model = make().eval()
    images, samples = batch()
    x = model.extract_feat(images)
    attached = model.rpn_head.predict(x, samples)
    model.rpn_head.__class__ = RPNHead
    for one, other in zip(attached, model.rpn_head.predict(x, samples), strict=True):
        assert one.bboxes.requires_grad and not other.bboxes.requires_grad
        assert torch.equal(one.bboxes, other.bboxes) and torch.equal(one.scores, other.scores)


def test_vgg_loads_torchvisions_layers():
    backbone = MODELS.build(dict(type="mmlevelset.CRLSVGG", depth=16, frozen_stages=2))
    convs = [m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convs) == 13
    assert [conv.weight.requires_grad for conv in convs] == [False] * 4 + [True] * 9
    assert "features.28.weight" in backbone.state_dict()
    (features,) = backbone(torch.randn(1, 3, 33, 48))
    assert features.shape == (1, 512, 2, 3)


def test_the_layers_of_the_classifier_start_from_a_file(tmp_path):
    generator = torch.Generator().manual_seed(0)
    weights = {
        f"classifier.{layer}.{kind}": torch.randn(*shape, generator=generator)
        for layer, width in ((0, 64 * 9), (3, 16))
        for kind, shape in (("weight", (16, width)), ("bias", (16,)))
    }
    torch.save(weights, tmp_path / "vgg.pth")
    model = config_of()
    model.roi_head.bbox_head.fc_init_cfg = dict(
        type="mmlevelset.Pretrained", prefix="classifier", checkpoint=str(tmp_path / "vgg.pth")
    )
    model = MODELS.build(model)
    model.init_weights()
    for path in (model.roi_head.bbox_head.box_fcs, model.roi_head.bbox_head.mask_fcs):
        for name, value in path.state_dict().items():
            assert torch.equal(value, weights[f"classifier.{name}"])


def test_a_missing_file_is_named_with_its_own_option(tmp_path):
    config = Config.fromfile("configs/crls/crls_vgg16_40k_voc.py").model.roi_head.bbox_head
    config.update(fc_out_channels=16)
    config.fc_init_cfg.checkpoint = str(tmp_path / "vgg.pth")
    option = "--cfg-options model.roi_head.bbox_head.fc_init_cfg.checkpoint=FILE"
    with pytest.raises(OSError, match=option):
        MODELS.build(config).init_weights()


def changed(part, **changes):
    config = config_of()
    (config if part is None else config[part]).update(changes)
    return config


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (
            lambda: changed("rpn_head", type="RPNHead"),
            TypeError,
            "rpn_head must be a mmlevelset.CRLSRPNHead, but is RPNHead",
        ),
        (
            lambda: changed("roi_head", mask_boxes="both"),
            ValueError,
            "mask_boxes must be one of proposals, detections, but is 'both'",
        ),
        (
            lambda: changed("roi_head", mask_head=None),
            ValueError,
            "bbox_head and mask_head must be given",
        ),
        (
            lambda: dict(type="mmlevelset.CRLSVGG", depth=12),
            ValueError,
            r"depth must be one of \[11, 13, 16, 19\], but is 12",
        ),
        (
            lambda: dict(type="mmlevelset.CRLSVGG", frozen_stages=6),
            ValueError,
            "frozen_stages must be a number from 0 to 5, but is 6",
        ),
        (
            lambda: dict(type="mmlevelset.CRLSMaskHead", in_channels=1, roi_feat_size=5),
            ValueError,
            r"network.size must be roi_feat_size, \(5, 5\), but is \(21, 21\)",
        ),
        (
            lambda: dict(type="mmlevelset.CRLSBBoxHead", pool="sum"),
            ValueError,
            "pool must be one of max, mean, but is 'sum'",
        ),
        (
            lambda: dict(type="mmlevelset.CRLSMaskHead", in_channels=1, loss_weight=0),
            ValueError,
            "loss_weight must be positive, but is 0",
        ),
    ],
)
def test_bad_arguments(config, error, message):
    with pytest.raises(error, match=message):
        MODELS.build(config())


def test_stages_under_autocast():
    head, (_, samples) = make(warp=dict(box_gradient=1.0)).roi_head, batch(images=1)
    x = [torch.randn(1, 64, side, side, dtype=torch.bfloat16) for side in (16, 8, 4, 2)]
    boxes = torch.tensor([[12.0, 10, 44, 44], [33.0, 29, 58, 59]], requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        losses = head.loss(x, [InstanceData(bboxes=boxes)], samples)
    total(losses).backward()
    assert losses["loss_mask"].dtype == torch.float32
    assert boxes.grad.isfinite().all() and boxes.grad.any(1).all()
    for name, parameter in head.named_parameters():
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("warp", [dict(box_gradient=1.0), dict(warp="roi_align")])
def test_the_whole_model_under_autocast(warp):
    model = make(warp=warp).train()
    images, samples = batch()
    with torch.autocast("cpu", torch.bfloat16):
        (proposals, _) = model.rpn_head.predict(model.extract_feat(images), samples)
        losses = losses_of(model)
    assert proposals.bboxes.dtype == torch.float32
    coarse = proposals.bboxes.bfloat16().float()
    assert not torch.equal(proposals.bboxes, coarse)  # not rounded
    total(losses).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = model.eval().predict(images, samples)
    assert all(len(sample.pred_instances) for sample in found)
