"""Every config is complete: it loads, and its model and its pipelines build."""

import copy
import functools
from pathlib import Path

import pytest
import torch
import yaml
from mmdet.registry import DATASETS, HOOKS, MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import DefaultScope

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "configs").glob("*/*.py")
    if path.parent.name != "_base_"
)


@functools.cache
def _read(path):
    return Config.fromfile(ROOT / path)


@pytest.mark.parametrize("path", CONFIGS)
def test_model_builds(path):
    config = copy.deepcopy(_read(path))
    assert config.default_scope == "mmdet"
    config.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope("mmdet"), torch.device("meta"):
        model = MODELS.build(config.model)
    dataset = config.train_dataloader.dataset
    names = (dataset.get("metainfo") or DATASETS.get(dataset.type).METAINFO)["classes"]
    owner = getattr(model, "roi_head", model)
    heads = [owner.mask_head, owner.bbox_head] if owner.with_bbox else [owner.mask_head]
    assert [head.num_classes for head in heads] == [len(names)] * len(heads)


@pytest.mark.parametrize("path", CONFIGS)
def test_pipelines_build(path):
    config = _read(path)
    with DefaultScope.overwrite_default_scope("mmdet"):
        for loader in (config.train_dataloader, config.val_dataloader):
            assert DATASETS.get(loader.dataset.type) is not None
            for transform in loader.dataset.pipeline:
                TRANSFORMS.build(transform)
        for hook in config.custom_hooks:
            HOOKS.build(hook)


@pytest.mark.parametrize("path", [path for path in CONFIGS if "/box-" in path or "/solov2" in path])
def test_training_loads_masks_only_where_they_supervise(path):
    config = _read(path)
    for loader, expected in (
        (config.train_dataloader, config.model.mask_head.supervision != "box"),
        (config.val_dataloader, True),
    ):
        loads = [step for step in loader.dataset.pipeline if step.type.endswith("Annotations")]
        assert [step.with_mask for step in loads] == [expected]


@pytest.mark.parametrize("path", CONFIGS)
def test_evaluation_reports_boundary_f1(path):
    evaluators = _read(path).val_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    assert "mmlevelset.LevelSetCocoMetric" in [evaluator.type for evaluator in evaluators]


def test_an_option_of_the_base_reaches_the_model_from_the_command_line():
    config = Config.fromfile(ROOT / "configs/levelset_rcnn/levelset-rcnn_r50_fpn_90k_coco.py")
    config.merge_from_dict({"model.roi_head.mask_head.num_steps": 5})
    config.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config.model)
    assert model.roi_head.mask_head.hyperparameter_head.output.out_features == 3 + 2 * 5


def test_the_metafiles_list_every_config_of_ours():
    index = yaml.safe_load((ROOT / "model-index.yml").read_text())
    listed = []
    for name in index["Import"]:
        metafile = yaml.safe_load((ROOT / name).read_text())
        collections = {collection["Name"] for collection in metafile["Collections"]}
        for model in metafile["Models"]:
            assert model["In Collection"] in collections
            assert model["Name"] == Path(model["Config"]).stem
            listed.append(model["Config"])
    ours = [path for path in CONFIGS if not Path(path).name.startswith(("mask-rcnn", "solov2"))]
    assert sorted(listed) == ours
