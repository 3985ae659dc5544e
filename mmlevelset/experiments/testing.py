"""Evaluate a checkpoint of a config's model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.checkpoints import make_fit_check
from mmlevelset.experiments.class_names import make_check
from mmlevelset.experiments.command_line import (
    choose_device,
    leave_process_group,
    load_config,
    make_runner,
    parser,
    require_file,
    short_errors,
)
from mmlevelset.files import make_folder

if TYPE_CHECKING:
    from mmengine.config import Config


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    made = parser("Evaluate a checkpoint of a config's model.")
    made.add_argument("checkpoint", help="path of the checkpoint file")
    made.add_argument("--out", metavar="FILE.pkl", help="write all predictions to this file")
    made.add_argument("--show-dir", metavar="FOLDER", help="draw all predictions into this folder")
    made.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation, by the config's tta_model and tta_pipeline",
    )
    made.add_argument(
        "--allow-other-classes",
        action="store_true",
        help="test a checkpoint whose class names are not the data set's",
    )
    return made.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("test.py", arguments):
        if arguments.out and not arguments.out.endswith((".pkl", ".pickle")):
            raise InputError(f"--out must end in .pkl or .pickle, and was {arguments.out}")
        choose_device(arguments)
        config = load_config(arguments)
        if any(word.startswith("load_from=") for word in arguments.cfg_options):
            raise InputError("--cfg-options load_from would have no effect: name the checkpoint")
        config.load_from = require_file(arguments.checkpoint, "the checkpoint")
        config.resume = False
        if arguments.out:
            make_folder(Path(arguments.out).parent, "the folder of --out")
        if arguments.show_dir:
            make_folder(Path(arguments.show_dir), "--show-dir")
        from mmlevelset.experiments.checks.config import require_fit
        from mmlevelset.experiments.checks.values import require_keys

        require_keys(config, "test")
        require_fit(config, "test")
        if arguments.show_dir:
            draw_into(config, Path(arguments.show_dir).absolute())
        if arguments.tta:
            augment(config)
        runner = make_runner(config)
        runner.register_hook(make_check(arguments.allow_other_classes))
        runner.register_hook(make_fit_check(config.load_from))
        if arguments.out:
            runner.test_evaluator.metrics.append(make_dump(arguments.out))
        runner.test()
        leave_process_group()


def draw_into(config: Config, folder: Path) -> None:
    hook = config.get("default_hooks", {}).get("visualization")
    if hook is None:
        raise InputError("--show-dir needs default_hooks.visualization in the config")
    hook.update(draw=True, test_out_dir=str(folder))


def augment(config: Config) -> None:
    """Put the config's test-time augmentation around its model and into its test data."""
    missing = [key for key in ("tta_model", "tta_pipeline") if key not in config]
    if missing:
        raise InputError(
            f"--tta needs {' and '.join(missing)} in the config: add a file of configs/_base_/tta"
            " to its _base_"
        )
    # Copied from a dict, so that the config can be dumped.
    config.model = {**config.tta_model.to_dict(), "module": config.model.to_dict()}
    dataset = config.test_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    dataset.pipeline = config.tta_pipeline


def make_dump(path: str) -> Any:
    """Return a metric that writes all predictions into a file, with run-length encoded masks."""
    from mmdet.evaluation import DumpDetResults

    from mmlevelset.models.inference import EncodedMasks

    class Dump(DumpDetResults):
        def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
            """Keep encoded masks as they are; mmdet's method encodes tensors only."""
            predictions = [sample.get("pred_instances", {}) for sample in data_samples]
            encoded = [
                {
                    name: prediction.pop(name)
                    for name, value in list(prediction.items())
                    if isinstance(value, EncodedMasks)
                }
                for prediction in predictions
            ]
            super().process(data_batch, data_samples)
            for number, masks in enumerate(encoded, len(self.results) - len(encoded)):
                predictions[number - len(self.results)].update(masks)
                for name, value in masks.items():
                    self.results[number]["pred_instances"][name] = value.rles

    return Dump(out_file_path=path)


if __name__ == "__main__":
    main()
