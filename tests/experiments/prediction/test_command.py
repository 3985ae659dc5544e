import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.path import Path as MplPath
from mmdet.apis import DetInferencer
from PIL import Image
from pycocotools import mask as mask_util
from pycocotools.coco import COCO

from mmlevelset.experiments.prediction import detector
from mmlevelset.experiments.prediction.command import main
from mmlevelset.experiments.weights import publishing, shipped
from tests.experiments.random_weights import CLASSES, QUICKSTART, write_checkpoint

LEVEL_SETS = "levelset-rcnn_image_shapes"
FEW = ("--score-thr=0", "--device=cpu", "--cfg-options", "model.test_cfg.rcnn.max_per_img=3")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(LEVEL_SETS, tmp_path_factory.mktemp("run") / "epoch_2.pth")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (12, 18, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (90, 60), interpolation=cv2.INTER_CUBIC))
    return path


def predict(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return end.value.code


def read(path: Path):
    return json.loads(path.read_text())


def test_results_of_a_published_model(checkpoint, photo, tmp_path, monkeypatch, capsys):
    """The weights alone, found by their name, give all results."""
    folder = tmp_path / "weights"
    publishing.main([str(checkpoint), "--out", str(folder / "shapes.pth"), "--score-thr=0.01"])
    (folder / "index.json").write_text('{"default": "shapes"}')
    monkeypatch.setattr(shipped, "shipped_folder", lambda name: folder)
    monkeypatch.chdir(tmp_path)
    twin = photo.parent / "twin" / "a.jpg"
    twin.parent.mkdir()
    Image.open(photo).save(twin)
    assert predict("photos", "--cfg-options", "model.test_cfg.rcnn.max_per_img=3") == 0

    out = tmp_path / "work_dirs/predict"
    names = {f"{name}{end}" for name in ("a", "a-2") for end in ENDS}
    assert {path.name for path in out.iterdir()} == {*names, "results.json", "photographs.json"}
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("[1/2] photos/a.png: 3 objects, ") for line in lines)
    assert any(line.startswith("[2/2] photos/twin/a.jpg: 3 objects, ") for line in lines)
    assert lines[-1].endswith(" s each; results in work_dirs/predict")

    # pycocotools reads both files.
    coco = COCO(out / "photographs.json")
    found = coco.loadRes(str(out / "results.json")).dataset["annotations"]
    assert [image["file_name"] for image in coco.dataset["images"]] == [
        "photos/a.png",
        "photos/twin/a.jpg",
    ]
    assert coco.dataset["images"][1]["results"]["contours"] == "a-2_contours.png"
    assert [category["name"] for category in coco.dataset["categories"]] == list(CLASSES)
    assert [entry["image_id"] for entry in found] == [1, 1, 1, 2, 2, 2]
    assert all(entry["label"] == CLASSES[entry["category_id"] - 1] for entry in found)
    scores = [entry["score"] for entry in found[:3]]
    assert scores == sorted(scores, reverse=True)

    # The polygons are the contours of phi_3; they enclose the pixels of the masks.
    drawn = read(out / "a.geojson")
    assert (drawn["width"], drawn["height"], drawn["photograph"]) == (90, 60, "photos/a.png")
    for feature, entry in zip(drawn["features"], found[:3], strict=True):
        assert feature["properties"] == {name: entry[name] for name in ("label", "score")}
        mask = mask_util.decode(entry["segmentation"])
        assert mask.shape == (60, 90)
        differing = enclosed(feature["geometry"], 60, 90) != mask
        assert differing.sum() <= 0.02 * mask.sum()  # both interpolate phi, in different ways

    assert cv2.imread(str(out / "a_contours.png")).shape == (427, 640, 3)
    # Three rows of phi_0 to phi_3, which fill a side of 300 pixels.
    height, width = cv2.imread(str(out / "a_evolution.png")).shape[:2]
    assert 3 * 100 < height <= 8 + 3 * 338 and 600 < width <= 8 + 4 * 308


ENDS = ("_contours.png", "_evolution.png", ".geojson")


def enclosed(geometry: dict | None, height: int, width: int) -> np.ndarray:
    """The pixels (height, width) whose centres lie inside a polygon of GeoJSON."""
    rows, columns = np.indices((height, width)).reshape(2, -1) + 0.5
    inside = np.zeros(height * width, dtype=bool)
    parts = [] if geometry is None else geometry["coordinates"]
    if geometry is not None and geometry["type"] == "Polygon":
        parts = [parts]
    for rings in parts:
        for ring in rings:
            inside ^= MplPath(ring).contains_points(np.stack([columns, rows], 1))
    return inside.reshape(height, width)


