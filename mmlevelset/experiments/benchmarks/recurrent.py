"""Benchmark of recurrent level sets: RLS against F-ConNet and Chan-Vese, and RLS within CRLS.

``rls``: milliseconds an image. The networks run at ``--size``, one image at a time and in batches.
Chan-Vese, ours and scikit-image's, runs to its end at ``--size`` and, as in the paper's Table 2, at
the images' own size, ``--original``. The networks have initial weights: their time does not depend
on the weights. The images are generated with one object each, noise, blur and uneven light;
Chan-Vese sees grey images.

``crls``: forward pass, losses and backward pass of a batch, and prediction of one image. The rows
have the recurrent level set, F-ConNet, or no network. Without a network, the mask is the sigmoid of
the fully connected layer's output. All rows share the other weights. Loading, augmentation and
optimizer are not timed.

python tools/benchmarks/recurrent.py rls                                # CPU, about 3 GB
python tools/benchmarks/recurrent.py crls --rounds 3                    # CPU, about 4 GB
python tools/benchmarks/recurrent.py --device cuda                      # both
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from skimage import segmentation
from torch import Tensor, nn

from mmlevelset.datasets import ShapesSegDataset
from mmlevelset.experiments.benchmarks import harness
from mmlevelset.models import CRLS, FConNet, RecurrentLevelSet, Segmentation
from mmlevelset.ops import chan_vese, curvature, heaviside, region_means

TOLERANCES = (1e-3, 1e-4)
RLS, F_CONNET = "RLS, dense gates", "F-ConNet"


# Single images


def single_objects(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Return images (B, 3, H, W) in [0, 255] of one object each."""
    images = ShapesSegDataset(
        length=count,
        image_size=size[::-1],  # width, height
        num_objects=(1, 1),
        noise=1.0,
        light=1.0,
        camouflage=0.0,
        seed=seed,
        pipeline=[dict(type="LoadImageFromFile")],
    )
    pixels = [torch.from_numpy(images[number]["img"]) for number in range(count)]
    return torch.stack(pixels).movedim(-1, 1).float()


def as_written(model: RecurrentLevelSet, image: Tensor, phi: Tensor) -> Tensor:
    """Return the logits by the paper's equations, matrix by matrix: dense gates, tied weights."""
    cell: Any = model.cells[0]
    pixels = image[0, 0].numel()
    (u_z, w_z), (u_r, w_r) = (rows.split(pixels, 1) for rows in cell.gates.weight.split(pixels))
    b_z, b_r = cell.gates.bias.split(pixels)
    u_h, w_h = cell.candidate.weight.split(pixels, 1)
    b_h = cell.candidate.bias
    minus_u_g, w_g = cell.data_term.matrices.weight.split(pixels)
    for _ in range(model.num_steps):
        c1, c2 = region_means(image, heaviside(phi, model.eps))
        inside, outside = (
            (image - c[..., None, None]).square().sum(1).flatten(1) for c in (c1, c2)
        )
        state = phi.flatten(1)
        x = curvature(phi, model.eta).flatten(1) + inside @ minus_u_g.T + outside @ w_g.T
        z = torch.sigmoid(x @ u_z.T + state @ w_z.T + b_z)
        r = torch.sigmoid(x @ u_r.T + state @ w_r.T + b_r)
        h = torch.tanh(x @ u_h.T + (state * r) @ w_h.T + b_h)
        phi = (z * state + (1 - z) * h).view_as(phi)
    scores = F.linear(phi.flatten(1), model.output.weight, model.output.bias)
    return scores.unflatten(1, (2, *phi.shape[1:]))


