import json

import pytest

from mmlevelset.logs import log_files, read_log
from tests.training_logs import train, val, write


def test_a_resumed_run_takes_over(tmp_path):
    killed = write(
        tmp_path / "a.json", *(train(step, 1) for step in range(1, 9)), val(1, 0.1), val(2, 0.2)
    )
    resumed = write(tmp_path / "b.json", train(6, 2), train(7, 2), val(2, 0.3))
    training, validation = read_log([killed, resumed])
    assert [(r["step"], r["loss"]) for r in training] == [
        *((step, 1) for step in range(1, 6)),
        (6, 2),
        (7, 2),
    ]
    assert [(r["step"], r["coco/segm_mAP"]) for r in validation] == [(1, 0.1), (2, 0.3)]


def test_a_test_run_is_left_out(tmp_path):
    run = write(tmp_path / "a.json", train(1, 3), val(1, 0.2))
    test = write(tmp_path / "b.json", val(0, 0.9))
    assert read_log([run, test]) == read_log(run)
    with pytest.raises(ValueError, match=r"no training step in .*b\.json"):
        read_log(test)
    with pytest.raises(ValueError, match="no training step in no file"):
        read_log([])


def test_cut_off_last_line(tmp_path):
    path = write(tmp_path / "a.json", train(1, 3), end='{"loss": 1.')
    assert len(read_log(path)[0]) == 1


def test_broken_line_is_named(tmp_path):
    path = write(tmp_path / "a.json", train(1, 3), end="{loss}\n" + json.dumps(train(2, 3)) + "\n")
    with pytest.raises(ValueError, match=r"a\.json, line 2: not JSON"):
        read_log(path)


def test_logs_of_a_work_dir_are_in_the_order_of_time(tmp_path):
    for start, step in ("20260102_000000", 2), ("20260101_235959", 1):
        folder = tmp_path / start / "vis_data"
        folder.mkdir(parents=True)
        write(folder / "scalars.json", train(step, 3))
    (tmp_path / "scalars.json").write_text("{}")
    training, _ = read_log(log_files(tmp_path))
    assert [record["step"] for record in training] == [1, 2]
