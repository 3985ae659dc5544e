import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image

from mmlevelset.datasets import LoadSemanticAnnotations, SemanticFromInstances
from mmlevelset.datasets.semantic import voc_palette

LABELS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 21


def saved(path, array: np.ndarray, palette: bool = False) -> str:
    image = Image.fromarray(array)
    if palette:
        image.putpalette(np.ravel(voc_palette(256)).tolist())
    image.save(path)
    return str(path)


@pytest.mark.parametrize("palette", [False, True])
def test_labels_not_colours(tmp_path, palette):
    info = dict(seg_map_path=saved(tmp_path / "a.png", LABELS, palette), ori_shape=(6, 8))
    loaded = LoadSemanticAnnotations()(info)
    assert np.array_equal(loaded["gt_seg_map"], LABELS)
    assert loaded["gt_seg_map"].dtype == np.uint8 and loaded["ignore_index"] == 255


def test_without_a_map_nothing_is_done():
    assert LoadSemanticAnnotations()(dict(seg_map_path=None)) == dict(seg_map_path=None)
    assert LoadSemanticAnnotations()({}) == {}


def test_mmdets_options_work(tmp_path):
    info = dict(seg_map_path=saved(tmp_path / "a.png", LABELS), num_classes=20)
    loaded = LoadSemanticAnnotations(reduce_zero_label=True)(info)["gt_seg_map"]
    assert np.array_equal(loaded, np.where(LABELS == 0, 255, LABELS - 1.0))


@pytest.mark.parametrize(
    ("array", "more", "message"),
    [
        (
            np.zeros((6, 8, 3), np.uint8),
            {},
            r"must have 8 bits and one channel, and is uint8 \(6, 8, 3\)",
        ),
        (np.zeros((6, 8), np.uint16), {}, "must have 8 bits and one channel, and is uint16"),
        (LABELS, dict(ori_shape=(8, 6)), r"is 8 x 6 pixels \(.*\), but its image is 6 x 8"),
        (LABELS, dict(num_classes=19), r"must hold labels 0 to 18 and 255, .* \[19, 20\]"),
    ],
)
def test_wrong_maps_are_named(tmp_path, array, more, message):
    info = dict(seg_map_path=saved(tmp_path / "a.png", array), **more)
    with pytest.raises(ValueError, match=rf"label map .*a\.png {message}"):
        LoadSemanticAnnotations()(info)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"label map .*no\.png does not exist"):
        LoadSemanticAnnotations()(dict(seg_map_path=str(tmp_path / "no.png")))
    path = tmp_path / "bad.png"
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"label map .*bad\.png cannot be decoded"):
        LoadSemanticAnnotations()(dict(seg_map_path=str(path)))


def results(masks: np.ndarray, labels: list[int], ignored: list[bool]) -> dict:
    return dict(
        gt_masks=BitmapMasks(masks, *masks.shape[1:]),
        gt_bboxes=np.zeros((len(masks), 4)),
        gt_bboxes_labels=np.array(labels, np.int64),
        gt_ignore_flags=np.array(ignored, bool),
    )


@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.booleans())
@settings(max_examples=50, deadline=None)
def test_each_pixel_has_the_smallest_instance_on_it(seed, count, background):
    rng = np.random.default_rng(seed)
    masks = (rng.random((count, 7, 9)) < rng.random((count, 1, 1))).astype(np.uint8)
    labels, ignored = rng.integers(0, 4, count), rng.random(count) < 0.3
    painted = SemanticFromInstances(background)(results(masks, labels, ignored))["gt_seg_map"]
    assert painted.shape == (7, 9) and painted.dtype == np.uint8
    for y in range(7):
        for x in range(9):
            here = [i for i in range(count) if masks[i, y, x]]
            known = [i for i in here if not ignored[i]]
            if known:
                # Of two instances of one size, the later is painted last.
                smallest = min(known, key=lambda i: (masks[i].sum(), -i))
                assert painted[y, x] == labels[smallest] + background
            else:
                assert painted[y, x] == (255 if here or not background else 0)


def test_keys_of_instances_go_or_stay():
    masks = np.ones((1, 4, 5), np.uint8)
    assert set(SemanticFromInstances()(results(masks, [0], [False]))) == {
        "gt_seg_map",
        "ignore_index",
    }
    kept = SemanticFromInstances(keep_instances=True)(results(masks, [0], [False]))
    assert kept["gt_masks"].masks.all() and "gt_bboxes" in kept


def test_polygons():
    data = results(np.zeros((1, 6, 8), np.uint8), [2], [False])
    data["gt_masks"] = PolygonMasks([[np.array([2.0, 1, 6, 1, 6, 5, 2, 5])]], 6, 8)
    painted = SemanticFromInstances()(data)["gt_seg_map"]
    expected = np.zeros((6, 8))
    expected[1:5, 2:6] = 3
    assert np.array_equal(painted, expected)


def test_errors():
    data = results(np.ones((1, 4, 5), np.uint8), [254], [False])
    with pytest.raises(ValueError, match="must be below 255 .* the largest is 255"):
        SemanticFromInstances()(data)
    assert (SemanticFromInstances(False)(dict(data))["gt_seg_map"] == 254).all()
    del data["gt_masks"]
    with pytest.raises(KeyError, match="needs 'gt_masks': put LoadAnnotations"):
        SemanticFromInstances()(data)


def test_built_by_name():
    with DefaultScope.overwrite_default_scope("mmdet"):
        made = TRANSFORMS.build(dict(type="mmlevelset.SemanticFromInstances", background=False))
        load = TRANSFORMS.build(dict(type="mmlevelset.LoadSemanticAnnotations"))
    assert repr(made) == "SemanticFromInstances(background=False, keep_instances=False)"
    assert isinstance(load, LoadSemanticAnnotations)
