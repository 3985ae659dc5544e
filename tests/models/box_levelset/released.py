"""The released BoxLevelSet head, one cell at a time, under its own names of weights.

Outputs, losses and gradients in float64, for ``check_released.py``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models.box_levelset.naive import (
    box_array,
    level_set,
    projection,
    similarity,
    solo_cells,
)

WIDTH = 32
CLASSES = 3
STACKED = 1
CONFIG = dict(
    num_classes=CLASSES,
    in_channels=WIDTH,
    stacked_convs=STACKED,
    seg_feat_channels=WIDTH,
    strides=[8, 8, 16, 32, 32],
    sigma=0.2,
    loss_cate=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
    loss_boxpro=dict(type="BoxProjectionLoss", loss_weight=3.0),
    loss_levelset=dict(type="LevelsetLoss", loss_weight=1.0),
)


class Case(NamedTuple):
    """Boxes of some images, and the settings of the assignment.

    Attributes:
        boxes: x1, y1, x2, y2 of the boxes of each image.
        labels: Classes of the boxes of each image.
        size: Height and width, multiples of 32.
        grids: Cells along a side, for each level.
        scales: Least and greatest scale in pixels, for each level.
    """

    boxes: Sequence[Sequence[Sequence[float]]]
    labels: Sequence[Sequence[int]]
    size: tuple[int, int]
    grids: list[int]
    scales: tuple[tuple[int, int], ...]


PLAIN = Case(
    [[(1.2, 2.6, 29.7, 27.4), (22.4, 4.1, 62.6, 31.5), (30, 6, 46, 22)], [(9.5, 0, 35, 30)]],
    [[0, 2, 1], [1]],
    (32, 64),
    [6, 4, 3, 3, 2],
    ((1, 26), (10, 30), (20, 60), (1, 60), (24, 60)),
)


def case_of_ties(seed: int) -> Case:
    """A larger image, another grid, and boxes whose bounds lie on edges of cells.

    The boxes have whole pixels. A fifth of a box of 20 or 40 pixels has a half of 2 or 4 pixels.
    """
    generator = np.random.default_rng(seed)
    size = (32, 96)
    boxes: list[tuple[int, ...]] = []
    while len(boxes) < 3:
        extent = generator.choice([20, 40], 2)
        edge = (generator.integers(1, 12, 2) * (size[1], size[0]) / 12).round().astype(int)
        low = edge + extent // 10 - extent // 2
        if (low >= 0).all() and (low + extent < (size[1], size[0])).all():
            boxes.append((*low.tolist(), *(low + extent).tolist()))
    labels = generator.integers(0, CLASSES, len(boxes)).tolist()
    return Case(
        [boxes], [labels], size, [12, 5, 4, 3, 2], ((1, 60), (1, 60), (1, 1), (1, 60), (1, 1))
    )


def head_shapes(
    classes: int = CLASSES, channels: int = WIDTH, width: int = WIDTH, stacked: int = STACKED
) -> dict[str, tuple[int, ...]]:
    """Shapes of the released head's weights, without ``bbox_head.``."""
    shapes = {"feature_convs.0.conv0.conv.weight": (width, channels, 3, 3)}
    for level in (1, 2, 3):
        for number in range(level):
            inputs = width if number else channels + 2 * (level == 3)
            name = f"feature_convs.{level}.conv{number}.conv.weight"
            shapes[name] = (width, inputs, 3, 3)
    for tower, extra in (("cate_convs", 0), ("kernel_convs", 2)):
        for number in range(stacked):
            inputs = width if number else channels + extra
            shapes[f"{tower}.{number}.conv.weight"] = (width, inputs, 3, 3)
            shapes[f"{tower}.{number}.gn.weight"] = (width,)
            shapes[f"{tower}.{number}.gn.bias"] = (width,)
    shapes["solo_cate.weight"] = (classes, width, 3, 3)
    shapes["solo_kernel.weight"] = shapes["solo_mask.weight"] = (width, width, 1, 1)
    shapes["levelset_bottom.weight"] = (5, width, 3, 3)
    for name in ("solo_cate", "solo_kernel", "solo_mask", "levelset_bottom"):
        shapes[f"{name}.bias"] = shapes[f"{name}.weight"][:1]
    return shapes


