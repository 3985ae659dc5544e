"""Weizmann's one-object images: one folder of images, and one of masks for each annotator.

    python tools/dataset_converters/weizmann.py data/1obj data/weizmann

Reads NAME/src_color/*.png (or src_bw with --images bw) and NAME/human_seg/*.png, with the object
painted red. Writes images/NAME.png, masks/1/NAME.png, masks/2/NAME.png... (0 background, 1 object),
and the lists train.txt and test.txt: in alphabetical order, the names go to train and test by turns
(the data has no split of its own). The annotators are numbered in the order of the numbers in their
files' names. If images have different numbers of annotators, the smallest number is kept. Run it
again to go on after an interruption: finished masks are kept.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mmlevelset.converters.command_line import make_parser, require
from mmlevelset.converters.inputs import UNREADABLE
from mmlevelset.converters.names import below
from mmlevelset.converters.outputs import write_label_maps, write_names
from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.files import write_bytes

MARGIN = 100
"""A painted pixel's red exceeds its green and its blue by this much, of 255."""


def image_file(folder: Path) -> Path:
    """Return the only image of a folder."""
    files = sorted(require(folder, "the folder of an image").glob("*.png"))
    if len(files) != 1:
        raise InputError(f"{folder} must hold one *.png, but holds {len(files)}")
    return files[0]


def mask_files(folder: Path) -> list[Path]:
    """Return the annotations in a folder, in the order of the numbers in their names."""
    files = list(require(folder, "the folder of the annotations").glob("*.png"))
    if not files:
        raise InputError(f"{folder} holds no *.png, an annotation with the object painted red")
    return sorted(files, key=lambda path: (_numbers(path.stem), path.stem))


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def read_mask(path: Path, image: Path) -> np.ndarray:
    """Return the red pixels of an annotation, (H, W) of 0 and 1. Its size is the image's."""
    try:
        with Image.open(image) as file:
            size = file.size
        with Image.open(path) as file:
            colours = np.asarray(file.convert("RGB"), np.int16)
    except UNREADABLE as error:
        raise InputError(f"{path} or its image {image} cannot be read: {error}") from error
    height, width = colours.shape[:2]
    if (width, height) != size:
        raise InputError(
            f"{path} is {width} x {height} pixels (width x height), but its image {image} is"
            f" {size[0]} x {size[1]}"
        )
    mask = colours[..., 0] - colours[..., 1:].max(2) >= MARGIN
    if not mask.any():
        raise InputError(f"{path} has no red pixel; the object must be painted red")
    return mask.astype(np.uint8)


@exit_on_input_error("weizmann.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("source", type=Path, help="the folder with a folder for each image")
    parser.add_argument("target", type=Path, help="where to write")
    parser.add_argument("--images", choices=("color", "bw"), default="color", help="[color]")
    parser.add_argument("--overwrite", action="store_true", help="write all masks again")
    arguments = parser.parse_args(words)
    folders = sorted(path.parent for path in arguments.source.glob("*/human_seg"))
    if not folders:
        require(arguments.source, "the data's folder")
        raise InputError(f"{arguments.source} has no folder NAME/human_seg")

    images = [image_file(folder / f"src_{arguments.images}") for folder in folders]
    masks = [mask_files(folder / "human_seg") for folder in folders]
    annotators = min(map(len, masks))
    print(f"{len(folders)} images, {annotators} annotators (at most {max(map(len, masks))})")
    write_label_maps(
        [
            (
                below(arguments.target, "masks", str(number + 1), f"{folder.name}.png"),
                partial(read_mask, files[number], image),
            )
            for number in range(annotators)
            for folder, image, files in zip(folders, images, masks, strict=True)
        ],
        arguments.overwrite,
    )
    for folder, image in zip(folders, images, strict=True):
        write_bytes(below(arguments.target, "images", f"{folder.name}.png"), image.read_bytes())
    names = [folder.name for folder in folders]
    write_names(arguments.target / "train.txt", names[::2])
    write_names(arguments.target / "test.txt", names[1::2])
