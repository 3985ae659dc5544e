"""An annotation without an area gets that of its mask, or of its box."""

import copy

import pytest

from mmlevelset.annotations import judge, label_categories, parse_coco
from mmlevelset.annotations.areas import area_of
from tests.annotations.files import FAULTS, HEIGHT, WIDTH, as_rle, rectangle


def file_of(*annotations: dict) -> dict:
    return dict(
        images=[dict(id=1, file_name="1.png", height=HEIGHT, width=WIDTH)],
        categories=[dict(id=1, name="disk")],
        annotations=[
            dict(annotation, id=number, image_id=1, category_id=1)
            for number, annotation in enumerate(annotations, 1)
        ],
    )


def without(annotation: dict, *names: str) -> dict:
    return {name: value for name, value in annotation.items() if name not in names}


def test_the_area_is_the_masks_or_the_boxes():
    whole = rectangle(3, 4, 20, 10)
    triangle = dict(whole, segmentation=[[3, 4, 23, 4, 3, 14]])
    given = [
        whole,
        as_rle(whole),
        as_rle(whole, text=False),
        triangle,
        without(whole, "segmentation"),
    ]
    content = file_of(*(without(annotation, "area") for annotation in given), dict(whole, area=7))
    with pytest.warns(
        UserWarning, match=r"here: 5 annotations have no 'area' \(ids 1, 2, 3, 4, 5\)"
    ):
        file = parse_coco(content, "here").require_sound()
    areas = [annotation["area"] for annotation in file.annotations]
    assert areas[:3] == [200, 200, 200] and areas[4:] == [200, 7]
    assert areas[3] == pytest.approx(100, abs=8)  # whole pixels
    view = judge(file, label_categories(file), masks="optional")
    assert not view.skipped and len(view.used[0]) == 6


def test_a_file_with_areas_is_read_in_silence(recwarn):
    assert parse_coco(file_of(rectangle(1, 1, 9, 9)), "here").annotations[0]["area"] == 81
    assert not recwarn


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_keeps_its_verdict(fault):
    """A faulty annotation is skipped for the same reason with and without an area."""
    if "area" in fault:
        pytest.skip("the fault is the area")
    faulty = rectangle(3, 4, 20, 10)
    FAULTS[fault](faulty)
    reasons = []
    for annotation in (faulty, without(faulty, "area")):
        content = file_of(rectangle(1, 1, 9, 9), copy.deepcopy(annotation))
        if "area" in annotation:
            file = parse_coco(content, "here")
        else:
            with pytest.warns(UserWarning, match="1 annotations have no 'area'"):
                file = parse_coco(content, "here")
        reasons.append([*judge(file, label_categories(file)).skipped])
    assert reasons[0] == reasons[1]


def test_an_image_without_a_size_is_refused_for_its_size():
    content = file_of(without(rectangle(1, 1, 9, 9), "area"))
    content["images"][0]["height"] = 0
    with pytest.raises(ValueError, match="'height' of image 1"):
        parse_coco(content, "here").require_sound()


def test_an_invalid_mask_has_no_area():
    assert area_of(dict(bbox=[1, 1, 2, 2], segmentation="polygon"), 9, 9) is None
    assert area_of(dict(bbox=[1, 1, 2]), 9, 9) is None
