"""train.py and test.py: the device, the overrides, and errors of one line."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmlevelset.errors import InputError
from mmlevelset.experiments import testing, training
from mmlevelset.experiments.command_line import (
    choose_device,
    load_config,
    parser,
    require_file,
    short_errors,
)

CONFIG = """
default_scope = "mmdet"
model = dict(type="MaskRCNN", backbone=dict(type="ResNet", depth=18), heads=[dict(channels=4)])
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1))
train_dataloader = dict(batch_size=2)
train_cfg = dict(max_epochs=1)
"""


@pytest.fixture(autouse=True)
def restored_environment(monkeypatch):
    for name in ("LOCAL_RANK", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text(CONFIG)
    return path


def parse(*words: object) -> argparse.Namespace:
    return parser("").parse_args([str(word) for word in words])


def load(config: Path, *words: object) -> Config:
    return load_config(parse(config, *words))


@pytest.mark.parametrize(
    "words", [["--gpus", "0"], ["--device", "cpu"], ["--device=cpu", "--gpus=1"]]
)
def test_cpu_is_forced_before_a_gpu_can_be_seen(monkeypatch, words):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    choose_device(parse("config.py", *words))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.gpu
def test_cpu_is_forced_where_there_is_a_gpu(checkout, tmp_path):
    code = (
        "from mmlevelset.experiments.command_line import choose_device, parser;"
        "choose_device(parser('').parse_args(['c.py', '--gpus', '0']));"
        "from mmengine.device import get_device; print(get_device())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True
    )
    assert done.stdout.strip() == "cpu"


@pytest.mark.parametrize("words", [[], ["--gpus", "1"], ["--gpus", "2", "--launcher", "pytorch"]])
def test_devices_are_left_alone_otherwise(monkeypatch, words):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    choose_device(parse("config.py", *words))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gpus", "-1"], "--gpus must be 0 or more, and was -1"),
        (["--gpus", "2"], "--gpus 2 needs a process per GPU: add --launcher pytorch"),
        (["--gpus", "0", "--device", "cuda"], "contradict"),
    ],
)
def test_impossible_devices_are_refused(words, message):
    with pytest.raises(InputError, match=message):
        choose_device(parse("config.py", *words))


@pytest.mark.parametrize("flag", ["--local_rank", "--local-rank"])
def test_rank_from_the_launcher_reaches_mmengine(flag):
    choose_device(parse("config.py", f"{flag}=3"))
    assert os.environ["LOCAL_RANK"] == "3"
    choose_device(parse("config.py", f"{flag}=5"))
    assert os.environ["LOCAL_RANK"] == "3"  # the launcher's own variable goes first


def test_overrides_are_merged(config):
    loaded = load(
        config,
        "--cfg-options",
        "model.backbone.depth=50",
        "model.heads.0.channels=8",
        "optim_wrapper.optimizer.lr=1e-3",
        "randomness.seed=3",
    )
    assert loaded.model.backbone.depth == 50
    assert loaded.model.heads[0].channels == 8
    assert loaded.optim_wrapper.optimizer.lr == 0.001
    assert loaded.randomness.seed == 3  # an argument of mmengine's Runner needs no entry


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "model.backbone.dept=50",
            r"model\.backbone has no 'dept'; did you mean model.backbone.depth",
        ),
        ("modle.backbone.depth=50", r"the config has no 'modle'; did you mean model\?"),
        ("model.heads.1.channels=8", r"model\.heads has no '1'"),
        ("model.backbone.depth.x=1", r"model\.backbone\.depth has no 'x'"),
        ("model", r"takes KEY=VALUE, and got 'model'"),
    ],
)
def test_override_of_what_is_not_there_is_refused(config, option, message):
    with pytest.raises(InputError, match=message):
        load(config, "--cfg-options", option)


def test_new_keys_can_be_allowed(config):
    loaded = load(config, "--cfg-options", "model.backbone.stem=7", "--allow-new-keys")
    assert loaded.model.backbone.stem == 7


def test_work_dir_is_of_the_command_line_then_the_config_then_the_name(config):
    assert Path(load(config).work_dir) == Path("work_dirs/tiny")
    config.write_text(CONFIG + "work_dir = 'of_the_config'\n")
    assert load(config).work_dir == "of_the_config"
    assert load(config, "--work-dir", "given").work_dir == "given"


def test_missing_and_broken_configs_are_named(tmp_path):
    with pytest.raises(InputError, match=r"the config nowhere\.py does not exist"):
        load(Path("nowhere.py"))
    broken = tmp_path / "broken.py"
    broken.write_text("_base_ = ['absent.py']\n")
    with pytest.raises(InputError, match=r"broken\.py cannot be read: .*absent\.py"):
        load(broken)


def test_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError, match=r"the checkpoint nowhere\.pth does not exist"):
        require_file("nowhere.pth", "the checkpoint")
    assert require_file("https://host/a.pth", "the checkpoint") == "https://host/a.pth"
    with pytest.raises(InputError, match="the checkpoint .* must be a file, and is a folder"):
        require_file(str(tmp_path), "the checkpoint")
    with pytest.raises(InputError, match="the config .* must be a file, and is a folder"):
        load(tmp_path)


def test_error_is_one_line_and_its_traceback_a_file(config, tmp_path, capsys):
    arguments = parse(config, "--work-dir", tmp_path / "out")
    with pytest.raises(SystemExit) as stop, short_errors("train.py", arguments):
        load_config(arguments)
        raise FloatingPointError("the loss is nan\nin iteration 3")
    assert stop.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("train.py: error: FloatingPointError: the loss is nan (traceback: ")
    assert "in iteration 3" in (tmp_path / "out/traceback.txt").read_text()


def test_error_in_a_data_worker_is_told_by_its_last_line(config, tmp_path, capsys):
    message = (
        "Caught KeyError in worker.\nOriginal Traceback (most recent call last):\nKeyError: 'x'"
    )
    arguments = parse(config, "--work-dir", tmp_path)
    with pytest.raises(SystemExit), short_errors("train.py", arguments):
        raise RuntimeError(message)
    assert capsys.readouterr().err == "train.py: error: RuntimeError: KeyError: 'x'\n"


def test_whole_traceback_on_demand(config):
    with (
        pytest.raises(ZeroDivisionError),
        short_errors("train.py", parse(config, "--traceback")),
    ):
        _ = 1 / 0


def test_wrong_type_is_named_with_its_key(checkout, tmp_path):
    config = checkout / "configs/quickstart/levelset-rcnn_shapes.py"
    options = ["--cfg-options", "model.backbone.type=ResNett"]
    done = subprocess.run(
        [sys.executable, checkout / "tools/train.py", config, "--work-dir", "out", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "train.py: error: model.backbone.type = 'ResNett' is no registered model"
    )
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (training, ["nowhere.py"], "the config nowhere.py does not exist"),
        (training, ["CONFIG", "--resume", "no.pth"], "the checkpoint no.pth does not exist"),
        (training, ["CONFIG", "--auto-scale-lr"], "auto_scale_lr.base_batch_size in the config"),
        (testing, ["CONFIG", "no.pth"], "the checkpoint no.pth does not exist"),
        (testing, ["CONFIG", "no.pth", "--out", "a.txt"], "--out must end in .pkl or .pickle"),
        (testing, ["CONFIG", "CONFIG", "--out", "tiny.py/a.pkl"], "and tiny.py is a file"),
        (testing, ["CONFIG", "CONFIG", "--show-dir", "tiny.py"], "--show-dir must be a folder"),
    ],
)
def test_commands_end_in_one_line(config, tmp_path, monkeypatch, capfd, command, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        command.main([str(config) if word == "CONFIG" else word for word in words])
    assert end.value.code == 2
    printed = capfd.readouterr().err
    lines = [line for line in printed.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert lines[0].startswith("train.py: " if command is training else "test.py: ")
    assert message in lines[0]
    assert "Traceback" not in printed


def test_help_shows_gpus_so_that_mim_passes_the_device_on(capsys):
    with pytest.raises(SystemExit) as end:
        training.main(["-h"])
    assert end.value.code == 0
    assert "--gpus" in capsys.readouterr().out
