import json
import os
import subprocess
import sys
from pathlib import Path

import mmdet.registry
import pytest
from mmengine import Config
from mmengine.registry import DefaultScope

from mmlevelset import registry

ROOT = Path(__file__).parents[1]
NAMES = (
    "DATASETS",
    "TRANSFORMS",
    "MODELS",
    "METRICS",
    "HOOKS",
    "WEIGHT_INITIALIZERS",
    "TASK_UTILS",
)
REGISTRIES = {name: getattr(registry, name) for name in NAMES}


@pytest.fixture(scope="module")
def lookup() -> dict:
    """Results of look-ups in fresh processes: of the types, and with each room broken."""
    types = {}
    for name, ours in REGISTRIES.items():
        ours.import_from_location()
        types[name] = list(ours.module_dict)
    rooms = [(name, room) for name, ours in REGISTRIES.items() for room in ours._locations]
    process = subprocess.run(
        [sys.executable, Path(__file__).with_name("registry_lookup.py")],
        input=json.dumps({"get": types, "break": rooms}),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    answers = json.loads(process.stdout.splitlines()[-1])
    return dict(
        get={
            (name, key): found
            for name, keys in types.items()
            for key, found in zip(keys, answers["get"][name], strict=True)
        },
        broken=dict(zip(rooms, answers["broken"], strict=True)),
    )


def test_each_type_is_found_from_mmdets_scope_without_an_import(lookup):
    assert {key for name, key in lookup["get"] if name == "HOOKS"} >= {
        "CheckpointHook",
        "NonFiniteLossHook",
        "ReseedHook",
    }
    for (name, key), found in lookup["get"].items():
        ours = REGISTRIES[name].module_dict[key]
        assert found == f"{ours.__module__}.{ours.__qualname__}"


def test_failing_import_of_a_room_is_not_swallowed(lookup):
    assert {name for name, _ in lookup["broken"]} == set(NAMES)
    for (_, room), answer in lookup["broken"].items():
        assert answer == f"ImportError: {room} is broken"


@pytest.fixture
def config():
    """A config of mmdet in mmdet's scope, the backbone's weights not fetched."""
    with DefaultScope.overwrite_default_scope("mmdet"):
        cfg = Config.fromstring(
            '_base_ = ["mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"]', file_format=".py"
        )
        cfg.model.backbone.init_cfg = dict(type="mmlevelset.Pretrained", checkpoint="resnet50.pth")
        cfg.custom_hooks = [dict(type="mmlevelset.ReseedHook")]
        yield cfg


@pytest.mark.parametrize(
    ("registry_name", "part", "key", "wrong"),
    [
        ("MODELS", "model", "type", "mmlevelset.NoSuchDetector"),
        ("MODELS", "model", "backbone.type", "ResNett"),
        ("MODELS", "model", "roi_head.mask_head.type", "mmlevelset.NoSuchHead"),
        ("MODELS", "model", "roi_head.mask_head.type", "mmdet.NoSuch"),
        ("MODELS", "model", "roi_head.mask_head.type", "mmlevelst.TSDFHead"),
        ("DATASETS", "train_dataloader.dataset", "type", "mmlevelset.NoSuchDataset"),
        ("TRANSFORMS", "train_dataloader.dataset.pipeline.0", "type", "mmlevelset.NoSuchLoading"),
        ("METRICS", "val_evaluator", "type", "mmlevelset.NoSuchMetric"),
        ("HOOKS", "custom_hooks.0", "type", "mmlevelset.NoSuchHook"),
        ("WEIGHT_INITIALIZERS", "model.backbone.init_cfg", "type", "mmlevelset.NoSuchInit"),
    ],
)
def test_wrong_type_name_gives_its_name_and_its_registry(config, registry_name, part, key, wrong):
    config.merge_from_dict({f"{part}.{key}": wrong})
    for step in part.split("."):
        config = config[int(step)] if step.isdigit() else config[step]
    where = getattr(mmdet.registry, registry_name)
    with pytest.raises(KeyError, match=f"{wrong} is not in the {where.scope}::{where.name} regis"):
        where.build(config)
