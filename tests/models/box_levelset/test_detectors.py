"""RTMDet-Ins, CondInst and Mask2Former from boxes, and as mmdet's where masks supervise."""

import copy

import pytest
import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from tests.models.box_levelset.builders import BOXES, make_images, make_samples
from tests.models.box_levelset.test_head import Poisoned

QUICKSTARTS = {
    "condinst": "boxinst_level-set_shapes",
    "rtmdet-ins": "box-rtmdet-ins_shapes",
    "mask2former": "box2mask-t_shapes",
}
HEADS = {"condinst": "mask_head", "rtmdet-ins": "bbox_head", "mask2former": "panoptic_head"}
NAMES = list(HEADS)
# Our types -> mmdet's.
PLAIN = {
    "mmlevelset.BoxRTMDet": "RTMDet",
    "mmlevelset.BoxRTMDetInsHead": "RTMDetInsSepBNHead",
    "mmlevelset.BoxCondInst": "CondInst",
    "mmlevelset.BoxCondInstBboxHead": "CondInstBboxHead",
    "mmlevelset.BoxCondInstHead": "CondInstMaskHead",
    "mmlevelset.BoxMask2Former": "Mask2Former",
    "mmlevelset.BoxMask2FormerHead": "Mask2FormerHead",
}
BOX_LOSSES = {"loss_projection", "loss_level_set"}
ALL = dict(
    loss_consistency=dict(loss_weight=0.2),
    loss_pairwise=dict(loss_weight=1.0, warmup_iters=0),
)
REFINEMENT = dict(
    type="mmlevelset.CropRefinement", size=14, feature_channels=2, hidden_channels=2, num_steps=2
)


def config_of(name, **supervision):
    """The model of a quickstart, with few channels."""
    config = Config.fromfile(f"configs/quickstart/{QUICKSTARTS[name]}.py").model
    config.backbone.update(base_channels=8, stem_channels=8)
    config.backbone.norm_cfg.num_groups = 2
    head = config[HEADS[name]]
    if name == "mask2former":
        head.update(in_channels=[8, 16, 32, 64], num_queries=6)
        config.train_cfg.num_points = 64
        config.test_cfg.max_per_image = 6
    else:
        config.neck.in_channels = [8, 16, 32, 64]
        config.test_cfg.update(score_thr=0.0, max_per_img=6)
    head.box_supervision.update(merged(head.box_supervision, supervision))
    return config


def merged(old, new):
    """A dict with the values of ``new``, nested dicts merged."""
    found = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(old.get(key), dict)
        found[key] = merged(old[key], value) if both else value
    return found


def build(config, seed=0):
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    return model.train()


def make(name, refinement=None, **supervision):
    config = config_of(name, **supervision)
    if refinement is not None:
        config[HEADS[name]].refinement = refinement
    return build(config)


def losses_of(model, seed=3, **batch):
    torch.manual_seed(seed)  # mmdet draws points
    samples = make_samples(**batch)
    losses = model.loss(make_images(len(samples)), samples)
    return {k: sum(v) if isinstance(v, list) else v for k, v in losses.items()}


def masked(losses):
    """The losses of the masks of the last layer."""
    detection = {"loss_cls", "loss_bbox", "loss_centerness"}
    return {k: v for k, v in losses.items() if k not in detection and "." not in k}


@pytest.mark.parametrize("name", NAMES)
def test_boxes_alone_supervise(name):
    model = make(name, **ALL)
    plain = losses_of(model)
    assert set(masked(plain)) == BOX_LOSSES | {"loss_consistency", "loss_pairwise"}
    assert all(loss.ndim == 0 and loss > 0 for loss in plain.values())
    if name == "mask2former":  # deep supervision: three layers and what comes before them
        for key in masked(plain):
            assert {f"d{layer}.{key}" for layer in range(3)} <= set(plain)
    if name == "condinst":  # mmdet's head of boxes takes the centres of masks that it gets
        return
    poisoned = losses_of(model, masks=[Poisoned(len(own)) for own in BOXES])
    assert all(torch.equal(loss, plain[key]) for key, loss in poisoned.items())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("supervision", ["box", "mixed"])
