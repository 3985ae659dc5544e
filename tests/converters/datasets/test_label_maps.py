"""The converters of label maps, on tiny trees in the published layouts."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmlevelset.converters.datasets import cityscapes, pascal_context, voc_aug
from mmlevelset.datasets import CityscapesSegDataset, PascalContextDataset, VOCSegDataset
from mmlevelset.datasets.semantic import voc_palette

SIZE = (6, 8)
PIPELINE = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="mmlevelset.LoadSemanticAnnotations"),
    dict(type="mmdet.PackDetInputs", meta_keys=("img_path", "ori_shape")),
]


def convert(converter: ModuleType, *words: object) -> None:
    converter.main([*map(str, words)])


def labels_of(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, SIZE, np.uint8)


def save(path: Path, array: np.ndarray, palette: list | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette(np.ravel(palette).tolist())
    image.save(path)


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def loaded(dataset) -> list[np.ndarray]:
    return [item["data_samples"].gt_sem_seg.sem_seg[0].numpy() for item in dataset]


@pytest.fixture
def voc(tmp_path) -> dict[str, np.ndarray]:
    """Five images: VOC trains on a and validates b and c; SBD trains on a, b, d and validates e."""
    maps = {name: labels_of(seed, 21) for seed, name in enumerate("abcde")}
    for name in "abc":
        maps[name][0] = 255
        path = tmp_path / f"VOC2012/SegmentationClass/{name}.png"
        save(path, maps[name], voc_palette(256))
    for name in "abcde":
        save(tmp_path / f"VOC2012/JPEGImages/{name}.jpg", np.zeros((*SIZE, 3), np.uint8))
    write(tmp_path / "VOC2012/ImageSets/Segmentation/train.txt", "a")
    write(tmp_path / "VOC2012/ImageSets/Segmentation/val.txt", "b", "c")
    sbd = tmp_path / "benchmark_RELEASE/dataset"
    write(sbd / "train.txt", "a", "b", "d")
    write(sbd / "val.txt", "e")
    (sbd / "cls").mkdir()
    for name in "abde":
        # SBD's own maps of VOC's images differ from VOC's.
        segmentation = maps[name] if name in "de" else np.zeros(SIZE, np.uint8)
        boundaries = np.empty((20, 1), object)
        boundaries[:] = [[np.zeros(SIZE, bool)]] * 20
        content = dict(
            Boundaries=boundaries,
            Segmentation=segmentation,
            CategoriesPresent=np.arange(3, dtype=np.uint8)[:, None],
        )
        savemat(sbd / f"cls/{name}.mat", dict(GTcls=content), do_compression=True)
    return maps


def test_voc_aug(tmp_path, voc, capsys):
    convert(voc_aug, tmp_path / "VOC2012", tmp_path / "benchmark_RELEASE")
    assert "trainaug.txt: 3 names" in capsys.readouterr().out
    for split, names in (("trainaug", "ade"), ("val", "bc")):
        dataset = VOCSegDataset(
            data_root=str(tmp_path / "VOC2012"),
            ann_file=f"ImageSets/Segmentation/{split}.txt",
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
            pipeline=PIPELINE,
        )
        for name, found in zip(names, loaded(dataset), strict=True):
            assert np.array_equal(found, voc[name])


def test_vocs_own_maps_are_read_too(tmp_path, voc):
    dataset = VOCSegDataset(
        data_root=str(tmp_path / "VOC2012"),
        ann_file="ImageSets/Segmentation/val.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        pipeline=PIPELINE,
    )
    assert np.array_equal(loaded(dataset), [voc["b"], voc["c"]])


def test_an_interrupted_conversion_goes_on(refused, tmp_path, voc, capsys):
    words = (voc_aug, tmp_path / "VOC2012", tmp_path / "benchmark_RELEASE/dataset")
    broken = tmp_path / "benchmark_RELEASE/dataset/cls/e.mat"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:150])
    assert "e.mat holds no GTcls.Segmentation" in refused(convert, *words)
    folder = tmp_path / "VOC2012/SegmentationClassAug"
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.png", "c.png", "d.png"]
    assert not (tmp_path / "VOC2012/ImageSets/Segmentation/trainaug.txt").exists()

    broken.write_bytes(whole)
    save(folder / "a.png", np.full(SIZE, 7, np.uint8))
    convert(*words)
    assert "wrote 1 label maps, 4 were there already" in capsys.readouterr().out
    assert (np.array(Image.open(folder / "a.png")) == 7).all()
    convert(*words)
    assert "wrote 0 label maps, 5 were there already" in capsys.readouterr().out
    convert(*words, "--overwrite")
    assert np.array_equal(np.array(Image.open(folder / "a.png")), voc["a"])


def test_labels_outside_the_classes_are_named(refused, tmp_path, voc):
    save(tmp_path / "VOC2012/SegmentationClass/a.png", np.full(SIZE, 30, np.uint8))
    words = (voc_aug, tmp_path / "VOC2012", tmp_path / "benchmark_RELEASE")
    assert "a.png has labels [30] outside 0..20 and 255" in refused(convert, *words)


@pytest.fixture
def context(tmp_path) -> dict[str, np.ndarray]:
    """labels.txt of 62 labels, out of order, and three images; one image has no annotation."""
    classes = PascalContextDataset.METAINFO["classes"]
    names = [*reversed(classes[1:]), "unknown", "air conditioner", "wool"]
    spelled = [name.replace("pottedplant", "potted plant") for name in names]
    lines = [f"{number}: {name}" for number, name in enumerate(spelled, 1)]
    write(tmp_path / "context/labels.txt", *lines)
    (tmp_path / "context/trainval").mkdir()
    expected = {}
    for seed, name in enumerate("ab"):
        numbers = np.random.default_rng(seed).integers(0, 63, SIZE).astype(np.uint16)
        savemat(tmp_path / f"context/trainval/{name}.mat", dict(LabelMap=numbers))
        known = np.array([0, *range(59, 0, -1), 0, 0, 0])
        expected[name] = known[numbers]
    for name in "abc":
        save(tmp_path / f"VOC2010/JPEGImages/{name}.jpg", np.zeros((*SIZE, 3), np.uint8))
    write(tmp_path / "VOC2010/ImageSets/Main/train.txt", "c", "a")
    write(tmp_path / "VOC2010/ImageSets/Main/val.txt", "b")
    return expected


def test_pascal_context(tmp_path, context, capsys):
    convert(pascal_context, tmp_path / "VOC2010", tmp_path / "context")
    printed = capsys.readouterr().out
    assert "train.txt: 1 names" in printed and "val.txt: 1 names" in printed
    for split, name in (("train", "a"), ("val", "b")):
        dataset = PascalContextDataset(
            data_root=str(tmp_path / "VOC2010"),
            ann_file=f"ImageSets/SegmentationContext/{split}.txt",
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
            pipeline=PIPELINE,
        )
        assert np.array_equal(loaded(dataset), [context[name]])


def test_pascal_context_errors(refused, tmp_path, context):
    words = (pascal_context, tmp_path / "VOC2010", tmp_path / "context")
    savemat(tmp_path / "context/trainval/a.mat", dict(LabelMap=np.full(SIZE, 70, np.uint16)))
    assert "a.mat has label 70, and the last is 62" in refused(convert, *words)
    write(tmp_path / "context/labels.txt", "1: aeroplane")
    assert "labels.txt has no label bag, bed" in refused(convert, *words)
    assert refused(convert, *words[:2], tmp_path / "none") == (
        f"pascal_context.py: error: the list of labels {tmp_path}/none/labels.txt does not exist"
    )


def test_cityscapes(refused, tmp_path, capsys):
    # The official table, label -> training label, 255 for the others.
    table = np.full(34, 255)
    table[[7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23]] = range(11)
    table[[24, 25, 26, 27, 28, 31, 32, 33]] = range(11, 19)
    expected = {}
    for split, city in (("train", "aachen"), ("train", "bochum"), ("val", "lindau")):
        name = f"{split}/{city}/{city}_000000_000019"
        labels = labels_of(len(expected), 34)
        save(tmp_path / f"gtFine/{name}_gtFine_labelIds.png", labels)
        save(tmp_path / f"gtFine/{name}_gtFine_instanceIds.png", labels)
        save(tmp_path / f"leftImg8bit/{name}_leftImg8bit.png", np.zeros((*SIZE, 3), np.uint8))
        expected.setdefault(split, []).append(table[labels])
    convert(cityscapes, tmp_path)
    printed = capsys.readouterr().out
    assert "train: 2 images" in printed and "wrote 3 label maps" in printed
    for split, maps in expected.items():
        dataset = CityscapesSegDataset(
            data_root=str(tmp_path),
            data_prefix=dict(img_path=f"leftImg8bit/{split}", seg_map_path=f"gtFine/{split}"),
            pipeline=PIPELINE,
        )
        assert np.array_equal(loaded(dataset), maps)
    for path in (tmp_path / "gtFine/val").rglob("*.png"):
        path.unlink()
    assert "val holds no CITY/*_gtFine_labelIds.png" in refused(convert, cityscapes, tmp_path)
