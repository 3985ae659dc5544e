import json
from dataclasses import dataclass

import pytest

from mmlevelset.experiments.results_table import main


@dataclass
class Ended:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys):
    """Calls the command in this process."""

    def call(*words) -> Ended:
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        return Ended(code, *capsys.readouterr())

    return call


def log(folder, **metrics):
    path = folder / "20260101_000000" / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    records = [
        dict(loss=1.0, step=1),
        {"coco/segm_mAP": 0.0, "step": 1},
        {**{f"coco/{name}": value for name, value in metrics.items()}, "step": 2},
    ]
    path.write_text("\n".join(json.dumps(record) for record in records))


def test_mean_and_spread_over_seeds(run, tmp_path):
    log(tmp_path / "a_seed0", segm_mAP=0.30, AF_1=0.5)
    log(tmp_path / "a_seed1", segm_mAP=0.34, AF_1=0.5)
    log(tmp_path / "b", segm_mAP=0.1, initial_segm_mAP=0.2)
    lines = run(*sorted(tmp_path.iterdir())).stdout.splitlines()
    assert lines[0] == "| variant | runs | segm_mAP | AF_1 | initial_segm_mAP |"
    assert lines[2] == "| a | 2 | 32.0 ± 2.8 | 50.0 ± 0.0 |  |"
    assert lines[3] == "| b | 1 | 10.0 |  | 20.0 |"


def test_a_folder_without_a_log_is_named(run, tmp_path):
    result = run(tmp_path)
    assert result.returncode == 2
    assert str(tmp_path) in result.stderr and "Traceback" not in result.stderr


def test_columns_asked_for(run, tmp_path):
    log(tmp_path / "a", segm_mAP=0.3, segm_mAP_25=0.7, segm_mAP_50=0.5, segm_mAP_70=0.25)
    lines = run(tmp_path / "a", "--metrics", "segm_mAP_70", "segm_mAP_25").stdout.splitlines()
    assert lines[0] == "| variant | runs | segm_mAP_70 | segm_mAP_25 |"
    assert lines[2] == "| a | 1 | 25.0 | 70.0 |"


def test_a_column_that_no_run_has_is_named(run, tmp_path):
    log(tmp_path / "a", segm_mAP=0.3, segm_mAP_50=0.5)
    result = run(tmp_path / "a", "--metrics", "segm_mAP", "segm_mAP_25")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "no run has segm_mAP_25; there are segm_mAP, segm_mAP_50" in result.stderr


def test_what_there_is_nothing_of_to_measure_is_left_out(run, tmp_path):
    log(tmp_path / "a_seed0", segm_mAP=0.3, segm_mAP_s=-1)
    log(tmp_path / "a_seed1", segm_mAP=0.4, segm_mAP_s=0.2)
    table = run(*tmp_path.iterdir(), "--metrics", "segm_mAP_s").stdout
    assert "| a | 2 | 20.0 |" in table


def test_evaluations_without_masks(run, tmp_path):
    log(tmp_path / "boxes", bbox_mAP=0.3)
    semantic_log(tmp_path / "objects", FM=61.5)
    lines = run(tmp_path / "boxes", tmp_path / "objects").stdout.splitlines()
    assert lines[0] == "| variant | runs | bbox_mAP | FM |"
    assert lines[2:] == ["| boxes | 1 | 30.0 |  |", "| objects | 1 |  | 61.5 |"]
    semantic_log(tmp_path / "other", **{"lvis/bbox_AP": 0.5})
    assert "name --metrics; there are lvis/bbox_AP" in run(tmp_path / "other").stderr
    table = run(tmp_path / "other", "--metrics", "lvis/bbox_AP").stdout
    assert "| other | 1 | 50.0 |" in table


def semantic_log(folder, **metrics):
    path = folder / "20260101_000000" / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(map(json.dumps, [dict(loss=1.0, step=1), dict(metrics, step=2)])))


def test_semantic_runs_are_logged_in_percent(run, tmp_path):
    semantic_log(tmp_path / "fcn_seed0", mIoU=60.0, aAcc=70.0, BF_1=20.0, BF_2=30.0)
    semantic_log(tmp_path / "fcn_seed1", mIoU=64.0, aAcc=70.0, BF_1=20.0, BF_2=30.0)
    lines = run(*sorted(tmp_path.iterdir())).stdout.splitlines()
    assert lines[0] == "| variant | runs | mIoU | BF_1 | BF_2 |"
    assert lines[2] == "| fcn | 2 | 62.0 ± 2.8 | 20.0 ± 0.0 | 30.0 ± 0.0 |"
    result = run(*tmp_path.iterdir(), "--metrics", "mDice")
    assert "no run has mDice; there are BF_1, BF_2, aAcc, mIoU" in result.stderr


def test_instances_keep_their_columns(run, tmp_path):
    log(tmp_path / "a", segm_mAP=0.3, AF_1=0.5, BF_1=0.6)
    assert run(tmp_path / "a").stdout.splitlines()[0] == "| variant | runs | segm_mAP | AF_1 |"


def test_the_last_evaluation_may_be_a_test_or_a_sweeps_result(run, tmp_path):
    log(tmp_path / "a", segm_mAP=0.3)
    test = tmp_path / "a/20260102_000000/20260102_000000.json"
    test.parent.mkdir()
    test.write_text(json.dumps({"coco/segm_mAP": 0.4, "time": 0.1}))
    assert "| a | 1 | 40.0 |" in run(tmp_path / "a").stdout
    (tmp_path / "a/result.json").write_text(json.dumps(dict(metrics={"coco/segm_mAP": 0.5})))
    assert "| a | 1 | 50.0 |" in run(tmp_path / "a").stdout


def test_folders_without_an_evaluation_are_left_out(run, tmp_path):
    log(tmp_path / "a", segm_mAP=0.3)
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.md").touch()
    ended = run(*sorted(tmp_path.iterdir()))
    assert ended.returncode == 0 and "| a | 1 | 30.0 |" in ended.stdout
    assert f"left out: {tmp_path / 'empty'} holds no log" in ended.stderr


def test_a_truncated_file_is_named(run, tmp_path):
    log(tmp_path / "a", segm_mAP=0.3)
    (tmp_path / "a/result.json").write_text('{"metrics": {')
    ended = run(tmp_path / "a")
    assert ended.returncode == 2
    assert f"{tmp_path / 'a/result.json'} is no JSON, or is truncated: " in ended.stderr