@pytest.mark.parametrize("batch", ["objects", "one image empty", "no objects"])
def test_losses_are_finite_and_every_parameter_has_a_gradient(name, supervision, batch):
    boxes = dict(objects=BOXES).get(batch, [[], BOXES[1] if "one" in batch else []])
    refinement = None if name == "condinst" else REFINEMENT
    model = make(name, refinement, supervision=supervision, **ALL)
    losses = losses_of(model, boxes=boxes, masks="some")
    if batch == "no objects":
        assert not any(masked(losses).values())
    sum(losses.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None or _learns_from_objects(name, key), key
        assert parameter.grad is None or parameter.grad.isfinite().all(), key


def _learns_from_objects(name, key):
    """Whether mmdet itself leaves this parameter without a gradient in an empty batch."""
    return name == "rtmdet-ins" and ".rtm_reg." in key


@pytest.mark.parametrize("name", NAMES)
def test_with_masks_the_losses_are_those_of_mmdet(name):
    config = config_of(name, supervision="mask")
    model = build(config)
    twin = plain(config)
    twin.load_state_dict(model.state_dict())
    want, found = (losses_of(own, masks="ellipses") for own in (twin, model))
    assert found.keys() == want.keys()
    for key, loss in want.items():
        torch.testing.assert_close(found[key], loss)


def plain(config):
    """mmdet's model of the same config."""
    config = copy.deepcopy(config)
    for part in (
        config,
        config.get("bbox_head"),
        config.get("mask_head"),
        config.get("panoptic_head"),
    ):
        if part is not None:
            part.type = PLAIN.get(part.type, part.type)
            part.pop("box_supervision", None)
    return build(config)


@pytest.mark.parametrize("name", NAMES)
def test_mixed_supervision_uses_the_masks_there_are(name):
    model = make(name, supervision="mixed")
    by_box = losses_of(make(name))
    none = losses_of(model, masks="empty")
    for key, loss in by_box.items():
        torch.testing.assert_close(none[key], loss)
    assert not none["loss_mask"]
    every = losses_of(model, masks="ellipses")
    assert not every["loss_projection"] and not every["loss_level_set"] and every["loss_mask"] > 0
    some = losses_of(model, masks="some")
    assert all(some[key] > 0 for key in ("loss_mask", "loss_projection", "loss_level_set"))


@pytest.mark.parametrize("name", NAMES)
def test_inference_is_mmdets(name):
    config = config_of(name)
    model = build(config).eval()
    twin = plain(config).eval()
    twin.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        pairs = [own.predict(make_images(), make_samples()) for own in (model, twin)]
    for found, want in zip(*pairs, strict=True):
        found, want = found.pred_instances, want.pred_instances
        assert len(found) and torch.equal(found.masks, want.masks)
        assert torch.equal(found.scores, want.scores) and torch.equal(found.bboxes, want.bboxes)


@pytest.mark.parametrize("name", ["rtmdet-ins", "mask2former"])
def test_refined_masks_learn_and_replace_the_masks(name):
    config = config_of(name)
    config[HEADS[name]].refinement = REFINEMENT
    model, bare = build(config), make(name)
    losses = losses_of(model)
    for key in BOX_LOSSES:  # until it has learned, the refinement changes nothing
        torch.testing.assert_close(losses[f"{key}_refined"], losses[key], rtol=1e-4, atol=1e-6)
    sum(losses.values()).backward()
    refinement = getattr(model, HEADS[name]).refinement
    assert refinement.network.output.weight.grad.any()

    def predicted(own):
        own.eval()
        with torch.no_grad():
            return own.predict(make_images(), make_samples())[0].pred_instances

    bare.load_state_dict(model.state_dict(), strict=False)
    want = predicted(bare)
    assert torch.equal(predicted(model).masks, want.masks)
    with torch.no_grad():
        refinement.network.output.bias.copy_(torch.tensor([-30.0, 30.0]))
    assert not torch.equal(predicted(model).masks, want.masks)
    with pytest.raises(RuntimeError, match="use the detector type 'mmlevelset.Box"):
        getattr(model, HEADS[name]).predict(
            tuple(model.extract_feat(make_images())), make_samples()
        )


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("rtmdet/rtmdet-ins_s_8xb32-300e_coco", "box-rtmdet-ins_s"),
        ("boxinst/boxinst_r50_fpn_ms-90k_coco", "box-condinst_r50_fpn"),
        ("mask2former/mask2former_r50_8xb2-lsj-50e_coco", "box-mask2former_r50"),
        ("condinst/condinst_r50_fpn_ms-poly-90k_coco_instance", None),
        ("rtmdet/rtmdet-ins_l_8xb32-300e_coco", None),
    ],
)
@pytest.mark.filterwarnings("ignore:The arguments `dropout` in MultiheadAttention")
def test_published_state_dicts_fit(published, ours, tmp_path):
    """Names and shapes, against the models that mmdet builds: of our config, or of mmdet's."""
    file = tmp_path / "published.py"
    file.write_text(f"_base_ = ['mmdet::{published}.py']\n")
    theirs = Config.fromfile(file).model
    if ours is None:
        model = copy.deepcopy(theirs)
        turned = {value: key for key, value in PLAIN.items()}
        for part in (model, model.bbox_head, model.get("mask_head")):
            if part is not None:
                part.type = turned[part.type]
    else:
        model = Config.fromfile(f"configs/_base_/models/{ours}.py").model
    theirs.data_preprocessor.type = "DetDataPreprocessor"  # BoxInst's needs scikit-image
    for key in ("mask_stride", "pairwise_size", "pairwise_dilation", "pairwise_color_thresh",
                "bottom_pixels_removed", "batch_augments"):  # fmt: skip
        theirs.data_preprocessor.pop(key, None)
    shapes = []
    for config in (theirs, model):
        config.backbone.init_cfg = None
        with torch.device("meta"), DefaultScope.overwrite_default_scope("mmdet"):
            state = MODELS.build(config).state_dict()
        shapes.append({key: value.shape for key, value in state.items()})
    want, found = shapes
    extra = found.keys() - want.keys()
    assert {key: found[key] for key in found if key not in extra} == want
    assert all(".box_supervision.loss_level_set.feature_conv." in key for key in extra)


