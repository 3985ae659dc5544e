"""Data set, metric and verify_dataset.py agree on each annotation of generated files."""

import contextlib
import io
import json
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmlevelset.annotations import (
    EXPECTED,
    AnnotationError,
    MissingFileError,
    judge,
    label_categories,
    parse_coco,
    read_coco,
)
from mmlevelset.annotations.masks import encode
from mmlevelset.datasets import CocoDataset
from mmlevelset.evaluation import LevelSetCocoMetric
from mmlevelset.evaluation.ground_truth import GroundTruth
from mmlevelset.experiments.checks.files import file_findings, view_of
from tests.annotations.files import FAULTS, HARMLESS, HEIGHT, WIDTH, annotation_files, rectangle

CLASSES = ("disk", "ring")
few = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


def write(content: dict, folder: str | Path) -> str:
    path = Path(folder, "annotations.json")
    path.write_text(json.dumps(content))
    return str(path)


def dataset_of(path: str, **more: object) -> CocoDataset:
    arguments = dict(metainfo=dict(classes=CLASSES), data_prefix=dict(img=""), pipeline=[])
    return CocoDataset(ann_file=path, test_mode=True, **arguments, **more)


def scores(path: str, samples: list[dict]) -> dict[str, float]:
    metric = LevelSetCocoMetric(ann_file=path, metric=["bbox", "segm"], boundary_tolerances=[1])
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, samples)
    with contextlib.redirect_stdout(io.StringIO()):
        return metric.evaluate(len(samples))


def predictions(dataset: CocoDataset, shift: int = 0) -> list[dict]:
    """The objects of a data set as predictions, moved to the right, the last one missing."""
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        found = [i for i in info["instances"] if not i["ignore_flag"]]
        found = found[:-1] if shift and len(found) > 1 else found
        masks = [np.roll(_decoded(i["mask"]), shift, 1) for i in found]
        boxes = torch.tensor([i["bbox"] for i in found]).reshape(-1, 4) + shift
        samples.append(
            dict(
                img_id=info["img_id"],
                ori_shape=(HEIGHT, WIDTH),
                pred_instances=dict(
                    bboxes=boxes,
                    labels=torch.tensor([i["bbox_label"] for i in found], dtype=torch.long),
                    scores=torch.linspace(0.9, 0.5, len(found)),
                    masks=torch.from_numpy(np.reshape(masks, (-1, HEIGHT, WIDTH)).astype(bool)),
                ),
            )
        )
    return samples


def _decoded(mask: list | dict) -> np.ndarray:
    return mask_utils.decode(encode(mask, HEIGHT, WIDTH))


@few
@given(annotation_files())
def test_all_agree_and_perfect_predictions_score_one(content):
    with tempfile.TemporaryDirectory() as folder:
        path = write(content, folder)
        dataset = dataset_of(path)
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        file = read_coco(path).require_sound()
        view, _, _ = view_of(file, CLASSES, "required")
        truth = GroundTruth(file, CLASSES)
        values = scores(path, predictions(dataset))
    used = {a["id"] for group in view.used for a in group}
    skipped = [number for ids in view.skipped.values() for number in ids]
    assert sorted([*used, *skipped]) == [a["id"] for a in content["annotations"]]
    boxes = [[*b[:2], b[0] + b[2], b[1] + b[3]] for g in view.used for b in [a["bbox"] for a in g]]
    assert boxes == [i["bbox"] for info in infos for i in info["instances"]]
    crowds = [i["ignore_flag"] for info in infos for i in info["instances"]]
    counted = [a for a in truth.dataset["annotations"] if not a["iscrowd"]]
    assert len(counted) == crowds.count(0)
    assert {"segmentation" in a for a in counted} == {True}
    found, notes = file_findings(file, view, None)
    reported = {f.kind.removeprefix("annotations skipped: "): f.count for f in (*found, *notes)}
    for reason, ids in view.skipped.items():
        assert reported[reason] == len(ids)
    assert {values[f"coco/{kind}_mAP"] for kind in ("bbox", "segm")} == {1}
    assert values["coco/AF_1"] == 1


