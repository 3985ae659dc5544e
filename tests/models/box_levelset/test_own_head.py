"""The head of docs/masks_from_boxes.md learns masks from boxes."""

import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from tests.models.box_levelset.builders import BOXES, SIZE, make_images, make_samples

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/masks_from_boxes.md").read_text()


@pytest.fixture
def no_scope(monkeypatch):
    """A script of one's own: nothing has set mmengine's default scope."""
    monkeypatch.setattr(DefaultScope, "_instance_dict", OrderedDict())


def test_the_ten_lines_train_a_head(no_scope):
    (code,) = re.findall(r"<!-- test: own head -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    body = code[code.index("class MyHead") :].strip().splitlines()
    assert len([line for line in body if line.strip()]) <= 11
    names = {}
    exec(code, names)
    torch.manual_seed(0)
    head = names["MyHead"]()
    features = torch.randn(2, 16, SIZE[0] // 4, SIZE[1] // 4)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    totals = []
    for boxes in (BOXES, BOXES, BOXES, [[], []], BOXES):
        losses = head.loss(features, make_images(), make_samples(boxes))
        assert set(losses) == {"loss_projection", "loss_level_set"}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        assert all(own.grad is not None for own in head.parameters())
        optimizer.step()
        totals.append(sum(losses.values()).item())
    assert totals[3] == 0 and totals[4] < totals[0]


def test_the_configs_of_the_page_fit_their_bases(tmp_path):
    snippets = re.findall(r"```python\n(_base_ .*?)```", PAGE, re.DOTALL)
    mixed = re.findall(r"```python\n(train_pipeline .*?)```", PAGE, re.DOTALL)
    assert len(snippets) == len(mixed) == 1
    file = tmp_path / "mine.py"
    file.write_text(snippets[0].replace('"configs/', f'"{ROOT}/configs/') + mixed[0].replace(
        "train_dataloader = dict(dataset=dict(", "train_dataloader['dataset'].update(dict("
    ).replace("model = dict(bbox_head=dict(", "model['bbox_head'].update(dict("))  # fmt: skip
    config = Config.fromfile(file)
    assert config.train_dataloader.dataset.ann_file == "train.json"
    assert config.train_dataloader.dataset.masks == "optional"
    assert config.model.bbox_head.num_classes == 2
    assert config.model.bbox_head.box_supervision.supervision == "mixed"
    assert config.model.bbox_head.box_supervision.loss_level_set.image_space == "lab"
    assert config.val_evaluator.type == "mmlevelset.LevelSetCocoMetric"
