"""Cityscapes' instances of the 8 evaluated categories in COCO's layout.

    python tools/dataset_converters/cityscapes_instances.py data/cityscapes

Reads leftImg8bit/{train,val}/CITY/*_leftImg8bit.png and gtFine/{train,val}/CITY/
*_gtFine_instanceIds.png. Writes annotations/instancesonly_filtered_gtFine_{train,val}.json: 2,975
images to train on, 500 to validate. Objects that are annotated only as a group (ids below 1000)
become crowds. Categories keep Cityscapes' ids. Run it again to go on after an interruption.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmlevelset.converters.coco_layout import make_annotation, write_instances
from mmlevelset.converters.command_line import add_part_options, check_counts, make_parser
from mmlevelset.converters.datasets.cityscapes import LABELS, annotation_files
from mmlevelset.converters.inputs import read_image_size, read_label_map
from mmlevelset.converters.parts import Parts, convert_parts, in_parts, state_of
from mmlevelset.errors import InputError, exit_on_input_error

IMAGE, INSTANCES = "_leftImg8bit.png", "_gtFine_instanceIds.png"
CATEGORIES = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
PUBLISHED = {"train": 2975, "val": 500}
PART = 25  # images


def instances(ids: np.ndarray, image_id: int, path: Path) -> list[dict]:
    """Return COCO's annotations of a map of instance ids (H, W).

    Raises:
        InputError: An id belongs to no label of Cityscapes; the message names ``path``.
    """
    found = []
    for number in np.unique(ids).tolist():
        label = number // 1000 if number >= 1000 else number
        if label >= LABELS:
            raise InputError(f"{path} has id {number}, but its label {label} is not in 0..33")
        if label in CATEGORIES:
            mask = ids == number
            found.append(make_annotation(mask, image_id, label, iscrowd=int(number < 1000)))
    return [annotation for annotation in found if annotation is not None]


def files_of(root: Path, split: str, stem: str) -> tuple[Path, Path]:
    """Return the photograph and the map of an image CITY/NAME."""
    return (
        root / "leftImg8bit" / split / f"{stem}{IMAGE}",
        root / "gtFine" / split / f"{stem}{INSTANCES}",
    )


def made_from(root: Path, split: str, stems: list[str]) -> str:
    """Return the state of a part's files."""
    return state_of(*(path for stem in stems for path in files_of(root, split, stem)))


def convert_part(root: Path, job: tuple[str, list[str]]) -> dict:
    """Return the part of this name, SPLIT/NUMBER, from images CITY/NAME without suffix."""
    name, stems = job
    split = name.split("/")[0]
    images, annotations = [], []
    for image_id, stem in enumerate(stems):
        path, labelled = files_of(root, split, stem)
        size = read_image_size(path)
        ids = read_label_map(labelled)
        height, width = ids.shape
        if size != (width, height):
            raise InputError(
                f"{path} is {size[0]} x {size[1]} pixels, its map {labelled} {width} x {height}"
            )
        images.append(
            {"id": image_id, "file_name": f"{stem}{IMAGE}", "width": width, "height": height}
        )
        annotations += instances(ids, image_id, labelled)
    return {"images": images, "annotations": annotations}


@exit_on_input_error("cityscapes_instances.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("root", type=Path, help="the folder with leftImg8bit and gtFine in it")
    add_part_options(parser, PUBLISHED)
    arguments = parser.parse_args(words)
    root = arguments.root
    stems: dict[str, list[str]] = {}
    for split, published in PUBLISHED.items():
        found = annotation_files(root, split, INSTANCES)
        folder = root / "gtFine" / split
        check_counts(f"images in {folder}", len(found), published, arguments.allow_partial)
        stems[split] = [f"{path.parent.name}/{path.name.removesuffix(INSTANCES)}" for path in found]
    digest = hashlib.sha256(repr(stems).encode()).hexdigest()
    options = {"images": digest, "images in a part": PART}
    parts = Parts(root / "leftImg8bit", options, arguments.overwrite)
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    for split, of_split in stems.items():
        jobs = in_parts(split, of_split, PART)
        state = partial(made_from, root, split)
        convert_parts(parts, partial(convert_part, root), jobs, state, arguments.workers)
        path = root / f"annotations/instancesonly_filtered_gtFine_{split}.json"
        write_instances(path, parts.read(jobs), categories)
