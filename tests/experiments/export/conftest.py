"""One tiny model of each family, exported once for all tests."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmlevelset.experiments.command_line import build_model
from mmlevelset.experiments.export import command, comparison, families, files

SCORES = 0.05
"""Smallest score of an object of the untrained models, which have many."""

SHORT = {
    "model.backbone": dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1)),
    "model.backbone.out_indices": (0, 1, 2),
    "model.neck": dict(in_channels=[32, 64, 128], num_outs=3),
    "model.rpn_head.anchor_generator.strides": [4, 8, 16],
    "model.roi_head.bbox_roi_extractor.featmap_strides": [4, 8, 16],
    "model.roi_head.mask_roi_extractor.featmap_strides": [4, 8, 16],
    "model.roi_head.mask_head": dict(
        image_features=True, num_steps=2, refinement=dict(num_steps=2)
    ),
}
"""Three levels and two steps export in less time than four and three, with the same operators."""


@dataclass
class Exported:
    """A model with random weights and its ONNX file."""

    model: Any
    path: Path
    rule: dict | None
    run: comparison.Run

    def compare(self, image: np.ndarray) -> tuple[dict, dict]:
        """The results of PyTorch and of the file for an image (H, W, 3) in BGR."""
        reference = comparison.Reference(self.model, self.rule)
        data = reference.load(image)
        return reference.predict(data), dict(self.run(*comparison.inputs_of(data)))


def build(config: Config) -> Any:
    """The config's model with random weights, the same at each call."""
    torch.manual_seed(0)
    model = build_model(config)
    model.init_weights()
    if hasattr(model, "roi_head"):
        model.roi_head.test_cfg.score_thr = SCORES
    if hasattr(model, "mask_head"):
        model.mask_head.test_cfg.update(score_thr=0.005, filter_thr=0.001, mask_thr=0.5)
    return model


@pytest.fixture(scope="session")
def exported(checkout, tmp_path_factory) -> Callable[[str], Exported]:
    """A function that exports the model of a quickstart config, once."""
    pytest.importorskip("onnxruntime")
    made: dict[str, Exported] = {}
    folder = tmp_path_factory.mktemp("exported")

    def of(name: str) -> Exported:
        if name not in made:
            config = Config.fromfile(checkout / f"configs/quickstart/{name}.py")
            if name.startswith("levelset-rcnn"):
                config.merge_from_dict(SHORT)
            model, rule = build(config), command.resize_of(config)
            network, task = families.network_of(model)
            path = folder / f"{name}.onnx"
            classes = config.test_dataloader.dataset.metainfo["classes"]
            about = command.describe(task, classes, rule)
            files.write_onnx(files.traced(network), str(path), about)
            made[name] = Exported(model, path, rule, files.run_onnx(str(path)))
        return made[name]

    return of


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blocks of random colours, uint8 (height, width, 3)."""
    colours = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width] // 9
    return np.ascontiguousarray(colours[rows, columns])
