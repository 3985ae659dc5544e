"""Benchmark of an exported model in runtime.py against the model in PyTorch.

python tools/benchmarks/exported.py CONFIG CHECKPOINT --images PHOTO...

Both take an image as an array and return boxes, labels, scores and masks of the image's size.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.config import Config

from mmlevelset.errors import exit_on_input_error
from mmlevelset.experiments.benchmarks import harness
from mmlevelset.experiments.command_line import build_model, load_weights
from mmlevelset.experiments.export import command, comparison
from mmlevelset.runtime import Model


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("config")
    parser.add_argument("checkpoint")
    parser.add_argument("--images", nargs="+", required=True, metavar="PHOTO")
    options = parser.parse_args(words)
    harness.prepare(options, words)
    with exit_on_input_error("exported.py"), TemporaryDirectory() as folder:
        config = Config.fromfile(options.config)
        rule = command.resize_of(config)
        model = build_model(config)
        load_weights(model, options.checkpoint)
        images = command.read_images(options.images)
        path = Path(folder, "model.onnx")
        # Compares every output of both on these images; another result ends the command here.
        names = command.class_names(config, options.checkpoint)
        command.export(model, rule, names, images, path)
        exported = Model(path, threads=options.threads)
        reference = comparison.Reference(model, rule)
        for name, image in images.items():
            calls: dict[str, Callable[[], object]] = {
                "PyTorch": partial(_in_torch, reference, image),
                "onnxruntime": partial(exported, image[..., ::-1]),
            }
            results = harness.measure(calls, torch.device("cpu"), options.rounds, memory=False)
            print(f"\n{name}, {image.shape[1]} x {image.shape[0]} pixels\n")
            print(harness.time_and_memory(results, "PyTorch"))


def _in_torch(reference: comparison.Reference, image) -> dict:
    return reference.predict(reference.load(image))
