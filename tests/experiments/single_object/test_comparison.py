"""The comparison of networks and classic solvers, on tiny data."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmlevelset.experiments.single_object.comparison import main

# Few iterations: these tests are not about the solvers' results.
QUICK = ["--solver", "chan_vese", "max_num_iter=20", "--solver", "drlse", "max_num_iter=20"]


@pytest.fixture
def command(monkeypatch, tmp_path, data):
    for name in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    config = tmp_path / "data.py"
    config.write_text(data)

    def run(*more: object, data: str | None = None) -> Path:
        if data is not None:
            config.write_text(data)
        out = tmp_path / "out"
        words = [config, "--device=cpu", "--out-dir", out, "--work-dir", tmp_path, *more]
        main([*map(str, words)])
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


def test_tuning_keeps_given_settings_and_prints_its_choice(command, capsys, tmp_path):
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
    best = max(tried, key=lambda trial: trial["f_measure"])
    assert len(tried) == 3
    assert {trial["settings"]["order"] for trial in tried} == {1}
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
