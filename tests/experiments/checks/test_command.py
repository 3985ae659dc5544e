"""The report on a data set in COCO's layout: numbers counted by hand, and every kind of problem."""

import json
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_utils
import pytest
from PIL import ExifTags, Image

from mmlevelset.annotations import parse_coco
from mmlevelset.datasets.loading import LoadImage
from mmlevelset.experiments.checks import pictures
from mmlevelset.experiments.checks.command import main

HEIGHT, WIDTH = 120, 160


def square(number: int, image: int, category: int, left: int, side: int, **more: object) -> dict:
    right, bottom = left + side, 10 + side
    return dict(
        id=number,
        image_id=image,
        category_id=category,
        bbox=[left, 10, side, side],
        area=side**2,
        segmentation=[[left, 10, right, 10, right, bottom, left, bottom]],
        iscrowd=0,
    ) | dict(more)


@pytest.fixture
def content(tmp_path) -> dict:
    """Three images, the last without objects; areas 400, 2500, 10000 and a crowd."""
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg", "c.png"):
        picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        cv2.imwrite(str(tmp_path / "images" / name), picture)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[30:50, 40:70] = 1
    rle = mask_utils.encode(mask)
    crowd = dict(size=rle["size"], counts=rle["counts"].decode())
    size = dict(height=HEIGHT, width=WIDTH)
    return dict(
        images=[
            dict(id=1, file_name="a.jpg", **size),
            dict(id=2, file_name="b.jpg", **size),
            dict(id=3, file_name="c.png", **size),
        ],
        categories=[dict(id=5, name="cat"), dict(id=7, name="dog"), dict(id=9, name="owl")],
        annotations=[
            square(1, 1, 5, 10, 20),
            square(2, 1, 7, 60, 50),
            square(3, 2, 5, 20, 100),
            square(4, 2, 5, 0, 1, bbox=[40, 30, 30, 20], segmentation=crowd, iscrowd=1, area=600),
        ],
    )


@pytest.fixture
def verify(tmp_path, capsys):
    def run(content: object, *words: str, name: str = "mine.json") -> tuple[int, dict]:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        images = ["--images", str(tmp_path / "images")] if "--images" not in words else []
        out = tmp_path / "report"
        with pytest.raises(SystemExit) as stop:
            main([str(path), *images, "--out", str(out), "--workers", "1", *words])
        return stop.value.code, json.loads((out / "report.json").read_text())

    return run


def kinds(report: dict, key: str = "problems") -> dict[str, list[str]]:
    return {finding["kind"]: finding["examples"] for finding in report[key]}


def test_numbers_by_hand(verify, content, tmp_path, capsys):
    code, report = verify(content)
    assert code == 0 and report["problems"] == []
    found = report["statistics"]
    assert (found["images"], found["instances"], found["crowds"]) == (3, 3, 1)
    assert found["annotations_per_image"] == {"mean": 4 / 3, "most": 2}
    assert found["categories"] == [
        dict(id=5, name="cat", instances=2, crowds=1, images=2),
        dict(id=7, name="dog", instances=1, crowds=0, images=1),
        dict(id=9, name="owl", instances=0, crowds=0, images=0),
    ]
    sizes = found["instance_sizes"]
    assert (sizes["small"], sizes["medium"], sizes["large"]) == (1, 1, 1)
    roots = sizes["square_root_of_area"]
    assert (roots["25"], roots["50"], roots["75"]) == (35, 50, 75)
    assert found["image_sizes"]["most_frequent"] == [[WIDTH, HEIGHT, 3]]
    assert kinds(report, "notes") == {
        "images without annotations": ["c.png"],
        "categories without annotations": ["owl"],
    }
    printed = capsys.readouterr().out
    assert "| cat | 5 | 2 | 1 | 2 |" in printed and "| crowds | 1 |" in printed
    written = (tmp_path / "report/report.md").read_text()
    assert "![overlays](overlays.jpg)" in written and "## Problems\n\nNone.\n" in written
    sheet = cv2.imread(str(tmp_path / "report/overlays.jpg"))
    assert sheet.shape[1] > 3 * 400  # three images in a row
    assert (tmp_path / "report/categories.png").read_bytes().startswith(b"\x89PNG")


