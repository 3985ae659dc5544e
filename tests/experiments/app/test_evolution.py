import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmlevelset.errors import InputError
from mmlevelset.experiments.app import evolution, models
from mmlevelset.experiments.app.photographs import Photograph
from mmlevelset.experiments.prediction.detector import Detections
from mmlevelset.ops import chan_vese
from tests.experiments.app.test_solvers import defaults, photograph
from tests.experiments.prediction.test_polygons import area


def solved(full_size: tuple[int, int] = (40, 52), **options) -> evolution.Evolution:
    values = defaults("Chan-Vese", max_num_iter=30)
    pixels = photograph()
    steps = evolution.solve("Chan-Vese", Photograph(pixels, full_size), values, "disk", **options)
    return list(steps)[-1]


def covered(geojson: dict) -> float:
    """The area of all objects, in pixels."""
    total = 0.0
    for feature in geojson["features"]:
        shape = feature["geometry"]
        parts = shape["coordinates"]
        total += sum(area(rings) for rings in ([parts] if shape["type"] == "Polygon" else parts))
    return total


def test_mask_and_polygons_of_a_solver(tmp_path):
    made = solved()
    image = photograph().astype(np.float32)
    expected = chan_vese(image, max_num_iter=30, init_level_set="disk", channel_axis=-1)
    mask, polygons = made.write(tmp_path)
    assert (mask.name, polygons.name) == ("mask.png", "contours.geojson")
    written = np.asarray(Image.open(mask))
    np.testing.assert_array_equal(written == 255, expected)
    assert set(np.unique(written)) == {0, 255}
    geojson = json.loads(polygons.read_text())
    assert (geojson["width"], geojson["height"]) == (52, 40)
    assert covered(geojson) == pytest.approx(expected.sum(), rel=0.05)
    assert geojson["features"][0]["properties"] == dict(label="inside", solver="Chan-Vese")


def test_a_reduced_photograph_gives_results_of_its_full_size():
    small, large = solved(), solved(full_size=(120, 208))
    assert large.mask().shape == (120, 208)
    assert (large.mask() > 0).mean() == pytest.approx((small.mask() > 0).mean(), abs=0.01)
    assert covered(large.geojson()) == pytest.approx(12 * covered(small.geojson()), rel=1e-3)
    assert (large.geojson()["width"], large.geojson()["height"]) == (208, 120)


def test_the_outside_as_the_object():
    here, there = solved(), solved(swapped=True)
    np.testing.assert_array_equal(here.mask() > 0, there.mask() == 0)
    assert covered(here.geojson()) + covered(there.geojson()) == pytest.approx(40 * 52, rel=1e-3)


def test_no_inside_at_all():
    made = solved()
    made.inside = -np.ones((40, 52), np.float32)
    assert made.geojson()["features"][0]["geometry"]["coordinates"] == []
    assert not made.mask().any()


@pytest.mark.parametrize("size", [(30, 40), (1600, 900), (1, 100)])
def test_a_picture_has_the_contour_at_its_place(size):
    height, width = size
    square = np.array([[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8], [0.2, 0.2]]) * (
        width,
        height,
    )
    drawn = evolution.draw(np.full((height, width, 3), 128, np.uint8), [[square]])
    assert max(drawn.shape) == evolution.DRAWN
    red = (drawn[..., 0] > 200) & (drawn[..., 1] < 120)
    rows, columns = np.nonzero(red)
    assert columns.min() == pytest.approx(0.2 * drawn.shape[1] - 0.5, abs=1.6)
    assert columns.max() == pytest.approx(0.8 * drawn.shape[1] - 0.5, abs=1.6)
    assert rows.max() == pytest.approx(0.8 * drawn.shape[0] - 0.5, abs=1.6)


def detections(**changes) -> Detections:
    """One object, a disc of radius 10 in the box (10, 5)-(40, 35) of 60 x 50 pixels."""
    y, x = np.mgrid[:50, :60] + 0.5
    disc = np.hypot(y - 20, x - 25) < 10
    from pycocotools import mask as mask_util

    rle = mask_util.encode(np.asfortranarray(disc.astype(np.uint8)))
    given = dict(
        image=np.zeros((50, 60, 3), np.uint8),
        boxes=np.array([[10.0, 5, 40, 35]]),
        scores=np.array([0.9]),
        labels=np.array([0]),
        names=["disc"],
        rles=[dict(rle, counts=rle["counts"].decode())],
        polygons=[[np.array([[15.0, 10], [35, 10], [35, 30], [15, 30], [15, 10]])]],
    )
    return Detections(**given | changes)


def test_the_steps_of_models():
    masks = ["masks"]
    assert [title for title, _ in models.steps_of(detections())] == masks
    refined = detections(initial=[[]])
    assert [title for title, _ in models.steps_of(refined)] == ["before the refinement", *masks]
    y, x = np.mgrid[:30, :30] + 0.5
    distance = torch.from_numpy(np.hypot(y - 15, x - 15)).float()
    grids = torch.stack([radius - distance for radius in (5, 8, 10)])
    steps = models.steps_of(detections(level_sets=grids[None], refined=grids[None, 2]))
    assert [title for title, _ in steps] == ["step 0", "step 1", "step 2", "refined"]
    for (_, outlines), radius in zip(steps, (5, 8, 10, 10), strict=True):
        ((ring,),) = outlines
        assert np.hypot(*(ring - (25, 20)).T) == pytest.approx(radius, abs=0.8)
    assert models.steps_of(detections(level_sets=grids[None][:0], rles=[], scores=np.zeros(0)))


def test_a_model_on_a_photograph(monkeypatch):
    found = detections()
    monkeypatch.setattr(evolution, "detect", lambda *_: found)
    made = evolution.predict("any", Photograph(found.image, (100, 120)), 0.5)
    assert made.mask().shape == (100, 120)
    assert (made.mask() > 0).sum() == pytest.approx(4 * np.pi * 100, rel=0.03)
    geojson = made.geojson()
    assert covered(geojson) == 1600
    assert geojson["features"][0]["properties"] == dict(label="disc", score=0.9)


@pytest.mark.parametrize("name", ["../weights/x", "https://example.org/x.pth", "/etc/passwd", ""])
def test_only_shipped_weights(name):
    with pytest.raises(InputError, match="model must be one of"):
        models.detect(name, np.zeros((8, 8, 3), np.uint8), 0.5)


@pytest.mark.parametrize("score", [0, 2, None, float("nan"), "0.5"])
def test_scores(score):
    with pytest.raises(InputError, match="lowest score must be from"):
        models.detect(models.model_names()[0], np.zeros((8, 8, 3), np.uint8), score)


def test_another_lowest_score_keeps_the_model(monkeypatch):
    """The weights are read once; each call leaves out what its own score says."""
    from mmlevelset.experiments.prediction import command

    loaded, scores = [], []

    class Found:
        def read(self, file):
            return file

        def set_score_thr(self, score_thr):
            scores.append(score_thr)

        def detect(self, _):
            return scores[-1]

    monkeypatch.setattr(command, "load_detector", lambda *_: loaded.append(1) or Found())
    models._detector.cache_clear()
    pixels = np.zeros((8, 8, 3), np.uint8)
    name = models.model_names()[0]
    assert [models.detect(name, pixels, score) for score in (0.3, 0.8, 0.05)] == [0.3, 0.8, 0.05]
    assert len(loaded) == 1
    models._detector.cache_clear()
