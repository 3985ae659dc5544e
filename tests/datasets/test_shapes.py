import copy
import hashlib
import json
import pickle
import subprocess

import cv2
import mmengine.fileio as fileio
import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader

from mmlevelset.datasets import ShapesDataset, ShapesSegDataset, shapes
from mmlevelset.datasets.shape_rendering import KINDS
from mmlevelset.datasets.shapes import ShapesSpec

PIPELINE = [
    {"type": "LoadImageFromFile"},
    {"type": "mmdet.LoadAnnotations", "with_bbox": True, "with_mask": True, "with_seg": True},
    {"type": "mmdet.PackDetInputs"},
]
SMALL = {"length": 4, "image_size": (64, 48)}


@pytest.fixture(autouse=True)
def fresh_caches(monkeypatch):
    monkeypatch.setattr(shapes, "_kept", shapes._SampleCache(shapes.CACHE_BYTES))
    monkeypatch.setattr(shapes, "_recent", shapes._SampleCache(2**20))


@pytest.fixture
def rendered(monkeypatch):
    """The indices rendered, in order."""
    calls = []
    original = shapes.render_sample

    def count(spec, index):
        calls.append(index)
        return original(spec, index)

    monkeypatch.setattr(shapes, "render_sample", count)
    return calls


def _image(info):
    return cv2.imdecode(np.frombuffer(fileio.get(info["img_path"]), np.uint8), -1)


def _labels(info):
    return cv2.imdecode(np.frombuffer(fileio.get(info["seg_map_path"]), np.uint8), -1)


def test_registered_name_builds_from_a_config():
    with DefaultScope.overwrite_default_scope("mmdet"):
        config = {"type": "mmlevelset.ShapesDataset", "pipeline": PIPELINE, **SMALL}
        sample = ROOT_DATASETS.build(config)[0]
    assert sample["inputs"].shape == (3, 48, 64)
    assert len(sample["data_samples"].gt_instances) >= 1


def test_boxes_masks_and_label_map_agree():
    dataset = ShapesDataset(length=20, image_size=(96, 64), seed=1, background_label=255)
    for info in map(dataset.get_data_info, range(20)):
        labels = _labels(info)
        assert labels.dtype == np.uint8 and labels.shape == (64, 96)
        union = np.full_like(labels, 255)
        for instance in info["instances"]:
            mask = mask_utils.decode(instance["mask"]).astype(bool)
            assert not (union[mask] != 255).any(), "visible masks overlap"
            union[mask] = instance["bbox_label"]
            rows, columns = np.nonzero(mask)
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert instance["bbox"] == box
            assert mask.sum() >= 40
            assert instance["ignore_flag"] == 0
        assert np.array_equal(union, labels)
        assert _image(info).shape == (64, 96, 3)
        assert (info["height"], info["width"]) == (64, 96)


def test_background_label_shifts_the_classes():
    first = ShapesDataset(**SMALL).get_data_info(0)
    second = ShapesDataset(**SMALL, background_label=255).get_data_info(0)
    assert np.array_equal(_labels(first), (_labels(second).astype(int) + 1) % 256)
    assert (_labels(first) == 0).any()


def test_image_depends_on_seed_and_index_alone():
    images = [_image(ShapesDataset(**SMALL, seed=5).get_data_info(i)) for i in range(4)]
    longer = ShapesDataset(length=50, image_size=(64, 48), seed=5, cache=False)
    for i in (3, 0, 2, 1):
        assert np.array_equal(images[i], _image(longer.get_data_info(i)))
    assert not np.array_equal(images[0], images[1])
    other = ShapesDataset(**SMALL, seed=6).get_data_info(0)
    assert not np.array_equal(images[0], _image(other))


def test_another_process_makes_the_same_bytes(quick_python, tmp_path):
    dataset = ShapesDataset(**SMALL, seed=9)
    script = tmp_path / "hash.py"
    script.write_text(
        "import mmlevelset.datasets, mmengine.fileio as f, sys, hashlib;"
        "print(hashlib.sha256(b''.join(map(f.get, sys.argv[1:]))).hexdigest())"
    )
    uris = [dataset.get_data_info(i)[key] for i in (2, 1) for key in ("img_path", "seg_map_path")]
    words = [quick_python, script, *uris]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert hashlib.sha256(b"".join(map(fileio.get, uris))).hexdigest() == printed.split()[-1]


def test_stock_pipeline_loads_image_and_annotations():
    dataset = ShapesDataset(**SMALL, pipeline=PIPELINE)
    info, sample = dataset.get_data_info(1), dataset[1]
    assert np.array_equal(sample["inputs"].permute(1, 2, 0).numpy(), _image(info))
    truth = sample["data_samples"].gt_instances
    assert truth.bboxes.tensor.tolist() == [i["bbox"] for i in info["instances"]]
    assert truth.labels.tolist() == [i["bbox_label"] for i in info["instances"]]
    masks = np.stack([mask_utils.decode(i["mask"]) for i in info["instances"]])
    assert np.array_equal(truth.masks.masks, masks)
    assert np.array_equal(sample["data_samples"].gt_sem_seg.sem_seg[0].numpy(), _labels(info))
    assert not dataset[1]["data_samples"].ignored_instances.labels.numel()


