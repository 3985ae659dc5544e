"""Every config is complete: it loads, and its model and its pipelines build.

A test goes through all configs and names every config that fails.
"""

import argparse
import copy
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mmdet.registry import DATASETS, HOOKS, MODELS, TRANSFORMS
from mmengine.config import Config, DictAction
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from mmlevelset.experiments.checks.config import config_troubles
from mmlevelset.experiments.command_line import require_key
from mmlevelset.experiments.overrides import read_config

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "configs").glob("*/*.py")
    if path.parent.name not in ("_base_", "sweeps")
)
LEVEL_SET_WEIGHT = "model.decode_head.loss_decode.1.loss_weight"


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield


@cache
def read(path: str) -> Config:
    return read_config(ROOT / path)


def check_all(paths: Iterable[str], check: Callable[[str, Config], None]) -> None:
    """Fail with the error of each config that does not pass."""
    wrong = []
    for path in paths:
        try:
            check(path, read(path))
        except Exception as error:
            wrong.append(f"{path}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


def build(model: dict[str, Any]) -> nn.Module:
    """Build the model without memory for its weights; of a wrapper, return the inner model."""
    model = copy.deepcopy(model)
    if "backbone" in model:
        model["backbone"]["init_cfg"] = None
    with torch.device("meta"):
        built = MODELS.build(model)
    return getattr(built, "module", built)


def innermost(dataset: dict[str, Any]) -> dict[str, Any]:
    """Settings of a data set, the first where several are joined."""
    return dataset["datasets"][0] if "datasets" in dataset else dataset


def test_models_build_and_have_the_classes_of_their_data():
    built: dict[str, nn.Module] = {}

    def check(path: str, config: Config) -> None:
        assert config.default_scope == "mmdet"
        key = repr(config.model)
        if key not in built:
            built[key] = build(config.model)
        model = built[key]
        if "network" in config.model:
            assert model.network.in_channels == len(config.model.data_preprocessor.mean)
            return
        dataset = innermost(config.train_dataloader.dataset)
        names = (dataset.get("metainfo") or DATASETS.get(dataset.type).METAINFO)["classes"]
        if hasattr(model, "decode_head"):
            assert model.decode_head.num_classes == len(names)
            return
        owner = getattr(model, "roi_head", model)
        heads = [getattr(owner, name, None) for name in ("mask_head", "bbox_head", "panoptic_head")]
        heads = [
            head
            for head in heads
            if hasattr(head, "num_classes") and not getattr(head, "class_agnostic", False)
        ]
        assert heads and all(head.num_classes == len(names) for head in heads)

    assert CONFIGS
    check_all(CONFIGS, check)


def test_no_config_has_troubles_of_its_own():
    """Heads, palettes and the metrics' files, as train.py and test.py check them; without data."""

    def check(path: str, config: Config) -> None:
        for split in ("train", "val", "test"):
            assert config_troubles(config, split, files=False) == []

    check_all(CONFIGS, check)


def test_pipelines_and_hooks_build():
    built: set[str] = set()

    def check(path: str, config: Config) -> None:
        parts = [(HOOKS, hook) for hook in config.custom_hooks]
        for loader in (config.train_dataloader, config.val_dataloader):
            dataset = innermost(loader.dataset)
            assert DATASETS.get(dataset.type) is not None
            parts += [(TRANSFORMS, step) for step in dataset.pipeline]
        for registry, part in parts:
            if repr(part) not in built:
                registry.build(part)
                built.add(repr(part))

    check_all(CONFIGS, check)


def supervision_of(model: dict[str, Any]) -> str | None:
    """The supervision of a head that boxes can train; None: there is no such head."""
    for name in ("mask_head", "bbox_head", "panoptic_head"):
        head = model.get(name, {})
        found = head.get("box_supervision", head).get("supervision")
        if found is not None:
            return found
    return None


def test_training_loads_masks_only_where_they_supervise():
    def check(path: str, config: Config) -> None:
        for loader, expected in (
            (config.train_dataloader, supervision_of(config.model) != "box"),
            (config.val_dataloader, True),
        ):
            loads = [
                step
                for step in loader.dataset.pipeline
                if "Load" in step.type and step.type.endswith("Annotations")
            ]
            assert [step.with_mask for step in loads] == [expected]

    paths = [path for path in CONFIGS if supervision_of(read(path).model) is not None]
    assert len(paths) > 30
    check_all([path for path in paths if "_tiled_" not in path], check)


def test_evaluation_reports_boundary_f1():
    def check(path: str, config: Config) -> None:
        evaluators = config.val_evaluator
        evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
        semantic = "decode_head" in config.model or "network" in config.model
        metric = "SemanticBoundaryMetric" if semantic else "LevelSetCocoMetric"
        assert f"mmlevelset.{metric}" in [evaluator.type for evaluator in evaluators]

    check_all(CONFIGS, check)


def test_semantic_networks_watch_the_level_set_loss_and_train_it_by_one_option():
    def check(path: str, config: Config) -> None:
        head = config.model.decode_head
        trained = [loss for loss in head.loss_decode if loss.get("loss_weight") != 0]
        assert [loss.type for loss in trained] == ["CrossEntropyLoss"]
        assert trained[0].avg_non_ignore
        (watched,) = head.monitor
        assert watched.loss_weight == 4e-4
        config = copy.deepcopy(config)
        require_key(config, LEVEL_SET_WEIGHT, path)
        config.merge_from_dict({LEVEL_SET_WEIGHT: 4e-4})
        assert config.model.decode_head.loss_decode == [trained[0], watched]

    check_all([path for path in CONFIGS if "decode_head" in read(path).model], check)


def test_semantic_networks_have_their_logits_at_every_stride_th_pixel():
    """ResNet and DeepLab's VGG have odd kernels; the loss means the same at every size."""

    def check(path: str, config: Config) -> None:
        assert config.model.decode_head.align_corners
        usual = 32 if "/fcn" in path else 8
        assert config.model.stride == config.model.backbone.get("output_stride", usual)
        for loss in (config.model.decode_head.loss_decode[1], *config.model.decode_head.monitor):
            assert tuple(loss.map_size) == (41, 41)
        if "largefov" in path and "_lite0_" not in path:
            assert isinstance(build(config.model).backbone.average_pool, nn.AvgPool2d)

    check_all([path for path in CONFIGS if "decode_head" in read(path).model], check)


def test_new_layers_learn_faster_and_biases_do_not_decay_as_the_authors_have_it():
    def check(path: str, config: Config) -> None:
        model = build(config.model)
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
            decay = group["weight_decay"] / config.optim_wrapper.optimizer.weight_decay
            assert decay == (0 if name.endswith(".bias") else 1), name
        new, bias = (1, 2) if "/fcn" in path else (10, 20)
        assert factors["classifier weight"] == {new}
        assert factors["classifier bias"] == {bias}
        assert factors["pretrained weight"] == {1}
        assert factors.get("pretrained bias", {2}) == {2}

    paths = [path for path in CONFIGS if "_20k_voc" in path]
    assert len(paths) == 3
    check_all(paths, check)


def test_an_option_of_the_base_reaches_the_model_from_the_command_line():
    config = copy.deepcopy(read("configs/levelset_rcnn/levelset-rcnn_r50_fpn_90k_coco.py"))
    config.merge_from_dict({"model.roi_head.mask_head.num_steps": 5})
    model = build(config.model)
    assert model.roi_head.mask_head.hyperparameter_head.output.out_features == 3 + 2 * 5


def test_the_options_of_the_readmes_fit_their_configs():
    """In a table, a row's options fit the configs that the row links to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="*", action=DictAction)
    rows = 0
    for readme in sorted((ROOT / "configs").glob("*/README.md")):
        for line in readme.read_text().splitlines():
            words = re.findall(r"`((?:model|\w+_dataloader)\.[\w.]+=[^`]+)`", line)
            if not line.startswith("|") or not words:
                continue
            options = parser.parse_args(["--cfg-options", *words]).cfg_options
            links = re.findall(r"\]\((?:\.\./)?([\w/.-]+\.py)\)", line)
            assert links, f"{readme}: options of no config: {line}"
            rows += 1
            for link in links:
                folder = readme.parent.name if "/" not in link else "."
                path = (Path("configs") / folder / link).as_posix()
                assert path in CONFIGS, f"{readme}: {path}"
                config = copy.deepcopy(read(path))
                for key in options:
                    require_key(config, key, f"{readme}: {path}")
                config.merge_from_dict(options)
                build(config.model)
    assert rows > 20


def test_the_config_for_backbones_of_timm_fits_its_base(tmp_path):
    text = (ROOT / "configs/photographs/README.md").read_text()
    (snippet,) = re.findall(r"```python\n(_base_.*?)```", text, re.DOTALL)
    file = tmp_path / "mine.py"
    file.write_text(snippet.replace('"configs/', f'"{ROOT}/configs/'))
    config = Config.fromfile(file, import_custom_modules=False)
    usual = read("configs/photographs/mask-rcnn_refined_lite0_pennfudan.py").model
    assert config.model.backbone.keys().isdisjoint(usual.backbone.keys() - {"type", "out_indices"})
    assert len(config.model.neck.in_channels) == len(config.model.backbone.out_indices) == 4
    assert config.model.neck.norm_cfg == usual.neck.norm_cfg
    assert config.model.roi_head == usual.roi_head


def test_the_options_of_the_sweeps_fit_their_configs():
    rows = 0
    for file in sorted((ROOT / "configs/sweeps").glob("*.py")):
        sweep = Config.fromfile(file).to_dict()
        for name, row in sweep["variants"].items():
            if "same" in row or not row.get("run", True):
                continue
            config = file.parent / row.get("config", sweep.get("config"))
            path = config.resolve().relative_to(ROOT).as_posix()
            for key in {**sweep.get("options", {}), **row.get("options", {})}:
                require_key(read(path), key, f"{file.name}: {name}")
            rows += 1
    assert rows > 150


def test_the_metafiles_list_configs_with_results_or_weights():
    index = yaml.safe_load((ROOT / "model-index.yml").read_text())
    listed = []
    for name in index["Import"]:
        metafile = yaml.safe_load((ROOT / name).read_text())
        collections = {collection["Name"] for collection in metafile["Collections"]}
        for model in metafile["Models"]:
            assert model["In Collection"] in collections
            assert model["Name"] == Path(model["Config"]).stem
            results = [result["Metrics"] for result in model.get("Results", ())]
            assert model.get("Weights") or any(results), f"{model['Name']} has neither"
            listed.append(model["Config"])
    assert listed and len(set(listed)) == len(listed)
    assert set(listed) <= set(CONFIGS)
