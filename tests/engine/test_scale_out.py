"""Training in several processes: the losses equal one process's; a killed process ends the run."""

import copy
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine import Config

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import prepare_processes

FOLDER = Path(__file__).parent
ROOT = Path(__file__).parents[2]
TORCHRUN = [
    "-m",
    "torch.distributed.run",
    "--nproc-per-node=2",
    "--standalone",
    "--local-addr=127.0.0.1",
]
SRUN = ["srun", "-p", "any", "--ntasks=2", "--ntasks-per-node=2"]
ON_CPU = dict(
    PYTHONPATH=str(ROOT),
    OMP_NUM_THREADS="1",
    CUDA_VISIBLE_DEVICES="",
    GLOO_SOCKET_IFNAME="lo",
)


def start(*words: object, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [str(word) for word in words],
        cwd=ROOT,
        env={**os.environ, **ON_CPU, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def output_of(run: subprocess.Popen) -> str:
    """Return the output of a run; the run ends in seconds, on a busy machine in minutes."""
    try:
        return run.communicate(timeout=600)[0]
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)


def records(work_dir: Path) -> list[dict]:
    """The log of the last run."""
    log = max(work_dir.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for line in log.read_text().splitlines()]


# One process or two

LOSSES = {
    "levelset-rcnn_image": ["loss_tsdf_initial", "loss_tsdf_final", "loss_cls", "loss_rpn_cls"],
    "mask-rcnn_refined": ["loss_mask", "loss_mask_refined"],
    "box-levelset": ["loss_cls", "loss_projection", "loss_level_set"],
    "crls": ["loss_mask", "loss_cls", "loss_bbox", "loss_rpn_cls", "loss_rpn_bbox"],
    "rls_conv": ["loss_ce"],
    "fcn-32s": ["loss_ce", "loss_level_set"],
    "deeplab-largefov": ["loss_ce", "loss_level_set"],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, quick_python) -> dict[int, Path]:
    """Work dirs of all families, by the number of processes that shared each batch."""
    folders = {number: tmp_path_factory.mktemp(f"trained_by_{number}") for number in (1, 2)}
    script = FOLDER / "train_families.py"
    runs = [
        start(quick_python, script, folders[1]),
        start(quick_python, *TORCHRUN, script, folders[2]),
    ]
    for run in runs:
        output = output_of(run)
        assert run.returncode == 0, output[-4000:]
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("family", LOSSES)
def test_two_processes_have_the_losses_of_one_with_the_whole_batch(trained, family):
    """Each loss of each step, as logged, and the weights after the last step.

    They are equal up to the order of sums in float32: losses to 1e-4 of their value, and the
    weights to 1e-3 of the way that they went in training. In the last step one of the processes
    has no objects. mmdet counts one sampled anchor more in an image without objects: there, its
    losses of proposals are not the same.
    """
    alone, shared = (records(trained[number] / family) for number in (1, 2))
    names = {name for name in alone[0] if "loss" in name or "energy" in name}
    assert names.issuperset(["loss", *LOSSES[family]])
    assert len(alone) == len(shared) == 3
    for step, (one, two) in enumerate(zip(alone, shared, strict=True)):
        if step == 2 and "loss_rpn_cls" in names:
            names -= {"loss", "loss_rpn_cls", "loss_rpn_bbox"}
        assert {name: two[name] for name in names} == pytest.approx(
            {name: one[name] for name in names}, rel=1e-4, abs=1e-6
        )
    before, one, two = (
        torch.nn.utils.parameters_to_vector(weights.values())
        for weights in weights_of(trained, family)
    )
    assert (one - before).norm() > 0
    assert (two - one).norm() < 1e-3 * (one - before).norm()


def weights_of(trained: dict[int, Path], family: str) -> list[dict[str, torch.Tensor]]:
    """Return the weights before training, after it by one process, and after it by two."""
    before = torch.load(trained[1] / family / "before.pth")
    after = [
        torch.load(trained[number] / family / "epoch_1.pth", weights_only=False)["state_dict"]
        for number in (1, 2)
    ]
    assert before.keys() == after[0].keys() == after[1].keys()
    return [before, *after]


# Launchers and kills

STEPS = 3  # of an epoch: six images, two processes with one image each


@pytest.fixture
def tiny(tiny_config) -> Config:
    """Two epochs of the tiny Mask R-CNN, with the means of all processes in the log."""
    tiny_config.custom_imports = dict(imports=["killing"])
    tiny_config.custom_hooks.append(dict(type="mmlevelset.MeanLossHook"))
    tiny_config.train_dataloader.batch_size = 1
    tiny_config.train_cfg.max_epochs = 2
    tiny_config.log_processor = dict(type="LogProcessor", window_size=1)
    return tiny_config


@pytest.fixture
def train(quick_python) -> Callable[..., subprocess.Popen]:
    """Starts a training."""
    launches = dict(
        none=[quick_python], pytorch=[quick_python, *TORCHRUN], slurm=[*SRUN, quick_python]
    )

    def start_training(launcher: str, config: Config, work_dir: Path, *words: str):
        path = work_dir.with_suffix(".py")
        config.dump(path)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        return start(
            *launches[launcher],
            ROOT / "tools/train.py",
            path,
            *("--launcher", launcher, "--work-dir", work_dir, *words),
            PYTHONPATH=f"{ROOT}{os.pathsep}{FOLDER}",
            MASTER_PORT=str(port),
        )

    return start_training


def errors_in(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("train.py: error: ")]


def losses(work_dir: Path, epoch: int) -> list[dict]:
    return [
        {name: value for name, value in record.items() if "loss" in name}
        for record in records(work_dir)
        if record["epoch"] == epoch
    ]


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_resume_goes_on_to_the_same_losses(
    tiny, train, tmp_path, slurm
):
    killed = copy.deepcopy(tiny)
    killed.custom_hooks.append(dict(type="KillHook", iteration=STEPS + 1, rank=1))
    runs = {
        launcher: train(launcher, killed, tmp_path / launcher) for launcher in ("pytorch", "slurm")
    }
    outputs = {launcher: output_of(run) for launcher, run in runs.items()}
    for launcher, run in runs.items():
        assert run.returncode != 0
        assert 'training.py", line' not in outputs[launcher]  # a traceback of ours
        work_dir = tmp_path / launcher
        assert (work_dir / "epoch_1.pth").is_file() and not (work_dir / "epoch_2.pth").exists()
    # torchrun ends the other process, before or after that process has noticed.
    ended = "train.py: error: rank 0: another process of this run has ended"
    report = outputs["pytorch"].partition("Root Cause")[2]
    assert re.search(r"rank\s*: 1 \(local_rank: 1\)", report) and "Signal 9 (SIGKILL)" in report
    assert all(line.startswith(ended) for line in errors_in(outputs["pytorch"]))
    # srun without --kill-on-bad-exit does not end it: the other process notices by itself.
    (error,) = errors_in(outputs["slurm"])
    assert error.startswith(ended) and "--resume goes on from the latest checkpoint" in error
    assert "task 1: signal 9" in outputs["slurm"]

    runs = [
        train("slurm", tiny, tmp_path / "whole"),
        train("pytorch", tiny, tmp_path / "pytorch", "--resume"),
    ]
    for run in runs:
        output = output_of(run)
        assert run.returncode == 0, output[-4000:]
    whole = losses(tmp_path / "whole", epoch=2)
    assert len(whole) == STEPS
    assert losses(tmp_path / "pytorch", epoch=2) == whole
    assert losses(tmp_path / "slurm", epoch=1) == losses(tmp_path / "whole", epoch=1)


def test_a_killed_data_worker_ends_the_run(tiny, train, tmp_path):
    tiny.train_dataloader.num_workers = 1
    tiny.train_dataloader.dataset.pipeline.insert(0, dict(type="KillWorker", index=4))
    run = train("none", tiny, tmp_path / "out")
    output = output_of(run)
    assert run.returncode == 1
    assert "Traceback" not in output
    (error,) = errors_in(output)
    # PyTorch prints one of two messages.
    assert re.search(
        r"DataLoader worker .*(is killed by signal: Killed|exited unexpectedly)", error
    )
    assert ", while it read " in error and "fewer num_workers" in error


@pytest.mark.parametrize(
    ("launcher", "variable", "program"),
    [("pytorch", "RANK", "torchrun"), ("slurm", "SLURM_PROCID", "srun")],
)
def test_a_launcher_that_did_not_start_the_process_is_refused(
    monkeypatch, launcher, variable, program
):
    monkeypatch.delenv(variable, raising=False)
    message = f"--launcher {launcher} needs processes that {program} has started: {variable} is not"
    with pytest.raises(InputError, match=message):
        prepare_processes(Config(dict(launcher=launcher)))
