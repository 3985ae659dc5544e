"""Compare our BoxLevelSet head with the released head, on the same weights and images.

    python tools/model_converters/check_released.py FILE

FILE is a dict saved by torch: ``cfg`` (the released head's arguments), ``state_dict``, ``feats``,
``img``, ``boxes``, ``labels``, and the released head's ``ins_preds``, ``cate_preds``,
``levelset_feats``, ``losses``, ``grads``, ``eval_cate`` and ``eval_ins``. Prints each quantity with
its error. The exit code is 1 if an error is past its tolerance.

The error of an output is the greatest difference. The error of a loss or a gradient is the norm of
the difference, divided by the norm of the released value. For a gradient, the divisor is at least a
thousandth of the largest norm in its layer: a bias that only shifts a tree's guide has a gradient
of rounding errors alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.converters.command_line import make_parser
from mmlevelset.converters.models.boxlevelset2mmlevelset import head_name, load, rename
from mmlevelset.errors import InputError, exit_on_input_error

if TYPE_CHECKING:
    from torch import Tensor

OUTPUT, LOSS, GRADIENT = 1e-5, 1e-4, 1e-3


@exit_on_input_error("check_released.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args(words)
    released = load(arguments.file)
    try:
        failures = report(released)
    except InputError as error:
        raise InputError(f"{arguments.file}: {error}") from error
    except KeyError as error:
        raise InputError(f"{arguments.file}: {error} is missing") from error
    if failures:
        sys.exit(f"check_released.py: {failures} quantities past their tolerance")


def report(released: dict[str, Any]) -> int:
    """Print a line for each quantity; return the number of quantities past their tolerance."""
    failures = 0
    for name, error, tolerance in compare(released):
        passed = error <= tolerance  # not for NaN
        failures += not passed
        print(f"{name:52} {error:.2e}  {'ok' if passed else f'PAST {tolerance:g}'}")
    return failures


def compare(released: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield the name, the error and the tolerance of each quantity."""
    import torch.nn.functional as F

    from mmlevelset.models.common import ImageFeatures

    head = make_head(released)
    feats, images = released["feats"], released["img"]
    kernels, scores, mask_feats = head(feats)
    sizes = head.mask_sizes(feats)
    for level, (kernel, size) in enumerate(zip(kernels, sizes, strict=True)):
        masks = all_masks(kernel, mask_feats)
        yield from _output(
            f"ins_preds.{level}",
            F.interpolate(masks, size, mode="bilinear", align_corners=False),
            released["ins_preds"][level],
        )
        yield from _output(f"cate_preds.{level}", scores[level], released["cate_preds"][level])
        yield from _output(f"eval_ins.{level}", masks.sigmoid(), released["eval_ins"][level])
        final = scores[level].sigmoid()
        peaks = F.max_pool2d(final, 2, stride=1, padding=1)[:, :, :-1, :-1] == final
        yield from _output(
            f"eval_cate.{level}",
            (final * peaks).permute(0, 2, 3, 1),
            released["eval_cate"][level],
        )
    deep = head.loss_level_set.deep_features(mask_feats)
    yield from _output("levelset_feats", deep, released["levelset_feats"])

    losses = head.loss(ImageFeatures(feats, images), samples(released))
    names = dict(
        loss_boxpro="loss_projection", loss_levelset="loss_level_set", loss_cate="loss_cls"
    )
    for name, own in names.items():
        yield f"losses.{name}", _relative(losses[own], released["losses"][name]), LOSS
    sum(losses.values()).backward()
    parameters = dict(head.named_parameters())
    for name, gradient in released["grads"].items():
        ours = head_name(name)
        if ours is None:
            raise InputError(f"grads has the unknown weight {name}")
        layer = name.rpartition(".")[0]
        least = 1e-3 * max(
            float(value.norm())
            for other, value in released["grads"].items()
            if other.rpartition(".")[0] == layer
        )
        found = parameters.pop(ours).grad
        yield f"grads.{name}", _relative(found, gradient, least), GRADIENT
    if parameters:
        raise InputError("grads lacks " + ", ".join(parameters))


def make_head(released: dict[str, Any]) -> Any:
    """Return our head with the arguments and the weights of the released head."""
    from mmengine.config import ConfigDict
    from mmengine.registry import init_default_scope

    import mmlevelset.models  # noqa: F401
    from mmlevelset.registry import MODELS

    init_default_scope("mmdet")
    given = released["cfg"]
    weights = rename(released["state_dict"])
    width = given["seg_feat_channels"]
    deep = weights["mask_head.loss_level_set.feature_conv.weight"]
    head = MODELS.build(
        ConfigDict(
            type="mmlevelset.BoxSOLOv2Head",
            architecture="released",
            inclusive_boxes=True,
            num_classes=given["num_classes"],
            in_channels=given["in_channels"],
            feat_channels=width,
            stacked_convs=given["stacked_convs"],
            strides=given["strides"],
            scale_ranges=given["scale_ranges"],
            pos_scale=given["sigma"],
            num_grids=given["num_grids"],
            mask_feature_head=dict(
                feat_channels=width, start_level=0, end_level=3, out_channels=width, mask_stride=4
            ),
            loss_cls=given["loss_cate"],
            loss_projection=dict(
                type="mmlevelset.BoxProjectionLoss",
                loss_weight=given["loss_boxpro"]["loss_weight"],
            ),
            loss_level_set=dict(
                type="mmlevelset.BoxLevelSetLoss",
                mode="released",
                length_weight=1e-5,
                feature_channels=len(deep),
            ),
        )
    )
    own = {name.removeprefix("mask_head."): weight for name, weight in weights.items()}
    wanted = head.state_dict()
    if set(own) != set(wanted):
        unlike = ", ".join(sorted(set(own) ^ set(wanted)))
        raise InputError(f"missing or unknown weights: {unlike}")
    head.load_state_dict(own)
    return head


def samples(released: dict[str, Any]) -> list:
    """Return a data sample with boxes, their masks and labels for each image."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    from mmlevelset.datasets.box_masks import box_bitmaps

    size = tuple(released["img"].shape[2:])
    made = []
    for boxes, labels in zip(released["boxes"], released["labels"], strict=True):
        sample = DetDataSample(metainfo=dict(img_shape=size, batch_input_shape=size))
        masks = box_bitmaps(boxes.numpy(), *size)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=masks)
        made.append(sample)
    return made


def all_masks(kernel: Tensor, mask_feats: Tensor) -> Tensor:
    """Return the mask logits (B, S * S, H, W) of all cells of a level."""
    import torch

    return torch.einsum("bcn,bchw->bnhw", kernel.flatten(2), mask_feats)


def _output(name: str, ours: Tensor, theirs: Tensor) -> Iterator[tuple[str, float, float]]:
    error = float("nan")
    if ours.shape == theirs.shape:
        error = float((ours.detach() - theirs).abs().max())
    yield name, error, OUTPUT


def _relative(ours: Tensor | None, theirs: Tensor, least: float = 0.0) -> float:
    if ours is None or ours.shape != theirs.shape:
        return float("nan")
    return float((ours.detach() - theirs).norm() / theirs.norm().clamp(min=max(least, 1e-12)))
