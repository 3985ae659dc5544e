"""Pascal VOC 2012 with SBD's instances in COCO's layout: 10,582 images to train on, 1,449 for val.

    python tools/dataset_converters/voc_instances.py data/VOCdevkit/VOC2012 data/benchmark_RELEASE

Reads VOC's SegmentationObject, SegmentationClass and ImageSets/Segmentation/{train,val}.txt, and
SBD's dataset/{train,val}.txt and dataset/inst/*.mat. Writes OUT/{train,val}/*.jpg (links to VOC's
images, or copies) and OUT/annotations/voc_2012_{train,val}.json. Trained on are all images of SBD
and of VOC's train list that are not in VOC's val list; where both are annotated, VOC's objects are
taken. VOC's void pixels (255, the rim of each object) are in no mask. Run it again to go on after
an interruption.
"""

import argparse
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from coco_instances import (
    InputError,
    Parts,
    add_options,
    annotation,
    check_counts,
    convert_parts,
    in_parts,
    require,
    run,
    state_of,
    write_instances,
)
from label_maps import read_label_map, read_mat, read_names
from PIL import Image

from mmlevelset.files import write_whole

CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
VOID = 255
PUBLISHED = {"train": 10582, "val": 1449}
PART = 100  # images


@dataclass(frozen=True)
class Source:
    """Where the annotations are, and what is made of the images.

    Attributes:
        voc: the folder VOC2012.
        sbd: SBD's folder dataset.
        of_voc: the images whose annotations are VOC's; those of others are SBD's.
        images: ``link``, ``hardlink`` or ``copy``.
        majority: an object of several classes has the one of most of its pixels.
    """

    voc: Path
    sbd: Path
    of_voc: frozenset[str]
    images: str
    majority: bool


def voc_objects(source: Source, name: str) -> tuple[np.ndarray, list[int], Path]:
    """VOC's objects of an image: a map (H, W) of 0 and 1..n, their n classes, and its file.

    Raises:
        InputError: a file is missing or damaged, the maps differ in size, or an object has
            several classes or none of 1..20.
    """
    path = source.voc / "SegmentationObject" / f"{name}.png"
    class_path = source.voc / "SegmentationClass" / f"{name}.png"
    objects, labels = read_label_map(path), read_label_map(class_path)
    if objects.shape != labels.shape:
        raise InputError(f"{path} is {_size(objects)} pixels, {class_path} {_size(labels)}")
    numbers = [number for number in np.unique(objects).tolist() if number not in (0, VOID)]
    numbered = np.zeros(objects.shape, np.uint8)
    classes = []
    for index, number in enumerate(numbers, 1):
        inside = objects == number
        numbered[inside] = index
        values, counts = np.unique(labels[inside], return_counts=True)
        if len(values) > 1 and source.majority:
            known = np.isin(values, range(1, len(CLASSES) + 1))
            values = values[[(counts * known).argmax()]]
        if len(values) > 1:
            raise InputError(
                f"object {number} of {path} has pixels of several classes, {values.tolist()}, in"
                f" {class_path}; --majority takes the one of most of its pixels"
            )
        classes.append(_checked(int(values[0]), number, path))
    return numbered, classes, path


def sbd_objects(source: Source, name: str) -> tuple[np.ndarray, list[int], Path]:
    """SBD's objects of an image: a map (H, W) of 0 and 1..n, their n classes, and its file.

    Raises:
        InputError: the file is missing or damaged, an object is without a class, or has none of
            1..20.
    """
    path = source.sbd / "inst" / f"{name}.mat"
    objects = read_mat(path, "GTinst", "Segmentation")
    classes = read_mat(path, "GTinst", "Categories").ravel().tolist()
    if objects.ndim != 2:
        raise InputError(f"GTinst.Segmentation of {path} has shape {objects.shape}, not (H, W)")
    if objects.max(initial=0) > len(classes):
        raise InputError(
            f"{path} has object {objects.max()}, but classes of {len(classes)} objects alone"
        )
    return objects, [_checked(value, number, path) for number, value in enumerate(classes, 1)], path


def _checked(value: int, number: int, path: Path) -> int:
    if not 1 <= value <= len(CLASSES):
        raise InputError(f"object {number} of {path} has class {value}, not one of 1..20")
    return int(value)


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"


