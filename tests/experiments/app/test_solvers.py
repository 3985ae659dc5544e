import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmlevelset.errors import InputError
from mmlevelset.experiments.app.solvers import (
    FRAMES,
    ITERATIONS,
    SOLVERS,
    check_settings,
    evolve,
    frame_steps,
)


def photograph() -> np.ndarray:
    """A disc in uneven light with noise, (40, 52, 3)."""
    y, x = np.mgrid[:40, :52]
    noise = np.random.default_rng(0).normal(0, 5, (40, 52, 3))
    disc = np.hypot(y - 18, x - 30) < 11
    return (90 + 80 * disc[..., None] + x[..., None] + noise).clip(0, 255).astype(np.uint8)


def defaults(name: str, **changes: float) -> dict[str, float]:
    values = {one.argument: one.default for one in (*SOLVERS[name].settings, ITERATIONS)}
    return values | changes


@pytest.mark.parametrize("most", [1, 7, 60])
@pytest.mark.parametrize("name", SOLVERS)
def test_the_steps_are_those_of_one_call(name, most):
    image, solver = photograph(), SOLVERS[name]
    values = defaults(name, max_num_iter=most)
    steps = list(evolve(name, image, values, solver.starts[0]))
    common = dict(channel_axis=-1, extended_output=True, init_level_set=solver.starts[0])
    given = values | common

    def call(iterations: int) -> tuple[np.ndarray, np.ndarray, list]:
        return solver.function(image.astype(np.float32), **given | dict(max_num_iter=iterations))

    _, phi, energies = call(most)
    assert steps[-1].iteration == len(energies)
    np.testing.assert_array_equal(steps[-1].phi, phi)
    assert [step.iteration for step in steps] == frame_steps(len(energies))
    for step in steps[:: max(1, len(steps) // 4)]:
        np.testing.assert_allclose(step.phi, call(step.iteration)[1], atol=2e-3)


@given(st.integers(0, 5000))
def test_frames(count):
    steps = frame_steps(count)
    assert steps[0] == 0 and steps[-1] == count and len(steps) <= FRAMES + 1
    gaps = np.diff(steps)
    assert (gaps > 0).all()
    assert len(steps) == min(count, FRAMES) + 1


@pytest.mark.parametrize("name", SOLVERS)
def test_ranges_are_valid_for_the_solver(name):
    """Each end of each slider is a setting that the solver takes."""
    image = photograph()[:12, :14]
    for setting in SOLVERS[name].settings:
        for end in (setting.low, setting.high):
            values = defaults(name, max_num_iter=2, **{setting.argument: end})
            for start in SOLVERS[name].starts:
                assert np.isfinite(list(evolve(name, image, values, start))[-1].phi).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(mu=9), "μ, weight of the length must be a number from 0 to 2, and was 9"),
        (dict(mu=None), "and was None"),
        (dict(mu="1"), "and was '1'"),
        (dict(mu=float("nan")), "and was nan"),
        (dict(max_num_iter=10**9), "from 1 to 1000"),
    ],
)
def test_a_value_out_of_its_range(changes, words):
    with pytest.raises(InputError, match=words):
        check_settings("Chan-Vese", defaults("Chan-Vese") | changes, "disk")


def test_unknown_names():
    with pytest.raises(InputError, match="solver must be one of Chan-Vese"):
        check_settings("x", {}, "disk")
    with pytest.raises(InputError, match="start must be one of checkerboard"):
        check_settings("Chan-Vese", defaults("Chan-Vese"), "../x")


def test_an_image_too_small_for_the_start():
    with pytest.raises(InputError, match="3 x 3 pixels"):
        list(evolve("Chan-Vese", np.zeros((1, 2, 3), np.uint8), defaults("Chan-Vese"), "disk"))
