"""Checkpoints with random weights of the small models, as trainings write them."""

from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.registry import init_default_scope

QUICKSTART = Path(__file__).parents[2] / "configs/quickstart"
CLASSES = ("star", "ring", "spider", "split")


def write_checkpoint(name: str, path: Path) -> Path:
    """Write a checkpoint of a quickstart config; everything may be predicted."""
    torch.manual_seed(0)
    config = Config.fromfile(QUICKSTART / f"{name}.py")
    init_default_scope("mmdet")
    model = MODELS.build(config.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = dict(
        cfg=config.pretty_text,
        dataset_meta=dict(classes=CLASSES, palette=[(10, 20, 30)] * 4),
        experiment_name=f"{name}_20200101_000000",
        epoch=2,
        iter=20,
        seed=5,
    )
    history = dict(log_scalars={"train/loss": HistoryBuffer([1.0], [1])})
    torch.save(dict(state_dict=model.state_dict(), meta=meta, message_hub=history), path)
    return path