@pytest.mark.parametrize(
    ("settings", "count"),
    [({}, 30), (dict(topk_masks_per_img=8), 8), (dict(max_masks_to_train=7), 7)],
)
def test_condinst_trains_no_more_masks_than_asked(settings, count):
    config = config_of("condinst")
    config.mask_head.update({"topk_masks_per_img": -1, **settings})
    head = build(config).mask_head
    generator = torch.Generator().manual_seed(0)
    points = InstanceData(
        pos_assigned_gt_inds=torch.tensor([0, 1] * 15),
        scores=torch.randn(30, 3, generator=generator),
        centernesses=torch.randn(30, 1, generator=generator),
    )
    found = head._chosen(points)
    assert len(found) == count
    if "topk_masks_per_img" in settings:  # the four best of each object
        quality = points.scores.sigmoid().amax(1) * points.centernesses.sigmoid()[:, 0]
        kept = found.scores.sigmoid().amax(1) * found.centernesses.sigmoid()[:, 0]
        for one in (0, 1):
            best = quality[points.pos_assigned_gt_inds == one].topk(4).values
            torch.testing.assert_close(kept[found.pos_assigned_gt_inds == one], best)


def test_each_object_keeps_a_mask_where_there_are_more_objects_than_masks():
    config = config_of("condinst")
    config.mask_head.topk_masks_per_img = 2
    points = InstanceData(
        pos_assigned_gt_inds=torch.arange(5),
        scores=torch.randn(5, 3),
        centernesses=torch.zeros(5, 1),
    )
    assert sorted(build(config).mask_head._chosen(points).pos_assigned_gt_inds.tolist()) == [
        *range(5)
    ]