def test_areas_at_the_bounds(verify, content):
    content["annotations"] = [square(n, 1, 5, 1, s) for n, s in enumerate((31, 32, 95, 96), 1)]
    sizes = verify(content)[1]["statistics"]["instance_sizes"]
    assert (sizes["small"], sizes["medium"], sizes["large"]) == (1, 2, 1)


def spoil(key: str, index: int, **values: object):
    return lambda content: content[key][index].update(values)


def ones(height: int, width: int) -> dict:
    encoded = mask_utils.encode(np.ones((height, width), np.uint8, order="F"))
    return dict(size=encoded["size"], counts=encoded["counts"].decode())


PROBLEMS = {
    "image id": (spoil("images", 2, id=2), "images with the same id as another", ["2"]),
    "file name": (
        spoil("images", 2, file_name="a.jpg"),
        "images with the same file_name as another",
        ["a.jpg"],
    ),
    "annotation id": (
        spoil("annotations", 3, id=1),
        "annotations with the same id as another",
        ["1"],
    ),
    "category id": (
        spoil("categories", 2, id=5),
        "categories with the same id as another",
        ["5"],
    ),
    "orphan": (
        spoil("annotations", 2, image_id=8),
        "annotations of an image that is not listed",
        ["3"],
    ),
    "category": (
        spoil("annotations", 2, category_id=8),
        "annotations skipped: category not in the file",
        ["3"],
    ),
    "iscrowd": (
        spoil("annotations", 2, iscrowd=2),
        "annotations skipped: iscrowd or ignore is neither 0 nor 1",
        ["3"],
    ),
    "area": (
        spoil("annotations", 0, area=0),
        "annotations skipped: zero area",
        ["1"],
    ),
    "no numbers": (
        spoil("annotations", 0, bbox=[1, 2, None, 4]),
        "annotations skipped: bbox is not four numbers, or area not a number",
        ["1"],
    ),
    "flat box": (
        spoil("annotations", 0, bbox=[10, 10, 20, 0]),
        "annotations skipped: zero area",
        ["1"],
    ),
    "outside": (
        spoil("annotations", 2, bbox=[20, 10, 142, 100]),
        "annotations whose box reaches outside the image",
        ["3"],
    ),
    "corners": (
        spoil("annotations", 2, bbox=[20, 10, 120, 110]),  # x1, y1, x2, y2
        "annotations whose box is more than 2 pixels off its mask's",
        ["3"],
    ),
    "RLE's box": (
        spoil("annotations", 3, bbox=[40, 33, 30, 17]),
        "annotations whose box is more than 2 pixels off its mask's",
        ["4"],
    ),
    "no mask": (
        spoil("annotations", 0, segmentation=[]),
        "annotations skipped: no segmentation",
        ["1"],
    ),
    "polygon": (
        spoil("annotations", 0, segmentation=[[1, 2, 3, 4]]),
        "annotations skipped: invalid segmentation",
        ["1"],
    ),
    "polygon off the image": (
        spoil("annotations", 0, segmentation=[[500, 500, 520, 500, 520, 520]]),
        "annotations skipped: zero area",
        ["1"],
    ),
    "empty RLE": (
        spoil("annotations", 3, segmentation=dict(size=[HEIGHT, WIDTH], counts=[HEIGHT * WIDTH])),
        "annotations skipped: zero area",
        ["4"],
    ),
    "size of RLE": (
        spoil("annotations", 3, segmentation=ones(WIDTH, HEIGHT)),
        "annotations skipped: the RLE mask's size is not the image's",
        ["4"],
    ),
    "short RLE": (
        spoil("annotations", 3, segmentation=dict(size=[HEIGHT, WIDTH], counts=[3, 4])),
        "annotations skipped: invalid RLE mask",
        ["4"],
    ),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_problems_of_the_file(verify, content, case):
    change, kind, examples = PROBLEMS[case]
    change(content)
    code, report = verify(content, "--samples", "0")
    assert code == 1
    assert kinds(report)[kind] == examples


@pytest.mark.parametrize("width", [None, "160", 0])
def test_sizes_that_are_no_numbers(verify, content, width):
    content["images"][2]["width"] = width
    code, report = verify(content)
    assert code == 1
    assert kinds(report)["images whose width or height is no positive integer"] == ["3"]
    assert report["statistics"]["image_sizes"]["most_frequent"] == [[WIDTH, HEIGHT, 2]]


def test_spikes_thinner_than_a_pixel_fit_their_box(verify, content):
    spike = [10, 10, 30, 10, 60, 10.02, 30, 10.3, 30, 30, 10, 30]
    content["annotations"][0].update(segmentation=[spike], bbox=[10, 10, 50, 20])
    assert verify(content)[0] == 0


def test_problems_of_the_image_files(verify, content, tmp_path, capsys):
    folder = tmp_path / "images"
    (folder / "a.jpg").unlink()
    (folder / "b.jpg").write_bytes(b"no image at all")
    cv2.imwrite(str(folder / "c.png"), np.zeros((WIDTH, HEIGHT, 3), np.uint8))
    code, report = verify(content)
    assert code == 1
    found = kinds(report)
    assert found["image files that are missing"] == [str(folder / "a.jpg")]
    assert found["image files that cannot be used"][0].startswith(str(folder / "b.jpg"))
    assert found["image files of another size than their annotation"] == [
        f"{folder / 'c.png'} (120 x 160, annotated 160 x 120)"
    ]
    assert "- 1 image files that are missing (" in capsys.readouterr().out
    assert not (tmp_path / "report/overlays.jpg").exists()


def turn(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.open(path).save(path, exif=exif)


def test_images_that_exif_data_turns(verify, content, tmp_path):
    """The report has the sizes that the loader finds, and a note."""
    turned = tmp_path / "images/b.jpg"
    turn(turned, 3)
    code, report = verify(content)
    assert code == 0
    ((note, examples),) = [
        (kind, examples) for kind, examples in kinds(report, "notes").items() if "EXIF" in kind
    ]
    assert examples == [str(turned)] and "color_ignore_orientation" in note
    turn(turned, 6)
    assert LoadImage()(dict(img_path=str(turned)))["img_shape"] == (WIDTH, HEIGHT)
    code, report = verify(content)
    assert code == 1
    assert kinds(report)["image files of another size than their annotation"] == [
        f"{turned} (120 x 160 as its EXIF data turns it, annotated 160 x 120)"
    ]


def test_truncated_files_are_found_where_asked(verify, content, tmp_path):
    path = tmp_path / "images/a.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    assert verify(content)[0] == 0
    code, report = verify(content, "--whole-files")
    assert code == 1
    (example,) = kinds(report)["image files that are damaged"]
    assert example == f"{path} is truncated: the JPEG end marker is missing"


def test_boxes_alone_are_a_note(verify, content, tmp_path):
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    code, report = verify(content)
    assert code == 0
    assert "the file has boxes alone, no masks" in kinds(report, "notes")
    assert (tmp_path / "report/overlays.jpg").exists()


def test_published_numbers(verify, content):
    code, report = verify(content, name="voc_2012_val.json")
    assert code == 1
    assert kinds(report)["numbers that differ from the published ones"] == [
        "3 images, published 1,449",
        "3 categories, published 20",
    ]


def test_processes_give_the_same(verify, content):
    content["annotations"][0]["area"] = 0
    assert verify(content, "--workers", "2") == verify(content)


def write_config(folder: Path, content: dict, classes: tuple[str, ...]) -> Path:
    (folder / "mine.json").write_text(json.dumps(content))
    dataset = dict(
        type="mmlevelset.CocoDataset",
        data_root=str(folder),
        ann_file="mine.json",
        data_prefix=dict(img="images/"),
        metainfo=dict(classes=classes),
        pipeline=[dict(type="LoadImageFromFile")],
    )
    repeated = dict(type="RepeatDataset", times=2, dataset=dataset)
    config = folder / "config.py"
    config.write_text(
        f"train_dataloader = dict(dataset={dataset})\n"
        f"val_dataloader = dict(dataset={repeated})\n"
        "test_dataloader = dict(dataset=dict(type='mmlevelset.ShapesDataset', length=1))\n"
    )
    return config


def of_config(folder: Path, *words: str) -> tuple[object, dict]:
    with pytest.raises(SystemExit) as stop:
        words = (str(folder / "config.py"), "--out", str(folder / "report"), *words)
        main([*words, "--workers", "1"])
    report = folder / "report/report.json"
    return stop.value.code, json.loads(report.read_text()) if report.exists() else {}


UNORDERED, LACKING, UNUSED = (
    "classes of the config in another order than the file's",
    "classes of the config that the file lacks",
    "categories of the file that the config lacks",
)


@pytest.mark.parametrize(
    "classes, expected",
    [
        (("cat", "dog", "owl"), {"train": {}, "val": {}}),
        (("cat", "dog"), {"train": {}, "val": {}}),
        (("cat", "dog", "owl", "emu"), {"train": {LACKING: ["emu"]}, "val": {}}),
        (
            ("owl", "cat", "dog"),
            {"train": {UNORDERED: []}, "val": {UNORDERED: []}},
        ),
    ],
)
def test_classes_of_a_config(content, tmp_path, classes, expected):
    write_config(tmp_path, content, classes)
    for split in ("train", "val"):
        code, report = of_config(tmp_path, "--split", split)
        assert code == bool(expected[split]) and kinds(report) == expected[split]
        assert report["classes"] == list(classes)
        notes = {note["kind"]: list(note["examples"]) for note in report["notes"]}
        assert notes.get(UNUSED, []) == [name for name in ("owl",) if name not in classes]
        assert notes.get(LACKING, []) == ["emu"] * ("emu" in classes and split == "val")


def test_a_training_set_without_annotations_is_a_problem_as_in_training(content, tmp_path):
    write_config(tmp_path, content | dict(annotations=[]), ("cat", "dog", "owl"))
    code, report = of_config(tmp_path)
    assert code == 1 and any("has no annotation to train on" in kind for kind in kinds(report))
    assert of_config(tmp_path, "--split", "val")[0] == 0


@pytest.mark.parametrize(
    "words, message",
    [
        (["none.json", "--images", "."], "ann_file none.json does not exist"),
        (["none.py"], "the config none.py does not exist"),
        (["mine.json"], "mine.json needs --images"),
        (["config.py", "--images", "."], "--images is for an annotation file"),
        (
            ["config.py", "--split", "test"],
            "is a mmlevelset.ShapesDataset, but must be a single data set",
        ),
        (["mine.json", "--images", "elsewhere"], "the folder of the images elsewhere does not"),
        (["text.json", "--images", "images"], "text.json is not JSON"),
        (
            ["list.json", "--images", "images"],
            "list.json must hold a JSON object",
        ),
        (["lacks.json", "--images", "images"], "key 'images' must be a list, but it is missing"),
    ],
)
def test_errors_are_one_line(content, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, content, ("cat", "dog", "owl"))
    (tmp_path / "text.json").write_text(json.dumps(content)[:-9])
    (tmp_path / "list.json").write_text("[]")
    del content["images"]
    (tmp_path / "lacks.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit) as stop:
        main(words)
    (line,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("verify_dataset")
    ]
    assert stop.value.code == 2
    start, _, end = message.partition(".*")
    assert line.startswith("verify_dataset.py: error: ") and start in line and end in line


def test_the_sheet_shows_each_category_early(content):
    file = parse_coco(content, "mine.json")
    orders = [[image["id"] for image in pictures.choose(file, 3, seed)] for seed in range(10)]
    assert len({*map(tuple, orders)}) > 1
    for order in orders:
        assert sorted(order) == [1, 2, 3]
        assert order.index(1) < 2  # the one image with a dog


def test_the_overlay_paints_the_instance_alone(content, tmp_path):
    (tmp_path / "images/a.jpg").unlink()
    picture = np.full((400, 400, 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "images/a.png"), picture)
    image = dict(id=1, file_name="a.png", height=400, width=400)
    annotation = square(1, 1, 5, 100, 200)
    drawn = tmp_path / "sheet.jpg"
    used, names = {1: [annotation]}, {5: "cat"}
    assert pictures.draw_sheet([image], used, names, tmp_path / "images", drawn) == 1
    sheet = cv2.imread(str(drawn)).astype(int)
    top = sheet.shape[0] - 8 - 400  # the image is at the bottom, a gap of 8 around it
    panel = sheet[top : top + 400, 8:408]
    inside, outside = panel[60:180, 120:280], panel[260:380, 20:380]
    assert abs(outside - 90).max() <= 4
    red = inside.mean((0, 1))  # the first colour of instances, over grey
    assert red[2] > 130 and max(red[:2]) < 90
