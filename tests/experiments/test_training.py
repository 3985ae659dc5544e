"""train.py: which checkpoint a training starts from, and what it refuses."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch.utils.data import Dataset

from mmlevelset.errors import InputError
from mmlevelset.experiments import resuming, testing, training
from mmlevelset.experiments.checkpoints import read_checkpoint
from mmlevelset.experiments.work_dir import LOCK, claim
from mmlevelset.logs import evaluation_at

CONFIG = """
default_scope = "mmengine"
custom_imports = None
model = dict(type="LineOfTests", classes=3)
loader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="NumbersOfTests", classes=("a", "b", "c")),
)
train_dataloader = loader
val_dataloader = loader
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=1)
val_cfg = dict()
val_evaluator = dict(type="MetricOfTests")
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9))
param_scheduler = dict(type="MultiStepLR", milestones=[2], by_epoch=True)
default_hooks = dict(checkpoint=dict(type="mmlevelset.CheckpointHook", interval=1))
randomness = dict(seed=0)
log_level = "WARNING"
"""


@DATASETS.register_module(force=True)
class NumbersOfTests(Dataset):
    def __init__(self, classes, **_) -> None:
        self.metainfo = dict(classes=tuple(classes))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=torch.tensor([float(index)]))


@MODELS.register_module(force=True)
class LineOfTests(BaseModel):
    def __init__(self, classes: int, extra: bool = False, **_) -> None:
        super().__init__()
        self.line = torch.nn.Linear(1, classes)
        if extra:
            self.extra = torch.nn.Linear(1, 1)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        values = self.line(torch.stack(inputs))
        if mode == "predict":
            return [dict(value=value) for value in values]
        return dict(loss=(values - 1).square().mean())


@METRICS.register_module(force=True)
class MetricOfTests(BaseMetric):
    default_prefix = "x"
    dies_at: ClassVar[int | None] = None
    calls: ClassVar[int] = 0

    def process(self, data_batch, data_samples) -> None:
        self.results.extend(data_samples)

    def compute_metrics(self, results) -> dict:
        type(self).calls += 1
        if self.calls == self.dies_at:
            raise ZeroDivisionError("killed")
        return dict(score=1.0)


@pytest.fixture(autouse=True)
def metric(monkeypatch):
    monkeypatch.setattr(MetricOfTests, "dies_at", None)
    monkeypatch.setattr(MetricOfTests, "calls", 0)
    return MetricOfTests


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "line.py"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def train(config, tmp_path, capfd, monkeypatch):
    """Trains in ``tmp_path/run``; returns the exit code and what was printed."""
    # A new name for each runner of this process: mmengine keeps loggers by second.
    stamps = iter(f"20260101_{number:06d}" for number in range(1000))
    monkeypatch.setattr(time, "strftime", lambda *_: next(stamps))

    def run(*words: str, file: Path = config, folder: str = "run") -> tuple[int, str]:
        capfd.readouterr()
        code = 0
        try:
            training.main([str(file), "--work-dir", str(tmp_path / folder), *words])
        except SystemExit as end:
            code = end.code
        printed = capfd.readouterr()
        return code, printed.err + printed.out

    return run


def stop_after(epochs: int, train, metric, folder: str = "run") -> None:
    """Train until the validation after some epochs, as if the run was killed in it."""
    metric.calls, metric.dies_at = 0, epochs
    code, printed = train(folder=folder)
    assert code == 1 and "ZeroDivisionError: killed" in printed
    metric.calls, metric.dies_at = 0, None


def epochs_in(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("epoch_")) for path in folder.glob("epoch_*.pth"))


def test_own_checkpoints_are_read_without_running_code_and_go_on(train, metric, tmp_path):
    stop_after(1, train, metric)
    checkpoint = torch.load(tmp_path / "run/epoch_1.pth", weights_only=True)
    history = checkpoint["message_hub"]["log_scalars"]["train/loss"]
    assert len(history["log_history"]) == len(history["count_history"]) == 2
    assert train("--resume")[0] == 0
    checkpoint = torch.load(tmp_path / "run/epoch_3.pth", weights_only=True)
    assert len(checkpoint["message_hub"]["log_scalars"]["train/loss"]["log_history"]) == 6
    assert train(folder="whole")[0] == 0
    whole = torch.load(tmp_path / "whole/epoch_3.pth", weights_only=True)
    for name, weight in whole["state_dict"].items():
        assert torch.equal(weight, checkpoint["state_dict"][name])
    assert whole["optimizer"]["param_groups"] == checkpoint["optimizer"]["param_groups"]


def test_a_used_work_dir_is_refused_with_the_two_ways_out(train, tmp_path):
    assert train()[0] == 0
    before = (tmp_path / "run/epoch_3.pth").read_bytes()
    code, printed = train()
    assert code == 2
    assert "epoch_3.pth the newest: --resume goes on from it, and another --work-dir" in printed
    assert (tmp_path / "run/epoch_3.pth").read_bytes() == before


@pytest.mark.parametrize("step", [1, 3])
def test_a_validation_in_which_the_run_was_killed_is_made_good(train, metric, tmp_path, step):
    stop_after(step, train, metric)
    assert evaluation_at(tmp_path / "run", step) is None
    assert train("--resume")[0] == 0
    assert [evaluation_at(tmp_path / "run", epoch)["x/score"] for epoch in (1, 2, 3)] == [1] * 3
    assert metric.calls == 4 - step
    assert train("--resume")[0] == 0  # a finished training is not validated again
    assert metric.calls == 4 - step


def damage_pointer(kind: str, run: Path, tmp_path: Path) -> None:
    pointer = run / "last_checkpoint"
    if kind == "missing":
        pointer.unlink()
    elif kind == "empty":
        pointer.write_text("")
    elif kind == "of nothing":
        pointer.write_text("/nowhere/epoch_9.pth")
    elif kind == "older":
        pointer.write_text(str(run / "epoch_1.pth"))
    elif kind == "of another folder":
        other = tmp_path / "other"
        shutil.copytree(run, other)
        (other / "epoch_1.pth").rename(other / "epoch_3.pth")
        pointer.write_text(str(other / "epoch_3.pth"))


@pytest.mark.parametrize("kind", ["missing", "empty", "of nothing", "older", "of another folder"])
def test_resume_takes_the_newest_own_checkpoint_and_says_so(train, metric, tmp_path, kind):
    stop_after(2, train, metric)
    damage_pointer(kind, tmp_path / "run", tmp_path)
    first = (tmp_path / "run/epoch_1.pth").read_bytes()
    code, printed = train("--resume")
    assert code == 0
    assert f"the training goes on from {tmp_path}/run/epoch_2.pth" in printed
    assert "last_checkpoint" in printed
    assert (tmp_path / "run/epoch_1.pth").read_bytes() == first
    assert (tmp_path / "run/last_checkpoint").read_text() == str(tmp_path / "run/epoch_3.pth")


@pytest.mark.parametrize("kind", ["truncated", "empty", "flipped"])
def test_a_broken_newest_checkpoint_is_left_out(train, metric, tmp_path, kind):
    stop_after(2, train, metric)
    newest = tmp_path / "run/epoch_2.pth"
    content = bytearray(newest.read_bytes())
    content[content.index(b"state_dict")] ^= 1
    whole = newest.read_bytes()
    newest.write_bytes(dict(truncated=whole[:-100], empty=b"", flipped=content)[kind])
    code, printed = train("--resume")
    assert code == 0
    assert f"{newest} is not whole and was left out" in printed
    assert "goes on from" in printed and "epoch_1.pth" in printed
    assert epochs_in(tmp_path / "run") == [1, 2, 3]


def test_resume_never_starts_over_broken_checkpoints(train, metric, tmp_path):
    stop_after(1, train, metric)
    (tmp_path / "run/epoch_1.pth").write_bytes(b"PK")
    code, printed = train("--resume")
    assert code == 2 and "no checkpoint in" in printed and "epoch_1.pth" in printed
    (tmp_path / "run/epoch_1.pth").rename(tmp_path / "run/iter_2.pth")
    code, printed = train("--resume")
    assert code == 2 and "there is iter_2.pth" in printed


def test_resume_in_a_new_work_dir_starts_at_the_beginning_and_says_so(train, tmp_path):
    code, printed = train("--resume")
    assert code == 0 and "holds no checkpoint yet: the training starts at the beginning" in printed
    assert epochs_in(tmp_path / "run") == [1, 2, 3]


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (
            ["optim_wrapper.optimizer.lr=0.2"],
            ["optim_wrapper.optimizer.lr: 0.1 in the checkpoint, 0.2 in the config"],
        ),
        (
            ["train_dataloader.batch_size=2", "randomness.seed=7"],
            [
                "train_dataloader.batch_size: 1 in the checkpoint, 2 in the config",
                "randomness.seed: 0 in the checkpoint, 7 in the config",
            ],
        ),
        (
            ["param_scheduler.milestones=[1]"],
            ["param_scheduler.milestones.0: 2 in", "1 in the con"],
        ),
        (
            ["model.classes=5"],
            ["line.weight: (3, 1) in the checkpoint, (5, 1) in the model; line.bias"],
        ),
        (["model.extra=True"], ["2 weights of the model missing in the checkpoint (extra.weight"]),
        (
            ["train_dataloader.dataset.classes=('a','c','b')"],
            ["classes in another order: label 1 is 'b' in the checkpoint and 'c' in the data set"],
        ),
        (
            ["optim_wrapper.optimizer.type=Adam"],
            ["optimizer.type: 'SGD' in the checkpoint, 'Adam'"],
        ),
    ],
)
def test_resume_with_other_settings_is_refused_by_name(train, metric, options, messages):
    stop_after(1, train, metric)
    code, printed = train("--resume", "--allow-new-keys", "--cfg-options", *options)
    assert code == 2
    lines = [line for line in printed.splitlines() if "train.py: error:" in line]
    assert len(lines) == 1 and "Traceback" not in printed
    for message in messages:
        assert message in lines[0]


def test_resume_says_which_settings_count_from_now_on(train, metric):
    stop_after(1, train, metric)
    options = ["model.scale=2", "optim_wrapper.clip_grad.max_norm=1", "randomness.seed=None"]
    code, printed = train("--resume", "--allow-new-keys", "--cfg-options", *options)
    assert code == 0
    assert (
        "model.scale: none in the checkpoint, 2 in the config, which counts from now on" in printed
    )
    assert "the seed is the checkpoint's, 0" in printed
    assert "clip_grad" in printed


def test_resume_in_a_new_work_dir_loads_the_weights_that_the_config_names(train, tmp_path):
    assert train()[0] == 0
    load = ["--cfg-options", f"load_from={tmp_path}/run/epoch_3.pth", "model.extra=True"]
    code, printed = train("--resume", "--allow-new-keys", *load, folder="tuned")
    assert code == 2 and "2 weights of the model missing in the checkpoint" in printed


def test_a_file_without_the_state_of_a_training_cannot_be_resumed(train, metric, tmp_path):
    stop_after(1, train, metric)
    checkpoint = torch.load(tmp_path / "run/epoch_1.pth", weights_only=True)
    torch.save(dict(meta={}, state_dict=checkpoint["state_dict"]), tmp_path / "weights.pth")
    code, printed = train("--resume", str(tmp_path / "weights.pth"))
    assert code == 2 and "holds no message_hub, optimizer" in printed and "load_from" in printed


def test_a_partial_load_is_asked_for_and_says_what_stays_random(train, tmp_path):
    assert train()[0] == 0
    load = ["--cfg-options", f"load_from={tmp_path}/run/epoch_3.pth", "model.classes=5"]
    load += ["model.extra=True", "--allow-new-keys"]
    code, printed = train(*load, folder="tuned")
    assert code == 2
    for words in ("2 weights of the model missing", "extra.bias", "(3, 1)", "(5, 1)", "line.bias"):
        assert words in printed
    assert "--partial-load loads the weights that fit" in printed
    code, printed = train(*load, "--partial-load", folder="random")
    assert code == 2 and "no weight of" in printed
    code, printed = train(
        *load[:2], "model.extra=True", "--allow-new-keys", "--partial-load", folder="tuned"
    )
    assert code == 0
    assert (
        "2 weights of the model stay as they were initialised: extra.weight, extra.bias" in printed
    )


def test_a_foreign_checkpoint_is_not_evaluated(train, config, tmp_path, capfd):
    assert train()[0] == 0
    text = CONFIG + "test_cfg = dict()\ntest_dataloader = loader\ntest_evaluator = val_evaluator\n"
    config.write_text(text)
    torch.save(dict(state_dict={"backbone.weight": torch.ones(2)}), tmp_path / "foreign.pth")
    weights = torch.load(tmp_path / "run/epoch_3.pth", weights_only=True)
    weights["state_dict"]["line.weight"] = torch.ones(7, 1)
    del weights["state_dict"]["line.bias"]
    weights["state_dict"]["other.bias"] = torch.ones(3)
    torch.save(weights, tmp_path / "near.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "run/epoch_3.pth").read_bytes()[:-200])

    def test(file: str) -> tuple[int, str]:
        capfd.readouterr()
        code = 0
        try:
            testing.main([str(config), str(tmp_path / file), "--work-dir", str(tmp_path / "test")])
        except SystemExit as end:
            code = end.code
        return code, (capfd.readouterr().err.strip().splitlines() or [""])[-1]

    assert test("run/epoch_3.pth")[0] == 0
    code, error = test("foreign.pth")
    assert code == 2 and "missing in the checkpoint (line.weight, line.bias)" in error
    assert "1 weight of the checkpoint unknown to the model (backbone.weight)" in error
    code, error = test("near.pth")
    assert code == 2
    for part in ("line.bias", "other.bias", "line.weight: (7, 1) in the checkpoint, (3, 1) in"):
        assert part in error
    code, error = test("cut.pth")
    assert code != 0 and "cut.pth" in error and "test.py: error:" in error


def test_one_training_a_work_dir_and_the_lock_goes_with_its_process(train, tmp_path):
    config = Config(dict(work_dir=str(tmp_path / "run")))
    ready, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        with claim(config):
            os.write(held, b"1")
            time.sleep(60)
        os._exit(0)
    try:
        os.read(ready, 1)
        code, printed = train()
        assert code == 2
        assert f"another training works in {tmp_path}/run (process {pid} on" in printed
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with claim(config):
        assert str(os.getpid()) in (tmp_path / "run" / LOCK).read_text()
    assert train()[0] == 0


def test_a_file_in_the_place_of_the_work_dir_is_named(train, tmp_path):
    (tmp_path / "run").write_text("")
    code, printed = train()
    assert code == 2 and f"the work dir {tmp_path}/run must be a folder, and is a file" in printed
    code, printed = train(folder="run/below")
    assert code == 2 and "must be a folder, and is a file" in printed


@pytest.mark.parametrize("error", [OSError(30, "Read-only file system"), PermissionError(13, "No")])
def test_a_work_dir_that_cannot_be_written_is_named(train, tmp_path, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, printed = train()
    assert code == 2
    assert f"the work dir {tmp_path}/run cannot be written: {error.strerror}" in printed


def test_the_config_in_a_checkpoint_is_not_executed(tmp_path):
    text = "a = dict(b=[1, (2.5, None)], c={'d e': -1})\nf = __import__('os').system('touch x')\n"
    assert resuming.literal_config(text) is None
    assert resuming.literal_config(text.splitlines()[0]) == dict(
        a=dict(b=[1, (2.5, None)], c={"d e": -1})
    )
    for nothing in (None, "x +", "import os", "a = dict(**b)", "a = b"):
        assert resuming.literal_config(nothing) is None
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"PK\x03\x04 cut off", b"text"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.pth"):
        read_checkpoint(str(path))
    path.write_text(json.dumps([1]))
    with pytest.raises(InputError, match=r"bad\.pth"):
        read_checkpoint(str(path))
