"""Comparison of a semantic network with and without dense-CRF post-processing.

    python tools/dense_crf.py CONFIG CHECKPOINT --iterations 5 10

The CRF is fully connected (Krähenbühl and Koltun, NIPS 2011). The library ``pydensecrf`` runs
mean-field inference on the network's softmax at the size of the original images. The command prints
mIoU, boundary F1 and seconds an image, as in Table 4 of Kim et al., CNN-based Semantic Segmentation
using Level Set Loss, 2019. The network's seconds include its logits at the image's size and their
argmax. The CRF's seconds include its kernels, iterations and argmax. Loading the image is not
timed.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import (
    build_model,
    choose_device,
    load_config,
    load_weights,
    parser,
    require_file,
    short_errors,
)
from mmlevelset.files import write_json

KERNELS = {
    "bilateral-weight": (4, "weight of the kernel of position and colour"),
    "bilateral-xy": (67, "standard deviation of this kernel in pixels"),
    "bilateral-rgb": (3, "standard deviation of this kernel in grey levels of 255"),
    "gaussian-weight": (3, "weight of the kernel of position"),
    "gaussian-xy": (1, "standard deviation of this kernel in pixels"),
}


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    options = parser(
        "Compare a semantic network with and without dense-CRF post-processing. The kernels'"
        " defaults are DeepLab-v2's for ResNet-101 on Pascal VOC; its VGG-16 has --bilateral-xy 65"
        " --gaussian-weight 2 --gaussian-xy 2."
    )
    options.add_argument("checkpoint", help="path of the checkpoint file")
    options.add_argument(
        "--dataset", choices=["test", "val"], default="test", help="data set of the images [test]"
    )
    options.add_argument("--images", type=int, help="use only the first IMAGES images [all]")
    options.add_argument(
        "--iterations",
        type=int,
        nargs="+",
        default=[1, 5, 10],
        help="numbers of iterations, a row for each [1 5 10]",
    )
    options.add_argument(
        "--json",
        metavar="FILE",
        help="write the numbers into this file: crf_5/mIoU, crf_5/seconds (network and CRF) and so"
        " on; crf_0 is the network alone",
    )
    for name, (default, what) in KERNELS.items():
        options.add_argument(
            f"--{name}", type=float, default=default, metavar="X", help=f"{what} [{default}]"
        )
    return options.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("dense_crf.py", arguments):
        check(arguments)
        choose_device(arguments)
        config = load_config(arguments)
        require_file(arguments.checkpoint, "the checkpoint")
        require_library()
        count, rows = compare(config, arguments)
        print_table(count, rows, arguments)
        if arguments.json:
            write_json(Path(arguments.json), numbers_of(rows))


def check(arguments: argparse.Namespace) -> None:
    if min(arguments.iterations) < 1:
        raise InputError(f"--iterations must be at least 1, and was {arguments.iterations}")
    if arguments.images is not None and arguments.images < 1:
        raise InputError(f"--images must be at least 1, and was {arguments.images}")
    for name, value in kernels(arguments).items():
        weight = name.endswith("weight")
        if not (math.isfinite(value) and (value >= 0 if weight else value > 0)):
            least = "at least 0" if weight else "above 0"
            raise InputError(f"--{name.replace('_', '-')} must be {least}, and was {value}")


def kernels(arguments: argparse.Namespace) -> dict[str, float]:
    names = [name.replace("-", "_") for name in KERNELS]
    return {name: getattr(arguments, name) for name in names}


def require_library() -> None:
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the dense CRF needs the library pydensecrf: pip install pydensecrf2, or install"
            f" mmlevelset[crf] ({error})"
        ) from error


def compare(
    config: Any, arguments: argparse.Namespace
) -> tuple[int, dict[int, tuple[dict[str, float], float]]]:
    """Run the network and the CRF on all images.

    Returns:
        The number of images, and for each number of iterations the metrics and the mean seconds of
        an image. 0 iterations are the network alone. The seconds of the other rows are the CRF's.
    """
    import torch
    from mmcv.transforms import Compose
    from mmdet.registry import DATASETS
    from mmdet.utils import get_test_pipeline_cfg
    from mmengine.dataset import pseudo_collate
    from mmengine.evaluator import Evaluator
    from mmengine.logging import MMLogger
    from mmengine.utils import track_iter_progress

    if config.get(f"{arguments.dataset}_dataloader") is None:
        raise InputError(f"the config has no {arguments.dataset}_dataloader")
    config.test_dataloader = config[f"{arguments.dataset}_dataloader"]
    model = build_model(config)
    load_weights(model, arguments.checkpoint)
    if not hasattr(model, "predict_logits"):
        raise InputError(
            f"model.type must be mmlevelset.SemanticSegmentor, and was {config.model.type}"
        )
    MMLogger.get_current_instance().setLevel("ERROR")  # else the metrics of each row print a table
    dataset = DATASETS.build(config.test_dataloader.dataset)
    load = Compose(get_test_pipeline_cfg(config)[:1])
    ignore = model.decode_head.ignore_index
    boundary = dict(type="mmlevelset.SemanticBoundaryMetric", ignore_index=ignore)
    steps = sorted({0, *arguments.iterations})
    evaluators = {
        step: Evaluator([boundary, dict(type="mmlevelset.SemSegMetric")]) for step in steps
    }
    seconds = dict.fromkeys(steps, 0.0)
    count = min(arguments.images or len(dataset), len(dataset))
    for index in track_iter_progress(range(count), file=sys.stderr):
        batch = model.data_preprocessor(pseudo_collate([dataset[index]]), False)
        (sample,) = batch["data_samples"]
        if "gt_sem_seg" not in sample:
            raise InputError(f"{arguments.dataset}_dataloader.dataset.pipeline loads no label maps")
        truth = sample.gt_sem_seg.sem_seg.cpu()
        for _ in range(1 if index else 2):  # the first run of a network is slower; do not count it
            logits, labels, spent = run_network(model, batch)
        image = load(dataset.get_data_info(index))["img"]
        results = [(0, labels, spent), *mean_field(image, logits, steps[1:], kernels(arguments))]
        for step, labels, spent in results:
            seconds[step] += spent
            evaluator = evaluators[step]
            evaluator.dataset_meta = dataset.metainfo
            pred = dict(sem_seg=torch.from_numpy(labels)[None], ignore_index=ignore)
            evaluator.process([dict(pred_sem_seg=pred, gt_sem_seg=dict(sem_seg=truth))])
    print(file=sys.stderr)
    return count, {
        step: (evaluators[step].evaluate(count), seconds[step] / count) for step in steps
    }


def run_network(model: Any, batch: dict) -> tuple[Any, Any, float]:
    """Return the logits (K, H, W) and the labels (H, W) of one image, and the seconds of both."""
    import torch

    start = time.perf_counter()
    with torch.no_grad():
        (logits,) = model.predict_logits(batch["inputs"], batch["data_samples"])
        labels = logits.argmax(0).cpu().numpy()  # waits for the GPU
    return logits, labels, time.perf_counter() - start


def mean_field(
    image: Any, logits: Any, iterations: list[int], kernels: dict[str, float]
) -> Iterator[tuple[int, Any, float]]:
    """Run mean-field inference, and yield the labels after each of ``iterations``.

    Args:
        image: (H, W, 3) uint8, in any order of the colours.
        logits: (K, H, W) of the network.
        iterations: Numbers of iterations, ascending.
        kernels: DeepLab's w_1, sigma_alpha, sigma_beta, w_2, sigma_gamma by the names of KERNELS.

    Yields:
        The number of iterations, the labels (H, W) after them, and the seconds up to them.

    Raises:
        InputError: The image does not have 8 bits and three channels.
    """
    import numpy as np
    from pydensecrf.densecrf import DenseCRF2D

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"the CRF needs images of 8 bits and three channels, and an image is {image.dtype}"
            f" {image.shape}"
        )
    start = time.perf_counter()
    classes, height, width = logits.shape
    unary = -logits.float().log_softmax(0).reshape(classes, -1).cpu().numpy()
    crf = DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(np.ascontiguousarray(unary))
    crf.addPairwiseGaussian(sxy=kernels["gaussian_xy"], compat=kernels["gaussian_weight"])
    crf.addPairwiseBilateral(
        sxy=kernels["bilateral_xy"],
        srgb=kernels["bilateral_rgb"],
        rgbim=np.ascontiguousarray(image),
        compat=kernels["bilateral_weight"],
    )
    state = crf.startInference()
    spent = time.perf_counter() - start
    for step in range(1, max(iterations) + 1):
        start = time.perf_counter()
        crf.stepInference(*state)
        spent += time.perf_counter() - start
        if step in iterations:
            start = time.perf_counter()
            labels = np.asarray(state[0]).argmax(0).reshape(height, width)
            yield step, labels, spent + time.perf_counter() - start


def numbers_of(rows: dict[int, tuple[dict[str, float], float]]) -> dict[str, float]:
    network = rows[0][1]
    numbers = {}
    for step, (metrics, seconds) in rows.items():
        total = network + (seconds if step else 0.0)
        for name, value in {**metrics, "seconds": total}.items():
            numbers[f"crf_{step}/{name}"] = float(value)
    return numbers


def print_table(count: int, rows: dict, arguments: argparse.Namespace) -> None:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    settings = ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in kernels(arguments).items())
    print(
        f"{count} image{'s' * (count > 1)}, network on {device}, CRF on one CPU core: {settings}\n"
    )
    titles = ("", "mIoU", "BF 1 px", "BF 2 px", "network, s/img", "CRF, s/img", "relative time")
    print(f"| {' | '.join(titles)} |\n|:---|{'---:|' * (len(titles) - 1)}")
    network = rows[0][1]
    for step, (metrics, seconds) in rows.items():
        crf = seconds if step else 0.0
        name = f"CRF, {step} iteration{'s' * (step > 1)}" if step else "network"
        cells = [f"{metrics[column]:.2f}" for column in ("mIoU", "BF_1", "BF_2")]
        cells += [f"{network:.4f}", f"{crf:.4f}", f"x{(network + crf) / network:.1f}"]
        print(f"| {name} | {' | '.join(cells)} |")
