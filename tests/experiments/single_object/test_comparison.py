"""The comparison of networks and classic solvers, on tiny data."""

import importlib
import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

ROOT = Path(__file__).parents[2]
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
# Few iterations: what is tested is not the solvers.
QUICK = ["--solver", "chan_vese", "max_num_iter=20", "--solver", "drlse", "max_num_iter=20"]


@pytest.fixture
def helper(monkeypatch):
    """The module tools/single_object.py."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("single_object")


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


@pytest.fixture
def command(monkeypatch, tmp_path):
    for name in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    config = tmp_path / "data.py"
    config.write_text(DATA)

    def run(*more: object, data: str | None = None) -> Path:
        if data is not None:
            config.write_text(data)
        out = tmp_path / "out"
        words = [config, "--device=cpu", "--out-dir", out, "--work-dir", tmp_path, *more]
        monkeypatch.setattr(sys, "argv", ["compare_single_object.py", *map(str, words)])
        runpy.run_path(str(ROOT / "tools/compare_single_object.py"), run_name="__main__")
        return out

    return run


def table(text: str) -> dict[str, dict[str, str]]:
    """The rows of a Markdown table by their first cells."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    titles, _, *rows = [[cell.strip() for cell in row] for row in rows]
    return {row[0]: dict(zip(titles[1:], row[1:], strict=True)) for row in rows}


def test_a_network_and_two_solvers(command, network, capsys):
    out = command("--model", *network, *QUICK, "--degrade", "noise=30", "light=0.5", "--panel=40")
    text = capsys.readouterr().out
    assert text.endswith((out / "comparison.md").read_text() + "\n")
    rows = table(text)
    assert list(rows) == ["whole image", "Chan-Vese", "DRLSE", "net"]
    numbers = json.loads((out / "comparison.json").read_text())
    assert len(numbers["images"]) == 4
    for method in numbers["methods"]:
        row = rows[method["name"]]
        for condition, values in method["f_measure"].items():
            suffix = "" if condition == "clean" else f" {condition}"
            assert row[f"FM{suffix}"] == f"{100 * np.mean(values):.2f}"
            assert np.shape(values) == (4, 1)
        assert list(method["f_measure"]) == ["clean", "noise=30", "light=0.5"]
        assert len(method["seconds"]) == 4
    assert rows["DRLSE"]["iterations"] == "20"
    assert rows["DRLSE"]["at most"] == "100%"
    assert rows["net"]["iterations"] == ""
    assert float(rows["net"]["s/image"]) > 0
    assert "4 test images" in text and "64 x 64 pixels" in text and "upper bound" in text
    assert "- DRLSE: start=box, mu=0.04" in text and "max_num_iter=20" in text
    pictures = sorted(path.name for path in out.glob("*.png"))
    assert pictures == ["comparison.png", "comparison_light_0.5.png", "comparison_noise_30.png"]
    picture = cv2.imread(str(out / "comparison.png"))
    assert picture.shape[1] == 8 + 5 * 48  # image, truth, three methods
    assert picture.shape[0] == 8 + 4 * (30 + 40 + 8)


def test_degradations_change_what_networks_see_and_the_same_each_time(helper, network):
    items = [
        helper.Item("a", np.full((16, 16, 3), 100, np.uint8), np.zeros((1, 16, 16), np.uint8))
    ] * 2
    first, second = helper.images_under(items, "noise=9", dict(noise=9), 0)
    assert (first != second).any()
    again = helper.images_under(items, "noise=9", dict(noise=9), 0)
    np.testing.assert_array_equal(first, again[0])
    (clean, _) = helper.images_under(items, "clean", {}, 0)
    np.testing.assert_array_equal(clean, items[0].image)


def test_tuning_keeps_what_is_given_and_prints_what_was_chosen(command, capsys, tmp_path):
    solver = ["legendre_level_set", "order=1", "max_num_iter=20", "start=box"]
    means = tmp_path / "means.json"
    small = ("--size", 24, 24, "--pictures", 0, "--json", means)
    out = command("--solver", *solver, "--tune", 2, *small)
    assert list(json.loads(means.read_text())) == [
        f"{name}/{value}"
        for name in ("whole_image", "legendre_level_set")
        for value in ("FM", "seconds")
    ]
    (method,) = json.loads((out / "comparison.json").read_text())["methods"][1:]
    tried = method["tuning"]
    best = max(tried, key=lambda one: one["f_measure"])
    assert len(tried) == 3
    assert {one["settings"]["order"] for one in tried} == {1}
    assert method["settings"] == best["settings"]
    text = capsys.readouterr().out
    assert f"FM {100 * best['f_measure']:.2f} there" in text
    assert not list(out.glob("*.png"))


def test_the_side_with_the_middle(command):
    scores = {}
    for side in ("truth", "centre"):
        solver = ["chan_vese", "start=checkerboard", "max_num_iter=40"]
        out = command("--solver", *solver, "--side", side, "--pictures", 0)
        methods = json.loads((out / "comparison.json").read_text())["methods"]
        scores[side] = np.array([list(method["f_measure"].values()) for method in methods])
    np.testing.assert_array_equal(scores["truth"][0], scores["centre"][0])  # the whole image
    assert (scores["truth"][1:] >= scores["centre"][1:]).all()
    assert (scores["truth"] > scores["centre"]).any()