def make_file(case: Case = PLAIN, seed: int = 0) -> dict:
    """Random weights and inputs, and the released head's output for them."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    weights = {
        name: random(*shape) * (0.1 if len(shape) > 1 else 0.3) + name.endswith("gn.weight")
        for name, shape in head_shapes().items()
    }
    images = len(case.boxes)
    feats = [
        random(images, WIDTH, *(-(-side // stride) for side in case.size))
        for stride in (4, 8, 16, 32, 64)
    ]
    image = random(images, 3, *case.size)
    boxes = [torch.tensor(own, dtype=torch.float32) for own in case.boxes]
    labels = [torch.tensor(own) for own in case.labels]
    leaves = {name: weight.double().requires_grad_() for name, weight in weights.items()}
    outputs = run(leaves, [level.double() for level in feats], case.grids)
    losses = compute_losses(outputs, image.double(), boxes, case)
    sum(losses.values()).backward()
    found = dict(
        ins_preds=outputs["ins_preds"],
        cate_preds=outputs["cate_preds"],
        levelset_feats=outputs["levelset_feats"],
        eval_ins=[
            cell_masks(kernel, outputs["mask_feats"]).sigmoid() for kernel in outputs["kernels"]
        ],
        eval_cate=[peaks(level.sigmoid()) for level in outputs["cate_preds"]],
        losses=losses,
        grads={name: leaf.grad for name, leaf in leaves.items()},
    )
    return dict(
        cfg=dict(CONFIG, scale_ranges=case.scales, num_grids=case.grids),
        state_dict={f"bbox_head.{name}": weight for name, weight in weights.items()},
        feats=feats,
        img=image,
        boxes=boxes,
        labels=labels,
        **_single(found),
    )


def _single(value):
    if isinstance(value, Tensor):
        return value.detach().float()
    if isinstance(value, dict):
        return {name: _single(part) for name, part in value.items()}
    return [_single(part) for part in value]


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def _with_coordinates(x: Tensor) -> Tensor:
    height, width = x.shape[2:]
    across = torch.linspace(-1, 1, width).to(x).expand(len(x), 1, height, width)
    along = torch.linspace(-1, 1, height).to(x)[:, None].expand(len(x), 1, height, width)
    return torch.cat((x, across, along), 1)


def _tower(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    for number in range(STACKED):
        own = f"{name}.{number}"
        x = F.conv2d(x, weights[f"{own}.conv.weight"], padding=1)
        x = F.group_norm(x, 32, weights[f"{own}.gn.weight"], weights[f"{own}.gn.bias"]).relu()
    return x


def run(weights: dict[str, Tensor], feats: Sequence[Tensor], grids: Sequence[int]) -> dict:
    def conv(x: Tensor, name: str, padding: int) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), padding=padding)

    total = conv(feats[0], "feature_convs.0.conv0.conv", 1).relu()
    for level in (1, 2, 3):
        x = feats[level] if level < 3 else _with_coordinates(feats[level])
        for number in range(level):
            x = conv(x, f"feature_convs.{level}.conv{number}.conv", 1).relu()
            x = _resized(x, [2 * side for side in x.shape[2:]])
        total = total + x
    mask_feats = conv(total, "solo_mask", 0)

    halved = _resized(feats[0], [side // 2 for side in feats[0].shape[2:]])
    enlarged = _resized(feats[4], feats[3].shape[2:])
    kernels, scores, masks = [], [], []
    for x, grid in zip([halved, *feats[1:4], enlarged], grids, strict=True):
        cells = _resized(_with_coordinates(x), (grid, grid))
        kernels.append(conv(_tower(cells, weights, "kernel_convs"), "solo_kernel", 0))
        scores.append(conv(_tower(cells[:, :-2], weights, "cate_convs"), "solo_cate", 1))
        size = [2 * side for side in x.shape[2:]]
        masks.append(_resized(cell_masks(kernels[-1], mask_feats), size))
    return dict(
        mask_feats=mask_feats,
        kernels=kernels,
        cate_preds=scores,
        ins_preds=masks,
        levelset_feats=conv(mask_feats, "levelset_bottom", 1),
    )


def cell_masks(kernels: Tensor, mask_feats: Tensor) -> Tensor:
    return torch.einsum("bcij,bchw->bijhw", kernels, mask_feats).flatten(1, 2)


def peaks(scores: Tensor) -> Tensor:
    """Scores (B, S, S, C); a score below the cell above, left, or above and left becomes 0."""
    kept = torch.zeros_like(scores)
    grid = scores.shape[-1]
    for i in range(grid):
        for j in range(grid):
            window = scores[:, :, max(i - 1, 0) : i + 1, max(j - 1, 0) : j + 1].amax((2, 3))
            own = scores[:, :, i, j]
            kept[:, :, i, j] = torch.where(own == window, own, 0.0)
    return kept.permute(0, 2, 3, 1)


def compute_losses(
    outputs: dict, image: Tensor, boxes: Sequence[Tensor], case: Case
) -> dict[str, Tensor]:
    guides: dict = {}
    projections, level_sets, classes = [], [], 0.0
    for index, own in enumerate(boxes):
        cells = solo_cells(own.tolist(), True, case.size, case.grids, case.scales, 0.2)
        for (level, row, column), box in cells.items():
            mask = outputs["ins_preds"][level][index, row * case.grids[level] + column].sigmoid()
            size = mask.shape
            stride = case.size[0] // size[0]
            inside = mmcv.imrescale(box_array(own[box], case.size), scale=1 / stride)
            assert inside.any()
            inside = torch.from_numpy(inside).double()
            if (index, size) not in guides:
                small = _resized(image[index][None], size)[0]
                deep = _resized(outputs["levelset_feats"][index][None], size)[0]
                guides[index, size] = small, similarity(small, 0.02), similarity(deep)
            small, first, second = guides[index, size]
            projections.append(3.0 * projection(mask, inside))
            level_sets.append(
                level_set(mask, inside, small, None, first, second, length_weight=1e-5)
            )
        for level, grid in enumerate(case.grids):
            for row in range(grid):
                for column in range(grid):
                    box = cells.get((level, row, column))
                    for number in range(CLASSES):
                        logit = outputs["cate_preds"][level][index, number, row, column]
                        p = logit.sigmoid()
                        if box is not None and case.labels[index][box] == number:
                            classes = classes - 0.25 * (1 - p) ** 2 * p.log()
                        else:
                            classes = classes - 0.75 * p**2 * (1 - p).log()
    count = len(projections)
    return dict(
        loss_boxpro=sum(projections) / count,
        loss_levelset=sum(level_sets) / count,
        loss_cate=classes / (count + 1),
    )
