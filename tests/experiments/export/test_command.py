"""export.py: what it writes, what it refuses."""

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmlevelset.errors import InputError
from mmlevelset.experiments.export import command, comparison, families, files
from tests.experiments.export.conftest import build, picture


@pytest.fixture
def config(checkout):
    return lambda name: Config.fromfile(checkout / f"configs/quickstart/{name}.py")


@pytest.fixture
def quick_file(monkeypatch):
    """Replace the file of a model by PyTorch's own results, changed by a function."""

    def set_up(change):
        monkeypatch.setattr(files, "traced", lambda network: network)

        def write(network, path, about):
            torch.save(about, path)

        def run(network):
            def outputs(image, size):
                with torch.no_grad():
                    found = network(torch.from_numpy(image), torch.from_numpy(size))
                return change({name: value.numpy() for name, value in found.items()})

            return outputs

        networks = []
        original = families.network_of

        def network_of(model):
            networks.append(original(model)[0])
            return networks[-1], "instances"

        monkeypatch.setattr(families, "network_of", network_of)
        monkeypatch.setitem(files.FORMATS, ".onnx", (write, lambda path: run(networks[-1])))
        monkeypatch.setattr(files, "require_libraries", lambda: None)

    return set_up


def test_a_file_that_differs_is_not_written(config, quick_file, tmp_path, capsys):
    settings = config("mask-rcnn_shapes")
    model, rule = build(settings), command.resize_of(settings)
    images = {"first": picture(96, 128), "second": picture(64, 100)}
    out = tmp_path / "model.onnx"

    def shift(found):
        return {**found, "boxes": found["boxes"] + 1}

    quick_file(shift)
    with pytest.raises(InputError, match=r"model\.onnx is not written: .* first, second"):
        command.export(model, rule, ("a",), images, out)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_agrees_is_written(config, quick_file, tmp_path, capsys):
    settings = config("mask-rcnn_shapes")
    model, rule = build(settings), command.resize_of(settings)
    quick_file(lambda found: found)
    out = tmp_path / "new" / "model.onnx"
    command.export(model, rule, ("a",), {"photo": picture(96, 128)}, out)
    assert "photo: 50 objects; largest differences" in capsys.readouterr().out
    about = torch.load(out)
    assert about["resize"] == dict(scale=[128, 128], keep_ratio=True)
    assert about["task"] == "instances"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("crls_shapes", "CRLS"),
        ("delse_shapes", "DELSEMaskHead"),
        ("solov2_refined_shapes", "refinement must be None"),
        ("levelset-rcnn_tiled_shapes", "TiledDetector"),
    ],
)
def test_other_models_are_refused(config, name, words):
    with pytest.raises(InputError, match=words):
        families.network_of(build(config(name)))


def test_settings_that_the_file_cannot_have_are_refused(config):
    settings = config("mask-rcnn_shapes")
    settings.model.test_cfg.rcnn.nms = dict(type="soft_nms", iou_threshold=0.5)
    with pytest.raises(InputError, match=r"model\.test_cfg\.rcnn\.nms must be"):
        families.network_of(build(settings))
    pipeline = settings.test_dataloader.dataset.pipeline
    pipeline.insert(1, dict(type="RandomFlip", prob=1.0))
    with pytest.raises(InputError, match="test pipeline has RandomFlip"):
        command.resize_of(settings)


def test_wrong_words_give_one_line(checkout, capsys):
    quickstart = str(checkout / "configs/quickstart/mask-rcnn_shapes.py")
    for words, message in (
        ([quickstart, "x.pth", "--out", "x.pb"], "--out must end in .onnx or .pt2"),
        ([quickstart, "x.pth", "--out", "x.onnx"], "the checkpoint x.pth does not exist"),
    ):
        with pytest.raises(SystemExit) as end:
            command.main(words)
        assert end.value.code == 2
        assert message in capsys.readouterr().err


def some_result() -> dict[str, np.ndarray]:
    masks = np.zeros((2, 40, 50), bool)
    masks[:, 5:35, 5:45] = True
    return dict(
        boxes=np.array([[5, 5, 45, 35], [5, 5, 45, 35]], np.float32),
        labels=np.array([0, 1]),
        scores=np.array([0.9, 0.8], np.float32),
        masks=masks,
    )


@pytest.mark.parametrize(
    ("name", "change", "allowed"),
    [
        ("boxes", lambda boxes: boxes + 0.004, True),
        ("boxes", lambda boxes: boxes + 0.006, False),
        ("scores", lambda scores: scores + 2e-4, False),
        ("labels", lambda labels: labels[::-1], False),
        ("masks", lambda masks: masks ^ (np.arange(50) == 20), False),
    ],
)
def test_comparison(name, change, allowed):
    """The boxes may differ by 1e-4 of 50 pixels."""
    wanted = some_result()
    got = {**wanted, name: change(wanted[name])}
    assert comparison.compare(wanted, got).allowed is allowed


def test_comparison_of_pixels_and_numbers():
    wanted, got = some_result(), some_result()
    got["masks"][0, 5, 5:7] = False
    assert comparison.compare(wanted, got).allowed  # 2 of 2400 pixels
    got["masks"][0, 5, 5:8] = False
    assert not comparison.compare(wanted, got).allowed
    fewer = {key: value[:1] for key, value in wanted.items()}
    assert comparison.compare(wanted, fewer).text == "2 objects in PyTorch, 1 in the file"
    none = {key: value[:0] for key, value in wanted.items()}
    assert comparison.compare(none, none).allowed
    label_map = dict(label_map=np.zeros((40, 50), np.int64))
    other = dict(label_map=label_map["label_map"].copy())
    other["label_map"][0, :2] = 1
    assert comparison.compare(label_map, other).allowed
    other["label_map"][0, :3] = 1
    assert not comparison.compare(label_map, other).allowed
