"""Encoded masks, mask NMS and joining, compared with definitions on bitmaps."""

import itertools

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as mask_util

from mmlevelset.models.inference import EncodedMasks, join_pieces, mask_nms, place_mask


def random_masks(rng, count, height, width):
    """Nearby rectangles, some with holes, with small and large overlaps."""
    masks = np.zeros((count, height, width), dtype=bool)
    for mask in masks:
        y, x = rng.integers(0, 5, 2)
        h, w = rng.choice([4, 9, 13]) + rng.integers(0, 3, 2)
        part = mask[y : y + h, x : x + w]
        part[:] = rng.random(part.shape) < rng.choice([0.6, 1.0])
    return masks


def naive_nms(masks, scores, labels, iou_thr, ios_thr, ios_of, agnostic, cut, sources):
    """NMS by its definition: pair by pair in float64, on bitmaps."""
    areas = [float(mask.sum()) for mask in masks]
    order = sorted(
        range(len(masks)), key=lambda i: (cut[i], -areas[i] if cut[i] else 0.0, -scores[i])
    )
    kept = []
    for candidate in order:
        stays = True
        for other in kept:
            if (labels[other] != labels[candidate] and not agnostic) or (
                sources[other] == sources[candidate]
            ):
                continue
            common = float((masks[other] & masks[candidate]).sum())
            if common == 0:
                continue
            union = areas[other] + areas[candidate] - common
            if iou_thr is not None and common / union > iou_thr:
                stays = False
            if ios_thr is not None and (ios_of == "all" or cut[candidate]):
                stays &= common / min(areas[other], areas[candidate]) <= ios_thr
        if stays:
            kept.append(candidate)
    return kept


@pytest.mark.parametrize("seed", range(12))
def test_nms_is_that_of_its_definition(seed):
    rng = np.random.default_rng(seed)
    count = 30
    masks = random_masks(rng, count, 23, 31)
    settings = dict(
        iou_thr=rng.choice([None, 0.3, 0.55]),
        ios_thr=rng.choice([None, 0.45, 0.9]),
        ios_of=str(rng.choice(["all", "cut"])),
        class_agnostic=bool(rng.integers(2)),
    )
    cut = rng.random(count) < rng.choice([0, 0.5])
    sources = [frozenset(rng.choice(3, rng.integers(1, 3)).tolist()) for _ in range(count)]
    scores, labels = rng.permutation(count) / count, rng.integers(0, 2, count)
    kept = mask_nms(
        EncodedMasks.encode(masks), scores, labels, cut=cut, sources=sources, **settings
    )
    expected = naive_nms(masks, scores, labels, *settings.values(), cut, sources)
    assert kept.tolist() == expected
    assert len(kept) < count or not settings["iou_thr"]


def test_plain_nms_needs_neither_cuts_nor_sources():
    masks = random_masks(np.random.default_rng(0), 9, 20, 20)
    scores = np.linspace(0.9, 0.1, 9)
    kept = mask_nms(EncodedMasks.encode(masks), scores, np.zeros(9))
    none = [False] * 9, [frozenset([i]) for i in range(9)]
    assert kept.tolist() == naive_nms(masks, scores, np.zeros(9), 0.5, None, "all", False, *none)
    assert 0 < len(kept) < 9


def test_nothing_is_left_of_nothing():
    empty = EncodedMasks([], 5, 6)
    assert mask_nms(empty, np.zeros(0), np.zeros(0)).shape == (0,)
    none = np.zeros(0, dtype=int)
    assert join_pieces(empty, none, none, [], none.astype(bool)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(scores=np.zeros(2)), "scores must have a value for each of 1 masks, but has 2"),
        (dict(cut=np.zeros(3, dtype=bool)), "cut must have a value for each of 1 masks, but has 3"),
        (dict(ios_of="some"), "ios_of must be one of all, cut, but is 'some'"),
    ],
)
def test_nms_names_the_wrong_argument(changes, message):
    arguments = {"scores": np.zeros(1), "labels": np.zeros(1), **changes}
    with pytest.raises(ValueError, match=message):
        mask_nms(EncodedMasks.encode(np.ones((1, 3, 3))), **arguments)


@pytest.mark.parametrize("seed", range(8))
def test_a_placed_mask_has_the_encoding_of_the_whole_image(seed):
    rng = np.random.default_rng(seed)
    height, width, h, w = 17, 23, int(rng.integers(1, 18)), int(rng.integers(1, 24))
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    mask = rng.random((h, w)) < rng.choice([0.0, 0.1, 0.7, 1.0])
    whole = np.zeros((height, width), dtype=np.uint8)
    whole[top : top + h, left : left + w] = mask
    assert place_mask(mask, int(left), int(top), height, width) == mask_util.encode(
        np.asfortranarray(whole)
    )


