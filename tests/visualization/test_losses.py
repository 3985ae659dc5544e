import pytest

from mmlevelset.visualization import plot_curves, plot_losses
from tests.training_logs import semantic_log, train, val, write


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


def curves_of(axes) -> dict[str, list]:
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_curves_over_iterations(tmp_path):
    runs = {
        "CE": [semantic_log(tmp_path / "a.json", 2.0, 20)],
        "CE + LS": [semantic_log(tmp_path / "b.json", 1.0, 30, epochs=True)],
    }
    figure = plot_curves(runs, window=1)
    ce, energy, miou = figure.axes
    assert [axes.get_title() for axes in figure.axes] == [
        "cross-entropy",
        "level-set energy",
        "mIoU (%)",
    ]
    assert curves_of(ce)["CE"] == [[step, 10 / step] for step in range(1, 11)]
    assert curves_of(energy)["CE + LS"] == [[step, step] for step in range(1, 11)]
    # Whether a run counts epochs or iterations, its scores are placed at the iteration.
    assert curves_of(miou) == {"CE": [[5, 20], [10, 40]], "CE + LS": [[5, 30], [10, 60]]}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["CE", "CE + LS"]
    figure.savefig(tmp_path / "curves.png")


def test_seeds_have_one_colour_and_a_mean(tmp_path):
    seeds = [semantic_log(tmp_path / f"{n}.json", 1.0, 20 + 4 * n) for n in range(2)]
    (axes,) = plot_curves({"FCN": seeds}, ["mIoU"]).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[20, 40], [24, 48], [22, 44]]
    assert len({line.get_color() for line in axes.lines}) == 1
    assert [line.get_alpha() for line in axes.lines] == [0.25, 0.25, None]


def test_the_mean_goes_as_far_as_all_seeds_do(tmp_path):
    stopped = write(tmp_path / "b.json", train(1, 3, epoch=False), dict(mIoU=10.0, step=5))
    seeds = [semantic_log(tmp_path / "a.json", 1.0, 20), stopped]
    (axes,) = plot_curves({"FCN": seeds}, ["mIoU"]).axes
    assert curves_of(axes)["FCN"] == [[5, 15]]


def test_a_run_without_a_value_is_left_out_of_its_panel(tmp_path):
    runs = {
        "plain": [semantic_log(tmp_path / "a.json", None, 20)],
        "watched": [semantic_log(tmp_path / "b.json", 1.0, 20)],
    }
    figure = plot_curves(runs)
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 2]
    assert len(figure.legends[0].get_texts()) == 2
    with pytest.raises(ValueError, match="no run has a value of 'energy_level_set' in its log"):
        plot_curves({"plain": runs["plain"]})
    for empty in (({}, ["mIoU"]), ({"plain": []}, ["mIoU"]), (runs, [])):
        with pytest.raises(ValueError, match="must not be empty"):
            plot_curves(*empty)


def test_miou_is_among_the_scores_of_one_run(tmp_path):
    axes = plot_losses(semantic_log(tmp_path / "a.json", 1.0, 20)).axes[1]
    assert curves_of(axes) == {"mIoU (%)": [[5, 20], [10, 40]]}
