"""Benchmark of the level-set loss: alone, and in a training step of DeepLab-LargeFOV.

``loss``: cross-entropy of logits at full size, with its gradient; cross-entropy and the level-set
loss as the paper writes it (one-hot labels, autograd); cross-entropy and ours; ours alone.

``step``: forward pass, loss and backward pass of a batch in training mode, with cross-entropy and
with both losses, on one backbone. Loading, augmentation, transfer and optimizer are not timed.

Memory is a call's peak beyond its input. The column "extra" has it in units of the float32 softmax
of the logits, at the size that the losses see.

python tools/benchmarks/semantic.py loss                                # CPU
python tools/benchmarks/semantic.py step --rounds 3                     # CPU, about 3 GB
python tools/benchmarks/semantic.py --device cuda                       # both
python tools/benchmarks/semantic.py --device cuda --amp bfloat16
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from torch import Tensor

from mmlevelset.experiments.benchmarks import harness
from mmlevelset.models.levelset_loss import LevelSetLoss, SemanticSegmentor

EPS, WEIGHT = 0.05, 4e-4
PLAIN, NAIVE, BOTH = "cross-entropy", "with the level-set loss, as written", "with ours"


def as_written(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss by the paper's equations on one-hot labels, all classes at once."""
    labelled = (labels != 255)[:, None]
    truth = F.one_hot(labels.where(labels != 255, 0), logits.shape[1]).movedim(-1, 1) * labelled
    truth = truth.to(logits)
    inside = 0.5 * (1 + torch.tanh((logits.softmax(1) - 0.5) / EPS))
    outside = (1 - inside) * labelled
    inside = inside * labelled
    c1 = (inside * truth).sum((2, 3), True) / inside.sum((2, 3), True).clamp(min=1e-30)
    c2 = (outside * truth).sum((2, 3), True) / outside.sum((2, 3), True).clamp(min=1e-30)
    energy = (inside * (truth - c1) ** 2 + outside * (truth - c2) ** 2).sum((2, 3))
    return WEIGHT * (energy * (truth.sum((2, 3)) > 0)).sum()


def label_maps(options: argparse.Namespace) -> Tensor:
    """Return labels (B, H, W): ellipses on a background. Pixels at their edges have no label."""
    height, width = options.size
    y, x = torch.arange(height)[:, None] / height, torch.arange(width) / width
    maps = torch.zeros(options.batch, height, width, dtype=torch.long)
    for labels in maps:
        for _ in range(options.objects):
            centre_y, centre_x = torch.rand(2)
            half_y, half_x = torch.rand(2) * 0.25 + 0.1
            away = ((y - centre_y) / half_y).square() + ((x - centre_x) / half_x).square()
            labels[away <= 1] = torch.randint(1, options.classes, ())
            labels[(away > 1) & (away < 1.1)] = 255
    return maps


def predictions(labels: Tensor, classes: int) -> Tensor:
    """Return logits (B, K, H, W) with their maximum at the label in most pixels."""
    batch, height, width = labels.shape
    coarse = 3 * torch.randn(batch, classes, height // 16 + 2, width // 16 + 2)
    logits = F.interpolate(coarse, (height, width), mode="bicubic")
    favoured = labels.where(labels != 255, 0)[:, None]
    return logits.scatter_add_(1, favoured, torch.full(favoured.shape, 4.0))


# Losses


def losses(options: argparse.Namespace, device: torch.device) -> None:
    """Check, then time, the losses of fixed logits."""
    labels = label_maps(options).to(device)
    logits = predictions(labels.cpu(), options.classes).to(device).requires_grad_()
    ours = LevelSetLoss(EPS, loss_weight=WEIGHT, map_size=None)
    plain = partial(F.cross_entropy, ignore_index=255)
    present = sum(len(some[some != 255].unique()) for some in labels) / len(labels)
    print(f"\nLosses of {options.batch} x {_shape(options)}, {present:.1f} classes in an image\n")

    gate = harness.Gate()
    want, want_slope = reference(logits, labels)
    for name, function in ((NAIVE, as_written), ("ours", ours)):
        value = function(logits, labels)
        (slope,) = torch.autograd.grad(value, logits)
        gate.close(f"{name}, value", value, want, 1e-5)
        gate.close(f"{name}, gradient", slope, want_slope, 1e-4)
    gate.finish()

    functions: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        PLAIN: plain,
        NAIVE: lambda x, y: plain(x, y) + as_written(x, y),
        BOTH: lambda x, y: plain(x, y) + ours(x, y),
        "ours alone": ours,
    }
    calls = {
        name: lambda function=function: torch.autograd.grad(function(logits, labels), logits)
        for name, function in functions.items()
    }
    results = harness.measure(calls, device, options.rounds)
    print("\n" + table(results, logits.nbytes), flush=True)


