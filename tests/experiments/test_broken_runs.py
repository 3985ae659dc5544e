"""Broken files of runs and full disks: one line that names the file, and the other runs go on."""

import argparse
import errno
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmlevelset import files
from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.experiments import plot_runs, results_table
from mmlevelset.experiments.command_line import parser, short_errors
from mmlevelset.experiments.report import command as report
from mmlevelset.experiments.report.charts import make_charts
from mmlevelset.experiments.runs import RunRecord, latest_checkpoint, read_result, read_runs
from mmlevelset.experiments.sweep import command as sweep
from mmlevelset.experiments.sweep.folders import link_finished
from mmlevelset.experiments.sweep.plan import read_plan
from mmlevelset.experiments.sweep.results import write_results
from mmlevelset.logs import read_log, read_records
from mmlevelset.visualization.losses import _running_mean, plot_curves

BROKEN = [
    "",
    "{",
    "[]",
    "3",
    "null",
    '{"metrics": 5}',
    '{"metrics": {"a": "b"}}',
    "\udcff\x00",
    "[" * 3000,
]
SWEEP = """
metrics = {"AP": "coco/segm_mAP"}
config = "base.py"
seeds = (0,)
variants = dict(one=dict(command="x.py {config}"), two=dict(command="y.py {config}"))
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    return path


def write_run(folder: Path, steps: int = 3, **names: float) -> None:
    record = dict(loss=1.0, lr=0.1, time=0.1, **names)
    lines = [json.dumps({**record, "step": step, "epoch": 1}) for step in range(1, steps + 1)]
    lines.append(json.dumps({"coco/segm_mAP": 0.5, "coco/bbox_mAP": 0.4, "step": 1}))
    write(folder / "20260101_000000/vis_data/scalars.json", "\n".join(lines) + "\n")


def call(main, *words: object) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.mark.parametrize("text", [*BROKEN, '{"source": 5}', '{"source": ["a"]}'])
@pytest.mark.parametrize(
    "name", ["result.json", "run.json", "20260102_000000/20260102_000000.json"]
)
def test_a_broken_run_costs_its_own_row(tmp_path, capsys, text, name):
    if ("metrics" in text and name != "result.json") or ("source" in text and name != "run.json"):
        return
    for run in ("a", "b"):
        write_run(tmp_path / run)
    broken = write(tmp_path / "b" / name, text)
    assert call(results_table.main, tmp_path / "a", tmp_path / "b") == 0
    printed = capsys.readouterr()
    assert "| a |" in printed.out and "| b |" not in printed.out
    assert len(printed.err.splitlines()) == 1 and str(broken) in printed.err
    assert call(results_table.main, tmp_path / "b") == 2
    printed = capsys.readouterr().err
    assert str(broken) in printed and len(printed.splitlines()) == 1


@pytest.mark.parametrize("name", ["coco/segm_mAP", "loss", "step", "time"])
def test_a_number_without_end_is_no_score_and_no_error(tmp_path, capsys, name):
    for run in ("a", "b"):
        write_run(tmp_path / run)
    log = tmp_path / "b/20260101_000000/vis_data/scalars.json"
    record = {"loss": 1, "step": 4, "time": 1} if name != "coco/segm_mAP" else {"step": 4}
    text = json.dumps({**record, name: 5}).replace(": 5", f": {'9' * 400}")
    log.write_text(log.read_text() + text + "\n")
    write(tmp_path / "b/result.json", '{"metrics": {"coco/segm_mAP": %s}}' % ("9" * 400))
    runs = [tmp_path / "a", tmp_path / "b"]
    assert call(results_table.main, *runs) == 0
    assert call(plot_runs.main, "--out", tmp_path / "p.png", *runs) == 0
    assert "| a |" in capsys.readouterr().out and (tmp_path / "p.png").is_file()


LOGS = [
    "no json\n{}\n",
    '{"step": 1}\n[1]\n{"step": 2}\n',
    '{"loss": 1}\n{"step": 2}\n',
    "\udcff\n\n",
]


@pytest.mark.parametrize("text", LOGS)
def test_a_broken_log_costs_its_own_row(tmp_path, capsys, text):
    for run in ("a", "b"):
        write_run(tmp_path / run)
    log = write(tmp_path / "b/20260101_000000/vis_data/scalars.json", text)
    with pytest.raises(ValueError, match=r"scalars\.json"):
        read_records(log)
    both = tmp_path / "a", tmp_path / "b"
    for main, words in (
        (results_table.main, ()),
        (plot_runs.main, ("--out", tmp_path / "curves.png")),
        (report.main, ("--no-pictures", "--out", tmp_path / "report.html")),
    ):
        assert call(main, *both, *words) == 0
        err = capsys.readouterr().err
        assert sum(str(log) in line for line in err.splitlines()) == 1 and "Traceback" not in err
    assert (tmp_path / "curves.png").exists() and "a" in (tmp_path / "report.html").read_text()


@pytest.fixture
def plan_file(tmp_path) -> Path:
    write(tmp_path / "base.py", "a = 1\n")
    return write(tmp_path / "sweep.py", SWEEP)


def finish(run, **changes) -> None:
    result = dict(
        variant="one",
        seed=0,
        fingerprint=run.fingerprint,
        processes=1,
        metrics={"coco/segm_mAP": 0.5},
        seconds=1.0,
        finished="now",
        environment={},
    )
    files.write_json(run.folder / "result.json", result | changes)


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("name", ["result.json", "run.json", "failed.json"])
def test_a_broken_run_of_a_sweep_costs_its_own_row(
    plan_file, tmp_path, capsys, monkeypatch, text, name
):
    if name != "result.json" and "metrics" in text:
        return
    monkeypatch.setenv("COLUMNS", "500")
    plan = read_plan(plan_file, tmp_path / "out")
    one, two = plan.runs
    finish(one)
    broken = write(two.folder / name, text)
    words = plan_file, "--work-dir", tmp_path / "out"
    assert call(sweep.main, *words, "--status") == 0
    shown = capsys.readouterr().out
    assert str(broken) in shown and "finished" in shown
    if text != "[]":
        return
    assert "| one | 1 |" in write_results(plan)
    assert call(sweep.main, *words, "--dry-run") == 0
    if name != "failed.json":  # the run is not touched, and the sweep ends
        assert call(sweep.main, *words) == 1
        printed = capsys.readouterr()
        assert f"two_seed0: left out, {broken}" in printed.out
        assert "| one | 1 |" in printed.out and "Traceback" not in printed.err


def test_a_broken_neighbour_is_named_and_left_out(plan_file, tmp_path, capsys):
    plan = read_plan(plan_file, tmp_path / "all/out")
    write(tmp_path / "all/other/x_seed0/result.json", "{")
    finish(read_plan(plan_file, tmp_path / "all/third").runs[0])
    (tmp_path / "all/out").mkdir(exist_ok=True)
    link_finished(plan, argparse.Namespace(gpus_per_run=1, nodes_per_run=1))
    printed = capsys.readouterr()
    assert "other/x_seed0/result.json" in printed.err and "one_seed0: the same as" in printed.out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = (0,)", "seeds = 3", "seeds must be a list of whole numbers >= 0, and is 3"),
        ("seeds = (0,)", "seeds = '012'", "seeds must be a list"),
        ("seeds = (0,)", "seeds = (True,)", "seeds must be whole numbers"),
        ("seeds = (0,)", "seeds = [0.5]", "seeds must be whole numbers"),
        ("seeds = (0,)", "options = [1]", r"options must be a dict, and is \[1\]"),
        ("seeds = (0,)", "options = {1: 2}", "options must have texts as keys"),
        ("seeds = (0,)", "title = 5", "title must be a text, and is 5"),
        ("'base.py'", "['base.py']", "config must be a text"),
        ('{"AP": "coco/segm_mAP"}', '["AP"]', "metrics must be a dict"),
        ('{"AP": "coco/segm_mAP"}', '{"AP": 1}', "metrics.AP must be a text, and is 1"),
        ("dict(one=", "dict(three=[1], one=", r"variants\.three must be a dict"),
        ("command=", "arguments='--amp', command=", r"variants\.one: unknown 'arguments'"),
        (
            'command="x.py {config}"',
            "command=5",
            r"variants\.one\.command must be a text, and is 5",
        ),
        ("x.py {config}", "x.py {confg}", r"variants\.one\.command: unknown field {confg}"),
        ("x.py {config}", "x.py {checkpoint}", r"unknown field {checkpoint}"),
        ("x.py {config}", "x.py 'open", r"variants\.one\.command cannot be read"),
        ("x.py {config}", "x.py {config", r"variants\.one\.command cannot be read"),
        ("x.py {config}", "", r"variants\.one\.command must name a program"),
        ("command=", "seeds=1, command=", r"variants\.one\.seeds must be a list"),
        ("command=", "options='a=1', command=", r"variants\.one\.options must be a dict"),
        (
            "command=",
            "printed={'AP': '36'}, command=",
            r"variants\.one\.printed\.AP must be a number",
        ),
        ("command=", "train='yes', command=", r"variants\.one\.train must be True or False"),
        ("command=", "of=['two'], command=", r"variants\.one\.of must be a text"),
    ],
)
def test_wrong_types_in_a_sweep_file_are_one_line(plan_file, tmp_path, old, new, message):
    text = SWEEP.replace('"base.py"', "'base.py'")
    assert old in text
    plan_file.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as error:
        read_plan(plan_file, tmp_path / "out")
    assert str(plan_file) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_no_more_is_one_line_that_names_the_file(tmp_path, capsys, code):
    path = tmp_path / "new" / "table.md"

    def fill(_: str) -> None:
        raise OSError(code, "no more")

    with pytest.raises(SystemExit) as end, exit_on_input_error("x.py"):
        files.write_whole(path, fill)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"x.py: error: {path}: no more\n"
    assert not list(path.parent.iterdir())


def test_a_name_as_long_as_file_systems_allow_can_be_written(tmp_path):
    path = tmp_path / ("n" * 250 + ".json")
    files.write_json(path, {})
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_files_in_the_way_are_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file/x.json", tmp_path / "folder"):
        with pytest.raises(SystemExit), exit_on_input_error("x.py"):
            files.write_json(path, {})
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and str(path.parent if path.suffix else path) in error


def test_a_traceback_that_cannot_be_written_leaves_the_message(tmp_path, capsys, monkeypatch):
    arguments = parser("").parse_args(["c.py"])
    arguments.loaded = Config(dict(work_dir=str(tmp_path / "file" / "run")))
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as end, short_errors("train.py", arguments):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(
        "train.py: error: OSError: [Errno 28] No space left on device (a file in"
    )
    assert "no traceback:" in error and str(tmp_path / "file") in error


def test_a_million_records_load_and_are_drawn_in_seconds(tmp_path):
    line = '{"lr": 0.1, "loss": 0.5, "loss_mask": 0.25, "time": 0.1, "epoch": 1, "step": %d}'
    path = tmp_path / "scalars.json"
    count = 100_000

    def seconds(number: int) -> float:
        path.write_text("\n".join(line % step for step in range(1, number + 1)) + "\n")
        start = time.process_time()
        log = read_log(path)
        plot_curves({"a": [log]}, ["loss", "loss_mask"])
        assert len(log[0]) == number
        return time.process_time() - start

    seconds(10)
    small, large = seconds(count // 4), seconds(count)
    assert large < max(8 * small, 1.0)  # linear; a fourfold file takes 16 times as long otherwise
    assert large < 4


@pytest.mark.parametrize("window", [1, 3, 7, None])
def test_running_means_are_those_of_a_convolution(window):
    values = np.random.default_rng(0).normal(size=60)
    size = window or 3
    for found in _running_mean(np.arange(60.0), values, window):
        assert len(found) == 61 - size
    expected = np.convolve(values, np.full(size, 1 / size), "valid")
    assert np.allclose(_running_mean(values, values, window)[1], expected, atol=1e-13)
    values[20] = np.nan
    found = _running_mean(values, values, 5)[1]
    assert np.isnan(found).sum() == 5 and np.isfinite(found[-1])


def test_plot_runs_takes_values_that_the_runs_have(tmp_path, capsys, monkeypatch):
    write_run(tmp_path / "a", loss_mask=0.5)
    drawn = []
    monkeypatch.setattr(
        "mmlevelset.visualization.plot_curves",
        lambda runs, names, _: drawn.append(names) or Figure(),
    )
    assert call(plot_runs.main, tmp_path / "a", "--out", tmp_path / "x.png") == 0
    assert drawn == [["loss", "bbox_mAP", "segm_mAP"]]
    write_run(tmp_path / "b", loss_ce=0.5)
    assert call(plot_runs.main, tmp_path / "a", tmp_path / "b", "--out", tmp_path / "x.png") == 0
    assert drawn[1:] == [["loss_ce"]]
    assert (
        call(plot_runs.main, tmp_path / "a", "--names", "loss_ce", "--out", tmp_path / "x.png") == 2
    )
    error = capsys.readouterr().err
    assert (
        "no run has a value of 'loss_ce' in its log; there are bbox_mAP, loss, loss_mask, lr"
        in error
    )


class Figure:
    def savefig(self, path: str, **_) -> None:
        Path(path).write_text("")


def test_a_run_with_one_record_is_a_dot(tmp_path):
    run = RunRecord(tmp_path, tmp_path, training=[dict(step=5, loss=0.5, lr=0.1)])
    charts = make_charts({"a": [run]}, [], None)["Loss and learning rate"]
    assert [len(chart.lines[0].dots) for chart in charts] == [1, 1]


def test_entries_of_a_result_are_named(tmp_path):
    path = write(tmp_path / "result.json", '{"metrics": {"a": 1}}')
    assert read_result(path)["environment"] == {}
    with pytest.raises(InputError, match=r"result\.json: fingerprint is missing"):
        read_result(path, of_a_sweep=True)


def test_folders_without_a_whole_log_are_all_named(tmp_path):
    write(tmp_path / "a/result.json", "")
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match=r"a/result\.json is empty.*b holds no log"):
        read_runs([tmp_path / "a", tmp_path / "b"])


def test_the_newest_whole_checkpoint_of_a_work_dir_is_taken(tmp_path, capsys):
    for name in ("epoch_2.pth", "epoch_10.pth", "other.pth"):
        torch.save({}, tmp_path / name)
    assert latest_checkpoint(tmp_path).name == "epoch_10.pth"  # without last_checkpoint
    write(tmp_path / "last_checkpoint", "/elsewhere/epoch_2.pth")
    assert latest_checkpoint(tmp_path).name == "epoch_10.pth"
    (tmp_path / "epoch_10.pth").write_bytes(b"PK")
    assert latest_checkpoint(tmp_path).name == "epoch_2.pth"
    assert "epoch_10.pth is not whole: epoch_2.pth is taken" in capsys.readouterr().err
    (tmp_path / "epoch_2.pth").write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint that is whole \(epoch_10.pth, epoch_2"):
        latest_checkpoint(tmp_path)
    write(tmp_path / "last_checkpoint", "/elsewhere/other.pth")  # a name of the config's own
    assert latest_checkpoint(tmp_path) == tmp_path / "other.pth"


def test_a_checkpoint_of_another_folder_is_named_and_never_stands_in_for_a_broken_one(
    tmp_path, capsys
):
    original, copy = tmp_path / "original", tmp_path / "copy"
    for folder in (original, copy):
        folder.mkdir()
    torch.save({}, original / "epoch_1.pth")
    write(copy / "last_checkpoint", str(original / "epoch_1.pth"))
    assert latest_checkpoint(copy) == original / "epoch_1.pth"  # a hook's out_dir
    assert "of another folder" in capsys.readouterr().err
    (copy / "epoch_1.pth").write_bytes(b"PK")
    with pytest.raises(InputError, match="holds no checkpoint that is whole"):
        latest_checkpoint(copy)
