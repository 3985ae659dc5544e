"""Exported files give PyTorch's results: each family, on images of several sizes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmlevelset.experiments.export import comparison, families, files
from mmlevelset.runtime import Model
from tests.experiments.export.conftest import picture

SIZES = ((96, 128), (131, 97), (40, 210))
LARGE = "levelset-rcnn_refined_shapes"
"""Exported with image_features; its export has all operators, and takes the most time."""
SMALL = "f-connet_shapes"


def slow(name: str):
    return pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [slow(LARGE), SMALL])
def test_results_are_pytorchs(exported, name):
    model = exported(name)
    for size in SIZES:
        wanted, got = model.compare(picture(*size))
        difference = comparison.compare(wanted, got)
        assert difference.allowed, difference.text
        if "masks" in got:
            assert len(wanted["labels"]) > 10
            assert got["masks"].shape[1:] == size
        else:
            assert got["label_map"].shape == size


@pytest.mark.slow
def test_nodes_are_of_the_standard(exported):
    import onnx

    model = onnx.load(exported(LARGE).path)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert not model.functions
    assert {"NonMaxSuppression", "RoiAlign", "Scan"} <= {node.op_type for node in model.graph.node}


@pytest.mark.slow
def test_no_objects(exported, tmp_path):
    """With weights for the background alone, both find nothing."""
    import onnx
    from onnx import numpy_helper

    model = exported(LARGE)
    layer = model.model.roi_head.bbox_head.fc_cls
    weights = torch.full_like(layer.weight, -100.0)
    weights[-1] = 100.0
    changed = onnx.load(model.path)
    (kept,) = [each for each in changed.graph.initializer if each.name.endswith("fc_cls.weight")]
    kept.CopyFrom(numpy_helper.from_array(weights.numpy(), kept.name))
    path = tmp_path / "nothing.onnx"
    onnx.save(changed, path)
    found = Model(path)(picture(100, 120))
    assert len(found) == 0
    assert found.masks.shape == (0, 100, 120)
    assert found.boxes.shape == (0, 4)
    assert found.polygons() == []
    before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.copy_(weights)
        wanted, _ = model.compare(picture(100, 120))
        layer.weight.copy_(before)
    assert len(wanted["labels"]) == 0


@pytest.mark.slow
def test_runtime(exported, tmp_path):
    """The copied file, in a process without this package, gives the file's masks."""
    from PIL import Image

    model = exported(LARGE)
    photo = tmp_path / "photo.png"
    image = picture(128, 128)
    Image.fromarray(image).save(photo)
    _, wanted = model.compare(image[..., ::-1].copy())
    found = Model(model.path)(image)
    np.testing.assert_array_equal(found.masks, wanted["masks"])
    np.testing.assert_array_equal(found.boxes, wanted["boxes"])
    assert found.classes == ("star", "ring", "spider", "split")
    assert found.extra["level_sets"].shape == (len(found), 56, 56)

    import mmlevelset.runtime as source

    copy = tmp_path / "copied.py"
    copy.write_text(Path(source.__file__).read_text())
    done = subprocess.run(
        [sys.executable, copy, model.path, photo, "--out", tmp_path / "out", "--score", "0.1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    objects = json.loads(line)["objects"]
    assert len(objects) == (wanted["scores"] >= 0.1).sum()
    assert [one["class"] for one in objects] == found.above(0.1).names()
    with Image.open(tmp_path / "out" / "photo.png") as drawn:
        assert drawn.size == (128, 128)


def test_runtime_gives_the_regions_of_a_label_map(exported):
    model = exported(SMALL)
    image = picture(50, 60)
    found = Model(model.path)(image)
    assert found.classes == ("background", "object")
    assert set(found.labels.tolist()) <= {1}
    _, wanted = model.compare(image[..., ::-1].copy())
    for mask in found.masks:
        np.testing.assert_array_equal(mask, wanted["label_map"] == 1)


def test_pt2(checkout, exported, tmp_path):
    """torch.export's file gives the same results."""
    model = exported(SMALL)
    network, task = families.network_of(model.model)
    path = str(tmp_path / "model.pt2")
    files.write_pt2(files.traced(network), path, dict(task=task))
    run = files.run_pt2(path)
    image = np.ascontiguousarray(picture(131, 97)[..., ::-1])
    size = np.array([131, 97])
    with torch.no_grad():
        wanted = network(torch.from_numpy(image), torch.from_numpy(size))
    assert (run(image, size)["label_map"] == wanted["label_map"].numpy()).all()
