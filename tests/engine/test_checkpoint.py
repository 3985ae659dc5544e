import random
import resource
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmlevelset.engine.checkpoint import AtomicBackend, is_whole

OURS, MMENGINE = "mmlevelset.CheckpointHook", "CheckpointHook"


class Numbers(Dataset):
    metainfo: ClassVar[dict] = dict()

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=torch.tensor([float(index)]))


class Linear(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        # Larger than the logs, so that a limit on the size of files stops only checkpoints.
        self.weight = torch.nn.Parameter(torch.ones(200_000))

    def forward(self, inputs, data_samples=None, mode="tensor"):
        if mode == "predict":
            return [dict(value=value) for value in inputs]
        return dict(loss=(self.weight * torch.stack(inputs).mean()).mean())


class Rising(BaseMetric):
    """A metric that rises after every epoch."""

    def process(self, data_batch, data_samples) -> None:
        self.results.extend(data_samples)

    def compute_metrics(self, results) -> dict:
        return dict(acc=MessageHub.get_current_instance().get_info("iter"))


class FullDisk(Hook):
    """Breaks off the ``number``-th checkpoint of a run in the middle of its file."""

    def __init__(self, number: int) -> None:
        self.number = number

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        self.number -= 1
        if self.number == 0:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))


class Start(Hook):
    def before_train(self, runner) -> None:
        self.epoch = runner.epoch


@pytest.fixture
def full_disk():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def break_off(runner: Runner, number: int) -> None:
        runner.register_hook(FullDisk(number))
        try:
            with pytest.raises(OSError, match="File too large"):
                runner.train()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return break_off


