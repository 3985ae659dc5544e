import pytest

from mmlevelset.experiments.plot_runs import main
from tests.training_logs import semantic_log


def test_seeds_are_grouped(tmp_path, capsys):
    for number in range(2):
        log = tmp_path / f"fcn_seed{number}/20200101_000000/vis_data/scalars.json"
        log.parent.mkdir(parents=True)
        semantic_log(log, 1.0, 20)

    def run(*words):
        main([str(word) for word in words])

    def fail(*words) -> str:
        with pytest.raises(SystemExit) as end:
            run(*words)
        assert end.value.code == 2
        return capsys.readouterr().err

    folders = [tmp_path / "fcn_seed0", tmp_path / "fcn_seed1"]
    run(*folders, "--out", tmp_path / "new/a.svg")
    assert (tmp_path / "new/a.svg").read_text().count("<!-- fcn -->") == 1
    assert f"{tmp_path} holds no log" in fail(tmp_path, "--out", tmp_path / "b.png")
    message = fail(*folders, "--names", "mDice", "--out", tmp_path / "b.png")
    assert "no run has a value of 'mDice'" in message
