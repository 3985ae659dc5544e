"""Every config is complete: it loads, and its model and its pipelines build."""

import copy
import functools
from pathlib import Path

import pytest
import torch
import yaml
from mmdet.registry import DATASETS, HOOKS, MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "configs").glob("*/*.py")
    if path.parent.name not in ("_base_", "sweeps")
)


@functools.cache
def _read(path):
    return Config.fromfile(ROOT / path)


@pytest.mark.parametrize("path", CONFIGS)
def test_model_builds(path):
    config = copy.deepcopy(_read(path))
    assert config.default_scope == "mmdet"
    if "backbone" in config.model:
        config.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope("mmdet"), torch.device("meta"):
        model = MODELS.build(config.model)
    model = getattr(model, "module", model)  # the detector of a wrapper that tests in tiles
    if "network" in config.model:
        assert model.network.in_channels == len(config.model.data_preprocessor.mean)
        return
    dataset = config.train_dataloader.dataset
    names = (dataset.get("metainfo") or DATASETS.get(dataset.type).METAINFO)["classes"]
    if hasattr(model, "decode_head"):
        assert model.decode_head.num_classes == len(names)
        return
    owner = getattr(model, "roi_head", model)
    heads = [owner.mask_head, owner.bbox_head] if owner.with_bbox else [owner.mask_head]
    heads = [head for head in heads if not getattr(head, "class_agnostic", False)]
    assert heads and all(head.num_classes == len(names) for head in heads)


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


@pytest.mark.parametrize(
    "path",
    [path for path in CONFIGS if ("/box-" in path or "/solov2" in path) and "_tiled_" not in path],
)
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
    config = _read(path)
    evaluators = config.val_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    semantic = "decode_head" in config.model or "network" in config.model
    metric = "SemanticBoundaryMetric" if semantic else "LevelSetCocoMetric"
    assert f"mmlevelset.{metric}" in [evaluator.type for evaluator in evaluators]


@pytest.mark.parametrize("path", [path for path in CONFIGS if "decode_head" in _read(path).model])
def test_semantic_configs_train_with_the_level_set_loss_where_they_say_so(path):
    config = _read(path)
    trained = {loss.type: loss for loss in config.model.decode_head.loss_decode}
    (watched,) = config.model.decode_head.monitor
    assert trained["CrossEntropyLoss"].avg_non_ignore
    assert ("mmlevelset.LevelSetLoss" in trained) == ("_level-set" in path)
    if "_level-set_" in path and "_20k_" in path:
        assert trained["mmlevelset.LevelSetLoss"] == watched


@pytest.mark.parametrize("path", [path for path in CONFIGS if "_20k_voc" in path])
def test_new_layers_learn_faster_as_the_papers_have_it(path):
    config = _read(path)
    with DefaultScope.overwrite_default_scope("mmdet"), torch.device("meta"):
        config.model.backbone.init_cfg = None
        model = MODELS.build(config.model)
        optimizer = build_optim_wrapper(model, copy.deepcopy(config.optim_wrapper)).optimizer
    rate = config.optim_wrapper.optimizer.lr
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    factors: dict[str, set[float]] = {}
    for group in optimizer.param_groups:
        name = names[id(group["params"][0])]
        new = "classifier" if "classifier" in name else "pretrained"
        kind = f"{new} {name.split('.')[-1]}"
        if group["params"][0].ndim > 1 or "features" in name or "decode_head" in name:
            factors.setdefault(kind, set()).add(round(group["lr"] / rate, 3))
    new, bias = (1, 2) if Path(path).name.startswith("fcn") else (10, 20)
    assert factors["classifier weight"] == {new}
    assert factors["classifier bias"] == {bias}
    assert factors["pretrained weight"] == {1}
    assert factors.get("pretrained bias", {2}) == {2}


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
    ours = [
        path
        for path in CONFIGS
        if "_refined" in path or not Path(path).name.startswith(("mask-rcnn", "solov2"))
    ]
    assert sorted(listed) == ours
