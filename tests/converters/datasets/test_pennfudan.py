"""Penn-Fudan's archive to COCO instances, on a tiny tree in its layout."""

import json
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_utils
import pytest
from PIL import Image

from mmlevelset.converters.datasets.pennfudan import main, split_names
from mmlevelset.datasets import CocoDataset

SIZE = (20, 30)
NAMES = {"train": "FudanPed00003", "val": "PennPed00095", "test": "FudanPed00001"}


def mask_of(name: str) -> np.ndarray:
    """Two people, the second beside and in front of the first, and a number left out."""
    mask = np.zeros(SIZE, np.uint8)
    mask[2:18, 3:10] = 1
    mask[4:19, 8:15] = 2 + int(name[-1])
    return mask


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "PennFudanPed"
    for part in ("PNGImages", "PedMasks", "Annotation"):
        (folder / part).mkdir(parents=True)
    for name in NAMES.values():
        y, x = np.mgrid[: SIZE[0], : SIZE[1]]
        photograph = np.stack([8 * x, 12 * y, x + y + int(name[-1])], -1).astype(np.uint8)
        Image.fromarray(photograph).save(folder / f"PNGImages/{name}.png")
        mask = Image.fromarray(mask_of(name)).convert("P")
        mask.putpalette(mask_of(name).tobytes()[:3] * 256)
        mask.save(folder / f"PedMasks/{name}_mask.png")
        (folder / f"Annotation/{name}.txt").write_text("# Compatible with PASCAL Annotation")
    return folder


def convert(source: Path, *words: str) -> Path:
    target = source.parent / "pennfudan"
    main([str(source), str(target), *words])
    return target


def error_of(capsys, source: Path, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        convert(source, *words)
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_the_result_is_what_the_data_set_reads(source):
    target = convert(source, "--allow-partial")
    for split, name in NAMES.items():
        data = CocoDataset(
            data_root=str(target),
            ann_file=f"annotations/instances_{split}.json",
            data_prefix=dict(img=f"{split}/"),
            metainfo=dict(classes=("person",)),
            pipeline=[],
        )
        (item,) = data
        assert Path(item["img_path"]).name == f"{name}.jpg"
        assert (item["height"], item["width"]) == SIZE
        first, second = (mask_utils.decode(entry["mask"]) for entry in item["instances"])
        assert np.array_equal(first, mask_of(name) == 1)
        assert np.array_equal(second, mask_of(name) > 1)
        # The right and bottom edges are exclusive; the second person hides a part of the first.
        assert item["instances"][0]["bbox"] == [3, 2, 10, 18]
        assert item["instances"][1]["bbox"] == [8, 4, 15, 19]
        written = np.asarray(Image.open(item["img_path"]), int)
        original = np.asarray(Image.open(source / f"PNGImages/{name}.png"), int)
        assert np.abs(written - original).max() < 20
        truth = json.loads((target / f"annotations/instances_{split}.json").read_text())
        assert truth["categories"] == [{"id": 1, "name": "person"}]
        assert [annotation["id"] for annotation in truth["annotations"]] == [1, 2]
        assert truth["annotations"][1]["area"] == 105


def test_every_published_image_is_in_one_split():
    splits = split_names()
    assert {split: len(names) for split, names in splits.items()} == dict(
        train=110, val=20, test=40
    )
    every = sorted(name for names in splits.values() for name in names)
    published = [f"FudanPed{n:05d}" for n in range(1, 75)]
    assert every == published + [f"PennPed{n:05d}" for n in range(1, 97)]


def test_a_part_of_the_archive_needs_the_option(source, capsys):
    message = error_of(capsys, source)
    assert "PNGImages: 3 found, 170 published; --allow-partial" in message
    assert not (source.parent / "pennfudan").exists()


@pytest.mark.parametrize(
    "kind", ["folder", "unknown", "size", "empty", "missing", "truncated", "none"]
)
def test_bad_sources_are_named(source, capsys, kind):
    name = NAMES["val"]
    mask, photograph = source / f"PedMasks/{name}_mask.png", source / f"PNGImages/{name}.png"
    expected = str(mask)
    if kind == "folder":
        source, expected = source / "PNGImages", "the folder of the images"
    elif kind == "unknown":
        photograph.rename(photograph.with_stem("FudanPed00075"))
        expected = "not Penn-Fudan's: FudanPed00075"
    elif kind == "size":
        Image.fromarray(mask_of(name)[1:]).save(mask)
        expected = f"{photograph} is 30 x 20 pixels, its mask {mask} 30 x 19"
    elif kind == "empty":
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(mask)
        expected = f"{mask} has no pedestrian"
    elif kind == "missing":
        mask.unlink()
    elif kind == "none":
        for path in photograph.parent.iterdir():
            path.unlink()
        expected = f"{photograph.parent} has no image (*.png)"
    else:
        photograph.write_bytes(photograph.read_bytes()[:60])
        expected = str(photograph)
    assert expected in error_of(capsys, source, "--allow-partial")
    assert not list(source.parent.glob("pennfudan/annotations/*"))
