from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

ROOT = Path(__file__).parents[3]
DATA = f"""
_base_ = ["{ROOT}/configs/_base_/datasets/shapes_single.py"]
default_scope = "mmdet"
train_dataloader = dict(dataset=dict(length=3, image_size=(32, 40)))
test_dataloader = dict(dataset=dict(length=4, image_size=(32, 40)))
"""
MODEL = """
model = dict(
    type="mmlevelset.RLS",
    data_preprocessor=dict(type="DetDataPreprocessor", mean=[110] * 3, std=[60] * 3, pad_seg=True),
    network=dict(type="mmlevelset.FConNet", size=(12, 12), hidden=4),
)
"""


@pytest.fixture
def data() -> str:
    """The text of a config with images of 40 x 32 pixels: three for training, four for the test."""
    return DATA


@pytest.fixture
def network(tmp_path) -> tuple[str, str, str]:
    """--model's words of a network with random weights."""
    config, checkpoint = tmp_path / "net.py", tmp_path / "net.pth"
    config.write_text(DATA + MODEL)
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    return "net", str(config), str(checkpoint)
