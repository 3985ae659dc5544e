import json

import pytest

from mmlevelset.visualization import plot_losses, read_log


def train(step: int, loss: float, epoch: bool = True) -> dict:
    record = dict(lr=0.01, loss=loss, loss_cls=loss / 3, loss_mask=loss / 2, step=step)
    return {**record, "epoch": 1} if epoch else record


def val(step: int, score: float, **more: float) -> dict:
    return {"coco/segm_mAP": score, "coco/AF_1": score / 2, "time": 0.1, **more, "step": step}


def write(path, *records: dict, end: str = ""):
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + end)
    return path


def test_curves_of_one_run(tmp_path):
    records = [train(step, 10 / step) for step in range(1, 11)]
    figure = plot_losses(write(tmp_path / "a.json", *records, val(1, 0.2), val(2, 0.4)), window=1)
    losses, scores = figure.axes
    curves = {line.get_label(): line for line in losses.lines}
    assert set(curves) == {"loss", "loss cls", "loss mask"}
    assert curves["loss"].get_xdata().tolist() == list(range(1, 11))
    assert curves["loss mask"].get_ydata() == pytest.approx([5 / step for step in range(1, 11)])
    assert [line.get_ydata().tolist() for line in scores.lines] == [[0.2, 0.4], [0.1, 0.2]]
    assert scores.get_xlabel() == "epoch"
    figure.savefig(tmp_path / "losses.png")


def test_running_mean(tmp_path):
    path = write(tmp_path / "a.json", *[train(step, loss) for step, loss in enumerate([1, 3, 8])])
    (line,) = (
        line for line in plot_losses(path, window=2).axes[0].lines if line.get_label() == "loss"
    )
    assert line.get_xdata().tolist() == [0.5, 1.5]
    assert line.get_ydata().tolist() == [2, 5.5]


def test_runs_are_compared_by_their_total_loss(tmp_path):
    first = write(tmp_path / "a.json", train(1, 3), val(1, 0.2, **{"coco/bbox_mAP": 0.3}))
    second = write(tmp_path / "b.json", train(1, 4), val(1, -1.0))
    losses, scores = plot_losses({"ours": first, "theirs": [second]}).axes
    assert [line.get_label() for line in losses.lines] == ["ours", "theirs"]
    # -1: nothing to measure.
    assert [line.get_label() for line in scores.lines] == ["ours mask AP", "ours boundary F1, 1 px"]


def test_iterations_where_there_are_no_epochs(tmp_path):
    path = write(tmp_path / "a.json", train(1, 3, epoch=False), val(500, 0.2))
    assert plot_losses(path).axes[1].get_xlabel() == "iteration"


def test_without_validation(tmp_path):
    figure = plot_losses(write(tmp_path / "a.json", train(1, 3)))
    assert figure.axes[1].texts[0].get_text() == "not validated"


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
