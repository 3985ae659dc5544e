"""Benchmark of BoxLevelSet: its tree filters against SciPy's, its training step against SOLOv2's.

``trees``: the positive masks of one image are filtered along the trees of the image and of the deep
guide, with gradients, as in BoxLevelSetLoss. The reference has two SciPy trees for each positive.

``step``: forward pass, losses and backward pass of a batch. All rows share backbone and FPN. In the
first row mmdet's SOLOv2 has ``--width`` channels in its head and half as many in its mask features,
with norm. The other two rows of mmdet differ in these widths alone. The rows of ours with mmdet's
layers differ from the first row in code and losses alone. In the other rows of ours the layers are
the released ones: the kernels' last convolution is 1x1, the mask features have ``--width`` channels
and no norm, and a level's masks have twice the level's resolution, not the resolution of the mask
features. Loading, augmentation and transfer of the batch are not timed; the optimizer is timed with
``--optimizer``. "Losses alone" are the losses of fixed predictions and the predictions' gradients.

``detectors``: the same step of RTMDet-Ins-s, CondInst and Mask2Former: mmdet's with full masks, and
ours with full masks, which must have mmdet's losses, and with each kind of box supervision.

python tools/benchmarks/box_levelset.py trees                           # CPU
python tools/benchmarks/box_levelset.py step --rounds 3                 # CPU, about 10 GB
python tools/benchmarks/box_levelset.py detectors --size 320 480        # CPU
python tools/benchmarks/box_levelset.py --device cuda                   # both
"""

import argparse
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.detectors import SOLOv2
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor

from mmlevelset.experiments.benchmarks import box_detectors, harness
from mmlevelset.experiments.benchmarks.tree_filter import SciPyTree
from mmlevelset.models.box_levelset import BoxLevelSetLoss, level_set_loss
from mmlevelset.models.box_levelset.level_set_loss import Masks
from mmlevelset.models.box_levelset.targets import Boxes, assign_cells
from mmlevelset.models.common import ImageFeatures

STRIDES = (4, 8, 16)
MOST_TREES = 6
MOST_OBJECTS = 20
PLAIN = "SOLOv2 of mmdet"
PARTS = ("trees", "step", "both", "detectors")


