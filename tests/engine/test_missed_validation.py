"""A resumed run makes good a validation that no log has, and names a broken log."""

import json
from types import SimpleNamespace

import pytest

from mmlevelset.engine.missed_validation import MissedValidationHook
from mmlevelset.errors import InputError


@pytest.fixture
def resumed(tmp_path):
    """A function that resumes a run at an iteration; returns the number of validations."""

    def resume(step: int, log: str) -> int:
        path = tmp_path / "20260101_000000/vis_data/scalars.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(log)
        done = []
        loop = dict(iter=step, max_iters=8, val_begin=1, val_interval=4)
        runner = SimpleNamespace(
            work_dir=str(tmp_path),
            train_loop=SimpleNamespace(**loop, _decide_current_val_interval=lambda: None),
            val_loop=SimpleNamespace(run=lambda: done.append(step)),
            logger=SimpleNamespace(info=lambda line: None),
        )
        MissedValidationHook().before_train(runner)
        return len(done)

    return resume


def records(*values: dict) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def test_only_a_validation_that_is_due_and_in_no_log_is_run(resumed):
    trained = records(dict(loss=1.0, step=4))
    assert resumed(4, trained) == 1
    assert resumed(3, trained) == 0
    assert resumed(0, trained) == 0
    assert resumed(4, trained + records({"coco/segm_mAP": 0.5, "step": 4})) == 0
    assert resumed(8, trained + records({"coco/segm_mAP": 0.5, "step": 4})) == 1


@pytest.mark.parametrize("broken", ['{"step\n', "[1]\n", "null\n"])
def test_a_broken_log_is_named_with_what_to_do(resumed, broken):
    with pytest.raises(InputError, match=r"scalars\.json, line 1: .*move the file away"):
        resumed(4, broken + records(dict(loss=1.0, step=4)))
    assert resumed(3, broken) == 0
