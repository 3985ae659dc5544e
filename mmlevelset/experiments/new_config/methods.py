"""The base configs of each method and backbone, and the settings that go with them."""

from dataclasses import dataclass

BACKBONES = ("lite0", "resnet18-scratch", "r50")


@dataclass(frozen=True)
class Method:
    """A method of ``tools/new_config.py``.

    Attributes:
        title: Its name in a sentence.
        bases: Backbone -> the base config of the model, in ``configs/_base_/models``.
        family: ``rcnn``, ``solo``, ``semantic``, or ``boxes`` for a detector without settings by
            the sizes of boxes.
        from_boxes: Whether it trains from boxes alone.
        mask_head: Lines of the config inside its mask head.
        scratch_mask_head: Lines that the backbone ``resnet18-scratch`` needs there too.
        model: The model's lines of the family ``boxes``, with ``{count}`` classes,
            ``{class_weight}`` with the background's, ``{warmup}`` and ``{pairwise}`` iterations.
        optimizer: The end of the config's line for the optimizer.
    """

    title: str
    bases: dict[str, str]
    family: str
    from_boxes: bool = False
    mask_head: tuple[str, ...] = ()
    scratch_mask_head: tuple[str, ...] = ()
    model: str = ""
    optimizer: str = ""


def _bases(name: str, r50: str = "") -> dict[str, str]:
    return {
        "lite0": f"{name}_lite0",
        "resnet18-scratch": f"{name}_small",
        "r50": r50 or f"{name}_r50_fpn",
    }


_SMALL_LEVEL_SETS = (
    "mask_size=112,",
    "feature_head=dict(upsample_channels=(16, 8, 4)),",
)
_WARMUP = "# The projection alone at first, then with an energy of the image in L*a*b*."
_ENERGY = 'loss_level_set=dict(image_weight={weight}, image_space="lab", detach_features=True),'
_PAIRWISE = "loss_pairwise=dict(loss_weight={weight}, warmup_iters={{pairwise}}),"


def _by_boxes(image_weight: float) -> str:
    return f"""box_supervision=dict(
            {_WARMUP}
            warmup_iters={{warmup}},
            {_ENERGY.format(weight=image_weight)}
            {_PAIRWISE.format(weight=3.0)}
        ),"""


METHODS = {
    "refined": Method(
        "Mask R-CNN with a recurrent refinement of its masks",
        _bases("mask-rcnn_refined"),
        "rcnn",
        scratch_mask_head=("mask_size=112,",),
    ),
    "mask-rcnn": Method("Mask R-CNN", _bases("mask-rcnn"), "rcnn"),
    "levelset-rcnn": Method(
        "LevelSet R-CNN", _bases("levelset-rcnn"), "rcnn", scratch_mask_head=_SMALL_LEVEL_SETS
    ),
    "levelset-rcnn_image": Method(
        "LevelSet R-CNN with the pixels of the image as features",
        _bases("levelset-rcnn"),
        "rcnn",
        mask_head=("image_features=True,",),
        scratch_mask_head=_SMALL_LEVEL_SETS,
    ),
    "box-levelset": Method(
        "BoxLevelSet, which trains from boxes alone",
        _bases("box-levelset"),
        "solo",
        from_boxes=True,
        mask_head=(
            _WARMUP,
            "warmup_iters={warmup},",
            _ENERGY.format(weight=0.2),
        ),
    ),
    "box-rtmdet-ins": Method(
        "RTMDet-Ins, trained from boxes alone",
        {
            "lite0": "box-rtmdet-ins_lite0",
            "resnet18-scratch": "box-rtmdet-ins_small",
        },
        "boxes",
        from_boxes=True,
        model=f"""    bbox_head=dict(
        num_classes={{count}},
        {_by_boxes(image_weight=0.5)}
    ),
""",
    ),
    "box-condinst": Method(
        "CondInst, trained from boxes alone",
        _bases("box-condinst"),
        "boxes",
        from_boxes=True,
        model=f"""    bbox_head=dict(num_classes={{count}}),
    mask_head=dict(
        {_by_boxes(image_weight=0.2)}
    ),
""",
    ),
    "box2mask-t": Method(
        "Mask2Former, trained from boxes alone",
        _bases("box-mask2former", "box-mask2former_r50"),
        "boxes",
        from_boxes=True,
        model=f"""    panoptic_head=dict(
        num_things_classes={{count}},
        loss_cls=dict(class_weight={{class_weight}}),  # the last is the background's
        box_supervision=dict(
            {_WARMUP}
            warmup_iters={{warmup}},
            loss_projection=dict(loss_weight=5.0),
            loss_level_set=dict(
                image_weight=0.2, image_space="lab", detach_features=True, filter_size=(96, 96)
            ),
            {_PAIRWISE.format(weight=1.0)}
        ),
    ),
    panoptic_fusion_head=dict(num_things_classes={{count}}),
""",
        optimizer="""
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={"query": dict(decay_mult=0.0)}),""",
    ),
    "solov2": Method("SOLOv2", _bases("box-levelset"), "solo", mask_head=('supervision="mask",',)),
    "semantic": Method(
        "FCN-32s, a network for semantic segmentation",
        _bases("fcn-32s", "fcn-32s_r101"),
        "semantic",
    ),
}
RPN_STRIDES = {
    "lite0": (4, 8, 16, 32),
    "resnet18-scratch": (4, 8, 16, 32),
    "r50": (4, 8, 16, 32, 64),
}
SCHEDULES = {"lite0": 1400, "resnet18-scratch": 4400, "r50": 3000}
"""Backbone -> images that a training of a small data set sees, at least."""
LEAST_EPOCHS = 12
MOST_EPOCHS = 200
AREAS = {"lite0": 448 * 320, "resnet18-scratch": 448 * 320, "r50": 1333 * 800}
"""Backbone -> pixels of a resized image."""
