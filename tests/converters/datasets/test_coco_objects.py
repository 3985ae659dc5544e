"""One class and two splits of a file of instances."""

import json
from pathlib import Path

import pytest

from mmlevelset.converters.datasets.coco_objects import main, split_ids


@pytest.fixture
def source(tmp_path) -> Path:
    """Ten images; image n has n % 3 instances, of two categories."""
    annotations = [
        dict(
            id=10 * image + number,
            image_id=image,
            category_id=(5, 2)[number],
            bbox=[1, 2, 3, 4],
            area=12.0,
            iscrowd=number,
            segmentation=[[1, 2, 4, 2, 4, 6, 1, 6]],
        )
        for image in range(1, 11)
        for number in range(image % 3)
    ]
    content = dict(
        info=dict(description="tiny"),
        images=[dict(id=n, file_name=f"{n}.jpg", width=9, height=9) for n in range(1, 11)],
        annotations=annotations,
        categories=[dict(id=2, name="dog"), dict(id=5, name="cat")],
    )
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return path


def convert(source: Path, *words: str) -> dict[str, dict]:
    target = source.parent / "objects"
    main([str(source), str(target), *words])
    return {
        split: json.loads((target / f"instances_{split}.json").read_text())
        for split in ("train", "val")
    }


def test_every_image_is_in_one_split_with_its_instances(source, capsys):
    original = json.loads(source.read_text())
    parts = convert(source, "--val", "3")
    assert "7 images" in capsys.readouterr().out
    assert [len(part["images"]) for part in parts.values()] == [7, 3]
    images = [image for part in parts.values() for image in part["images"]]
    assert sorted(images, key=lambda image: image["id"]) == original["images"]
    annotations = [entry for part in parts.values() for entry in part["annotations"]]
    assert sorted(annotations, key=lambda entry: entry["id"]) == [
        {**entry, "category_id": 1} for entry in original["annotations"]
    ]
    for part in parts.values():
        assert part["categories"] == [{"id": 1, "name": "object"}]
        assert part["info"] == original["info"]
        ids = {image["id"] for image in part["images"]}
        assert {entry["image_id"] for entry in part["annotations"]} <= ids


def test_the_seed_decides_the_split_and_the_order_of_the_file_does_not(source):
    splits = [split_ids(range(128), 32, seed) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]
    assert split_ids(range(127, -1, -1), 32, 0) == splits[0]
    assert sorted(splits[0]["val"])[:8] == FIRST


# Python keeps the results of random.shuffle, so that the split stays.
FIRST = [2, 3, 4, 10, 14, 16, 22, 23]


def test_another_name(source):
    assert (
        convert(source, "--val", "1", "--name", "thing")["val"]["categories"][0]["name"] == "thing"
    )


def test_other_classes_are_left_out_and_their_images_stay(source):
    original = json.loads(source.read_text())
    parts = convert(source, "--val", "3", "--only", "dog", "--name", "dog")
    assert sum(len(part["images"]) for part in parts.values()) == 10
    kept = {entry["id"] for part in parts.values() for entry in part["annotations"]}
    assert kept == {entry["id"] for entry in original["annotations"] if entry["category_id"] == 2}
    both = convert(source, "--val", "3", "--only", "dog", "cat")
    assert both == convert(source, "--val", "3")


def test_nothing_is_lost_where_categories_share_a_name_or_are_missing(source):
    content = json.loads(source.read_text())
    content["categories"] = [dict(id=2, name="dog"), dict(id=5, name="dog")]
    source.write_text(json.dumps(content))
    for words in ([], ["--only", "dog"]):
        parts = convert(source, "--val", "3", *words)
        assert sum(len(part["annotations"]) for part in parts.values()) == 10


def test_the_source_is_not_replaced(source, capsys):
    own = source.rename(source.with_name("instances_train.json"))
    before = own.read_text()
    with pytest.raises(SystemExit) as end:
        main([str(own), str(own.parent), "--val", "1"])
    assert end.value.code == 2
    assert f"{own} would be replaced" in capsys.readouterr().err
    assert own.read_text() == before and len(list(own.parent.iterdir())) == 1


def test_ids_may_be_numbers_and_texts(source):
    content = json.loads(source.read_text())
    content["images"][0]["id"] = "a"
    for entry in content["annotations"]:
        if entry["image_id"] == 1:
            entry["image_id"] = "a"
    source.write_text(json.dumps(content))
    parts = convert(source, "--val", "3")
    assert sum(len(part["images"]) for part in parts.values()) == 10


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (None, ["--val", "10"], "--val must be less than the 10 images of"),
        (None, ["--val", "0"], "must be a positive integer"),
        (None, ["--val", "1", "--only", "dog", "cow"], "['cat', 'dog'], but has 'cow'"),
        ("{", ["--val", "1"], "is not JSON"),
        ("[]", ["--val", "1"], "must hold a JSON object"),
        ('{"images": [1], "annotations": [], "categories": []}', ["--val", "1"], "images[0]"),
        ('{"images": [{}], "annotations": [], "categories": []}', ["--val", "1"], "key 'id'"),
    ],
)
def test_bad_input_is_named(source, capsys, content, words, message):
    if content is not None:
        source.write_text(content)
    with pytest.raises(SystemExit) as end:
        convert(source, *words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not (source.parent / "objects").exists()


def test_the_file_is_parsed_once(source, monkeypatch):
    parsed = []
    original = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(len(text)) or original(text))
    main([str(source), str(source.parent / "objects"), "--val", "3"])
    assert parsed == [len(source.read_bytes())]
