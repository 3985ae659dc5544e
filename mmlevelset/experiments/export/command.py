"""Write a trained model as one file that runs without this package, and check that file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.class_names import names_in
from mmlevelset.experiments.command_line import (
    build_model,
    choose_device,
    load_config,
    load_weights,
    parser,
    require_file,
    short_errors,
)
from mmlevelset.files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config

SUFFIXES = (".onnx", ".pt2")
LOADERS = {
    *("LoadImageFromFile", "LoadAnnotations", "LoadPanopticAnnotations", "PackDetInputs"),
    *("LoadImage", "LoadSemanticAnnotations", "SemanticFromInstances", "LoadMaskAnnotations"),
    *("LoadBoxMasks", "LoadMixedAnnotations", "BinaryLabels"),
}
"""Transforms of a test pipeline that leave the image as it is."""
IMAGES = 3
"""Images of the test data that are compared where --images names none."""


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    made = parser("Write a trained model as one ONNX or torch.export file, and check that file.")
    made.add_argument("checkpoint", help="path of the checkpoint file")
    made.add_argument("--out", metavar="FILE", required=True, help="ends in .onnx or .pt2")
    made.add_argument(
        "--images",
        nargs="+",
        metavar="PHOTO",
        help="compare the file with PyTorch on these images"
        f" [the first {IMAGES} images of the config's test data]",
    )
    return made.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("export.py", arguments):
        out = Path(arguments.out)
        if out.suffix not in SUFFIXES:
            raise InputError(f"--out must end in .onnx or .pt2, and was {arguments.out}")
        arguments.gpus = 0
        choose_device(arguments)
        config = load_config(arguments)
        checkpoint = require_file(arguments.checkpoint, "the checkpoint")
        rule = resize_of(config)
        model = build_model(config)
        load_weights(model, checkpoint)
        images = read_images(arguments.images) if arguments.images else test_images(config)
        export(model, rule, class_names(config, checkpoint), images, out)
        print(f"wrote {out}")


def resize_of(config: Config) -> dict | None:
    """Return the ``Resize`` of the config's test pipeline, or None if it has none.

    Raises:
        InputError: The pipeline changes the image in another way.
    """
    from mmdet.utils import get_test_pipeline_cfg

    found = None
    for transform in get_test_pipeline_cfg(config):
        name = transform["type"].split(".")[-1]
        if name == "Resize" and found is None and transform.get("scale") is not None:
            found = dict(transform, type="mmdet.Resize")
        elif name not in LOADERS:
            raise InputError(
                f"the test pipeline has {name}, but an export takes a Resize with a scale"
                " and transforms that load images and labels"
            )
    if found is not None and found.get("interpolation", "bilinear") != "bilinear":
        raise InputError(
            "Resize.interpolation must be 'bilinear' for an export, but is"
            f" {found['interpolation']!r}"
        )
    return found


def class_names(config: Config, checkpoint: str) -> tuple[str, ...]:
    """Return the class names: the checkpoint's, else those of the test data, else none."""
    from mmengine.runner import CheckpointLoader

    names = names_in(
        CheckpointLoader.load_checkpoint(checkpoint, "cpu", "silent").get("meta") or {}
    )
    if names is None:
        dataset = config.get("test_dataloader", {}).get("dataset", {})
        names = tuple(dataset.get("metainfo", {}).get("classes", ()))
    return names


def read_images(paths: Sequence[str]) -> dict[str, np.ndarray]:
    """Return images, uint8 (H, W, 3) in BGR, by their paths."""
    import mmcv

    images = {}
    for path in paths:
        image = mmcv.imread(require_file(path, "the image"))
        if image is None:
            raise InputError(f"{path} is no image that OpenCV reads")
        images[path] = image
    return images


def test_images(config: Config) -> dict[str, np.ndarray]:
    """Return the first images of the test data, as :func:`read_images` does."""
    from mmcv.transforms import Compose
    from mmdet.registry import DATASETS
    from mmdet.utils import get_test_pipeline_cfg

    try:
        dataset = DATASETS.build(config.test_dataloader.dataset)
        load = Compose([get_test_pipeline_cfg(config)[0]])
        return {
            f"test image {number}": load(dataset.get_data_info(number))["img"]
            for number in range(min(IMAGES, len(dataset)))
        }
    except (OSError, AttributeError, KeyError) as error:
        raise InputError(
            f"the config's test data cannot be read ({error}): name images by --images"
        ) from error


def export(
    model: Any,
    rule: dict | None,
    classes: Sequence[str],
    images: dict[str, np.ndarray],
    out: Path,
) -> None:
    """Write a model's file if it gives the model's results; print the differences.

    Args:
        model: The config's model, in evaluation mode, on the CPU.
        rule: The config's ``Resize``, or None.
        classes: The names of the classes, by label.
        images: The images to compare on, uint8 (H, W, 3) in BGR, by name.
        out: The file; its suffix is one of ``SUFFIXES``.

    Raises:
        InputError: The model cannot be exported, or the file's results differ from the model's.
    """
    from mmlevelset.experiments.export import comparison, families, files

    if out.suffix == ".onnx":
        files.require_libraries()
    network, task = families.network_of(model)
    about = describe(task, classes, rule)
    program = files.traced(network)
    write, run = files.FORMATS[out.suffix]
    reference = comparison.Reference(model, rule)

    def checked(unfinished: str) -> None:
        write(program, unfinished, about)
        exported = run(unfinished)
        differing = []
        for name, image in images.items():
            data = reference.load(image)
            inputs = comparison.inputs_of(data)
            start = time.perf_counter()
            wanted = reference.predict(data)
            middle = time.perf_counter()
            difference = comparison.compare(wanted, exported(*inputs))
            end = time.perf_counter()
            print(
                f"{name}: {difference.text}; PyTorch {middle - start:.3f} s,"
                f" the file {end - middle:.3f} s"
            )
            if not difference.allowed:
                differing.append(name)
        if differing:
            raise InputError(
                f"{out} is not written: its results differ from PyTorch's on {', '.join(differing)}"
            )

    write_whole(out, checked)


def describe(task: str, classes: Sequence[str], rule: dict | None) -> dict[str, Any]:
    """Return the metadata of a file, which docs/export.md explains."""
    from mmlevelset import __version__
    from mmlevelset.runtime import FORMAT

    if task == "object":
        classes = ("background", "object")
    named = bool(classes) and classes[0].strip("_").lower() == "background"
    resize = None
    if rule is not None:
        resize = dict(scale=list(rule["scale"]), keep_ratio=bool(rule.get("keep_ratio", False)))
    return dict(
        format=FORMAT,
        task=task,
        classes=list(classes),
        background=task != "instances" and named,
        resize=resize,
        mmlevelset=__version__,
    )


if __name__ == "__main__":
    main()
