"""Sweeps: mistakes are reported first, finished runs stay, interrupted runs go on."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mmlevelset.experiments.sweep.command import main
from mmlevelset.experiments.sweep.folders import link_finished, prepare
from mmlevelset.experiments.sweep.plan import read_plan
from mmlevelset.experiments.sweep.run import _training, run

ROOT = Path(__file__).parents[2]
SWEEP = ROOT / "tools" / "sweep.py"
PYTHON = sys.executable
QUICKSTART = ROOT / "configs" / "quickstart"

SWEEP_FILE = """
title = "a table"
printed_on = "other data"
metrics = {"AP": "coco/segm_mAP", "FM": "FM"}
seeds = (0, 1)
config = "base.py"
"""
BASE = "a = 1\nnested = dict(x=1, inner=dict(y=2), items=[dict(z=3)])\n"
# Adds a line to `calls`, may wait for the file `go`, and writes numbers that depend on the config.
TOOL = """
import json, runpy, sys, time
from pathlib import Path

config, result, here, name = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
with open(here / "calls", "a") as file:
    print(name, file=file)
if name == "fails":
    sys.exit("tool.py: error: out of luck")
while name == "waits" and not (here / "go").exists():
    time.sleep(0.02)
config = runpy.run_path(config)
seed, a = config["randomness"]["seed"], config["a"]
result.write_text(json.dumps({"coco/segm_mAP": 0.1 * a + 0.02 * seed, "FM": 50 + seed}))
"""


@pytest.fixture
def write(tmp_path):
    """Writes a sweep file of variants, each given as text, and returns its path."""
    (tmp_path / "base.py").write_text(BASE)
    (tmp_path / "tool.py").write_text(TOOL)

    def make(**variants: str) -> Path:
        rows = "".join(f"    {name}=dict({text}),\n" for name, text in variants.items())
        (tmp_path / "sweep.py").write_text(f"{SWEEP_FILE}variants = dict(\n{rows})\n")
        return tmp_path / "sweep.py"

    return make


def tool(tmp_path: Path, name: str) -> str:
    """A variant's command."""
    return f'command="{tmp_path}/tool.py {{config}} {{result}} {tmp_path} {name}"'


def command(file: Path, *words: str) -> list[str]:
    return [sys.executable, str(SWEEP), str(file), "--work-dir", str(file.parent / "out"), *words]


@dataclass
class Ended:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(autouse=True)
def environment(monkeypatch, quick_python):
    """The environment of the processes that a test and a sweep start."""
    monkeypatch.setattr("sys.executable", quick_python)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def sweep(capfd):
    """Calls the command in this process, so that the test does not wait for imports."""

    def call(file: Path, *words: str) -> Ended:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(command(file, *words)[2:])
        return Ended(ended.value.code, *capfd.readouterr())

    return call


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('options={"a": 1, "nested.w": 2}', ("variants.one", "nested.w", "nested has no 'w'")),
        ('options={"nested": dict(inner=dict(q=1))}', ("nested.inner.q", "no 'q'")),
        ('options={"nested.items.0.zz": 1}', ("nested.items.0", "did you mean nested.items.0.z?")),
        ('config="missing.py"', ("variants.one", "missing.py does not exist")),
        ("optons={}", ("variants.one", "'optons'")),
        ('printed={"AQ": 1.0}', ("variants.one.printed", "'AQ'")),
        ("seeds=(1, 1)", ("variants.one", "twice")),
        ("seeds=(-1,)", ("variants.one", "seeds")),
        ('of="two"', ("variants.one.of", "'two'")),
        ("train=True", ("variants.one", "train needs `of` and no `command`")),
        ('of="two", train=True, command="x"', ("variants.one", "train needs `of` and no")),
    ],
)
def test_a_mistake_is_reported_before_anything_starts(write, sweep, tmp_path, entry, words):
    done = sweep(write(right=tool(tmp_path, "right"), one=entry))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "out").exists() and not (tmp_path / "calls").exists()