class TestItems:
    def config(self, tmp_path, more: str = "") -> Config:
        path = tmp_path / "items.py"
        path.write_text(DATA + more)
        return Config.fromfile(path)

    def test_their_own_size(self, helper, tmp_path):
        items = helper.read_items(self.config(tmp_path), "test", 2, [0])
        assert [item.image.shape for item in items] == [(40, 32, 3)] * 2
        assert [item.truths.shape for item in items] == [(1, 40, 32)] * 2

    def test_another_size_keeps_image_and_truth_aligned(self, helper, tmp_path):
        (own,) = helper.read_items(self.config(tmp_path), "test", 1, [0])
        (large,) = helper.read_items(self.config(tmp_path), "test", 1, [80, 64])
        np.testing.assert_array_equal(large.truths[:, ::2, ::2], own.truths)
        shrunk = cv2.resize(large.image, (32, 40), interpolation=cv2.INTER_AREA)
        assert np.abs(shrunk.astype(int) - own.image).mean() < 6

    def test_training_images_come_without_augmentation(self, helper, tmp_path):
        config = self.config(tmp_path)
        first, again = (helper.read_items(config, "train", 3, [0]) for _ in range(2))
        (test, *_) = helper.read_items(config, "test", 3, [0])
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
        assert (first[0].image != test.image).any()

    def test_each_annotator_is_a_truth(self, helper):
        maps = np.random.default_rng(0).integers(0, 2, (2, 10, 12), np.uint8)
        from mmdet.structures import DetDataSample

        sample = DetDataSample(metainfo=dict(annotator_maps=maps, img_path="a.png"))
        data = dict(inputs=torch.zeros(3, 20, 24, dtype=torch.uint8), data_samples=sample)
        item = helper.read_item(data, "test image 0", [0])
        np.testing.assert_array_equal(item.truths, maps)
        assert item.image.shape == (10, 12, 3)
        assert item.name == "a.png"

    def test_labels_of_many_classes(self, helper, tmp_path):
        pipeline = (
            "test_dataloader['dataset']['pipeline'] = [dict(type='LoadImageFromFile'),"
            " dict(type='mmlevelset.LoadSemanticAnnotations'), dict(type='PackDetInputs')]"
        )
        config = self.config(tmp_path, f"{pipeline}\n")
        with pytest.raises(helper.InputError, match="labels 0 and 1, but test image .* has label"):
            helper.read_items(config, "test", 4, [0])

    def test_no_labels(self, helper, tmp_path):
        pipeline = (
            "test_dataloader['dataset']['pipeline'] = [dict(type='LoadImageFromFile'),"
            " dict(type='PackDetInputs')]"
        )
        config = self.config(tmp_path, f"{pipeline}\n")
        with pytest.raises(helper.InputError, match="test image 0 has no gt_sem_seg"):
            helper.read_items(config, "test", 4, [0])


def test_a_network_resizes_by_its_own_pipeline(helper, network):
    name, config, checkpoint = network
    Path(config).write_text(
        Path(config).read_text() + "test_dataloader['dataset']['pipeline'] = ["
        "dict(type='LoadImageFromFile'), dict(type='Resize', scale=(48, 48), keep_ratio=True),"
        "dict(type='mmlevelset.LoadSemanticAnnotations'), dict(type='mmlevelset.BinaryLabels'),"
        "dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape', 'img_shape'))]\n"
    )
    made = helper.Network(name, config, checkpoint)
    seen = []
    predict = made.model.predict
    made.model.predict = lambda inputs, samples: seen.append(inputs) or predict(inputs, samples)
    found = made.segment([np.zeros((24, 12, 3), np.uint8)], lambda count: None)
    assert tuple(seen[0].shape) == (1, 3, 48, 24)
    assert found.masks[0].shape == (24, 12)
    assert found.masks[0].dtype == bool


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--solver", "snake"], "--solver: unknown solver 'snake'"),
        (["--solver", "drlse", "nu=1"], "--solver: drlse has no setting 'nu'"),
        (["--solver", "drlse", "mu"], "--solver takes KEY=VALUE, and got 'mu'"),
        (["--solver", "drlse", "--solver", "drlse"], "'DRLSE' is there twice"),
        (["--solver", "none"], "nothing to compare"),
        (["--degrade", "rain=1"], "--degrade takes a number of noise, blur, light, and got 'rain"),
        (["--degrade", "noise=much"], "and got 'noise=much'"),
        (["--degrade", "light=2"], "--degrade: light must be in [0, 1]"),
        (["--degrade", "blur=1", "blur=1"], "--degrade has blur=1 twice"),
        (["--size", "4", "64"], "--size must be a height and a width of at least 8, or 0"),
        (["--size", "64"], "--size must be a height and a width of at least 8, or 0"),
        (["--images", "0"], "--images must be at least 1, and was 0"),
        (["--model", "a", "none.py", "none.pth"], "the config none.py does not exist"),
    ],
)
def test_errors_are_one_line(command, capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        command(*words)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_checkpoints_that_do_not_fit(command, network, capsys, tmp_path):
    name, config, checkpoint = network
    with pytest.raises(SystemExit):
        command("--model", name, config, tmp_path / "none.pth")
    assert "the checkpoint" in capsys.readouterr().err
    torch.save(dict(state_dict={}), checkpoint)
    with pytest.raises(SystemExit) as ended:
        command("--model", name, config, checkpoint)
    assert ended.value.code == 2
    assert "is not of the config's model" in capsys.readouterr().err


def test_two_networks_of_one_name(command, network, capsys):
    with pytest.raises(SystemExit) as ended:
        command("--model", *network, "--model", *network)
    assert ended.value.code == 2
    assert "'net' is there twice" in capsys.readouterr().err


def test_a_config_without_test_data(command, network, capsys):
    with pytest.raises(SystemExit) as ended:
        command(*QUICK, data='default_scope = "mmdet"\n')
    assert ended.value.code == 2
    assert "the config has no test_dataloader" in capsys.readouterr().err