@torch.inference_mode()
def single_images(options: argparse.Namespace, device: torch.device) -> None:
    """Check, then time, the networks and Chan-Vese."""
    size = tuple(options.size)
    small = single_objects(options.batch, size, options.seed).to(device)
    images = F.instance_norm(small)
    dense = RecurrentLevelSet("dense", size)
    networks: dict[str, nn.Module] = {
        RLS: dense,
        "RLS, convolutions, 8 channels": RecurrentLevelSet(
            "conv", hidden_channels=8, initial="discs", reduction="none"
        ),
        "RLS, convolutions, 1 channel": RecurrentLevelSet("conv", initial="discs"),
        F_CONNET: FConNet(size),
    }
    networks = {name: model.to(device).eval() for name, model in networks.items()}
    print(f"\nOne object in {size[0]} x {size[1]} pixels, 3 channels, N = {dense.num_steps}\n")

    gate = harness.Gate()
    some = images[:2]
    found = dense(some)
    wide = RecurrentLevelSet("dense", size).to(device).double()
    wide.load_state_dict(dense.state_dict())
    want = as_written(wide, some.double(), found.trajectory[0].double())
    gate.close(RLS, found.logits, want, 1e-5)
    del wide, want
    for name, model in networks.items():
        alone = torch.cat([model(image[None]).logits for image in images])
        gate.close(f"{name}, one by one and in a batch", model(images).logits, alone, 1e-4)
    gate.finish()

    phi = found.trajectory[0][:1]
    calls: dict[str, Callable[[], object]] = {
        f"{RLS}, as written": partial(as_written, dense, images[:1], phi)
    }
    calls |= {name: partial(model, images[:1]) for name, model in networks.items()}
    images_of = dict.fromkeys(calls, 1)
    for name, model in networks.items():
        calls[f"{name}, {len(images)} together"] = partial(model, images)
        images_of[f"{name}, {len(images)} together"] = len(images)
    solvers: dict[str, Callable] = {"Chan-Vese": chan_vese}
    if device.type == "cpu":
        solvers["scikit-image's Chan-Vese"] = scikit_image_chan_vese
    own = single_objects(options.solved, tuple(options.original), options.seed).to(device)
    for where in (small[: options.solved], own):
        for tolerance in TOLERANCES:
            for solver, function in solvers.items():
                name = f"{solver}, {where.shape[2]} x {where.shape[3]}, tol {tolerance:g}"
                calls[name] = partial(solve, function, where, tolerance)
                images_of[name] = len(where)
                print(f"  {name}: {calls[name]():.0f} iterations", flush=True)
    results = harness.measure(calls, device, options.rounds, memory=False)
    print("\n" + times_per_image(results, images_of), flush=True)


def solve(solver: Callable, images: Tensor, tolerance: float) -> float:
    """Run Chan-Vese on each grey image to its end, and return the mean number of iterations."""
    options = dict(tol=tolerance, max_num_iter=10_000, extended_output=True)
    return statistics.mean(len(solver(image.mean(0), **options)[2]) for image in images)


def scikit_image_chan_vese(image: Tensor, **options: Any) -> Any:
    return segmentation.chan_vese(image.numpy(), **options)


def times_per_image(results: dict[str, harness.Result], images_of: dict[str, int]) -> str:
    """Return a table of times an image, and of ratios to F-ConNet and to dense RLS.

    The ratios compare with the same number of images together.
    """
    each = {name: result.median / images_of[name] for name, result in results.items()}
    rows = []
    for name, seconds in each.items():
        together = name.rsplit(", ", 1)[-1]
        ending = f", {together}" if together.endswith("together") else ""
        low, high = (pick(results[name].seconds) / images_of[name] * 1e3 for pick in (min, max))
        row = [name, f"{seconds * 1e3:.3g}", f"{low:.3g}-{high:.3g}"]
        for reference in (F_CONNET, RLS):
            row.append(f"{seconds / each[reference + ending]:.2f}")
        rows.append(row)
    return harness.table(["", "ms per image", "min-max", "of F-ConNet's", "of dense RLS's"], rows)


# CRLS


class NoNetwork(nn.Module):
    """A stand-in for a network: the mean of the image I over its channels is the mask's logit."""

    size = None

    def forward(self, image: Tensor) -> Segmentation:
        image = image.mean(1, keepdim=True)
        logits = torch.cat([-image, image], 1) / 2
        return Segmentation(logits, image.new_zeros(0, *image[:, 0].shape))

    def loss(self, result: Segmentation, target: Tensor) -> Tensor:
        return F.cross_entropy(result.logits, target)


