"""The data-set configs of semantic segmentation: they parse, build and give batches."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.registry import DATASETS, METRICS, TRANSFORMS
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from PIL import Image

CONFIGS = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / "configs/_base_/datasets").glob("*_semantic*.py")
)
CLASSES = dict(voc=21, pascal=60, cityscapes=19, shapes=5, pennfudan=2, coco128=2, coco=81)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield


def read(checkout: Path, name: str) -> Config:
    return Config.fromfile(checkout / f"configs/_base_/datasets/{name}.py")


def first_batch(loader: ConfigDict) -> dict:
    """Return the first training batch as the model gets it, padded."""
    loader = dict(loader, num_workers=0, persistent_workers=False)
    batch = next(iter(Runner.build_dataloader(loader, seed=0)))
    return DetDataPreprocessor(pad_seg=True, pad_size_divisor=8)(batch, training=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_parts_build(checkout, name):
    config = read(checkout, name)
    assert CONFIGS and config.test_dataloader == config.val_dataloader
    for loader in (config.train_dataloader, config.val_dataloader):
        kind = DATASETS.get(loader.dataset.type)
        names = (loader.dataset.get("metainfo") or kind.METAINFO)["classes"]
        assert len(names) == CLASSES[name.split("_")[0]]
        for transform in loader.dataset.pipeline:
            TRANSFORMS.build(transform)
    assert config.val_evaluator == config.test_evaluator
    metrics = [METRICS.build(metric) for metric in config.val_evaluator]
    assert [type(metric).__name__ for metric in metrics] == [
        "SemSegMetric",
        "SemanticBoundaryMetric",
    ]


@pytest.mark.parametrize("name", [name for name in CONFIGS if "crop321" in name])
def test_only_the_crop_is_another(checkout, name):
    small, large = read(checkout, name), read(checkout, name.removesuffix("_crop321"))
    for config in (small, large):
        assert config.train_dataloader.batch_size == 10
        steps = {step.type: step for step in config.train_dataloader.dataset.pipeline}
        assert steps["RandomCrop"].crop_size == steps["Pad"].size == config.crop_size
    assert (small.crop_size, large.crop_size) == ((321, 321), (512, 512))
    text = small.pretty_text.replace("321", "512")
    assert text == large.pretty_text


def test_shapes_end_to_end(checkout):
    config = read(checkout, "shapes_semantic")
    instances = read(checkout, "shapes_instance")
    for split in ("train_dataloader", "val_dataloader"):
        ours, theirs = config[split].dataset, instances[split].dataset
        own = ("type", "metainfo", "pipeline")
        assert {k: ours[k] for k in ours if k not in own} == {
            k: theirs[k] for k in theirs if k not in own
        }
        assert ours.metainfo.classes == ("background", *theirs.metainfo.classes)
    batch = first_batch(config.train_dataloader)
    assert batch["inputs"].shape == (4, 3, 128, 128)
    seen: set[int] = set()
    for sample in batch["data_samples"]:
        assert sample.gt_sem_seg.sem_seg.shape == (1, 128, 128)
        seen |= set(sample.gt_sem_seg.sem_seg.unique().tolist())
    assert 0 in seen and len(seen) > 2 and max(seen) <= 4

    config.val_dataloader.dataset.length = 3
    loader = Runner.build_dataloader(config.val_dataloader, seed=0)
    evaluator = Evaluator([METRICS.build(metric) for metric in config.val_evaluator])
    evaluator.dataset_meta = loader.dataset.metainfo
    for batch in loader:
        for sample in batch["data_samples"]:
            sample.pred_sem_seg = PixelData(sem_seg=sample.gt_sem_seg.sem_seg.long())
        evaluator.process(batch["data_samples"], batch)
    values = evaluator.evaluate(3)
    assert values["mIoU"] == values["BF_1"] == values["BF_2"] == 100


@pytest.mark.parametrize(("name", "height"), [("voc_semantic", 512), ("voc_semantic_crop321", 321)])
def test_small_images_are_padded_to_the_crop(checkout, tmp_path, name, height):
    config = read(checkout, name)
    rng = np.random.default_rng(0)
    for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClassAug", "png")):
        (tmp_path / folder).mkdir()
        channels = (3,) if suffix == "jpg" else ()
        for image in "ab":
            array = rng.integers(0, 21, (375, 200, *channels), np.uint8)
            Image.fromarray(array).save(tmp_path / folder / f"{image}.{suffix}")
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for split in ("trainaug", "val"):
        (lists / f"{split}.txt").write_text("a\nb\n")
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.dataset.data_root = str(tmp_path)
    loader = dict(config.train_dataloader, num_workers=0, persistent_workers=False)
    batch = next(iter(Runner.build_dataloader(loader, seed=0)))
    assert len(batch["inputs"]) == 10
    for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
        assert image.shape == (3, height, height)
        labels = sample.gt_sem_seg.sem_seg[0]
        assert (labels[:, 200:] == 255).all() and (labels[: min(height, 375), :200] < 21).all()
        assert (labels[375:] == 255).all()
        assert image[:, 0, -1].tolist() == [104, 116, 124]

    (sample,) = next(
        iter(
            Runner.build_dataloader(
                config.val_dataloader | dict(num_workers=0, persistent_workers=False), seed=0
            )
        )
    )["data_samples"]
    assert sample.gt_sem_seg.sem_seg.shape == (1, 375, 200)
    assert sample.ori_shape == sample.img_shape == (375, 200)


@pytest.mark.parametrize(
    ("name", "category"), [("pennfudan_semantic", "person"), ("coco128_objects_semantic", "object")]
)
def test_instances_end_to_end(checkout, tmp_path, name, category):
    config = read(checkout, name)
    category = dict(id=1, name=category)
    datasets = [loader.dataset for loader in (config.train_dataloader, config.val_dataloader)]
    content = dict(images=[], annotations=[], categories=[category])
    for number, size in enumerate([(100, 150), (160, 90)]):
        for folder in {dataset.data_prefix.img for dataset in datasets}:
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            image = np.full((*size, 3), 99, np.uint8)
            Image.fromarray(image).save(tmp_path / folder / f"{number}.png")
        content["images"].append(
            dict(id=number, file_name=f"{number}.png", height=size[0], width=size[1])
        )
        polygon = [20, 30, 60, 30, 60, 80, 20, 80]
        content["annotations"].append(
            dict(
                id=number,
                image_id=number,
                category_id=1,
                bbox=[20, 30, 40, 50],
                area=2000,
                iscrowd=0,
                segmentation=[polygon],
            )
        )
    for dataset in datasets:
        dataset.data_root = str(tmp_path)
        path = tmp_path / dataset.ann_file
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    batch = first_batch(config.train_dataloader)
    for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
        labels = sample.gt_sem_seg.sem_seg
        assert labels.shape[1:] == image.shape[1:]
        assert labels.unique().tolist() in ([0, 1], [0, 1, 255])
    loader = Runner.build_dataloader(config.val_dataloader, seed=0)
    for batch, size in zip(loader, [(100, 150), (160, 90)], strict=True):
        (sample,) = batch["data_samples"]
        # The image is resized, the truth is not.
        assert sample.img_shape != sample.ori_shape == size
        expected = torch.zeros(1, *size, dtype=torch.uint8)
        expected[:, 30:80, 20:60] = 1
        assert torch.equal(sample.gt_sem_seg.sem_seg, expected)