def test_cost_of_a_mask_for_a_box_is_the_dice_of_their_projections():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 7, 9, generator=generator)
    boxes = torch.zeros(2, 7, 9, dtype=torch.bool)
    boxes[0, 2:5, 1:8] = boxes[1, 0:7, 4:6] = True
    cost = TASK_UTILS.build(dict(type="mmlevelset.BoxProjectionCost", weight=5.0))
    found = cost(InstanceData(masks=logits), InstanceData(masks=boxes))
    for q in range(4):
        for g in range(2):
            want = 0.0
            for axis in (0, 1):
                p = [float(v) for v in logits[q].sigmoid().amax(axis)]
                b = [float(v) for v in boxes[g].any(axis)]
                both = sum(x * y for x, y in zip(p, b, strict=True))
                want += 1 - (2 * both + 1) / (sum(x * x for x in p + b) + 1)
            assert found[q, g].item() == pytest.approx(5 * want, rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cost(InstanceData(masks=logits), InstanceData(masks=boxes)), found)


def test_queries_are_matched_with_the_boxes_that_their_masks_fill():
    """Query 4 fills the first box, query 1 the second."""
    head = make("mask2former").panoptic_head
    masks = torch.full((6, 16, 24), -9.0)
    for query, (x1, y1, x2, y2) in zip((4, 1), BOXES[0], strict=True):
        masks[query, y1 // 4 : y2 // 4, x1 // 4 : x2 // 4] = 9.0
    (sample,) = make_samples(BOXES[:1])
    scores = torch.zeros(6, 5)
    found = head._match(scores, masks, sample.gt_instances, sample.metainfo, make_images(1)[0])
    assert found.queries.tolist() == [1, 4] and found.objects.tolist() == [1, 0]
    labels, *_, queries, others, _ = head._get_targets_single(scores, masks, found, {})
    assert labels.tolist() == [4, 1, 4, 4, 0, 4]
    assert others.tolist() == [0, 2, 3, 5] and torch.equal(queries, found.queries)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_infinite_at_ten_times_the_learning_rate(name):
    """Every other batch has an empty image, every fifth batch no object."""
    model = make(name, **ALL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(60):
        boxes = [[], []] if step % 5 == 4 else [[], BOXES[1]] if step % 2 else BOXES
        losses = losses_of(model, seed=step, boxes=boxes)
        assert all(loss.isfinite() for loss in losses.values()), (step, losses)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0, error_if_nonfinite=True)
        optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_the_detector_says_how_its_images_are_normalised(name):
    lab = dict(loss_level_set=dict(image_space="lab"))
    config = config_of(name, **lab)
    config.data_preprocessor.update(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], bgr_to_rgb=False)
    image = getattr(build(config), HEADS[name]).box_supervision.lab_image
    assert image.image_mean.flatten().tolist() == [1.0, 2.0, 3.0]
    assert image.image_std.flatten().tolist() == [4.0, 5.0, 6.0] and image.bgr
    config.data_preprocessor.bgr_to_rgb = True
    assert not getattr(build(config), HEADS[name]).box_supervision.lab_image.bgr


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("supervision", ["mixed", "mask"])
def test_missing_masks_are_named(name, supervision):
    with pytest.raises(ValueError, match=f"must have masks with supervision='{supervision}'"):
        losses_of(make(name, supervision=supervision))


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_head_is_named(name):
    config = config_of(name)
    del config[HEADS[name]]
    with pytest.raises(ValueError, match=f"{HEADS[name]} must be the config of the head"):
        build(config)


def test_mixed_condinst_takes_the_head_that_gives_all_objects_points():
    config = config_of("condinst", supervision="mixed")
    config.bbox_head.type = "CondInstBboxHead"
    with pytest.raises(ValueError, match="must be a mmlevelset.BoxCondInstBboxHead with superv"):
        build(config)
    for supervision in ("box", "mask"):
        config.mask_head.box_supervision.supervision = supervision
        build(config)


@pytest.mark.parametrize("key", ["supervision", "warmup_iters"])
def test_settings_beside_box_supervision_are_named(key):
    config = config_of("mask2former")
    config.panoptic_head[key] = config.panoptic_head.box_supervision[key]
    with pytest.raises(ValueError, match=f"{key} must stand in box_supervision, but is an"):
        build(config)


def test_stuff_has_no_boxes():
    config = config_of("mask2former")
    config.panoptic_head.num_stuff_classes = 2
    with pytest.raises(ValueError, match="num_stuff_classes must be 0, since stuff has no boxes"):
        build(config)
