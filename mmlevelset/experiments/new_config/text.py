"""The text of a new config."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from mmlevelset.experiments.new_config.methods import Method
from mmlevelset.experiments.new_config.sizes import Anchors, Grids


@dataclass(frozen=True)
class Part:
    """A split: its annotation file, its folder of images, and the numbers of both."""

    annotations: str
    images: str
    num_images: int
    num_objects: int


@dataclass(frozen=True)
class Plan:
    """All that the text of a config says.

    Attributes:
        source: The name of the annotation file.
        method: The method.
        backbone: The backbone.
        bases: The paths of the base configs.
        classes: The names of the classes, the background not among them.
        palette: A colour for each class.
        train, val: The splits.
        has_masks: Whether training and validation have masks.
        scale: The longer and the shorter side of a resized image.
        sizes: The sizes of the images, smallest to largest.
        side: Median of the square roots of the areas of the resized boxes, in pixels.
        epochs: The number of epochs.
        iterations: The number of iterations of the training.
        anchors, grids: The levels, whichever the method has.
    """

    source: str
    method: Method
    backbone: str
    bases: tuple[str, ...]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    train: Part
    val: Part
    has_masks: bool
    scale: tuple[int, int]
    sizes: str
    side: float
    epochs: int
    iterations: int
    anchors: Anchors | None
    grids: Grids | None

    @property
    def semantic(self) -> bool:
        """Whether the method labels pixels."""
        return self.method.family == "semantic"


_RESNET50 = """    # A ResNet-50 in place of the ResNet-101.
    backbone=dict(
        depth=50,
        init_cfg=dict(checkpoint="https://download.pytorch.org/models/resnet50-0676ba61.pth"),
    ),
"""


def config_text(plan: Plan) -> str:
    """Return the text of a config file."""
    classes = f"{len(plan.classes)} class{'es' * (len(plan.classes) != 1)}"
    about = (
        f"{plan.train.num_images} images to train on with {plan.train.num_objects} objects of"
        f" {classes}; {plan.val.num_images} images with {plan.val.num_objects} objects to validate."
        " Paths are relative to the folder that you train in. tools/verify_dataset.py checks this"
        " file after a change."
    )
    title = f"{plan.method.title}, for {plan.source}."
    bases = "".join(f"    {_text(path)},\n" for path in plan.bases)
    head = f'''"""{title}

{textwrap.fill(about, 99)}
"""

_base_ = [
{bases}]
'''
    return "\n".join([head, _data(plan), _schedule(plan), _model(plan)])


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _data(plan: Plan) -> str:
    classes, palette = plan.classes, plan.palette
    if plan.semantic:
        classes, palette = ("background", *classes), ((0, 0, 0), *palette)
    names = "".join(f"    {_text(name)},\n" for name in classes)
    colours = "".join(f"        {colour},\n" for colour in palette)
    kind = "mmlevelset.CocoSegDataset" if plan.semantic else "mmlevelset.CocoDataset"
    unread = '        masks="unread",  # boxes alone\n'
    train_masks = not plan.method.from_boxes
    load = 'dict(type="LoadAnnotations", with_bbox=True, with_mask={}),'
    paint = '\n    dict(type="mmlevelset.SemanticFromInstances"),' * plan.semantic
    meta = '"img_id", "img_path", "ori_shape", "img_shape"'
    meta += "" if plan.semantic else ', "scale_factor"'
    return f'''# The classes in the order of the categories in the file, and a colour for each.
classes = (
{names})
metainfo = dict(
    classes=classes,
    palette=[
{colours}    ],
)

# Images have {plan.sizes} pixels. Resized, half of the objects are smaller than \
{plan.side:.0f} x {plan.side:.0f}.
image_scale = {plan.scale}  # longer and shorter side at most, in pixels

train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    {load.format(train_masks)}{paint}
    dict(type="RandomResize", scale=image_scale, ratio_range=(0.8, 1.25), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=image_scale, keep_ratio=True),
    {load.format(plan.has_masks)}{paint}
    dict(
        type="PackDetInputs",
        meta_keys=({meta}),
    ),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(
        type="{kind}",
        metainfo=metainfo,
        ann_file={_text(plan.train.annotations)},
        data_prefix=dict(img={_text(plan.train.images)}),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
{unread if not train_masks else ""}        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="{kind}",
        metainfo=metainfo,
        ann_file={_text(plan.val.annotations)},
        data_prefix=dict(img={_text(plan.val.images)}),
        test_mode=True,
{unread if not plan.has_masks else ""}        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
{_evaluator(plan)}
test_evaluator = val_evaluator
'''


def _evaluator(plan: Plan) -> str:
    if plan.semantic:
        return """val_evaluator = [
    dict(type="mmlevelset.SemSegMetric", iou_metrics=["mIoU"]),
    dict(type="mmlevelset.SemanticBoundaryMetric", tolerances=(1, 2)),
]"""
    metrics = '["bbox", "segm"]' if plan.has_masks else '["bbox"]'
    unread = "" if plan.has_masks else '\n    masks="unread",'
    return f"""val_evaluator = dict(
    type="mmlevelset.LevelSetCocoMetric",
    ann_file={_text(plan.val.annotations)},
    metric={metrics},
    extra_ious=(0.25,),
    classwise={len(plan.classes) > 1},{unread}
)"""


def _schedule(plan: Plan) -> str:
    interval = max(1, plan.epochs // 4)
    slow = plan.method.family in ("solo", "boxes")
    rate = {"r50": 1e-4}.get(plan.backbone, 3e-4 if slow else 1e-3)
    extra = plan.method.optimizer
    optimizer = f"optimizer=dict(lr={rate:g})"
    optimizer = f"\n    {optimizer},{extra}\n" if extra else optimizer
    return f"""# {plan.iterations:,} iterations of two images each.