@pytest.mark.parametrize(
    ("context", "workers"), [("fork", 2), pytest.param("spawn", 1, marks=pytest.mark.slow)]
)
def test_workers_give_what_the_main_process_gives(context, workers):
    dataset = ShapesDataset(length=6, image_size=(64, 48), pipeline=PIPELINE)
    loader = DataLoader(
        dataset, 2, num_workers=workers, collate_fn=pseudo_collate, multiprocessing_context=context
    )
    images = [image for batch in loader for image in batch["inputs"]]
    assert len(images) == 6
    assert all(torch.equal(images[i], dataset[i]["inputs"]) for i in range(6))


def test_pickle_and_deepcopy_keep_the_data():
    dataset = ShapesDataset(**SMALL, seed=2)
    for twin in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        assert len(twin) == 4
        assert twin.get_data_info(3) == dataset.get_data_info(3)


def test_later_epochs_render_nothing(rendered):
    dataset = ShapesDataset(**SMALL, pipeline=PIPELINE)
    for _ in range(3):
        for i in range(4):
            dataset[i]
    assert rendered == [0, 1, 2, 3]


def test_without_cache_an_image_is_rendered_once_for_each_use(rendered):
    dataset = ShapesDataset(length=100, image_size=(160, 160), pipeline=PIPELINE, cache=False)
    order = [*range(30), *range(30)]
    for i in order:
        dataset[i]
    assert rendered == order


def test_cache_stays_within_its_bound(monkeypatch, rendered):
    small = shapes._SampleCache(60_000)
    monkeypatch.setattr(shapes, "_kept", small)
    dataset = ShapesDataset(length=20, image_size=(64, 48))
    for i in range(20):
        dataset.get_data_info(i)
        assert small.nbytes <= 60_000
        assert small.nbytes == sum(sample.nbytes for sample in small._samples.values())
    assert 1 < len(small._samples) < 20
    dataset.get_data_info(19)
    assert rendered == list(range(20))
    dataset.get_data_info(0)
    assert rendered[-1] == 0


def test_annotations_in_the_cache_cannot_be_changed_from_outside():
    dataset = ShapesDataset(**SMALL)
    before = dataset.get_data_info(0)
    spoilt = dataset.get_data_info(0)
    spoilt["instances"][0]["mask"]["counts"] = b""
    spoilt["instances"][0]["ignore_flag"] = 1
    assert dataset.get_data_info(0) == before


def test_empty_images_are_kept_or_left_out_with_a_count(log):
    arguments = {"length": 40, "image_size": (48, 48), "empty_fraction": 0.4}
    every = ShapesDataset(**arguments)
    empty = [not every.get_data_info(i)["instances"] for i in range(40)]
    assert 8 < sum(empty) < 25
    assert len(ShapesDataset(**arguments)) == 40
    assert not log
    kept = ShapesDataset(**arguments, filter_cfg={"filter_empty_gt": True})
    assert log == [f"ShapesDataset: left out {sum(empty)} of 40 images: without objects"]
    ids = [kept.get_data_info(i)["img_id"] for i in range(len(kept))]
    assert ids == [i for i in range(40) if not empty[i]]
    in_test = ShapesDataset(**arguments, filter_cfg={"filter_empty_gt": True}, test_mode=True)
    assert len(in_test) == 40
    # The packed sample of an empty image has no boxes, not none.
    packed = ShapesDataset(**arguments, pipeline=PIPELINE)[empty.index(True)]["data_samples"]
    assert packed.gt_instances.bboxes.tensor.shape == (0, 4)
    assert packed.gt_instances.masks.masks.shape == (0, 48, 48)


def test_metainfo_classes_choose_kinds_and_labels():
    classes = ("star", "ring")
    dataset = ShapesDataset(length=10, image_size=(96, 96), metainfo={"classes": classes})
    assert dataset.metainfo["classes"] == classes
    palette = dict(zip(KINDS, shapes.PALETTE, strict=True))
    assert dataset.metainfo["palette"] == [palette["star"], palette["ring"]]
    labels = {label for i in range(10) for label in dataset.get_cat_ids(i)}
    assert labels == {0, 1}
    assert dataset.get_data_info(0)["img_path"] != ShapesDataset().get_data_info(0)["img_path"]