def smooth(channels: int, size: tuple[int, int], noise: float) -> Tensor:
    """Return a map (C, H, W) of about unit deviation, like a normalised photograph."""
    coarse = torch.randn(1, channels, *(max(2, side // 32) for side in size))
    return F.interpolate(coarse, size, mode="bicubic")[0] + noise * torch.randn(channels, *size)


# Trees


def image_masks(options: argparse.Namespace, device: torch.device) -> tuple[list[Masks], Tensor]:
    """Return the positives of one image at each resolution, and the deep guide (5, H, W)."""
    height, width = options.size
    image = smooth(3, (height, width), 0.1)[None].to(device)
    deep = (0.3 * smooth(5, (height // 4, width // 4), 0.1)).to(device).requires_grad_()
    masks = []
    for stride, count in zip(STRIDES, options.masks, strict=True):
        size = (height // stride, width // stride)
        scores = torch.sigmoid(smooth(count, size, 0.3)).to(device).requires_grad_()
        small = F.interpolate(image, size, mode="bilinear", align_corners=False)[0]
        masks.append(Masks(scores, torch.ones_like(scores, dtype=torch.bool), small, deep))
    return masks, deep


def trees_of_image(
    loss: BoxLevelSetLoss, masks: list[Masks], deep: Tensor, slopes: list[Tensor], alone: bool
) -> list[Tensor]:
    """Return t1 and t2 of all masks, and the gradients of the masks and of the guide.

    Args:
        loss: The loss in training.
        masks: The positives at each resolution.
        deep: The deep guide.
        slopes: The gradients of t1 and t2.
        alone: Whether each mask has its own trees. Otherwise a resolution has two, as in training.
    """
    filtered = []
    for some in masks:
        if alone:
            parts = [loss._released(some._replace(scores=own)) for own in some.scores.split(1)]
            filtered.append(torch.cat(parts))
        else:
            filtered.append(loss._released(some))
    leaves = [*(some.scores for some in masks), deep]
    return [*filtered, *torch.autograd.grad(filtered, leaves, slopes)]


def trees_of_positives(
    masks: list[Masks], deep: Tensor, slopes: list[Tensor], sigma: float, ranked: bool = False
) -> list[Tensor]:
    """Return the same as :func:`trees_of_image`, by two SciPy trees for each positive."""
    filtered, gradients, by_deep = [], [], torch.zeros_like(deep, dtype=torch.float64)
    for some, slope in zip(masks, slopes, strict=True):
        size = some.image.shape[1:]
        resized = F.interpolate(deep[None], size, mode="bilinear", align_corners=False)[0]
        image, guide = some.image.cpu().numpy(), resized.detach().cpu().numpy()
        by_guide = np.zeros((len(guide), guide[0].size))
        pairs, own = [], []
        for x, (slope1, slope2) in zip(_arrays(some.scores), _arrays(slope), strict=True):
            first = SciPyTree(image, sigma, ranked)
            t1 = first.forward(x)
            second = SciPyTree(guide, 1.0, ranked)
            pairs.append(np.stack((t1, second.forward(t1))))
            by_t1, by_own = second.gradients(slope2)
            by_guide += by_own
            own.append(first.gradient(slope1 + by_t1))
        filtered.append(torch.from_numpy(np.stack(pairs)).unflatten(2, size).to(deep.device))
        gradients.append(torch.from_numpy(np.stack(own)).unflatten(1, size).to(deep.device))
        grad = torch.from_numpy(by_guide).view_as(resized).to(deep)
        by_deep += torch.autograd.grad(resized, deep, grad)[0]
    return [*filtered, *gradients, by_deep]


def _arrays(maps: Tensor) -> np.ndarray:
    return maps.detach().double().flatten(-2).cpu().numpy()


def trees(options: argparse.Namespace, device: torch.device) -> None:
    """Check, then time, the trees and filters of one image."""
    height, width = options.size
    what = ", ".join(
        f"{count} of {height // stride} x {width // stride}"
        for stride, count in zip(STRIDES, options.masks, strict=True)
    )
    print(f"\nOne image of {height} x {width}, {sum(options.masks)} positive masks: {what}\n")
    masks, deep = image_masks(options, device)
    slopes = [
        torch.randn(len(some.scores), 2, *some.image.shape[1:], dtype=torch.float64, device=device)
        for some in masks
    ]
    loss = BoxLevelSetLoss(options.width).to(device)
    ours = partial(trees_of_image, loss, masks, deep, slopes)
    scipy = partial(trees_of_positives, masks, deep, slopes, loss.sigma)

    gate = harness.Gate()
    names = [f"stride {stride}" for stride in STRIDES]
    names = [*(f"t1 and t2, {n}" for n in names), *(f"masks' gradient, {n}" for n in names)]
    want = scipy(ranked=True)
    for alone in (False, True):
        for name, got, right in zip([*names, "guide's gradient"], ours(alone), want, strict=True):
            gate.close(f"{name}{', a tree for each' if alone else ''}", got, right, 1e-4)
    count = trees_in_head(options, device)
    gate.record(
        "trees of an image in the head", count <= MOST_TREES, f"{count} (limit {MOST_TREES})"
    )
    gate.finish()

    calls = {
        "SciPy, two trees for each positive": scipy,
        "ours, two trees for each positive": partial(ours, True),
        "ours, two trees for each resolution": partial(ours, False),
    }
    # torch does not count the memory of NumPy and SciPy.
    results = harness.measure(calls, device, options.rounds, memory=False)
    print("\n" + harness.time_and_memory(results, next(iter(calls))), flush=True)


def trees_in_head(options: argparse.Namespace, device: torch.device) -> int:
    """Return the number of spanning trees that the head builds for an image."""
    small = argparse.Namespace(**{**vars(options), "batch": 1})
    images, samples = batch(small, device)
    head = MODELS.build(head_config(32, 32, "mmlevelset.BoxSOLOv2Head", in_channels=32)).to(device)
    sizes = [(options.size[0] // stride, options.size[1] // stride) for stride in (4, 8, 16, 32)]
    sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    features = [torch.randn(1, 32, *size, device=device) for size in sizes]
    function = level_set_loss.minimum_spanning_tree
    with mock.patch.object(level_set_loss, "minimum_spanning_tree", wraps=function) as counted:
        head.loss(ImageFeatures(features, images), samples)
    return counted.call_count


# Steps


def batch(options: argparse.Namespace, device: torch.device) -> tuple[Tensor, list[DetDataSample]]:
    """Return images (B, 3, H, W) with ellipses as objects: boxes, classes and masks.

    Scales and centres of the objects are spread evenly. So two of at most ``MOST_OBJECTS`` objects
    never claim the same cell; mmdet would count the mask of such a cell twice.
    """
    height, width = options.size
    count = options.objects
    columns = max(1, round((count * width / height) ** 0.5))
    rows = -(-count // columns)
    images, samples = [], []
    for _ in range(options.batch):
        place = torch.randperm(rows * columns)[:count]
        x = (place % columns + 0.5) * width / columns
        y = (place // columns + 0.5) * height / rows
        side = min(height, width)
        scale = torch.linspace(max(8, 0.04 * side), 0.8 * side, count)
        shape = torch.exp(torch.empty(count).uniform_(-0.3, 0.3))
        half_width = torch.minimum(scale * shape / 2, torch.minimum(x, width - x)).floor()
        half_height = torch.minimum(scale / shape / 2, torch.minimum(y, height - y)).floor()
        x, y = x.floor(), y.floor()
        boxes = torch.stack((x - half_width, y - half_height, x + half_width, y + half_height), 1)
        away_x = (torch.arange(width) + 0.5 - x[:, None]) / half_width[:, None]
        away_y = (torch.arange(height) + 0.5 - y[:, None]) / half_height[:, None]
        masks = away_x.square()[:, None] + away_y.square()[:, :, None] <= 1
        instances = InstanceData(
            bboxes=boxes.to(device),
            labels=torch.randint(80, (count,), device=device),
            masks=BitmapMasks(masks.numpy().astype(np.uint8), height, width),
        )
        shapes = dict.fromkeys(("img_shape", "pad_shape", "batch_input_shape"), (height, width))
        samples.append(DetDataSample(metainfo=shapes, gt_instances=instances))
        images.append(smooth(3, (height, width), 0.1))
    return torch.stack(images).to(device), samples


def head_config(width: int, mask_width: int, kind: str, **others: Any) -> dict:
    released = kind != "SOLOV2Head" and others.get("architecture") != "mmdet"
    norm = None if released else dict(type="GN", num_groups=32, requires_grad=True)
    return dict(
        type=kind,
        num_classes=80,
        feat_channels=width,
        stacked_convs=4,
        strides=[8, 8, 16, 32, 32],
        scale_ranges=((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048)),
        pos_scale=0.2,
        num_grids=[40, 36, 24, 16, 12],
        cls_down_index=0,
        mask_feature_head=dict(
            feat_channels=mask_width,
            start_level=0,
            end_level=3,
            out_channels=others["in_channels"],
            mask_stride=4,
            norm_cfg=norm,
        ),
        loss_mask=dict(type="DiceLoss", use_sigmoid=True, loss_weight=3.0),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        **others,
    )


def detectors(options: argparse.Namespace, device: torch.device) -> dict[str, SOLOv2]:
    """Return a detector for each row. Backbone and neck are the same module in all.

    Heads of equal layers have equal weights.
    """
    width = options.width
    half = width // 2
    plain = partial(head_config, kind="SOLOV2Head", in_channels=width)
    ours = partial(head_config, kind="mmlevelset.BoxSOLOv2Head", in_channels=width)
    paper = dict(
        type="mmlevelset.BoxLevelSetLoss", mode="paper", feature_channels=9, length_weight=1e-4
    )
    heads = {
        PLAIN: plain(width, half),
        f"{PLAIN}, mask features of {width}": plain(width, width),
        f"{PLAIN}, head of {2 * width}, as it is configured": plain(2 * width, half),
        "ours, mmdet's layers, masks": ours(width, half, architecture="mmdet", supervision="mask"),
        "ours, mmdet's layers, released losses": ours(width, half, architecture="mmdet"),
        "ours, masks": ours(width, width, supervision="mask"),
        "ours, projection only": ours(width, width, loss_level_set=None),
        "ours, released losses": ours(width, width),
        "ours, paper's losses": ours(width, width, loss_level_set=paper),
    }
    models: dict[str, SOLOv2] = {}
    for name, head in heads.items():
        backbone = dict(
            type="ResNet",
            depth=options.depth,
            frozen_stages=1,
            norm_cfg=dict(type="BN", requires_grad=True),
            init_cfg=None,
        )
        widths = [64, 128, 256, 512] if options.depth < 50 else [256, 512, 1024, 2048]
        neck = dict(type="FPN", in_channels=widths, out_channels=width, start_level=0, num_outs=5)
        kind = "SOLOv2" if head["type"] == "SOLOV2Head" else "mmlevelset.BoxLevelSet"
        model = MODELS.build(dict(type=kind, backbone=backbone, neck=neck, mask_head=head))
        model.init_weights()
        for first in models.values():
            model.backbone, model.neck = first.backbone, first.neck
            if _layers(first) == _layers(model):
                model.mask_head.load_state_dict(first.mask_head.state_dict(), strict=False)
                break
        models[name] = model.to(device).train()
    return models


def _layers(model: SOLOv2) -> dict[str, torch.Size]:
    """Return the shapes of the weights of the head's layers. A loss's weights are left out."""
    state = model.mask_head.state_dict()
    return {name: value.shape for name, value in state.items() if not name.startswith("loss_")}


def positives(model: SOLOv2, samples: list[DetDataSample]) -> int:
    """Return the number of positive cells of the batch."""
    head = model.mask_head
    boxes = Boxes.of([sample.gt_instances for sample in samples], inclusive=False)
    grids = head.num_grids, head.scale_ranges, head.pos_scale
    return len(assign_cells(boxes, len(samples), samples[0].img_shape, *grids).cell)


def step(
    model: SOLOv2,
    images: Tensor,
    samples: list[DetDataSample],
    optimizer: torch.optim.Optimizer | None,
) -> dict[str, Tensor]:
    """Run a training step. The gradients stay in the parameters."""
    model.zero_grad(set_to_none=True)
    losses = model.loss(images, samples)
    model.parse_losses(losses)[0].backward()
    if optimizer is not None:
        optimizer.step()
    return losses


def losses_alone(
    model: SOLOv2, images: Tensor, samples: list[DetDataSample]
) -> Callable[[], tuple[dict[str, Tensor], list[Tensor]]]:
    """Return a function that computes the losses of fixed predictions and their gradients."""
    head = model.mask_head
    with torch.no_grad():
        x = model.extract_feat(images)
        predictions = head(x)
    kernels, scores, mask_feats = predictions
    leaves = [level.requires_grad_() for level in (*kernels, *scores, mask_feats)]
    instances, _, metas = unpack_gt_instances(samples)
    arguments: list[Any] = [instances, metas]
    if hasattr(head, "mask_sizes"):
        arguments = [head.mask_sizes(x), *arguments, images]

    def call() -> tuple[dict[str, Tensor], list[Tensor]]:
        losses = head.loss_by_feat(*predictions, *arguments)
        weights = [value for name, value in head.named_parameters() if name.startswith("loss_")]
        total = sum(losses.values())
        gradients = torch.autograd.grad(total, [*leaves, *weights], materialize_grads=True)
        return losses, list(gradients[: len(leaves)])

    return call


def steps(options: argparse.Namespace, device: torch.device) -> None:
    """Check, then time, the training steps."""
    images, samples = batch(options, device)
    models = detectors(options, device)
    count = positives(models["ours, masks"], samples)
    print(
        f"\n{options.batch} images of {options.size[0]} x {options.size[1]} with {options.objects} "
        f"objects each, {count} positive cells in all, ResNet-{options.depth}\n"
    )
    whole, alone = {}, {}
    for name, model in models.items():
        optimizer = None
        if options.optimizer:
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-30)
        whole[name] = partial(step, model, images, samples, optimizer)
        alone[name] = losses_alone(model, images, samples)
    check(models, whole, alone).finish()
    results = harness.measure(whole, device, options.rounds, memory=device.type == "cuda")
    parts = harness.measure(alone, device, options.rounds, memory=False)
    base = results[PLAIN]
    headings = ["", "step, s", "min-max", "of SOLOv2's", "losses alone, s", "of the step"]
    if base.peak:
        headings += ["peak MiB"]
    rows = []
    for name, result in results.items():
        part = parts[name].median
        row = [
            name,
            f"{result.median:.3g}",
            f"{min(result.seconds):.3g}-{max(result.seconds):.3g}",
            f"{result.median / base.median:.2f}",
            f"{part:.3g}",
            f"{part / result.median:.0%}",
        ]
        rows.append(row + ([f"{result.peak / 2**20:.0f}"] if result.peak else []))
    print("\n" + harness.table(headings, rows), flush=True)


def check(models: dict[str, SOLOv2], whole: dict, alone: dict) -> harness.Gate:
    """Compare our rows with mmdet's and with each other if they must agree; all must be finite."""
    gate = harness.Gate()
    # mmdet computes masks by convolutions; they would use TF32.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        values = {name: call() for name, call in alone.items()}
    twin, other = values["ours, mmdet's layers, masks"], values[PLAIN]
    for name in ("loss_cls", "loss_mask"):
        gate.close(f"{name}, as mmdet's", twin[0][name], other[0][name], 1e-5)
    got, want = (torch.cat([part.flatten() for part in value[1]]) for value in (twin, other))
    gate.close("gradient of the predictions, as mmdet's", got, want, 1e-4)
    boxes = [value[0] for name, value in values.items() if "released losses" in name]
    projection = values["ours, projection only"][0]
    gate.close(
        "loss_projection, without and with a level set",
        boxes[-1]["loss_projection"],
        projection["loss_projection"],
        1e-6,
    )
    gate.close("loss_cls of boxes, as of masks", boxes[0]["loss_cls"], twin[0]["loss_cls"], 1e-6)
    gate.close(
        "loss_cls of boxes, as of masks, released layers",
        boxes[1]["loss_cls"],
        values["ours, masks"][0]["loss_cls"],
        1e-6,
    )
    for name, call in whole.items():
        losses = call()
        model = models[name]
        gradients = [value.grad for value in model.parameters() if value.grad is not None]
        finite = all(tensor.isfinite().all() for tensor in (*losses.values(), *gradients))
        model.zero_grad(set_to_none=True)
        found = ", ".join(f"{key} {value.item():.3g}" for key, value in losses.items())
        gate.record(name, finite, found)
    return gate


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments("Tree filters and training step of BoxLevelSet.", rounds=5)
    parser.add_argument("part", nargs="?", choices=PARTS, default="both")
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1216), metavar=("H", "W"))
    parser.add_argument(
        "--masks", type=int, nargs=3, default=(24, 8, 8), help="trees: positives at stride 4, 8, 16"
    )
    parser.add_argument("--batch", type=int, default=2, help="step: images")
    parser.add_argument("--objects", type=int, default=10, help="objects of an image")
    parser.add_argument("--depth", type=int, default=50, help="step: depth of the ResNet")
    parser.add_argument("--width", type=int, default=256, help="step: channels of FPN and head")
    parser.add_argument(
        "--detectors",
        nargs="+",
        choices=tuple(box_detectors.DETECTORS),
        default=tuple(box_detectors.DETECTORS),
        help="detectors: those to time",
    )
    parser.add_argument("--optimizer", action="store_true", help="step: with AdamW's update")
    options = parser.parse_args(words)
    if any(side % 32 for side in options.size):
        parser.error(f"--size must be multiples of 32, and was {options.size}")
    if not 1 <= options.objects <= MOST_OBJECTS:
        parser.error(f"--objects must be 1 to {MOST_OBJECTS}, and was {options.objects}")
    device = harness.prepare(options, words)
    init_default_scope("mmdet")
    MMLogger.get_current_instance().setLevel("ERROR")  # no line for each weight
    warnings.filterwarnings("ignore", "torch.meshgrid")
    if options.part == "detectors":
        box_detectors.detectors(options, device, *batch(options, device))
    if options.part in ("trees", "both"):
        trees(options, device)
    if options.part in ("step", "both"):
        steps(options, device)