@few
@given(annotation_files(), st.randoms(use_true_random=False))
def test_ids_have_no_influence(content, source: random.Random):
    with tempfile.TemporaryDirectory() as folder:
        path = write(content, folder)
        before = scores(path, predictions(dataset_of(path), shift=1))
        for key, used_as in (("images", "image_id"), ("categories", "category_id"), ("", "id")):
            entries = content[key or "annotations"]
            ids = source.sample(range(2**53, 2**53 + 99), len(entries))
            if source.random() < 0.3:
                ids = [f"id {number}" for number in ids]
            elif source.random() < 0.3:
                ids = [number - ids[0] for number in ids]  # 0 is among them
            new = dict(zip((e["id"] for e in entries), ids, strict=True))
            for entry in entries:
                entry["id"] = new[entry["id"]]
            for annotation in content["annotations"] if key else ():
                annotation[used_as] = new.get(annotation[used_as], "no category")
        path = write(content, folder)
        assert scores(path, predictions(dataset_of(path), shift=1)) == before


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_skips_its_annotation_alone(fault):
    annotation = rectangle(4, 5, 20, 20) | dict(id=1, image_id=1, category_id=10)
    other = rectangle(4, 5, 20, 20) | dict(id=2, image_id=1, category_id=10)
    FAULTS[fault](annotation)
    view = judged([annotation, other])
    assert [a["id"] for a in view.used[0]] == [2]
    ((reason, ids),) = view.skipped.items()
    assert ids == [1]
    assert (reason in EXPECTED) == (fault in ("other class",) or fault.startswith("ignore"))


@pytest.mark.parametrize("change", HARMLESS)
def test_harmless_oddities_are_used(change):
    annotation = rectangle(4, 5, 20, 20) | dict(id=1, image_id=1, category_id=10)
    HARMLESS[change](annotation)
    view = judged([annotation])
    ((used,),) = view.used
    assert used["iscrowd"] == int(change.startswith("crowd")) and view.skipped == {}
    assert encode(used["segmentation"], HEIGHT, WIDTH)["size"] == [HEIGHT, WIDTH]


def judged(annotations: list[dict], masks: str = "required"):
    image = dict(id=1, file_name="1.png", height=HEIGHT, width=WIDTH)
    categories = [dict(id=10, name="disk"), dict(id=30, name="star")]
    content = dict(images=[image], categories=categories, annotations=annotations)
    file = parse_coco(json.loads(json.dumps(content)), "a.json").require_sound()
    return judge(file, label_categories(file, ("disk",)), masks)


def test_an_ignored_annotation_is_neither_missed_nor_a_false_positive(tmp_path):
    """COCO's own evaluation reads iscrowd alone: there the ignored object is missed."""
    objects = [rectangle(2, 2, 12, 12), rectangle(30, 20, 12, 12)]
    content = dict(
        images=[dict(id=1, file_name="1.png", height=HEIGHT, width=WIDTH)],
        categories=[dict(id=10, name="disk"), dict(id=20, name="ring")],
        annotations=[a | dict(id=n, image_id=1, category_id=10) for n, a in enumerate(objects, 1)],
    )
    path = write(content, tmp_path)
    both = predictions(dataset_of(path))
    content["annotations"][1]["ignore"] = 1
    path = write(content, tmp_path)
    assert scores(path, predictions(dataset_of(path)))["coco/segm_mAP"] == 1
    assert scores(path, both)["coco/segm_mAP"] == 1


def sound() -> dict:
    return dict(
        images=[dict(id=1, file_name="1.png", height=HEIGHT, width=WIDTH)],
        categories=[dict(id=10, name="disk"), dict(id=20, name="ring")],
        annotations=[rectangle(2, 2, 12, 12) | dict(id=1, image_id=1, category_id=10)],
    )