def test_replacing_a_dict_may_bring_new_keys(write, sweep, tmp_path):
    replaced = 'options={"nested.inner": dict(_delete_=True, w=5)}'
    file = write(one=f"{tool(tmp_path, 'one')}, {replaced}")
    assert sweep(file, "--seeds", "0").returncode == 0
    config = (tmp_path / "out/one_seed0/config.py").read_text()
    assert "inner=dict(w=5)" in config.replace(" ", "").replace("\n", "")


def test_tables_have_mean_deviation_and_printed_numbers(write, sweep, tmp_path):
    file = write(
        one=f'{tool(tmp_path, "one")}, label="One & only", printed={{"AP": 12.5}}',
        two=f'{tool(tmp_path, "two")}, options={{"a": 3}}, seeds=(1,)',
        again='same="two", seeds=(1,), label="its FM", metrics={"AP": "FM"}',
        lost='same="two", seeds=(1,), label="Lost", metrics={"AP": "ap", "FM": "f"}',
        hidden=f"{tool(tmp_path, 'hidden')}, show=False",
        theirs='run=False, printed={"AP": 40}',
    )
    done = sweep(file, "--workers", "2")
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out/table.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert rows[0] == "|  | runs | AP | AP, printed | FM |"
    assert rows[2:] == [
        "| One & only | 2 | 11.0 ± 1.4 | 12.5 | 50.5 ± 0.7 |",  # 10 and 12 percent
        "| two | 1 | 32.0 |  | 51.0 |",
        "| its FM | 1 | 51.0 |  | 51.0 |",
        "| Lost | 1 |  |  |  |",
        "| theirs |  |  | 40.0 |  |",
    ]
    lost = "The runs of Lost logged no ap, f, but FM, coco/segm_mAP."
    for word in ("other data", "Seeds 0, 1", "torch", "tools/sweep.py", lost):
        assert word in table
    assert table.split("\n\nMeasured")[0] in done.stdout
    assert r"One \& only & 2 & 11.0 $\pm$ 1.4 & 12.5 &" in (tmp_path / "out/table.tex").read_text()
    with open(tmp_path / "out/table.csv") as text:
        cells = {(row["variant"], row["seed"], row["metric"]): row for row in csv.DictReader(text)}
    assert float(cells["one", "1", "AP"]["value"]) == pytest.approx(12)
    assert cells["one", "printed", "AP"]["value"] == "12.5"
    assert cells["again", "1", "AP"]["key"] == "FM"
    assert (tmp_path / "out/scores.png").stat().st_size > 1000


def test_a_table_that_cannot_be_written_does_not_stop_the_runs(write, sweep, tmp_path, capfd):
    (tmp_path / "out/scores.png").mkdir(parents=True)
    file = write(one=tool(tmp_path, "one"), two=tool(tmp_path, "two"))
    done = sweep(file, "--seeds", "0")
    assert done.returncode == 2
    assert done.stderr.count("no table yet: IsADirectoryError") == 2
    assert f"sweep.py: error: {tmp_path}/out/scores.png: Is a directory" in done.stderr
    for name in "one_seed0", "two_seed0":
        assert (tmp_path / f"out/{name}/result.json").exists()
    (tmp_path / "out/scores.png").rmdir()
    assert "| two | 1 |" in sweep(file, "--seeds", "0").stdout


def test_a_failure_is_reported_and_does_not_stop_the_rest(write, sweep, tmp_path):
    file = write(bad=tool(tmp_path, "fails"), good=tool(tmp_path, "good"))
    done = sweep(file, "--seeds", "0")
    assert done.returncode == 1
    assert "bad_seed0: failed" in done.stdout and "out of luck" in done.stdout
    assert result(tmp_path / "out/good_seed0")["metrics"]["FM"] == 50
    failed = json.loads((tmp_path / "out/bad_seed0/failed.json").read_text())
    assert failed["code"] == 1 and "out of luck" in failed["message"]
    shown = sweep(file, "--seeds", "0", "--status").stdout
    assert "1 failed" in shown and "1 finished" in shown
    # The next call tries this run again, and no other.
    (tmp_path / "tool.py").write_text(TOOL.replace('name == "fails"', "False"))
    assert sweep(file, "--seeds", "0").returncode == 0
    assert (tmp_path / "calls").read_text().split() == ["fails", "good", "fails"]
    assert not (tmp_path / "out/bad_seed0/failed.json").exists()