def make_runner(work_dir, hook: str = OURS, **options) -> Runner:
    resume = options.pop("resume", False)
    loader = dict(batch_size=1, num_workers=0, dataset=Numbers())
    return Runner(
        model=Linear(),
        work_dir=str(work_dir),
        experiment_name=f"checkpoint_{random.SystemRandom().random()}",
        resume=resume,
        train_cfg=dict(by_epoch=True, max_epochs=4),
        train_dataloader={**loader, "sampler": dict(type="DefaultSampler", shuffle=True)},
        val_cfg=dict(),
        val_dataloader={**loader, "sampler": dict(type="DefaultSampler", shuffle=False)},
        val_evaluator=Evaluator([Rising()]),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        default_hooks=dict(checkpoint=dict(type=hook, interval=1, **options)),
        log_level="ERROR",
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.pth*"))


def resumed_epoch(work_dir: Path, hook: str = OURS, **options) -> int:
    """Resume a run to its end and return the epoch that it started from."""
    runner = make_runner(work_dir, hook, resume=True, **options)
    start = Start()
    runner.register_hook(start)
    runner.train()
    assert (work_dir / "epoch_4.pth").is_file()
    return start.epoch


# An epoch writes three files: its checkpoint, the best checkpoint, its checkpoint with the score.
@pytest.mark.parametrize(("number", "epoch"), [(4, 1), (5, 2), (6, 2)])
def test_interrupted_write_leaves_the_last_checkpoint(tmp_path, full_disk, number, epoch):
    full_disk(make_runner(tmp_path, save_best="acc", rule="greater"), number)
    [partial] = tmp_path.glob("*.tmp")
    assert partial.stat().st_size == 300_000
    assert f"epoch_{epoch}.pth" in names(tmp_path)
    assert resumed_epoch(tmp_path, save_best="acc", rule="greater") == epoch
    assert not list(tmp_path.glob("*.tmp"))


def test_interrupted_write_destroys_the_last_checkpoint_of_mmengine(tmp_path, full_disk):
    full_disk(make_runner(tmp_path, MMENGINE, save_best="acc", rule="greater"), 6)
    assert (tmp_path / "last_checkpoint").read_text().endswith("epoch_2.pth")
    with pytest.raises(RuntimeError, match="PytorchStreamReader"):
        resumed_epoch(tmp_path, MMENGINE, save_best="acc", rule="greater")


def test_oldest_checkpoint_is_deleted_after_the_new_one_is_stored(tmp_path, full_disk):
    full_disk(make_runner(tmp_path, max_keep_ckpts=1), 3)
    assert names(tmp_path) == ["epoch_2.pth", "epoch_3.pth.tmp"]
    assert resumed_epoch(tmp_path, max_keep_ckpts=1) == 2
    assert names(tmp_path) == ["epoch_4.pth"]


@pytest.mark.parametrize("hook", [OURS, MMENGINE])
def test_kept_checkpoints_are_those_of_mmengine(tmp_path, hook):
    make_runner(tmp_path, hook, max_keep_ckpts=2, save_best="acc", rule="greater").train()
    assert names(tmp_path) == ["best_acc_epoch_4.pth", "epoch_3.pth", "epoch_4.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "epoch_4.pth")
    checkpoint = torch.load(tmp_path / "epoch_4.pth", weights_only=False)
    assert checkpoint["message_hub"]["runtime_info"]["keep_ckpt_ids"] == [3, 4]


def test_pointer_to_nothing_is_repaired(tmp_path):
    work_dir, moved = tmp_path / "work_dir", tmp_path / "moved"
    runner = make_runner(work_dir)
    runner.train_loop._max_epochs = 2
    runner.train()
    shutil.move(work_dir, moved)
    assert resumed_epoch(moved) == 2

    (moved / "epoch_4.pth").unlink()
    (moved / "last_checkpoint").write_text("")
    assert resumed_epoch(moved) == 3


@pytest.mark.parametrize("content", [b"\0" * 60, b"\xff\xfe/a"])
def test_a_pointer_that_is_no_text_is_repaired(tmp_path, content):
    """A loss of power leaves a file of zeros."""
    runner = make_runner(tmp_path)
    runner.train_loop._max_epochs = 1
    runner.train()
    (tmp_path / "last_checkpoint").write_bytes(content)
    assert resumed_epoch(tmp_path) == 1


def test_damage_anywhere_is_no_whole_file(tmp_path):
    path = tmp_path / "epoch_1.pth"
    torch.save(dict(weight=torch.zeros(4)), path)
    content, chosen = path.read_bytes(), random.Random(0)
    assert is_whole(path)
    for _ in range(400):
        damaged = bytearray(content)
        damaged[chosen.randrange(len(content))] ^= chosen.randrange(1, 256)
        path.write_bytes(damaged)
        assert is_whole(path) in (True, False)  # and no error


def test_pointer_to_nothing_without_checkpoints_is_left(tmp_path):
    (tmp_path / "last_checkpoint").write_text("/deleted/epoch_9.pth")
    make_runner(tmp_path).call_hook("before_run")
    assert (tmp_path / "last_checkpoint").read_text() == "/deleted/epoch_9.pth"


def test_out_dir(tmp_path):
    work_dir, out_dir = tmp_path / "run", tmp_path / "out"
    make_runner(work_dir, out_dir=str(out_dir)).train()
    assert names(out_dir / "run") == [f"epoch_{epoch}.pth" for epoch in (1, 2, 3, 4)]
    (work_dir / "last_checkpoint").write_text("")
    make_runner(work_dir, out_dir=str(out_dir)).call_hook("before_run")
    assert (work_dir / "last_checkpoint").read_text() == str(out_dir / "run" / "epoch_4.pth")


def test_other_backend_is_left(tmp_path):
    runner = make_runner(tmp_path, backend_args=dict(backend="local"))
    runner.train()
    [hook] = [hook for hook in runner.hooks if hasattr(hook, "max_keep_ckpts")]
    assert hook.backend_args == dict(backend="local")


def test_atomic_backend_replaces_a_file_at_once(tmp_path):
    file = tmp_path / "new" / "file.bin"
    AtomicBackend().put(b"first", file)
    AtomicBackend().put(b"second", str(file))
    assert file.read_bytes() == b"second"
    assert [path.name for path in file.parent.iterdir()] == ["file.bin"]
