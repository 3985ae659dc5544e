"""The hook that watches an evolution, on outputs as a model's train_step gives them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmlevelset.engine import EvolutionHook
from mmlevelset.models import GlobalHyperparameters


class Log:
    def __init__(self):
        self.warnings = []

    def warning(self, message):
        self.warnings.append(message)


@pytest.fixture
def runner():
    head = GlobalHyperparameters(num_steps=2, fixed=dict(lambda2=0.0))
    return SimpleNamespace(model=nn.Sequential(head), logger=Log())


def outputs(**changes):
    values = dict(lambda1=1.0, lambda2=0.0, mu=0.5, eps_1=1.0, eps_2=0.9, dt_1=1.0, dt_2=1.0)
    values |= dict(moved_1=0.05, moved_2=0.02, loss=0.3, mask_rois=8)
    return {name: torch.tensor(float(value)) for name, value in (values | changes).items()}


def watch(runner, *batches, **options):
    hook = EvolutionHook(**(dict(patience=3) | options))
    hook.before_train(runner)
    for index, batch in enumerate(batches):
        hook.after_train_iter(runner, index, outputs=batch)
    return runner.logger.warnings


def test_a_healthy_evolution_is_no_warning(runner):
    assert watch(runner, *[outputs()] * 10) == []


def test_an_evolution_that_moves_nothing_warns_once(runner):
    (warning,) = watch(runner, *[outputs(moved_1=1e-4, moved_2=2e-4)] * 10)
    assert "moved nothing for 3 iterations" in warning and "0.0003" in warning


@pytest.mark.parametrize(
    ("name", "value", "end"), [("mu", 1.99, "2"), ("dt_2", 0.001, "0"), ("eps_1", 0.011, "0.01")]
)
def test_a_setting_at_its_bound_is_named_once(runner, name, value, end):
    (warning,) = watch(runner, *[outputs(**{name: value})] * 10)
    assert f"setting {name} has been at its bound {end} for 3 iterations" in warning


def test_only_iterations_in_a_row_count(runner):
    dead, alive = outputs(moved_1=0.0, moved_2=1e-5), outputs()
    assert watch(runner, dead, dead, alive, dead, dead, alive) == []


def test_a_batch_without_objects_does_not_count(runner):
    nothing = {name: torch.zeros(()) for name in outputs()}
    assert watch(runner, *[nothing] * 10) == []


def test_a_curvature_that_is_off_is_no_warning(runner):
    assert watch(runner, *[outputs(mu=0.0)] * 10) == []


def test_other_models_are_left_alone():
    model = nn.Linear(2, 2)
    model.learned_ranges = nn.Parameter(torch.zeros(2))
    runner = SimpleNamespace(model=model, logger=Log())
    assert watch(runner, dict(loss=torch.tensor(1.0)), None) == []


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="patience must be positive"):
        EvolutionHook(patience=0)