def crls(options: argparse.Namespace, device: torch.device) -> None:
    """Check, then time, training step and prediction with each network."""
    config = Config.fromfile(options.config).model
    for part in (config.backbone, config.roi_head.bbox_head):
        for key in {"init_cfg", "fc_init_cfg"} & set(part):
            part[key] = None  # the time does not depend on weights
    config.test_cfg.rcnn.score_thr = 0.0  # the most detections
    model = MODELS.build(config)
    model.init_weights()
    model = model.to(device)
    head = model.roi_head.mask_head
    networks: dict[str, nn.Module] = {
        f"RLS, N = {head.network.num_steps}": head.network,
        F_CONNET: FConNet(head.roi_feat_size, in_channels=head.network.in_channels).to(device),
        "no network": NoNetwork(),
    }
    with_rls = next(iter(networks))
    images, samples = training_batch(options, model.roi_head.bbox_head.num_classes, device)
    height, width = options.image_size
    print(f"\n{options.config}, images of {height} x {width}\n")

    gate = harness.Gate()
    for name, network in networks.items():
        losses = step(model, network, images, samples)
        finite = all(
            bool(torch.isfinite(value).all())
            for value in [losses, *(p.grad for p in model.parameters() if p.grad is not None)]
        )
        gate.record(f"{name}, losses and gradients", finite, "finite" if finite else "not finite")
        found = predict(model, network, images[:1], samples[:1])
        gate.record(f"{name}, prediction", found > 0, f"{found} masks")
    gate.finish()

    call: Callable[..., object]
    for title, call, count in (
        (f"Training step, batch of {len(images)}", step, len(images)),
        ("Prediction of one image", predict, 1),
    ):
        data = images[:count], samples[:count]
        calls = {name: partial(call, model, network, *data) for name, network in networks.items()}
        results = harness.measure(calls, device, options.rounds, memory=device.type == "cuda")
        print(f"\n{title}\n\n" + harness.time_and_memory(results, with_rls), flush=True)


def training_batch(
    options: argparse.Namespace, num_classes: int, device: torch.device
) -> tuple[Tensor, list[DetDataSample]]:
    """Return images of noise, and samples of boxes with ellipses in them."""
    height, width = options.image_size
    shapes = dict.fromkeys(("img_shape", "batch_input_shape", "pad_shape"), (height, width))
    meta = dict(shapes, ori_shape=(height, width), scale_factor=(1.0, 1.0))
    y, x = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    samples = []
    for _ in range(options.images):
        centres = torch.rand(options.objects, 2) * 0.6 + 0.2
        reach = torch.rand(options.objects, 2) * 0.15 + 0.05
        centres, reach = (part * torch.tensor([width, height]) for part in (centres, reach))
        masks = [
            ((x - c[0]) / r[0]).square() + ((y - c[1]) / r[1]).square() <= 1
            for c, r in zip(centres, reach, strict=True)
        ]
        truth = InstanceData(
            bboxes=torch.cat([centres - reach, centres + reach], 1).to(device),
            labels=torch.randint(num_classes, (options.objects,)).to(device),
            masks=BitmapMasks(torch.stack(masks).numpy().astype("uint8"), height, width),
        )
        samples.append(DetDataSample(metainfo=meta, gt_instances=truth))
    return torch.randn(options.images, 3, height, width).to(device), samples


def step(model: CRLS, network: nn.Module, images: Tensor, samples: list[DetDataSample]) -> Tensor:
    """Run a training step, and return the sum of the losses."""
    model.train()
    model.roi_head.mask_head.network = network
    model.zero_grad()
    total = model.parse_losses(model.loss(images, samples))[0]
    total.backward()
    return total.detach()


@torch.inference_mode()
def predict(model: CRLS, network: nn.Module, images: Tensor, samples: list[DetDataSample]) -> int:
    """Predict, with masks of the image's size, and return the number of detections."""
    model.eval()
    model.roi_head.mask_head.network = network
    (sample,) = model.predict(images, [sample.clone() for sample in samples])
    return len(sample.pred_instances.masks)


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=("rls", "crls", "both"), default="both")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 64), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=16, help="rls: images together")
    parser.add_argument("--solved", type=int, default=4, help="rls: images for Chan-Vese")
    parser.add_argument(
        "--original",
        type=int,
        nargs=2,
        default=(225, 300),
        metavar=("H", "W"),
        help="rls: larger images for Chan-Vese",
    )
    parser.add_argument(
        "--config", default="configs/crls/crls_r50_fpn_40k_voc.py", help="crls: the model"
    )
    parser.add_argument("--images", type=int, default=1, help="crls: images of a training step")
    parser.add_argument("--objects", type=int, default=5, help="crls: objects of an image")
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        default=(600, 800),
        metavar=("H", "W"),
        help="crls: size of the images",
    )
    options = parser.parse_args(words)
    device = harness.prepare(options, words)
    init_default_scope("mmdet")
    MMLogger.get_current_instance().setLevel("ERROR")  # no line for each weight
    if options.part != "crls":
        single_images(options, device)
    if options.part != "rls":
        crls(options, device)
