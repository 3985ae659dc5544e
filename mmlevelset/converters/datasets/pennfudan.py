"""Penn-Fudan's pedestrians in COCO's layout.

    python tools/dataset_converters/pennfudan.py data/PennFudanPed data/pennfudan

Reads PNGImages/*.png and PedMasks/*_mask.png (0: background; 1, 2, ...: a pedestrian each) of the
unpacked archive. Writes OUT/{train,val,test}/*.jpg and OUT/annotations/
instances_{train,val,test}.json: 110 images to train on, 20 to validate, 40 to test. The database
has no split of its own; docs/datasets.md lists ours. The photographs become JPEG files of quality
92.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mmlevelset.converters.coco_layout import (
    make_annotation,
    number_categories,
    write_instances,
)
from mmlevelset.converters.command_line import check_counts, make_parser, require
from mmlevelset.converters.inputs import UNREADABLE, read_label_map
from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.files import write_whole
from mmlevelset.progress import Progress

PUBLISHED = {"FudanPed": 74, "PennPed": 96}
VAL = {
    "FudanPed": (22, 28, 31, 34, 58, 62, 74),
    "PennPed": (18, 23, 24, 27, 28, 46, 49, 57, 61, 77, 85, 91, 95),
}
TEST = {
    "FudanPed": (1, 2, 5, 7, 11, 20, 24, 26, 35, 36, 39, 43, 45, 56, 57, 68, 69, 70, 72, 73),
    "PennPed": (2, 10, 14, 16, 19, 20, 30, 37, 39, 45, 54, 62, 63, 64, 69, 74, 78, 89, 90, 92),
}
QUALITY = 92


def split_names() -> dict[str, list[str]]:
    """Return the names of the images of each split, such as FudanPed00003, in order."""
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for series, count in PUBLISHED.items():
        for number in range(1, count + 1):
            split = "val" if number in VAL[series] else "train"
            split = "test" if number in TEST[series] else split
            splits[split].append(f"{series}{number:05d}")
    return splits


def read_photograph(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except UNREADABLE as error:
        raise InputError(f"the image {path} cannot be read: {error}") from error


def convert(source: Path, folder: Path, names: Sequence[str], progress: Progress) -> dict:
    """Write the photographs of these names into a folder; return COCO's images and annotations."""
    images, annotations = [], []
    for image_id, name in enumerate(names):
        path = source / "PNGImages" / f"{name}.png"
        mask_path = source / "PedMasks" / f"{name}_mask.png"
        photograph, mask = read_photograph(path), read_label_map(mask_path)
        width, height = photograph.size
        if mask.shape != (height, width):
            raise InputError(
                f"{path} is {width} x {height} pixels, its mask {mask_path} {mask.shape[1]} x"
                f" {mask.shape[0]}"
            )
        people = [
            make_annotation(mask == number, image_id, 1)
            for number in np.unique(mask).tolist()
            if number
        ]
        if not people:
            raise InputError(f"{mask_path} has no pedestrian: every pixel is 0")
        annotations += people
        save = partial(photograph.save, format="JPEG", quality=QUALITY)
        write_whole(folder / f"{name}.jpg", save)
        images.append(
            {"id": image_id, "file_name": f"{name}.jpg", "width": width, "height": height}
        )
        progress.update()
    return {"images": images, "annotations": annotations}


@exit_on_input_error("pennfudan.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("source", type=Path, help="the folder with PNGImages and PedMasks in it")
    parser.add_argument("target", type=Path, help="where to write")
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="convert less than the 170 published images",
    )
    arguments = parser.parse_args(words)
    photographs = require(arguments.source / "PNGImages", "the folder of the images")
    found = {path.stem for path in photographs.glob("*.png")}
    if not found:
        raise InputError(f"{photographs} has no image (*.png)")
    splits = split_names()
    unknown = sorted(found - {name for names in splits.values() for name in names})
    if unknown:
        raise InputError(
            f"{photographs} has images that are not Penn-Fudan's: {', '.join(unknown[:3])}"
        )
    check_counts(
        f"images in {photographs}", len(found), sum(PUBLISHED.values()), arguments.allow_partial
    )
    parts = {}
    with Progress(len(found)) as progress:
        for split, names in splits.items():
            there = [name for name in names if name in found]
            parts[split] = convert(arguments.source, arguments.target / split, there, progress)
    for split, part in parts.items():
        path = arguments.target / "annotations" / f"instances_{split}.json"
        write_instances(path, [part], number_categories(["person"]))
