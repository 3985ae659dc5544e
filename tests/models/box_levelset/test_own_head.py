"""The head of docs/masks_from_boxes.md learns masks from boxes."""

import json
import re
from collections import OrderedDict
from operator import ne
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmlevelset.registry import DATASETS
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
    own, mixed = re.findall(r"```python\n(_base_ .*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.py").write_text(own.replace('"configs/', f'"{ROOT}/configs/'))
    (tmp_path / "mixed.py").write_text(mixed)
    base = Config.fromfile(f"{ROOT}/configs/photographs/box-rtmdet-ins_lite0_pennfudan.py")
    config = Config.fromfile(tmp_path / "mixed.py")
    assert config.train_dataloader.dataset.ann_file == "train.json"
    assert config.train_dataloader.dataset.masks == "optional"
    pipelines = [own.train_dataloader.dataset.pipeline for own in (config, base)]
    changed = [number for number, pair in enumerate(zip(*pipelines, strict=True)) if ne(*pair)]
    assert changed == [1] and "LoadMixedAnnotations" in pipelines[0][1].type
    assert config.model.bbox_head.num_classes == 2
    assert config.model.bbox_head.box_supervision.supervision == "mixed"
    assert config.model.bbox_head.box_supervision.loss_level_set.image_space == "lab"
    assert config.val_evaluator.type == "mmlevelset.LevelSetCocoMetric"


def test_without_masks_the_page_measures_the_boxes(tmp_path):
    """The file of validation has a box alone."""
    (own,) = re.findall(r"```python\n(_base_ = ..configs.*?)```", PAGE, re.DOTALL)
    (boxes,) = re.findall(r"```python\n(test_pipeline .*?)```", PAGE, re.DOTALL)
    own = own.replace('"configs/', f'"{ROOT}/configs/').replace('"data/mine/"', f'"{tmp_path}/"')
    (tmp_path / "boxes.py").write_text(own + boxes)
    (tmp_path / "val").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "val/0.png")
    image = dict(id=1, file_name="0.png", width=40, height=30)
    one = dict(id=1, image_id=1, category_id=1, bbox=[5, 5, 20, 10], area=200, iscrowd=0)
    names = [dict(id=1, name="bolt"), dict(id=2, name="nut")]
    content = dict(images=[image], annotations=[one], categories=names)
    (tmp_path / "val.json").write_text(json.dumps(content))
    config = Config.fromfile(tmp_path / "boxes.py")
    for loader in (config.val_dataloader, config.test_dataloader):
        sample = DATASETS.build(loader.dataset)[0]["data_samples"]
        assert sample.gt_instances.bboxes.tensor.tolist() == [[5.0, 5.0, 25.0, 15.0]]
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert (evaluator.metric, evaluator.masks) == (["bbox"], "unread")