def test_only_some_variants_and_a_dry_run(write, sweep, tmp_path):
    file = write(**{name: tool(tmp_path, name) for name in ("big_a", "big_b", "small")})
    shown = sweep(file, "--only", "big*", "--dry-run")
    assert shown.returncode == 0 and not (tmp_path / "out").exists()
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["waiting"] * 4
    assert "small" not in shown.stdout
    wrong = sweep(file, "--only", "tiny")
    assert wrong.returncode == 2 and "--only tiny" in wrong.stderr and "small" in wrong.stderr


def test_the_table_has_all_that_is_finished_whatever_was_chosen(write, sweep, tmp_path):
    one, two = tool(tmp_path, "one"), tool(tmp_path, "two")
    file = write(one=one, two=two)
    assert sweep(file).returncode == 0
    chosen = sweep(file, "--only", "two", "--seeds", "7").stdout
    assert (tmp_path / "calls").read_text().split() == ["one", "two", "one", "two", "two"]
    assert "| one | 2 of 3 | 11.0 ± 1.4 | 50.5 ± 0.7 |" in chosen
    assert "| two | 3 | 15.3 ± 7.6 | 52.7 ± 3.8 |" in chosen  # 10, 12 and 24 percent
    for table in chosen, sweep(file, "--only", "one", "--table").stdout:
        assert "| two | 3 |" in table and "Seeds 0, 1, 7." in table
        assert "sweep.py --seeds 0 1 7`" in table
    table = sweep(file, "--table").stdout
    assert "| one | 2 |" in table and "| two | 3 |" in table
    assert (tmp_path / "out/table.csv").read_text().count("two,two,7") == 2
    assert "5 finished" in sweep(file, "--status").stdout
    assert "2 finished" in sweep(file, "--status", "--only", "one").stdout

    file = write(one=one, two=f'{two}, options={{"a": 2}}')
    for chosen in ["--only", "one"], ["--table"]:
        table = sweep(file, *chosen).stdout
        assert "| one | 2 | 11.0 ± 1.4 | 50.5 ± 0.7 |" in table
        assert "| two | 0 of 3 |  |  |" in table
        assert "Left out: two_seed7, which had other settings" in table
    shown = sweep(file, "--status", "--only", "two").stdout
    assert "2 outdated" in shown and "started before with other settings" in shown