def test_semantic_dataset_has_the_background_as_class_0():
    dataset = ShapesSegDataset(**SMALL)
    assert dataset.metainfo["classes"] == ("background", *KINDS)
    assert len(dataset.metainfo["palette"]) == 7
    info = dataset.get_data_info(0)
    assert "instances" not in info
    assert np.array_equal(_labels(info), _labels(ShapesDataset(**SMALL).get_data_info(0)))
    with pytest.raises(ValueError, match="background"):
        ShapesSegDataset(**SMALL, metainfo={"classes": ("star",)})
    with pytest.raises(ValueError, match="background_label"):
        ShapesSegDataset(**SMALL, background_label=255)


def test_subsets_and_negative_indices():
    dataset = ShapesDataset(length=10, image_size=(48, 48), indices=[7, 2])
    assert [dataset.get_data_info(i)["img_id"] for i in range(len(dataset))] == [7, 2]
    assert dataset.get_data_info(-1)["img_id"] == 2
    assert len(dataset.get_subset(1)) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("length", 0),
        ("length", 2.5),
        ("image_size", (16, 64)),
        ("image_size", 64),
        ("image_size", "64x64"),
        ("seed", -1),
        ("seed", "0"),
        ("num_objects", (0, 3)),
        ("num_objects", (3, 2)),
        ("num_objects", (1, 101)),
        ("noise", -0.1),
        ("noise", float("nan")),
        ("noise", float("inf")),
        ("light", 1.5),
        ("occlusion", None),
        ("camouflage", 2),
        ("empty_fraction", -1),
        ("background_label", 1),
        ("data_root", "data/"),
        ("classes", ("star", "star")),
        ("classes", ("star", "square")),
    ],
)
def test_bad_argument_is_named(name, value):
    arguments = {"metainfo": {name: value}} if name == "classes" else {name: value}
    with pytest.raises(ValueError, match=name):
        ShapesDataset(**arguments)


specs = st.builds(
    ShapesSpec,
    seed=st.integers(0, 2**40),
    size=st.tuples(st.integers(32, 999), st.integers(32, 999)),
    num_objects=st.tuples(st.integers(1, 9), st.integers(9, 100)),
    noise=st.floats(0, 1e3),
    occlusion=st.floats(0, 1),
    empty_fraction=st.floats(0, 1),
    classes=st.lists(st.sampled_from(KINDS), min_size=1, unique=True).map(tuple),
)


@given(specs, st.integers(0, 10**9), st.sampled_from(["image", "labels0", "labels255"]))
def test_uri_holds_the_specification(spec, index, kind):
    uri = spec.uri(index, kind)
    assert ShapesSpec.from_uri(uri) == (spec, kind, index)
    assert uri.count("://") == 1 and uri.startswith("shapes://")
    assert uri.rsplit("/")[-1].endswith(".png")


@pytest.mark.parametrize(
    "change",
    [
        ("seed=0", "seed=x"),
        ("light", "lamp"),
        ("size=160,160", "size=160"),
        ("noise=1.0", "noise=-1.0"),
        ("/image/", "/masks/"),
        ("000003", "three"),
        ("000003", "-00003"),
        ("?", "?"),
    ],
)
def test_bad_uri_names_no_file(change):
    uri = ShapesSpec().uri(3)
    bad = uri.replace(*change) if change[0] != "?" else "shapes://nothing"
    assert bad != uri
    assert fileio.exists(uri) and not fileio.exists(bad)
    with pytest.raises(FileNotFoundError, match="shapes://"):
        fileio.get(bad)
    with pytest.raises(ValueError, match="not text"):
        fileio.get_text(uri)


def test_inferencer_loader_reads_a_uri():
    info = ShapesDataset(**SMALL).get_data_info(0)
    loader = ROOT_TRANSFORMS.build({"type": "mmdet.InferencerLoader"})
    assert np.array_equal(loader(info["img_path"])["img"], _image(info))


def test_visualization_hook_draws_generated_images(tmp_path):
    dataset = ShapesDataset(**SMALL, pipeline=PIPELINE, test_mode=True)
    visualizer = DetLocalVisualizer.get_instance("shapes", save_dir=str(tmp_path))
    visualizer.dataset_meta = dataset.metainfo
    hook = DetVisualizationHook(draw=True, test_out_dir="drawn")
    sample = dataset[0]["data_samples"]
    truth = sample.gt_instances
    drawn = DetDataSample(metainfo=sample.metainfo)
    drawn.pred_instances = InstanceData(
        bboxes=truth.bboxes.tensor,
        labels=truth.labels,
        masks=truth.masks.to_tensor(torch.bool, "cpu"),
        scores=torch.ones(len(truth)),
    )

    class Runner:
        work_dir, timestamp, iter = str(tmp_path), "now", 0

    hook.after_test_iter(Runner, 0, {}, [drawn])
    written = list((tmp_path / "now" / "drawn").iterdir())
    assert [path.name for path in written] == ["000000.png"]
    assert cv2.imread(str(written[0])).shape[0] >= 48


def test_uri_goes_through_json():
    info = ShapesDataset(**SMALL).get_data_info(0)
    assert json.loads(json.dumps(info)) == info