def made_from(source: Source, stems: list[str]) -> str:
    """The state of a part's files."""
    files = []
    for stem in stems:
        files.append(source.voc / "JPEGImages" / f"{stem}.jpg")
        if stem in source.of_voc:
            files += [
                source.voc / f"Segmentation{of}" / f"{stem}.png" for of in ("Object", "Class")
            ]
        else:
            files.append(source.sbd / "inst" / f"{stem}.mat")
    return state_of(*files)


def convert_part(out: Path, source: Source, job: tuple[str, list[str]]) -> dict:
    """The part of this name, SPLIT/NUMBER, whose images are placed below ``out``."""
    name, stems = job
    images, annotations = [], []
    for image_id, stem in enumerate(stems):
        read = voc_objects if stem in source.of_voc else sbd_objects
        objects, classes, path = read(source, stem)
        photograph = source.voc / "JPEGImages" / f"{stem}.jpg"
        width, height = _read_size(photograph)
        if objects.shape != (height, width):
            raise InputError(
                f"{photograph} is {width} x {height} pixels, its objects in {path} {_size(objects)}"
            )
        _place(photograph, out / name.split("/")[0] / f"{stem}.jpg", source.images)
        images.append(
            {"id": image_id, "file_name": f"{stem}.jpg", "width": width, "height": height}
        )
        for number, category in enumerate(classes, 1):
            found = annotation(objects == number, image_id, category)
            if found is not None:  # a later object can cover one of SBD's whole
                annotations.append(found)
    return {"images": images, "annotations": annotations}


def _read_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(require(path, "the image")) as image:
            image.load()  # finds truncated files
            return image.size
    except (OSError, SyntaxError) as error:
        raise InputError(f"the image {path} cannot be read: {error}") from error


def _place(photograph: Path, target: Path, how: str) -> None:
    if how == "copy":
        write_whole(target, lambda unfinished: shutil.copyfile(photograph, unfinished))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if how == "hardlink":
        os.link(photograph.resolve(), target)
    else:
        target.symlink_to(os.path.relpath(photograph.resolve(), target.parent.resolve()))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("voc", type=Path, help="the folder VOC2012, with ImageSets in it")
    parser.add_argument("sbd", type=Path, help="SBD's folder, benchmark_RELEASE or its dataset")
    parser.add_argument("--out", type=Path, default=Path("data/voc"), help="[data/voc]")
    parser.add_argument(
        "--images",
        choices=["link", "hardlink", "copy"],
        default="link",
        help="how VOC's images come to OUT: as symbolic links, hard links or copies [link]",
    )
    parser.add_argument(
        "--majority",
        action="store_true",
        help="give an object of VOC's maps whose pixels have several classes that of most of them,"
        " instead of an error",
    )
    add_options(parser, " and ".join(f"{count} images of {s}" for s, count in PUBLISHED.items()))
    arguments = parser.parse_args(argv)
    lists = require(arguments.voc / "ImageSets/Segmentation", "the folder of VOC's lists")
    inner = arguments.sbd / "dataset"
    sbd = inner if inner.exists() else require(arguments.sbd, "SBD's folder")

    train, val = (read_names(lists / f"{split}.txt") for split in ("train", "val"))
    of_voc = frozenset([*train, *val])
    source = Source(arguments.voc, sbd, of_voc, arguments.images, arguments.majority)
    of_sbd = read_names(sbd / "train.txt") + read_names(sbd / "val.txt")
    stems = {"train": sorted({*of_sbd, *train} - {*val}), "val": sorted({*val})}
    for split, published in PUBLISHED.items():
        check_counts(f"images of {split}", len(stems[split]), published, arguments.allow_partial)
        folder = arguments.out / split
        if folder.resolve() == (arguments.voc / "JPEGImages").resolve():
            raise InputError(f"{folder} is VOC's own folder of images; take another --out")
    options = {
        "voc": str(source.voc.resolve()),
        "sbd": str(source.sbd.resolve()),
        "images": source.images,
        "majority": source.majority,
        "lists": hashlib.sha256(repr(stems).encode()).hexdigest(),
        "images in a part": PART,
    }
    parts = Parts(arguments.out, options, arguments.overwrite)
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    for split, of_split in stems.items():
        jobs = in_parts(split, of_split, PART)
        convert = partial(convert_part, arguments.out, source)
        convert_parts(parts, convert, jobs, partial(made_from, source), arguments.workers)
        path = arguments.out / f"annotations/voc_2012_{split}.json"
        write_instances(path, parts.read(jobs), categories)


if __name__ == "__main__":
    run(main)