def test_the_packages_own_sweeps_are_found_by_name(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "levelset-rcnn_table4_small", "configs/sweeps/levelset-rcnn_table4_small.py":
        ended = sweep(Path(name), "--dry-run", "--only", "ours", "--seeds", "0")
        assert ended.returncode == 0 and ended.stdout.split()[-1].endswith("ours_seed0"), ended
    ended = sweep(Path("levelset-rcnn_table4_smal"), "--dry-run")
    assert ended.returncode == 2 and "did you mean levelset-rcnn_table4_small?" in ended.stderr
    ended = sweep(Path("mine/levelset-rcnn_table4_small.py"), "--dry-run")
    assert ended.returncode == 2 and "does not exist" in ended.stderr


def test_a_killed_sweep_loses_nothing(write, tmp_path):
    file = write(**{name: tool(tmp_path, name) for name in ("first", "waits", "last")})
    started = subprocess.Popen(command(file, "--seeds", "0"), stdout=subprocess.DEVNULL)
    until(lambda: (tmp_path / "calls").exists() and "waits" in (tmp_path / "calls").read_text())
    started.kill()
    started.wait()
    before = result(tmp_path / "out/first_seed0")
    # The run is still alive: neither this run nor another is started.
    with subprocess.Popen(
        command(file, "--seeds", "0"), stdout=subprocess.PIPE, text=True
    ) as again:
        lines = []
        while not any("still running: waits_seed0" in line for line in lines):
            lines.append(again.stdout.readline())
            assert lines[-1], lines
        time.sleep(2)  # the sweep looks for runs to start every half second
        assert (tmp_path / "calls").read_text().split() == ["first", "waits"]
        (tmp_path / "go").touch()
        # communicate() would lose lines that readline() has buffered.
        printed = "".join([*lines, *again.stdout])
    assert again.returncode == 0, printed
    assert printed.count("runs of an earlier call take the places of --workers 1") == 1
    assert result(tmp_path / "out/first_seed0") == before
    assert result(tmp_path / "out/waits_seed0")["metrics"]["FM"] == 50
    assert (tmp_path / "calls").read_text().split() == ["first", "waits", "last"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_stops_its_runs_and_goes_on_later(write, sweep, tmp_path, number):
    file = write(first=tool(tmp_path, "first"), waits=tool(tmp_path, "waits"))
    started = subprocess.Popen(command(file, "--seeds", "0"), stdout=subprocess.PIPE, text=True)
    until(lambda: (tmp_path / "calls").exists() and "waits" in (tmp_path / "calls").read_text())
    started.send_signal(number)
    printed, _ = started.communicate(timeout=300)
    assert started.returncode == 130
    assert "| first | 1 |" in printed  # the table of what is finished
    assert not (tmp_path / "out/waits_seed0/failed.json").exists()
    (tmp_path / "go").touch()
    assert sweep(file, "--seeds", "0").returncode == 0
    assert (tmp_path / "calls").read_text().split() == ["first", "waits", "waits"]


def test_another_config_in_a_run_folder_is_an_error(write, sweep, tmp_path):
    variant = tool(tmp_path, "one")
    assert sweep(write(one=variant), "--seeds", "0").returncode == 0
    wrong = sweep(write(one=f'{variant}, options={{"a": 7}}'), "--seeds", "0")
    assert wrong.returncode == 2
    assert "out/one_seed0 (a: 1 -> 7);" in wrong.stderr
    wrong = sweep(write(one=variant.replace(" one", " other")), "--seeds", "0")
    assert wrong.returncode == 2 and "(command: " in wrong.stderr
    assert result(tmp_path / "out/one_seed0")["metrics"]["coco/segm_mAP"] == pytest.approx(0.1)


def test_a_run_that_another_sweep_has_finished_is_linked(write, sweep, tmp_path):
    file = write(one=tool(tmp_path, "one"))
    assert sweep(file, "--seeds", "0").returncode == 0
    other = tmp_path / "other.py"
    other.write_text(file.read_text().replace("one=", "renamed="))
    done = sweep(other, "--work-dir", str(tmp_path / "other"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other/renamed_seed0").resolve() == tmp_path / "out/one_seed0"
    assert (tmp_path / "calls").read_text().split() == ["one", "one"]  # seeds 0 and 1
    assert "| renamed | 2 | 11.0 ± 1.4 |" in done.stdout
    shutil.rmtree(tmp_path / "out")
    assert sweep(other, "--work-dir", str(tmp_path / "other")).returncode == 0
    assert (tmp_path / "calls").read_text().split() == ["one"] * 3


def test_a_run_of_other_processes_is_not_linked(write, sweep, tmp_path):
    file = write(one='label="trained"')
    finish(file, tmp_path / "out/one_seed0")
    plan = read_plan(file, tmp_path / "other", seeds=[0])
    plan.folder.mkdir()
    link_finished(plan, Namespace(gpus_per_run=4, nodes_per_run=1))
    assert not list(plan.folder.iterdir())
    link_finished(plan, Namespace(gpus_per_run=1, nodes_per_run=1))
    assert (plan.folder / "one_seed0").resolve() == tmp_path / "out/one_seed0"


def test_an_evaluation_is_done_again_when_its_training_was(write, sweep, tmp_path):
    tested = f'of="ours", {tool(tmp_path, "tested")}'
    file = write(ours='label="Ours"', tested=tested)
    finish(file, tmp_path / "out/ours_seed0", "Monday")
    for _ in range(2):
        done = sweep(file, "--seeds", "0")
        assert done.returncode == 0 and "| tested | 1 |" in done.stdout
        assert (tmp_path / "calls").read_text().split() == ["tested"]
    finish(file, tmp_path / "out/ours_seed0", "Tuesday")
    table = sweep(file, "--seeds", "0", "--table").stdout
    assert "| tested | 0 of 1 |" in table and "Left out: tested_seed0" in table
    assert "1 finished" in sweep(file, "--seeds", "0", "--status").stdout
    assert "| tested | 1 |" in sweep(file, "--seeds", "0").stdout
    assert (tmp_path / "calls").read_text().split() == ["tested", "tested"]

    wrong = sweep(write(ours='options={"a": 5}', tested=tested), "--seeds", "0")
    assert wrong.returncode == 2
    for words in "out/ours_seed0 (a: 1 -> 5)", "out/tested_seed0 (evaluates.config.a: 1 -> 5)":
        assert words in wrong.stderr


def test_a_training_starts_from_another_rows_checkpoint(write, tmp_path):
    file = write(ours='label="Ours"', tuned='of="ours", train=True, options={"a": 2}')
    ours, tuned = read_plan(file, tmp_path / "out", only=["tuned"], seeds=[1]).runs
    assert (ours.name, tuned.name) == ("ours_seed1", "tuned_seed1")
    assert tuned.trains and tuned.source == ours
    assert tuned.settings["trains from"] == ours.settings
    finish(file, ours.folder)
    prepare(tuned, Namespace(gpus_per_run=1, nodes_per_run=1))
    task = json.loads((tuned.folder / "run.json").read_text())
    words = _training(tuned.folder, task)
    assert words[-2:] == ["--cfg-options", f"load_from={ours.folder}/epoch_1.pth"]
    (tuned.folder / "last_checkpoint").touch()  # it was interrupted
    words = _training(tuned.folder, task)
    assert words[-1] == "--resume"


def test_watching_ends_when_the_files_own_runs_are_finished(write, sweep, tmp_path):
    file = write(one=tool(tmp_path, "one"))
    assert sweep(file).returncode == 0
    (tmp_path / "out/one_seed9").mkdir()
    watched = subprocess.run(
        command(file, "--watch"), capture_output=True, text=True, timeout=120, check=True
    )
    assert "2 finished" in watched.stdout


@pytest.fixture
def submitit(environment, monkeypatch):
    """Python itself runs the jobs: submitit knows a job by the number of its process."""
    pytest.importorskip("submitit")
    monkeypatch.setattr("sys.executable", PYTHON)


@pytest.mark.usefixtures("submitit")
def test_a_run_in_slurms_queue_is_not_submitted_again(write, tmp_path, monkeypatch):
    file = write(one=tool(tmp_path, "one"))
    (tmp_path / "out/one_seed0").mkdir(parents=True)
    (tmp_path / "out/one_seed0/job").write_text("7_0\n")
    squeue = tmp_path / "bin/squeue"
    squeue.parent.mkdir()
    monkeypatch.setenv("PATH", str(squeue.parent), prepend=os.pathsep)

    def call(queue: str, *words: str) -> str:
        squeue.write_text(f"#!/bin/sh\nprintf '{queue}'\n")
        squeue.chmod(0o755)
        words = (*words, "--work-dir", "out", "--seeds", "0")
        run = subprocess.run(
            [PYTHON, str(SWEEP), str(file), *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=True,
        )
        return run.stdout

    assert "queued" in call("6\\n7_0\\n", "--status")
    printed = call("6\\n7_0\\n", "--cluster", "local")
    assert "one_seed0: job" not in printed
    assert "--work-dir out --seeds 0 --watch" in printed
    assert "one_seed0: job" in call("6\\n", "--cluster", "local")
    until(lambda: (tmp_path / "out/one_seed0/result.json").exists())


def test_a_process_of_a_finished_run_ends_at_once(sweep, tmp_path, monkeypatch):
    (tmp_path / "run.json").write_text(json.dumps(dict(launcher="slurm")))
    (tmp_path / "result.json").write_text("{}")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert run(tmp_path) == 0


@pytest.mark.usefixtures("submitit")
def test_submitit_runs_the_jobs(write, sweep, tmp_path):
    file = write(one=tool(tmp_path, "one"), bad=tool(tmp_path, "fails"))
    wrong = sweep(file, "--cluster", "local", "--slurm", "timeout")
    assert wrong.returncode == 2 and "'timeout'" in wrong.stderr
    assert not list(tmp_path.glob("out/*_seed*"))
    done = sweep(file, "--seeds", "0", "--cluster", "local", "--slurm", "timeout_min=5")
    assert done.returncode == 0, done.stderr
    assert "one_seed0: job" in done.stdout
    until(lambda: (tmp_path / "out/bad_seed0/failed.json").exists())
    until(lambda: (tmp_path / "out/one_seed0/result.json").exists())
    table = sweep(file, "--seeds", "0", "--table").stdout
    assert "| one | 1 | 10.0 |" in table and "| bad | 0 of 1 |" in table


@pytest.mark.slow
def test_training_goes_on_from_its_checkpoint_to_the_same_scores(write, sweep, tmp_path):
    small = {
        "train_dataloader.dataset.length": 8,
        "val_dataloader.dataset.length": 4,
        "test_dataloader.dataset.length": 4,
        "train_cfg.max_epochs": 8,  # time to be killed in
        "train_cfg.val_interval": 8,
        "default_hooks.logger.interval": 1,
    }
    settings = f'config="{QUICKSTART}/rls_conv_shapes.py", options={small}'
    file = write(trained=settings, tested=f'of="trained", {settings}')
    straight = sweep(file, "--seeds", "0")
    assert straight.returncode == 0, straight.stdout + straight.stderr
    expected = result(tmp_path / "out/trained_seed0")["metrics"]
    tested = result(tmp_path / "out/tested_seed0")["metrics"]
    assert expected["FM"] == tested["FM"] and expected["FM"] > 0
    assert "curve" not in (tmp_path / "out/table.md").read_text()
    assert (tmp_path / "out/losses.png").stat().st_size > 1000

    resumed = tmp_path / "elsewhere" / "resumed"  # beside `out` it would be linked
    words = [*command(file, "--seeds", "0", "--only", "trained"), "--work-dir", str(resumed)]
    started = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    until(lambda: (resumed / "trained_seed0/last_checkpoint").exists(), 120)
    os.killpg(subprocess_group(resumed / "trained_seed0"), signal.SIGKILL)  # the training alone
    started.wait(300)
    assert started.returncode == 1
    done = sweep(file, "--seeds", "0", "--only", "trained", "--work-dir", str(resumed))
    assert done.returncode == 0, done.stdout
    output = (resumed / "trained_seed0/output.txt").read_text()
    assert "resumed epoch" in output
    again = result(resumed / "trained_seed0")["metrics"]
    assert {key: again[key] for key in ("FM", "BF_1")} == {
        key: expected[key] for key in ("FM", "BF_1")
    }


def finish(file: Path, folder: Path, at: str = "today") -> None:
    """Write the files of a finished training into a run's folder."""
    plan = read_plan(file, folder.parent)
    (run,) = [run for run in plan.runs if run.name == folder.name]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "last_checkpoint").write_text(f"{folder}/epoch_1.pth")
    torch.save({}, folder / "epoch_1.pth")
    (folder / "run.json").write_text(json.dumps(dict(settings=run.settings)))
    left = dict(
        fingerprint=run.fingerprint,
        processes=1,
        evaluated=None,
        metrics={"FM": 50},
        seconds=60,
        finished=at,
        environment={},
    )
    (folder / "result.json").write_text(json.dumps(left))


def subprocess_group(folder: Path) -> int:
    """Return the process group of the run that works in a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in words and b"mmlevelset.experiments.sweep.run" in words:
            return os.getpgid(int(process.name))
    raise AssertionError(f"no run works in {folder}")


def until(condition, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