def test_a_full_image_and_an_empty_mask_can_be_placed():
    for mask in (np.ones((4, 5)), np.zeros((4, 5))):
        expected = mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert place_mask(mask, 0, 0, 4, 5) == expected
    assert place_mask(np.zeros((0, 0)), 2, 2, 4, 5) == expected


def test_a_mask_beyond_the_image_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\) at column 4, row 0 must lie within"):
        place_mask(np.ones((2, 2)), 4, 0, 5, 5)


def test_encoded_masks_behave_as_the_bitmaps_do():
    masks = random_masks(np.random.default_rng(1), 5, 11, 13)
    masks[3] = False
    encoded = EncodedMasks.encode(torch.from_numpy(masks))
    assert encoded.shape == masks.shape and len(encoded) == 5
    np.testing.assert_array_equal(encoded.numpy(), masks)
    np.testing.assert_array_equal(list(encoded), masks)
    np.testing.assert_array_equal(encoded.astype("uint8"), masks)
    assert encoded.detach().cpu().dtype == torch.bool
    np.testing.assert_array_equal(mask_util.decode(encoded[2]), masks[2])
    np.testing.assert_array_equal(encoded.areas(), masks.sum((1, 2)))
    for box, mask in zip(encoded.boxes(), masks, strict=True):
        rows, columns = np.nonzero(mask)
        expected = [0] * 4
        if len(rows):
            expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_array_equal(box, expected)


def test_many_masks_have_areas():
    encoded = EncodedMasks.encode(np.ones((300, 2, 3), dtype=bool))
    assert encoded.areas().tolist() == [6] * 300


def test_encoded_masks_are_chosen_with_other_fields():
    masks = random_masks(np.random.default_rng(2), 4, 9, 9)
    found = InstanceData(masks=EncodedMasks.encode(masks), scores=torch.arange(4.0))
    for chosen in (
        found.scores > 1.5,
        found.scores > 9,
        torch.tensor([3, 0, 0]),
        torch.tensor([], dtype=torch.long),
    ):
        np.testing.assert_array_equal(found[chosen].masks.numpy(), masks[chosen.numpy()])
    np.testing.assert_array_equal(found[1:3].masks.numpy(), masks[1:3])
    both = InstanceData.cat([found, found]).masks
    np.testing.assert_array_equal(both.numpy(), np.concatenate([masks, masks]))
    assert found.cpu().masks is found.masks


def test_masks_of_another_size_are_refused():
    encoded = EncodedMasks.encode(np.ones((1, 3, 4)))
    with pytest.raises(ValueError, match=r"must have size \(4, 4\), but a mask has \[3, 4\]"):
        EncodedMasks(encoded.rles, 4, 4)


WINDOWS = [(0, 0, 40, 30), (20, 0, 60, 30), (40, 0, 80, 30)]


def pieces_of(*spans):
    """Masks of pieces (tile, x1, x2), each 10 pixels high, and their tiles."""
    masks = np.zeros((len(spans), 30, 80), dtype=bool)
    for mask, (_, x1, x2) in zip(masks, spans, strict=True):
        mask[10:20, x1:x2] = True
    return EncodedMasks.encode(masks), np.array([tile for tile, _, _ in spans])


def join(*spans, labels=None, cut=True, **settings):
    masks, tiles = pieces_of(*spans)
    labels = np.zeros(len(spans), dtype=int) if labels is None else np.array(labels)
    flags = np.full(len(spans), cut)
    return join_pieces(masks, labels, tiles, WINDOWS, flags, **settings)


def test_a_chain_of_pieces_is_one_object():
    for order in itertools.permutations([(0, 5, 40), (1, 20, 60), (2, 40, 70)]):
        assert join(*order) == [[0, 1, 2]]


def test_pieces_that_disagree_stay_apart():
    assert join((0, 5, 40), (1, 33, 60)) == [[0], [1]]  # 7 of 20 columns agree
    assert join((0, 5, 40), (1, 33, 60), join_thr=0.35) == [[0, 1]]
    assert join((0, 5, 40), (1, 20, 60), labels=[0, 1]) == [[0], [1]]
    assert join((0, 5, 40), (1, 20, 60), labels=[0, 1], class_agnostic=True) == [[0, 1]]
    assert join((0, 5, 40), (1, 20, 60), cut=False) == [[0], [1]]


def test_an_object_has_one_piece_of_a_tile_the_best():
    assert join((0, 5, 40), (1, 28, 60), (1, 20, 60)) == [[0, 2], [1]]


def test_pieces_of_tiles_that_do_not_meet_are_not_compared():
    assert join((0, 5, 40), (2, 40, 70)) == [[0], [1]]
