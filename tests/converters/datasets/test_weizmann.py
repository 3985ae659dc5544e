"""The converter of Weizmann's one-object images, on a tiny tree in its layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmlevelset.converters.datasets.weizmann import main
from mmlevelset.datasets import ImageMaskDataset

SIZE = (6, 8)
NAMES = ("b", "a", "c")
LOAD = [dict(type="mmlevelset.LoadImage"), dict(type="mmlevelset.LoadMaskAnnotations")]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def mask_of(name: str, annotator: int) -> np.ndarray:
    mask = np.random.default_rng([ord(name), annotator]).random(SIZE) < 0.4
    mask[0, 0] = True
    return mask


@pytest.fixture
def source(tmp_path) -> Path:
    """Three grey pictures, with the object painted red by each of two annotators."""
    for name in NAMES:
        rng = np.random.default_rng(ord(name))
        grey = np.repeat(rng.integers(0, 256, (*SIZE, 1), np.uint8), 3, 2)
        folder = tmp_path / "1obj" / name
        save(folder / f"src_bw/{name}.png", grey)
        save(folder / f"src_color/{name}.png", rng.integers(0, 256, (*SIZE, 3), np.uint8))
        for annotator in (1, 2):
            painted = grey.copy()
            painted[mask_of(name, annotator)] = (255, 0, 0)
            save(folder / f"human_seg/{name}_{annotator * 5}.png", painted)
    return tmp_path / "1obj"


@pytest.fixture
def convert(source):
    def run(*words: object) -> Path:
        target = source.parent / "weizmann"
        main([*map(str, words or (source, target))])
        return target

    return run


def read(target: Path, **kwargs) -> ImageMaskDataset:
    return ImageMaskDataset(
        data_root=str(target),
        data_prefix=dict(img_path="images", seg_map_path="masks"),
        annotators=("1", "2"),
        pipeline=LOAD,
        **kwargs,
    )


def test_the_result_is_what_the_data_set_reads(convert, source, capsys):
    target = convert()
    assert "3 images, 2 annotators (at most 2)" in capsys.readouterr().out
    items = list(read(target))
    assert len(items) == 3
    for name, item in zip(sorted(NAMES), items, strict=True):
        assert np.array_equal(item["annotator_maps"], [mask_of(name, 1), mask_of(name, 2)])
        colours = np.asarray(Image.open(source / f"{name}/src_color/{name}.png"))
        assert np.array_equal(item["img"][..., ::-1], colours)
    for split, names in (("train", "ac"), ("test", "b")):
        found = [Path(item["img_path"]).stem for item in read(target, ann_file=f"{split}.txt")]
        assert found == list(names)


def test_grey_images_and_what_all_annotated(convert, source, capsys):
    (source / "a/human_seg/a_10.png").unlink()
    target = convert(source, source.parent / "grey", "--images", "bw") and source.parent / "grey"
    assert "1 annotators (at most 2)" in capsys.readouterr().out
    assert sorted(path.name for path in (target / "masks").iterdir()) == ["1"]
    image = np.asarray(Image.open(target / "images/a.png"))
    assert np.array_equal(image, np.asarray(Image.open(source / "a/src_bw/a.png")))


def test_it_goes_on_where_it_was_interrupted(convert, source, capsys):
    target = convert()
    (target / "masks/1/a.png").unlink()
    convert()
    assert "wrote 1 label maps, 5 were there already" in capsys.readouterr().out
    assert len(read(target)) == 3


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/src_color", "the folder of an image {source}/a/src_color does not exist"),
        ("a/src_color/a.png", "{source}/a/src_color must hold one *.png, but holds 0"),
        (".", "the data's folder {source} does not exist"),
    ],
)
def test_what_is_missing_is_named(convert, refused, source, name, message):
    remove(source / name)
    assert refused(convert) == "weizmann.py: error: " + message.format(source=source)


def test_wrong_annotations_are_named(convert, refused, source):
    path = source / "b/human_seg/b_5.png"
    save(path, np.full((*SIZE, 3), 200, np.uint8))
    assert refused(convert).endswith("b_5.png has no red pixel; the object must be painted red")
    save(path, np.zeros((6, 7, 3), np.uint8))
    assert "b_5.png is 7 x 6 pixels" in refused(convert)
    path.write_bytes(b"no image")
    assert "b_5.png or its image" in refused(convert)
    for file in path.parent.iterdir():
        file.unlink()
    assert refused(convert).endswith("holds no *.png, an annotation with the object painted red")
    for name in NAMES:
        shutil.rmtree(source / name / "human_seg")
    assert refused(convert).endswith("1obj has no folder NAME/human_seg")
