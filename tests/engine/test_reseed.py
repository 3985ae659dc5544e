import copy
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset, IterableDataset

ROOT = Path(__file__).parents[2]
COUNT = 6
PERSISTENT = 1  # number of workers in tests with persistent workers
LOOPS = {
    "epoch": (dict(by_epoch=True, max_epochs=4), dict(type="DefaultSampler")),
    "iter": (dict(by_epoch=False, max_iters=12), dict(type="InfiniteSampler")),
    # Its sampler cannot skip: a resumed run draws the earlier indices again.
    "restarting": (dict(by_epoch=False, max_iters=12), dict(type="DefaultSampler")),
}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    # mmengine pauses before it restarts a finite sampler.
    monkeypatch.setattr("mmengine.runner.loops.time.sleep", lambda seconds: None)


class Draws(Dataset):
    """Samples of one random number from each generator, in place of augmentations."""

    metainfo: ClassVar[dict] = dict()

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> dict:
        draws = [random.random(), np.random.rand(), torch.rand(1).item()]  # noqa: NPY002
        return dict(inputs=torch.tensor([index, *draws], dtype=torch.float64))


class Recorder(BaseModel):
    """Keeps its inputs and its own random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen: list[torch.Tensor] = []

    def forward(self, inputs, data_samples=None, mode="tensor"):
        inputs = torch.stack(inputs)
        self.seen.append(torch.cat([inputs.flatten(), torch.rand(2, dtype=torch.float64)]))
        noise = random.random() + np.random.rand()  # noqa: NPY002
        return dict(loss=self.weight * inputs.mean() * noise)


class Interrupt(Hook):
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner, *args, **kwargs) -> None:
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


class Disturb(Hook):
    """Draws between iterations, as a validation does."""

    def after_train_iter(self, runner, *args, **kwargs) -> None:
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002


def make_runner(work_dir, loop, *, workers=0, hooks=None, interval=1, **kwargs) -> Runner:
    train_cfg, sampler = LOOPS[loop]
    options = dict(
        work_dir=str(work_dir),
        experiment_name=f"reseed_{random.SystemRandom().random()}",
        train_cfg=train_cfg,
        train_dataloader=dict(
            batch_size=2,
            num_workers=workers,
            persistent_workers=workers == PERSISTENT,
            sampler=sampler,
            dataset=Draws(),
        ),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01)),
        default_hooks=dict(
            checkpoint=dict(
                type="CheckpointHook", by_epoch=train_cfg["by_epoch"], interval=interval
            )
        ),
        custom_hooks=[dict(type="mmlevelset.ReseedHook")] if hooks is None else hooks,
        randomness=dict(seed=5),
        log_level="ERROR",
    )
    return Runner(model=Recorder(), **{**options, **kwargs})


def train(runner: Runner) -> torch.Tensor:
    try:
        runner.train()
    finally:
        # The garbage collector would need five seconds for each worker that is still alive.
        loop = runner.train_loop
        for holder in (loop.dataloader, getattr(loop, "dataloader_iterator", None)):
            if shut_down := getattr(getattr(holder, "_iterator", None), "_shutdown_workers", None):
                shut_down()
    return torch.stack(runner.model.seen)


def losses(runner: Runner) -> np.ndarray:
    """Losses of all iterations; a resumed run has the earlier losses from its checkpoint."""
    return runner.message_hub.get_scalar("train/loss").data[0]


@pytest.mark.parametrize("loop", LOOPS)
def test_draws_do_not_depend_on_workers_nor_repeat(tmp_path, loop):
    expected = train(make_runner(tmp_path / "0", loop))
    assert expected.shape == (12, 10)
    # Columns 0 and 4 hold the indices of the samples, all others random numbers.
    draws = expected[:, [1, 2, 3, 5, 6, 7, 8, 9]]
    assert draws.unique().numel() == draws.numel()
    for workers in (2, PERSISTENT):
        seen = train(make_runner(tmp_path / f"{workers}", loop, workers=workers))
        assert torch.equal(seen, expected)


def test_without_the_hook_workers_repeat_their_augmentations(tmp_path):
    seen = train(make_runner(tmp_path, "epoch", workers=2, hooks=[]))
    assert torch.equal(seen[0:3, 1:4], seen[3:6, 1:4])


@pytest.mark.parametrize(("workers", "seed"), [(0, 5), (2, 5), (PERSISTENT, 5), (2, None)])
@pytest.mark.parametrize("loop", LOOPS)
def test_resumed_run_repeats_the_whole_one(tmp_path, loop, workers, seed):
    options = dict(workers=workers, interval=2)
    killed = make_runner(tmp_path, loop, **options, randomness=dict(seed=seed))
    killed.register_hook(Interrupt(7))
    with pytest.raises(KeyboardInterrupt):
        train(killed)

    # Without a seed in the config, the seed comes from the checkpoint.
    resumed = make_runner(tmp_path, loop, **options, randomness=dict(seed=seed), resume=True)
    resumed.register_hook(Disturb())
    seen = train(resumed)

    whole = make_runner(tmp_path / "whole", loop, **options, randomness=dict(seed=killed.seed))
    expected = train(whole)
    assert len(seen) == 6
    assert torch.equal(torch.stack(killed.model.seen), expected[:7])
    assert torch.equal(seen, expected[6:])
    np.testing.assert_array_equal(losses(resumed), losses(whole))


def test_ranks_draw_differently(tmp_path):
    runner = make_runner(tmp_path, "epoch")
    other = make_runner(tmp_path / "other", "epoch")
    other._rank = 1
    seen, others = train(runner), train(other)
    assert torch.equal(seen[:, [0, 4]], others[:, [0, 4]])
    assert not torch.isin(seen[:, [1, 2, 3, 8]], others).any()


class Stream(IterableDataset):
    metainfo: ClassVar[dict] = dict()

    def __iter__(self):
        return iter(Draws()[index] for index in range(COUNT))

    def __len__(self) -> int:
        return COUNT


def test_iterable_dataset_is_refused(tmp_path):
    loader = torch.utils.data.DataLoader(Stream(), batch_size=2, collate_fn=list)
    runner = make_runner(tmp_path, "epoch", train_dataloader=loader)
    with pytest.raises(TypeError, match=r"train_dataloader must .* has dataset Stream"):
        runner.train()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_that_was_started_early_trains_with_a_warning(tmp_path, workers, capsys):
    runner = make_runner(tmp_path, "iter", workers=workers, log_level="WARNING")
    loop = runner.train_loop
    loop.dataloader_iterator._iterator = iter(loop.dataloader)
    assert len(train(runner)) == 12
    assert "a resumed run is not exact" in "".join(capsys.readouterr())


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_mask_rcnn_killed_in_an_epoch_resumes_to_the_same_losses(
    tiny_config, tmp_path, quick_python
):
    tiny_config.train_dataloader.num_workers = 2
    tiny_config.dump(tmp_path / "tiny.py")
    process = subprocess.run(
        [quick_python, Path(__file__).with_name("train.py"), tmp_path / "tiny.py", "7"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    killed = Path(tiny_config.work_dir)
    assert (killed / "last_checkpoint").read_text().endswith("epoch_2.pth")

    def run(name, workers, resume, **changes):
        cfg = copy.deepcopy(tiny_config)
        cfg.work_dir = str(tmp_path / name)
        if resume:
            shutil.copytree(killed, cfg.work_dir)
            Path(cfg.work_dir, "last_checkpoint").write_text(f"{cfg.work_dir}/epoch_2.pth")
        cfg.train_dataloader.num_workers = workers
        cfg.merge_from_dict(dict(resume=resume, experiment_name=cfg.work_dir, **changes))
        runner = Runner.from_cfg(cfg)
        runner.train()
        return losses(runner)

    whole = run("whole", workers=0, resume=False)
    assert len(whole) == 12 and np.isfinite(whole).all()
    for workers in (0, 2):
        np.testing.assert_array_equal(run(f"resumed_{workers}", workers, resume=True), whole)
    without_hook = run("without_hook", workers=0, resume=True, custom_hooks=[])
    assert np.abs(without_hook[6:] - whole[6:]).max() > 1e-3