def test_masks_are_those_of_mmdet(checkpoint, photo, tmp_path):
    """Without a config, a checkpoint of a training has its own."""
    assert predict(photo, "--weights", checkpoint, "--out", tmp_path / "out", *FEW) == 0
    inferencer = DetInferencer(weights=str(checkpoint), device="cpu", show_progress=False)
    inferencer.model.roi_head.test_cfg.max_per_img = 3
    (found,) = inferencer(str(photo), return_datasamples=True, no_save_vis=True)["predictions"]
    entries = read(tmp_path / "out/results.json")
    masks = [mask_util.decode(entry["segmentation"]) for entry in entries]
    assert (np.array(masks) == found.pred_instances.masks.numpy()).all()
    scores = [entry["score"] for entry in entries]
    assert scores == pytest.approx(found.pred_instances.scores.tolist())
    boxes = np.array([entry["bbox"] for entry in entries])
    boxes[:, 2:] += boxes[:, :2]
    np.testing.assert_allclose(boxes, found.pred_instances.bboxes.numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    "name, ends, options",
    [
        ("mask-rcnn_shapes", (ENDS[0], ENDS[2]), ["model.test_cfg.rcnn.max_per_img=2"]),
        ("mask-rcnn_refined_shapes", ENDS, ["model.test_cfg.rcnn.max_per_img=2"]),
        ("solov2_shapes", (ENDS[0], ENDS[2]), ["model.test_cfg.max_per_img=2"]),
    ],
)
def test_models_without_level_sets(photo, tmp_path, name, ends, options):
    weights = write_checkpoint(name, tmp_path / "run" / "epoch_2.pth")
    out, config = tmp_path / "out", QUICKSTART / f"{name}.py"
    words = ["--weights", weights, "--config", config, "--out", out, "--score-thr=0"]
    if "solov2" in name:
        options = [*options, "model.test_cfg.score_thr=0", "model.test_cfg.filter_thr=0"]
    assert predict(photo, *words, "--cfg-options", *options) == 0
    assert {path.name for path in out.iterdir()} - {"results.json", "photographs.json"} == {
        f"a{end}" for end in ends
    }
    entries = read(out / "results.json")
    assert entries
    for feature, entry in zip(read(out / "a.geojson")["features"], entries, strict=True):
        mask = mask_util.decode(entry["segmentation"])
        assert (enclosed(feature["geometry"], *mask.shape) == mask).all()
        assert (entry["bbox"][2] > 0 and entry["bbox"][3] > 0) or not mask.any()


def test_a_photograph_in_tiles(checkpoint, photo, tmp_path):
    """Encoded masks have outlines. Of the level sets, the first masks are left."""
    config = tmp_path / "tiled.py"
    config.write_text(
        f'_base_ = ["{QUICKSTART}/levelset-rcnn_tiled_shapes.py"]\n'
        "mask_head = dict(image_features=True)\n"
        "model = dict(tile_size=64, overlap=16, max_per_img=4,\n"
        "             module=dict(roi_head=dict(mask_head=mask_head)))\n"
    )
    words = ["--weights", checkpoint, "--config", config, "--out", tmp_path, "--score-thr=0"]
    assert predict(photo, *words) == 0
    assert (tmp_path / "a_evolution.png").is_file()
    entries, features = read(tmp_path / "results.json"), read(tmp_path / "a.geojson")["features"]
    assert len(entries) == 4
    for feature, entry in zip(features, entries, strict=True):
        mask = mask_util.decode(entry["segmentation"])
        assert (enclosed(feature["geometry"], 60, 90) == mask).all()


def test_files_that_are_no_photographs_are_named(checkpoint, photo, tmp_path, capsys):
    folder = photo.parent
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.jpg").touch()
    (folder / "short.png").write_bytes(photo.read_bytes()[:-20])
    cv2.imwrite(str(folder / "line.png"), np.zeros((1, 400, 3), np.uint8))  # resized, of height 0
    shutil.copy(photo, folder / os.fsdecode(b"no text \xff.png"))
    words = [folder, tmp_path / "none.png", "--weights", checkpoint, "--out", tmp_path / "out"]
    assert predict(*words, *FEW) == 2
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("predict.py: ")]
    assert len(lines) == 5
    assert lines[0].endswith("none.png: there is no such file or folder")
    assert lines.pop(2) == (
        f"predict.py: {folder / 'line.png'}: 400 x 1 pixels (width x height) are too narrow to be"
        " resized"
    )
    for line, name in zip(lines[1:], ("empty.jpg", "short.png", "text.jpg"), strict=True):
        assert line.startswith(f"predict.py: image file {folder / name} ")
    assert "2 photographs, " in printed.out
    assert [image["id"] for image in read(tmp_path / "out/photographs.json")["images"]] == [1, 2]