max_epochs = {plan.epochs}
train_cfg = dict(max_epochs=max_epochs, val_interval={interval})
optim_wrapper = dict({optimizer})
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=True, T_max=max_epochs, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval={interval}))
"""


def _model(plan: Plan) -> str:
    count = len(plan.classes)
    if plan.semantic:
        resnet = _RESNET50 if plan.backbone == "r50" else ""
        return f"""model = dict(
{resnet}    decode_head=dict(num_classes={count + 1}),  # with the background
)
"""
    extra = plan.method.mask_head
    if plan.backbone == "resnet18-scratch":
        extra = (*plan.method.scratch_mask_head, *extra)
    warmup = min(2000, plan.iterations // 4)
    pairwise = min(10000, plan.iterations // 9)  # BoxInst's share of the training
    if plan.method.model:
        weights = [1.0] * count + [0.1]
        lines = plan.method.model.format(
            count=count, warmup=warmup, pairwise=pairwise, class_weight=weights
        )
        return f"model = dict(\n{lines})\n"
    if plan.anchors is not None:
        return _rcnn(plan.anchors, count, [line.format(warmup=warmup) for line in extra])
    assert plan.grids is not None
    return _solo(plan, plan.grids, count, [line.format(warmup=warmup) for line in extra])


def _rcnn(anchors: Anchors, count: int, extra: Sequence[str]) -> str:
    lines = "".join(f"            {line}\n" for line in extra)
    covered = f"# Anchors: {100 * anchors.covered:.0f} %"
    return f"""{covered} of the boxes have an IoU of 0.5 with an anchor at their centre.
# The levels of strides {_listed(anchors.strides)} have {_percents(anchors.shares)} % of the boxes.
# RoIAlign reads {_percents(anchors.roi_shares)} % of the boxes from the levels up to stride 32.
model = dict(
    rpn_head=dict(anchor_generator=dict(scales=[{anchors.scale}], ratios={list(anchors.ratios)})),
    roi_head=dict(
        bbox_roi_extractor=dict(finest_scale={anchors.finest_scale}),
        bbox_head=dict(num_classes={count}),
        mask_roi_extractor=dict(finest_scale={anchors.finest_scale}),
        mask_head=dict(
            num_classes={count},
{lines}        ),
    ),
)
"""


def _solo(plan: Plan, grids: Grids, count: int, extra: Sequence[str]) -> str:
    lines = "".join(f"        {line}\n" for line in extra)
    threshold = "    test_cfg=dict(mask_thr=0.5),\n" * (not plan.method.from_boxes)
    return f"""# The ranges of sizes overlap; they have {_percents(grids.shares)} % of the boxes.
model = dict(
    mask_head=dict(
        num_classes={count},
        scale_ranges={grids.ranges},
        num_grids={list(grids.grids)},
{lines}    ),
{threshold})
"""


def _percents(shares: Sequence[float]) -> str:
    return _listed([f"{100 * share:.0f}" for share in shares])


def _listed(values: Sequence[object]) -> str:
    return f"{', '.join(map(str, values[:-1]))} and {values[-1]}"