def reference(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return value and gradient of the definition in float64, computed image by image."""
    total = torch.zeros((), dtype=torch.float64, device=logits.device)
    slopes = []
    for image, truth in zip(logits.detach().split(1), labels.split(1), strict=True):
        wide = image.double().requires_grad_()
        value = as_written(wide, truth)
        slopes += torch.autograd.grad(value, wide)
        total += value.detach()
    return total, torch.cat(slopes)


# Steps


def networks(options: argparse.Namespace, device: torch.device) -> dict[str, SemanticSegmentor]:
    """Return DeepLab-LargeFOV with each loss: one backbone, heads of equal weights."""
    cross_entropy = dict(type="CrossEntropyLoss", avg_non_ignore=True)
    level_set = dict(type="mmlevelset.LevelSetLoss", eps=EPS, loss_weight=WEIGHT, map_size=None)
    models: dict[str, SemanticSegmentor] = {}
    for name, kinds in ((PLAIN, [cross_entropy]), (BOTH, [cross_entropy, level_set])):
        backbone = dict(type="mmlevelset.DeepLabVGG", depth=options.depth)
        head = dict(
            type="mmlevelset.LargeFOVHead",
            num_classes=options.classes,
            loss_decode=kinds,
            loss_size=options.loss_size,
            align_corners=True,
        )
        model = MODELS.build(
            dict(type="mmlevelset.SemanticSegmentor", stride=8, backbone=backbone, decode_head=head)
        )
        model.init_weights()
        for first in models.values():
            model.backbone = first.backbone
            model.decode_head.load_state_dict(first.decode_head.state_dict())
        models[name] = model.to(device).train()
    return models


def step(
    model: SemanticSegmentor,
    images: Tensor,
    samples: list[DetDataSample],
    autocast: Callable[[], AbstractContextManager],
) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """Run a training step, and return its losses and gradients."""
    with autocast():
        found = model.loss(images, samples)
    total = model.parse_losses(found)[0]
    return found, torch.autograd.grad(total, list(model.parameters()))


def steps(options: argparse.Namespace, device: torch.device) -> None:
    """Check, then time, the training steps."""
    labels = label_maps(options).to(device)
    shapes = dict.fromkeys(("img_shape", "batch_input_shape", "pad_shape"), tuple(options.size))
    samples = [
        DetDataSample(metainfo=shapes, gt_sem_seg=PixelData(sem_seg=some[None])) for some in labels
    ]
    images = torch.randn(options.batch, 3, *options.size, device=device)
    models = networks(options, device)
    dtype = getattr(torch, options.amp) if options.amp else None
    autocast = partial(torch.autocast, device.type, dtype, enabled=dtype is not None)
    calls = {
        name: partial(step, model, images, samples, autocast) for name, model in models.items()
    }
    print(
        f"\nTraining step of DeepLab-LargeFOV, VGG-{options.depth}, {options.batch} x "
        f"{_shape(options)}, losses at {options.loss_size} size, "
        f"{options.amp or 'float32'}\n"
    )
    seen = check(models[BOTH], calls, options)
    results = harness.measure(calls, device, options.rounds)
    print("\n" + table(results, seen), flush=True)


def check(
    model: SemanticSegmentor, calls: Mapping[str, Callable], options: argparse.Namespace
) -> int:
    """Compare the step's losses with each other and with the definition.

    Returns:
        The bytes of the softmax at the size that the losses see.
    """
    gate = harness.Gate()
    caught: list[Tensor] = []
    hook = model.decode_head.losses[1].register_forward_pre_hook(
        lambda loss, arguments: caught.extend(arguments)
    )
    found = {}
    for name, call in calls.items():
        torch.manual_seed(options.seed)  # for dropout
        found[name], slopes = call()
        finite = all(bool(slope.isfinite().all()) for slope in slopes)
        gate.record(f"{name}, gradients", finite, "finite" if finite else "not finite")
    hook.remove()
    logits, labels = caught
    plain, ours = found[PLAIN], found[BOTH]
    gate.close("loss_ce with and without", ours["loss_ce"], plain["loss_ce"], 1e-5)
    gate.close("loss_level_set", ours["loss_level_set"], reference(logits, labels)[0], 1e-5)
    gate.finish()
    return 4 * logits.numel()


def table(results: dict[str, harness.Result], softmax: int) -> str:
    """Return a table of times and memory, with ratios and extra memory to cross-entropy."""
    base = results[PLAIN]
    headings = ["", "median ms", "min-max", f"of {PLAIN}'s", "peak MiB", "extra, softmaxes"]
    rows = []
    for name, result in results.items():
        assert result.peak is not None and base.peak is not None
        row = [
            name + (" *" if result.launch_bound else ""),
            f"{result.median * 1e3:.4g}",
            f"{min(result.seconds) * 1e3:.4g}-{max(result.seconds) * 1e3:.4g}",
            f"{result.median / base.median:.3f}",
            f"{result.peak / 2**20:.1f}",
            f"{(result.peak - base.peak) / softmax:.2f}",
        ]
        rows.append(row)
    text = harness.table(headings, rows)
    if any(result.launch_bound for result in results.values()):
        text += "\n\n\\* includes waiting for the host"
    return text


def _shape(options: argparse.Namespace) -> str:
    return f"{options.classes} x {options.size[0]} x {options.size[1]}"


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("part", nargs="?", choices=("loss", "step", "both"), default="both")
    parser.add_argument("--batch", type=int, default=10, help="images")
    parser.add_argument("--size", type=int, nargs=2, default=(321, 321), metavar=("H", "W"))
    parser.add_argument(
        "--classes", type=int, default=21, help="number of classes, with the background"
    )
    parser.add_argument("--objects", type=int, default=3, help="objects of an image")
    parser.add_argument(
        "--depth", type=int, choices=(11, 13, 16, 19), default=16, help="depth of VGG"
    )
    parser.add_argument(
        "--loss-size",
        choices=("full", "logits"),
        default="full",
        help="step: size of the losses' logits",
    )
    parser.add_argument("--amp", choices=("float16", "bfloat16"), help="step: dtype of autocast")
    options = parser.parse_args(words)
    device = harness.prepare(options, words)
    init_default_scope("mmdet")
    MMLogger.get_current_instance().setLevel("ERROR")  # no line for each weight
    if options.part != "step":
        losses(options, device)
    if options.part != "loss":
        steps(options, device)
