import numpy as np
import pytest

from mmlevelset.experiments.single_object import solvers
from mmlevelset.experiments.single_object.solvers import (
    SOLVERS,
    check_settings,
    choose_side,
    grid_of,
    run,
    score,
    solve,
    tune,
)


def disc(size: tuple[int, int] = (32, 32), radius: float = 8, shift: int = 0) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return np.hypot(y - size[0] / 2 - shift, x - size[1] / 2) < radius


def picture(mask: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 3, mask.shape)
    return (60 + 120 * mask + noise).astype(np.float32)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("start", ["box", "disk"])
def test_each_solver_finds_a_disc_with_its_defaults(name, start):
    mask = disc()
    settings = SOLVERS[name].settings | dict(start=start)
    (solution,) = solve(name, [picture(mask)], settings)
    found = choose_side(solution.mask, mask[None].astype(np.uint8), "truth")
    assert score(found, mask[None])[0] > 0.85
    assert 1 < solution.iterations <= settings["max_num_iter"]
    if name != "chan_vese":  # its phi moves on far from a contour at rest
        assert solution.iterations < settings["max_num_iter"]


@pytest.mark.parametrize("name", SOLVERS)
def test_all_solvers_start_from_the_same_box(name):
    image = picture(disc((64, 48)))
    settings = SOLVERS[name].settings | dict(max_num_iter=0)
    mask = run(name, image, settings)
    expected = np.zeros((64, 48), bool)
    expected[3:-3, 3:-3] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("name", SOLVERS)
def test_images_of_many_sizes_are_solved_as_each_alone(name, monkeypatch):
    monkeypatch.setattr(solvers, "BATCH", 2)
    sizes = [(24, 24), (20, 28), (24, 24), (24, 24)]
    images = [picture(disc(size, 6, shift)) for shift, size in enumerate(sizes)]
    images = [np.stack([image, image[::-1]]) for image in images]  # two channels
    settings = SOLVERS[name].settings | dict(max_num_iter=60)
    counts: list[int] = []
    together = solve(name, images, settings, counts.append)
    assert sorted(counts) == [1, 1, 2]
    for image, solution in zip(images, together, strict=True):
        (alone,) = solve(name, [image], settings)
        np.testing.assert_array_equal(solution.mask, alone.mask)
        assert solution.iterations == alone.iterations
        np.testing.assert_array_equal(solution.mask, run(name, image, settings))


class TestSide:
    mask = disc(shift=10)

    def test_the_truth_chooses_the_better_one(self):
        truths = self.mask[None].astype(np.uint8)
        for given in (self.mask, ~self.mask):
            np.testing.assert_array_equal(choose_side(given, truths, "truth"), self.mask)

    def test_several_annotators_choose_by_their_mean(self):
        truths = np.stack([self.mask, ~self.mask, self.mask]).astype(np.uint8)
        np.testing.assert_array_equal(choose_side(~self.mask, truths, "truth"), self.mask)

    def test_the_middle_chooses_its_own_side(self):
        for given in (self.mask, ~self.mask):
            chosen = choose_side(given, self.mask[None], "centre")
            assert chosen[16, 16]
            np.testing.assert_array_equal(chosen, ~self.mask)

    def test_another_rule(self):
        with pytest.raises(ValueError, match="side must be 'truth' or 'centre', not 'left'"):
            choose_side(self.mask, self.mask[None], "left")


def test_pixels_without_a_label_do_not_count():
    truth = np.array([[[1, 1, 0, 255]]], np.uint8)
    mask = np.array([[True, False, False, True]])
    assert score(mask, truth) == pytest.approx([2 / 3])


class TestTuning:
    images = [picture(disc())] * 2
    truths = [disc()[None].astype(np.uint8)] * 2

    def test_the_best_of_the_grid_is_chosen(self):
        """With a large mu, the contour costs so much that a disc vanishes."""
        fixed = dict(start="checkerboard", max_num_iter=300)
        solver = SOLVERS["chan_vese"]
        counts: list[int] = []
        tuning = tune("chan_vese", self.images, self.truths, fixed, "truth", counts.append)
        assert [settings["mu"] for settings, _ in tuning.tried] == list(solver.grid["mu"])
        assert sum(counts) == 2 * len(tuning.tried)
        best, value = tuning.best
        assert value == max(value for _, value in tuning.tried)
        assert best == solver.settings | fixed | dict(mu=best["mu"])
        (solution,) = solve("chan_vese", self.images[:1], best)
        chosen = choose_side(solution.mask, self.truths[0], "truth")
        assert score(chosen, self.truths[0])[0] == pytest.approx(value)

    @pytest.mark.parametrize("name", SOLVERS)
    def test_fixed_settings_are_not_tried(self, name):
        key, *others = SOLVERS[name].grid
        tried = grid_of(name, {key: "kept", "dt": 0.01})
        assert len(tried) == np.prod([len(SOLVERS[name].grid[other]) for other in others])
        assert all(settings[key] == "kept" and settings["dt"] == 0.01 for settings in tried)
        assert len({str(settings) for settings in tried}) == len(tried)

    @pytest.mark.parametrize("name", SOLVERS)
    def test_all_of_the_grid_are_settings_of_the_solver(self, name):
        for settings in grid_of(name, {}):
            check_settings(name, settings)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("snake", {}, "unknown solver 'snake'; there are chan_vese, drlse"),
        ("drlse", dict(nu=1), "drlse has no setting 'nu'; it has start, mu, lambda_"),
        ("chan_vese", dict(mu=-1.0), "chan_vese: mu must be non-negative"),
        ("chan_vese", dict(max_num_iter=1.5), "chan_vese: max_num_iter must be an integer"),
        ("drlse", dict(start="ring"), "drlse: start must be one of .* is 'ring'"),
        ("legendre_level_set", dict(order="two"), "legendre_level_set: order must be"),
        ("region_scalable_fitting", dict(dt=1), "region_scalable_fitting: dt must be less than"),
    ],
)
def test_settings_that_do_not_fit(name, settings, message):
    with pytest.raises(ValueError, match=message):
        check_settings(name, settings)
