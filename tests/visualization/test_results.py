import numpy as np
import pytest
import torch

from mmlevelset.visualization import (
    draw_comparison,
    draw_evolution,
    evolution_panels,
    match_masks,
    matched_colors,
)
from tests.visualization.colors import drawn_box

IMAGE = np.full((50, 80, 3), 40, np.uint8)


def disk(x: float, y: float, radius: float) -> np.ndarray:
    row, column = np.mgrid[: IMAGE.shape[0], : IMAGE.shape[1]] + 0.5
    return (column - x) ** 2 + (row - y) ** 2 < radius**2


def growing_disks(steps: int = 3, side: int = 28) -> tuple[torch.Tensor, torch.Tensor]:
    """One object: disks of radius 4, 8, 12 about (40, 25), on the grid of the box."""
    box = torch.tensor([[25.0, 10.0, 55.0, 40.0]])
    place = (torch.arange(side) + 0.5) * 30 / side
    distance = torch.hypot(place[None] - 15, place[:, None] - 15)
    return torch.stack([4.0 * (step + 1) - distance for step in range(steps)])[None], box


def test_evolution_draws_each_step_in_its_panel():
    level_sets, boxes = growing_disks()
    picture = draw_evolution(IMAGE, level_sets, boxes, colors=["#ffffff"], size=400)
    assert picture.shape == (8 + 30 + 250 + 8, 8 + 3 * (400 + 8), 3)
    for step in range(3):
        panel = picture[38:-8, 8 + step * 408 :][:, :400]
        radius = 4 * (step + 1)
        expected = [5 * side for side in (40 - radius, 25 - radius, 40 + radius, 25 + radius)]
        assert drawn_box(panel, "#ffffff") == pytest.approx(expected, abs=3)


def test_evolution_with_ground_truth_and_arrays():
    level_sets, boxes = growing_disks()
    truth = disk(40, 25, 12)[None]
    panels = evolution_panels(IMAGE, level_sets.numpy(), boxes.numpy(), truth)
    assert [panel.title for panel in panels] == [
        r"$\phi_{0}$",
        r"$\phi_{1}$",
        r"$\phi_{2}$",
        "ground truth",
    ]
    assert len(panels[-1].outlines) == 1


def test_a_refined_level_set_is_named_so():
    level_sets, boxes = growing_disks()
    panels = evolution_panels(IMAGE, level_sets[:, :2], boxes, refined=level_sets[:, 2])
    assert [panel.title for panel in panels] == [r"$\phi_{0}$", r"$\phi_{1}$", "refined"]


def test_evolution_without_objects():
    picture = draw_evolution(IMAGE, torch.zeros(0, 4, 7, 7), torch.zeros(0, 4), size=80)
    assert picture.shape == (8 + 30 + 50 + 8, 8 + 4 * 88, 3)


def test_comparison_has_a_panel_for_the_image_the_truth_and_each_prediction():
    truth = np.stack([disk(20, 25, 10), disk(60, 25, 10)])
    picture = draw_comparison(IMAGE, {"initial": truth[:1], "final": truth[::-1]}, truth, size=80)
    assert picture.shape == (96, 8 + 4 * 88, 3)
    plain = draw_comparison(IMAGE, {"prediction": torch.from_numpy(truth)}, size=80)
    assert plain.shape == (96, 8 + 2 * 88, 3)


def test_masks_are_matched_by_overlap():
    truth = np.stack([disk(20, 25, 10), disk(60, 25, 10), disk(40, 10, 5)])
    pred = np.stack([disk(61, 25, 10), disk(5, 45, 3), disk(20, 25, 10)])
    first, second, iou = match_masks(pred, torch.from_numpy(truth))
    assert dict(zip(first, second, strict=True)) == {0: 1, 2: 0}
    assert iou[list(first).index(2)] == pytest.approx(1)
    assert 0.8 < iou[list(first).index(0)] < 1
    colors, true_colors = matched_colors(pred, truth), matched_colors(truth, truth)
    assert (colors[0], colors[2]) == (true_colors[1], true_colors[0])
    assert colors[1] not in true_colors


def test_nothing_to_match():
    none, some = np.zeros((0, 50, 80), bool), disk(20, 25, 10)[None]
    assert [len(part) for part in match_masks(none, some)] == [0, 0, 0]
    assert [len(part) for part in match_masks(some, none)] == [0, 0, 0]
    assert matched_colors(none, some) == []
    assert len(matched_colors(some, none)) == 1


def test_bad_input_is_named():
    level_sets, boxes = growing_disks()
    with pytest.raises(ValueError, match="image must be a uint8 array"):
        draw_evolution(IMAGE.astype(float), level_sets, boxes)
    with pytest.raises(ValueError, match="level_sets must have shape"):
        draw_evolution(IMAGE, level_sets[0], boxes)
    with pytest.raises(ValueError, match=r"masks of 'final' must have shape \(n, 50, 80\)"):
        draw_comparison(IMAGE, {"final": np.zeros((1, 80, 50), bool)})