REFUSED = {
    "no images": (lambda c: c.update(images=[], annotations=[]), "'images' is empty"),
    "category_id": (
        lambda c: c["annotations"][0].update(category_id=[1]),
        r"'category_id' of annotations\[0\] must be a whole number or a text, not \[1\]",
    ),
    "image_id": (
        lambda c: c["annotations"][0].update(image_id="1"),
        r"names no image of the file \(annotation ids 1\); the first names '1'",
    ),
    "true": (lambda c: c["annotations"][0].update(id=True), "'id' of annotations.* not True"),
    "NaN": (lambda c: c["images"][0].update(id=float("nan")), r"'id' of images\[0\] .*nan"),
    "file_name": (
        lambda c: c["images"][0].update(file_name=None),
        r"'file_name' of images\[0\] must be a text, not None",
    ),
    "name": (lambda c: c["categories"][0].update(name=5), r"'name' of categories\[0\] .* not 5"),
    "width": (lambda c: c["images"][0].update(width="64"), "'width' of image 1 .* not '64'"),
    "height": (lambda c: c["images"][0].update(height=True), "'height' of image 1 .* not True"),
    "half": (lambda c: c["images"][0].update(height=48.5), "'height' of image 1 .* not 48.5"),
    "giant": (lambda c: c["images"][0].update(height=10**12), "at most 1,000,000, not 1000000000"),
    "ids": (
        lambda c: c["annotations"].append(c["annotations"][0]),
        "'annotations' holds an id more than once: 1",
    ),
    "names": (
        lambda c: c["categories"].append(dict(id=3, name="disk")),
        "its categories must have different names, but disk stands twice",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_data_set_metric_and_verify_refuse_the_same(tmp_path, case):
    change, message = REFUSED[case]
    content = sound()
    change(content)
    path = write(content, tmp_path)
    with pytest.raises(AnnotationError, match=message) as caught:
        dataset_of(path)
    assert path in str(caught.value)
    metric = None
    with pytest.raises(AnnotationError, match=message):
        metric = LevelSetCocoMetric(ann_file=path, metric="bbox")
        metric.dataset_meta = dict(classes=CLASSES)
        empty = {name: torch.zeros(0, 4)[:, 0] for name in ("scores", "labels")}
        pred = dict(bboxes=torch.zeros(0, 4), **empty)
        metric.process({}, [dict(img_id=1, ori_shape=(HEIGHT, WIDTH), pred_instances=pred)])
        metric.evaluate(1)
    if case == "file_name":
        assert metric is None
    file = read_coco(path)
    _, unfit, _ = view_of(file, CLASSES, "required")
    assert any(f.count for f in unfit) or file.refusals


def test_the_order_to_give_can_be_pasted(tmp_path):
    content = sound() | dict(categories=[dict(id=1, name=CLASSES[1])], annotations=[])
    with pytest.raises(AnnotationError) as caught:
        label_categories(parse_coco(content, "a.json"), CLASSES)
    assert f"metainfo=dict(classes=({CLASSES[1]!r},))" in str(caught.value)


def test_encodings_of_json(tmp_path):
    path = tmp_path / "a.json"
    text = json.dumps(sound())
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        assert len(dataset_of(str(path))) == 1
    for data in (b"", b"\xff\xfe\x00", b"[" * 100_000, text.encode()[:-3]):
        path.write_bytes(data)
        with pytest.raises(AnnotationError, match=r"a\.json is not JSON"):
            dataset_of(str(path))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_coco(tmp_path / "none.json")
    with pytest.raises(MissingFileError, match="does not exist"):
        dataset_of(str(path / "below"))
    with pytest.raises(AnnotationError, match="cannot be read: Is a directory"):
        read_coco(tmp_path)


def test_a_metric_of_masks_needs_masks(tmp_path):
    content = sound()
    content["annotations"][0]["segmentation"] = []
    path = write(content, tmp_path)
    samples = predictions(dataset_of(write(sound(), tmp_path)))
    write(content, tmp_path)
    with pytest.raises(AnnotationError, match=r"1 annotations of .* no mask: give metric='bbox'"):
        scores(path, samples)


def test_only_predicted_images_count(tmp_path):
    content = sound()
    content["images"].append(content["images"][0] | dict(id=2))
    content["annotations"].append(content["annotations"][0] | dict(id=2, image_id=2))
    path = write(content, tmp_path)
    samples = predictions(dataset_of(path))
    assert scores(path, samples[:1])["coco/segm_mAP"] == 1
    samples[0]["img_id"] = 7
    with pytest.raises(ValueError, match=r"image 7 was predicted, but ann_file .* does not list"):
        scores(path, samples)


def test_written_results_have_the_ids_of_the_file(tmp_path):
    content = sound()
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = "photo"
    content["categories"] = [dict(id=77, name="disk"), dict(id=5, name="ring")]
    content["annotations"][0]["category_id"] = 77
    path = write(content, tmp_path)
    metric = LevelSetCocoMetric(
        ann_file=path, metric=["bbox", "segm"], outfile_prefix=str(tmp_path / "out")
    )
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, predictions(dataset_of(path)))
    assert metric.evaluate(1)["coco/segm_mAP"] == 1
    for kind in ("bbox", "segm"):
        (found,) = json.loads((tmp_path / f"out.{kind}.json").read_text())
        assert (found["image_id"], found["category_id"]) == ("photo", 77)


def test_ten_thousand_annotations_take_less_than_two_seconds(tmp_path):
    generator = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.stack([np.cos(angles), np.sin(angles)], 1)
    annotations = []
    for number in range(10_000):
        x, y, r = generator.uniform((60, 60, 10), (580, 420, 50))
        points = (outline * r + (x, y)).round(2).ravel().tolist()
        made = dict(bbox=[x - r, y - r, 2 * r, 2 * r], area=3 * r * r, segmentation=[points])
        annotations.append(made | dict(id=number, image_id=number // 10, category_id=10))
    images = [dict(id=n, file_name=f"{n}.jpg", height=480, width=640) for n in range(1000)]
    content = dict(images=images, annotations=annotations, categories=sound()["categories"])
    path = write(content, tmp_path)
    start = time.process_time()
    file = read_coco(path).require_sound()
    view = judge(file, label_categories(file, CLASSES))
    assert time.process_time() - start < 2
    assert sum(map(len, view.used)) == 10_000
