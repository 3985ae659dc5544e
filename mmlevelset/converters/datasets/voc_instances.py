"""Pascal VOC 2012 with SBD's instances in COCO's layout.

    python tools/dataset_converters/voc_instances.py data/VOCdevkit/VOC2012 data/benchmark_RELEASE

Reads VOC's SegmentationObject, SegmentationClass and ImageSets, and SBD's dataset/{train,val}.txt
and dataset/inst/*.mat. Writes OUT/{train,val}/*.jpg (links to VOC's images, or copies) and
annotations in OUT/annotations. VOC's void pixels (255, the rim of each object) are in no mask. Run
it again to go on after an interruption.

--split augmented: 10,582 images to train on, 1,449 to validate, in voc_2012_{train,val}.json. The
training images are all images of SBD and of VOC's train list for segmentation that are not in VOC's
val list. Where both annotate an image, VOC's objects are taken.

--split detection: 5,623 and 5,732 images, in voc_2012_detection_{train,val}.json. These are the
5,717 and 5,823 images of VOC's lists for detection, without those that have no masks in SBD. All
objects are SBD's.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mmlevelset.converters.coco_layout import (
    make_annotation,
    number_categories,
    write_instances,
)
from mmlevelset.converters.command_line import add_part_options, check_counts, make_parser
from mmlevelset.converters.inputs import read_image_size, read_label_map, read_mat
from mmlevelset.converters.names import below
from mmlevelset.converters.parts import Parts, convert_parts, in_parts, state_of
from mmlevelset.converters.voc_sbd import add_folders, read_detection_lists, read_lists
from mmlevelset.errors import InputError, exit_on_input_error
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
PUBLISHED = {
    "augmented": {"train": 10582, "val": 1449},
    "detection": {"train": 5623, "val": 5732},
}
PART = 100  # images


@dataclass(frozen=True)
class Source:
    """Folders and options of a conversion.

    Attributes:
        voc: The folder VOC2012.
        sbd: SBD's folder dataset.
        of_voc: The images whose annotations are VOC's; SBD annotates the others.
        images: ``link``, ``hardlink`` or ``copy``.
        majority: Give an object of several classes the class of most of its pixels.
    """

    voc: Path
    sbd: Path
    of_voc: frozenset[str]
    images: str
    majority: bool


def voc_objects(source: Source, name: str) -> tuple[np.ndarray, list[int], Path]:
    """Return VOC's objects of an image: a map (H, W) of 0..n, their n classes, and the map's file.

    Raises:
        InputError: A file is missing or damaged, the maps differ in size, or an object has
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
                f" {class_path}; --majority takes the class of most pixels"
            )
        classes.append(_checked(int(values[0]), number, path))
    return numbered, classes, path


def sbd_objects(source: Source, name: str) -> tuple[np.ndarray, list[int], Path]:
    """Return SBD's objects of an image: a map (H, W) of 0..n, their n classes, and the map's file.

    Raises:
        InputError: The file is missing or damaged, or an object has no class of 1..20.
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
    """Return the state of a part's files."""
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
    """Place the images of a part, SPLIT/NUMBER, below ``out``, and return the part."""
    name, stems = job
    images, annotations = [], []
    for image_id, stem in enumerate(stems):
        read = voc_objects if stem in source.of_voc else sbd_objects
        objects, classes, path = read(source, stem)
        photograph = source.voc / "JPEGImages" / f"{stem}.jpg"
        width, height = read_image_size(photograph, whole=True)
        if objects.shape != (height, width):
            raise InputError(
                f"{photograph} is {width} x {height} pixels, its objects in {path} {_size(objects)}"
            )
        _place(photograph, below(out, name.split("/")[0], f"{stem}.jpg"), source.images)
        images.append(
            {"id": image_id, "file_name": f"{stem}.jpg", "width": width, "height": height}
        )
        for number, category in enumerate(classes, 1):
            found = make_annotation(objects == number, image_id, category)
            if found is not None:  # in SBD, a later object can cover an earlier object completely
                annotations.append(found)
    return {"images": images, "annotations": annotations}


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


@exit_on_input_error("voc_instances.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_folders(parser)
    parser.add_argument(
        "--split",
        choices=list(PUBLISHED),
        default="augmented",
        help="the lists of images, see above [augmented]",
    )
    parser.add_argument(
        "--out", type=Path, help="[data/voc; data/voc_detection with --split detection]"
    )
    parser.add_argument(
        "--images",
        choices=["link", "hardlink", "copy"],
        default="link",
        help="how VOC's images come to OUT: as symbolic links, hard links or copies [link]",
    )
    parser.add_argument(
        "--majority",
        action="store_true",
        help="give an object of several classes the class of most of its pixels, instead"
        " of an error",
    )
    add_part_options(parser, "published lists")
    arguments = parser.parse_args(words)
    detection = arguments.split == "detection"
    out = arguments.out or Path("data/voc_detection" if detection else "data/voc")
    read = read_detection_lists if detection else read_lists
    lists = read(arguments.voc, arguments.sbd)
    source = Source(arguments.voc, lists.sbd, lists.of_voc, arguments.images, arguments.majority)
    stems = {"train": lists.train, "val": lists.val}
    for split, published in PUBLISHED[arguments.split].items():
        check_counts(f"images of {split}", len(stems[split]), published, arguments.allow_partial)
        folder = out / split
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
    parts = Parts(out, options, arguments.overwrite)
    categories = number_categories(CLASSES)
    for split, of_split in stems.items():
        jobs = in_parts(split, of_split, PART)
        convert = partial(convert_part, out, source)
        convert_parts(parts, convert, jobs, partial(made_from, source), arguments.workers)
        name = f"detection_{split}" if detection else split
        path = out / f"annotations/voc_2012_{name}.json"
        write_instances(path, parts.read(jobs), categories)