def test_kinds_of_photographs(checkpoint, photo, tmp_path, monkeypatch):
    """Turned by EXIF data, grey, with alpha, of 16 bits, CMYK: the detector sees 8-bit BGR."""
    seen = {}

    def look(self, loaded):
        seen[Path(loaded["img_path"]).name] = loaded["img"]
        raise KeyboardInterrupt

    monkeypatch.setattr(detector.Detector, "detect", look)
    folder = photo.parent
    image = Image.fromarray(np.full((20, 30, 3), (200, 100, 50), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(folder / "turned.jpg", exif=exif)
    image.convert("L").save(folder / "grey.png")
    image.convert("RGBA").save(folder / "alpha.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    cv2.imwrite(str(folder / "deep.png"), np.full((20, 30, 3), (12800, 25600, 51200), np.uint16))
    names = ("turned.jpg", "grey.png", "alpha.png", "cmyk.jpg", "deep.png")
    for name in names:
        with pytest.raises(SystemExit) as end:
            main([str(folder / name), "--weights", str(checkpoint), "--out", str(tmp_path)])
        assert end.value.code == 130
    assert {name: seen[name].shape for name in names} == {
        **dict.fromkeys(names, (20, 30, 3)),
        "turned.jpg": (30, 20, 3),
    }
    for name in names:
        assert seen[name].dtype == np.uint8
        expected = (124, 124, 124) if name == "grey.png" else (50, 100, 200)
        np.testing.assert_allclose(seen[name].mean((0, 1)), expected, atol=6)


def test_an_ended_run_keeps_what_it_has_and_nothing_is_half_written(
    checkpoint, photo, tmp_path, monkeypatch, capsys
):
    shutil.copy(photo, photo.parent / "b.png")
    real = detector.Detector.detect

    def once(self, loaded):
        if loaded["img_path"].endswith("b.png"):
            raise KeyboardInterrupt
        return real(self, loaded)

    monkeypatch.setattr(detector.Detector, "detect", once)
    words = [photo.parent, "--weights", checkpoint, "--out", tmp_path / "out", *FEW]
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert end.value.code == 130
    assert "interrupted: 1 of 2 photographs are done" in capsys.readouterr().err
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {*(f"a{end}" for end in ENDS), "results.json", "photographs.json"}
    assert len(read(tmp_path / "out/photographs.json")["images"]) == 1


def test_wrong_arguments_have_one_line(checkpoint, photo, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    shapes = ["--weights", checkpoint]
    for words, message in (
        ([photo, *shapes, "--out", file], f"--out must be a folder, and {file} is a file"),
        ([photo, *shapes, "--out", file / "below"], "cannot be made: Not a directory"),
        ([photo, *shapes, "--out", ""], "the name of the folder is empty"),
        ([photo, "--weights", ""], "--weights is empty: leave it out for the default"),
        ([photo, "--weights", "none"], "the weights none are no file and no shipped weights"),
        ([photo, *shapes, "--score-thr=1.5"], "--score-thr must be in 0..1, and was 1.5"),
        ([tmp_path / "x.jpg", *shapes], "x.jpg: there is no such file or folder"),
        ([photo, *shapes, "--config", "none.py"], "the config none.py does not exist"),
        (
            [photo, *shapes, "--config", QUICKSTART / "mask-rcnn_shapes.py"],
            "is not of the config's model: 11 weights of the checkpoint unknown",
        ),
    ):
        out = [] if "--out" in words else ["--out", tmp_path / "out"]
        assert predict(*words, *out) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines[-1].startswith("predict.py: error: ") and message in lines[-1]


def test_a_semantic_model_is_refused(photo, tmp_path, capsys):
    name = "fcn-32s_shapes"
    weights = write_checkpoint(name, tmp_path / "epoch_2.pth")
    assert predict(photo, "--weights", weights, "--out", tmp_path / "out") == 2
    assert "the config's model predicts no masks of objects" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())
