"""iSAID: patches of the aerial images of DOTA, with COCO's annotations.

    python tools/dataset_converters/isaid.py data/iSAID data/isaid

Reads {train,val}/images/images/P0000.png (or {train,val}/images/P0000.png; DOTA 1.0's images) and
{train,val}/Annotations/iSAID_{train,val}.json: 1,411 and 458 images. The files *_RGB.png beside
them are not read. The 937 images of test have no published masks. Writes train/ and val/
(P0000_Y0_Y1_X0_X1.png, right and bottom edges exclusive), annotations/instances_{train,val}.json,
and annotations/images_val.json: the masks of the whole images, for the evaluation of tiled
inference.

Patches are 800 x 800 pixels, and neighbours share 200 pixels, as in the official toolkit. The last
patch of a row or column ends at the image's edge. A smaller image gives one smaller patch. A patch
has the visible pixels of an instance; it leaves the instance out if the visible part is less than
--min-visible.

Run it again to go on after an interruption: finished images are kept, unless their files or their
annotations have changed.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_utils

from mmlevelset.annotations import read_coco
from mmlevelset.converters.coco_layout import (
    make_annotation,
    number_categories,
    write_instances,
)
from mmlevelset.converters.command_line import (
    add_part_options,
    check_counts,
    make_parser,
    require,
    whole_number,
)
from mmlevelset.converters.names import below, check_name
from mmlevelset.converters.outputs import write_image
from mmlevelset.converters.parts import Parts, convert_parts, large_first, state_of
from mmlevelset.errors import InputError, exit_on_input_error

IMAGES = {"train": 1411, "val": 458}
CLASSES = (
    "storage_tank",
    "Large_Vehicle",
    "Small_Vehicle",
    "plane",
    "ship",
    "Swimming_pool",
    "Harbor",
    "tennis_court",
    "Ground_Track_Field",
    "Soccer_ball_field",
    "baseball_diamond",
    "Bridge",
    "basketball_court",
    "Roundabout",
    "Helicopter",
)
CATEGORIES = number_categories(CLASSES)


@dataclass(frozen=True)
class Options:
    """The options that change the written files."""

    size: int
    overlap: int
    min_visible: float
    min_area: int
    only_filled: bool


@dataclass(frozen=True)
class Source:
    """An image and its published annotations, with our categories."""

    path: Path
    size: tuple[int, int] | None
    """Height and width, if the annotation file gives them."""
    annotations: list[dict[str, Any]]


@dataclass(frozen=True)
class Region:
    """An instance in its own box."""

    mask: np.ndarray
    """(H, W) bool."""
    top: int
    left: int
    area: int
    category: int
    iscrowd: int


def starts(length: int, size: int, overlap: int) -> list[int]:
    """Return the starts of the patches along a side of an image."""
    last = max(length - size, 0)
    return sorted({min(start, last) for start in range(0, length, size - overlap)})


def polygon_mask(polygons: Sequence[Sequence[float]]) -> tuple[np.ndarray, int, int]:
    """Return COCO's mask of polygons, on a canvas that just holds the polygons.

    Args:
        polygons: Polygons of at least 3 points, as x1, y1, x2, y2 ...

    Returns:
        The mask (H, W) bool, and its top row and left column in the image. The mask equals
        pycocotools' mask on an image that holds the polygons completely.
    """
    # pycocotools rounds corners to fifths of a pixel. Shifted corners would round differently, so
    # the corners are rounded first.
    fifths = [np.floor(5 * np.asarray(points, float).reshape(-1, 2) + 0.5) for points in polygons]
    low = np.floor(np.min([points.min(axis=0) for points in fifths], axis=0) / 5)
    high = np.ceil(np.max([points.max(axis=0) for points in fifths], axis=0) / 5)
    width, height = (int(side) + 1 for side in high - low)
    shifted = [((points - 5 * low) / 5).ravel().tolist() for points in fifths]
    encoded = mask_utils.merge(mask_utils.frPyObjects(shifted, height, width))
    left, top = (int(start) for start in low)
    return mask_utils.decode(encoded).astype(bool), top, left


def region(published: dict[str, Any], name: str, height: int, width: int) -> Region | None:
    """Return the pixels of an instance that are in its image; None if there are none.

    Args:
        published: The published annotation.
        name: Name of the image, for errors.
        height, width: Size of the image.
    """
    segmentation = published["segmentation"]
    where = f"annotation {published['id']} of {name}"
    if isinstance(segmentation, dict):
        mask, top, left = _run_length_mask(segmentation, [height, width], where), 0, 0
    else:
        polygons = [points for points in segmentation if len(points) >= 6]
        for points in polygons:
            if len(points) % 2 or not np.isfinite(points).all():
                raise InputError(f"{where} has a polygon that is no list of x, y pairs")
        if not polygons:
            return None
        mask, top, left = polygon_mask(polygons)
    mask = mask[max(-top, 0) : height - top, max(-left, 0) : width - left]
    top, left = max(top, 0), max(left, 0)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Region(
        mask,
        top + int(rows[0]),
        left + int(columns[0]),
        int(mask.sum()),
        published["category_id"],
        int(published.get("iscrowd", 0)),
    )


def _run_length_mask(segmentation: dict, size: list[int], where: str) -> np.ndarray:
    if list(segmentation["size"]) != size:
        raise InputError(f"{where} has a mask of {segmentation['size']} in an image of {size}")
    if isinstance(segmentation["counts"], list):
        segmentation = mask_utils.frPyObjects(segmentation, *size)
    return mask_utils.decode(segmentation).astype(bool)


def patch_annotations(
    regions: Sequence[Region], box: tuple[int, int, int, int], image_id: int, options: Options
) -> Iterator[dict]:
    """Yield COCO's annotations of a patch.

    Args:
        regions: The instances of the whole image.
        box: Top, bottom, left and right of the patch.
        image_id: Id of the patch.
        options: The options, with the least visible part of an instance.
    """
    top, bottom, left, right = box
    for item in regions:
        height, width = item.mask.shape
        rows = slice(max(top, item.top), min(bottom, item.top + height))
        columns = slice(max(left, item.left), min(right, item.left + width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        visible = item.mask[_moved(rows, item.top), _moved(columns, item.left)]
        area = np.count_nonzero(visible)
        if area < options.min_area or area < options.min_visible * item.area:
            continue
        mask = np.zeros((bottom - top, right - left), bool, order="F")
        mask[_moved(rows, top), _moved(columns, left)] = visible
        found = make_annotation(mask, image_id, item.category, item.iscrowd)
        assert found is not None
        yield found


def _moved(span: slice, origin: int) -> slice:
    return slice(span.start - origin, span.stop - origin)


def image_annotation(item: Region, height: int, width: int) -> dict[str, Any]:
    """Return COCO's annotation of an instance in the whole image, with image id 0."""
    rows, columns = item.mask.shape
    # Encoding skips the image's other columns; there may be thousands.
    strip = np.zeros((height, columns), bool)
    strip[item.top : item.top + rows] = item.mask
    changes = np.flatnonzero(np.diff(strip.ravel(order="F"), prepend=False, append=False))
    runs = np.diff(changes + item.left * height, prepend=0, append=height * width)
    size = [height, width]
    encoded = mask_utils.frPyObjects({"size": size, "counts": runs.tolist()}, height, width)
    return {
        "image_id": 0,
        "category_id": item.category,
        "bbox": [item.left, item.top, columns, rows],
        "area": item.area,
        "segmentation": {"size": size, "counts": encoded["counts"].decode("ascii")},
        "iscrowd": item.iscrowd,
    }


def made_from(source: Source) -> str:
    """Return the state of an image and its annotations."""
    return state_of(source.path, source.size, source.annotations)


def convert_image(out: Path, options: Options, named: tuple[str, Source]) -> dict:
    """Write the patches of an image and return its part; a part of val also has ``whole``."""
    name, source = named
    pixels = cv2.imread(str(source.path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"{source.path} cannot be read as an image")
    height, width = pixels.shape[:2]
    if source.size not in (None, (height, width)):
        raise InputError(
            f"{source.path} is {width} x {height} pixels, and "
            f"{source.size[1]} x {source.size[0]} in its annotations"
        )
    found = [region(item, source.path.name, height, width) for item in source.annotations]
    regions = [item for item in found if item]
    notes = []
    if len(regions) < len(found):
        notes.append(f"{source.path.name}: {len(found) - len(regions)} annotations have no pixels")

    images: list[dict] = []
    annotations: list[dict] = []
    for top in starts(height, options.size, options.overlap):
        for left in starts(width, options.size, options.overlap):
            bottom = min(top + options.size, height)
            right = min(left + options.size, width)
            inside = patch_annotations(regions, (top, bottom, left, right), len(images), options)
            instances = list(inside)
            if options.only_filled and not instances and name.startswith("train/"):
                continue
            file_name = f"{Path(name).name}_{top}_{bottom}_{left}_{right}.png"
            patch = cv2.cvtColor(pixels[top:bottom, left:right], cv2.COLOR_BGR2RGB)
            write_image(below(out, f"{Path(name).parent}", file_name), patch)
            images.append(
                {
                    "id": len(images),
                    "file_name": file_name,
                    "height": bottom - top,
                    "width": right - left,
                }
            )
            annotations += instances
    part: dict[str, Any] = {"images": images, "annotations": annotations, "notes": notes}
    if name.startswith("val/"):
        image = {"id": 0, "file_name": source.path.name, "height": height, "width": width}
        masks = [image_annotation(item, height, width) for item in regions]
        part["whole"] = {"images": [image], "annotations": masks}
    return part


def annotation_file(folder: Path, split: str) -> Path:
    """Return the only annotation file of a split in its folder."""
    found = sorted(folder.glob(f"iSAID_{split}*.json"))
    if len(found) > 1:
        raise InputError(
            f"{folder} holds {' and '.join(path.name for path in found)}; choose by "
            f"--{split}-annotations (docs/datasets.md explains the difference)"
        )
    return found[0] if found else require(folder / f"iSAID_{split}.json", "the annotation file")


def read_split(root: Path, split: str, path: Path | None, allow_partial: bool) -> dict[str, Source]:
    """Return the images of a split, by the names of their parts.

    Args:
        root: The folder of the download.
        split: ``train`` or ``val``.
        path: The annotation file; None for the only file in the split's folder.
        allow_partial: Whether images may be missing.
    """
    folder = require(root / split, "the split's folder")
    if path is None:
        path = annotation_file(folder / "Annotations", split)
    require(path, "the annotation file")
    images_folder = next(
        (inner for inner in (folder / "images/images", folder / "images") if inner.is_dir()), None
    )
    if images_folder is None:
        raise InputError(f"{folder} holds no images/images and no images")
    # The masks alone are read of an annotation.
    file = read_coco(path, ("height", "width", "bbox", "area")).require_sound()
    categories = {item["id"]: item["name"] for item in file.categories}
    if sorted(categories.values()) != sorted(CLASSES):
        raise InputError(
            f"{path} has the categories {', '.join(categories.values())}; "
            f"they must be {', '.join(CLASSES)}"
        )
    sources = {}
    for image in file.images:
        size = (image["height"], image["width"]) if {"height", "width"} <= image.keys() else None
        file_name = check_name(image["file_name"], path, folders=True)
        sources[image["id"]] = Source(images_folder / file_name, size, [])
    for item in file.annotations:
        if item["category_id"] not in categories:
            raise InputError(
                f"{path}: 'category_id' of annotation {item['id']} must be a category of the file,"
                f" and is {item['category_id']!r}"
            )
        if not isinstance(item.get("segmentation"), list | dict):
            raise InputError(
                f"{path}: 'segmentation' of annotation {item['id']} must be polygons or run"
                f" lengths, and is {item.get('segmentation')!r:.60}"
            )
        kept = {key: item[key] for key in ("id", "segmentation", "iscrowd") if key in item}
        kept["category_id"] = CLASSES.index(categories[item["category_id"]]) + 1
        sources[item["image_id"]].annotations.append(kept)
    print(f"{path}: {len(sources)} images, {len(file.annotations)} instances")
    empty = set(categories.values()) - {categories[a["category_id"]] for a in file.annotations}
    if empty:
        print(f"warning: {path} has no {', '.join(sorted(empty))}", file=sys.stderr)
    there = [source for source in sources.values() if source.path.exists()]
    absent = [source.path.name for source in sources.values() if not source.path.exists()]
    if absent and not allow_partial:
        raise InputError(
            f"{images_folder} lacks {len(absent)} images of {path.name}, {absent[0]} first; "
            "--allow-partial converts the other images"
        )
    if not there:
        raise InputError(f"{images_folder} holds no image of {path.name}")
    check_counts(f"images of {split}", len(there), IMAGES[split], allow_partial)
    return {f"{split}/{source.path.stem}": source for source in there}


def fraction(text: str) -> float:
    """Return the number from 0 to 1 that a word of the command line gives."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, not {text!r}")
    return value


@exit_on_input_error("isaid.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("root", type=Path, help="the folder with train and val in it")
    parser.add_argument("out", type=Path, help="the folder to write, such as data/isaid")
    parser.add_argument(
        "--size", type=whole_number, default=800, metavar="PIXELS", help="side of a patch (800)"
    )
    parser.add_argument(
        "--overlap", type=int, default=200, metavar="PIXELS", help="shared by neighbours (200)"
    )
    parser.add_argument(
        "--min-visible",
        type=fraction,
        default=0.1,
        metavar="PART",
        help="least visible part of an instance's area in a patch (0.1)",
    )
    parser.add_argument(
        "--min-area",
        type=whole_number,
        default=1,
        metavar="PIXELS",
        help="least area of an instance in a patch (1)",
    )
    parser.add_argument(
        "--only-filled",
        action="store_true",
        help="write no training patches without instances; our configs leave them out anyway",
    )
    for split in IMAGES:
        parser.add_argument(
            f"--{split}-annotations",
            type=Path,
            metavar="FILE",
            help=f"annotation file (the only {split}/Annotations/iSAID_{split}*.json)",
        )
    add_part_options(parser, IMAGES)
    arguments = parser.parse_args(words)
    if not 0 <= arguments.overlap < arguments.size:
        parser.error(
            f"--overlap must be from 0 to less than --size {arguments.size}, "
            f"not {arguments.overlap}"
        )
    options = Options(
        arguments.size,
        arguments.overlap,
        arguments.min_visible,
        arguments.min_area,
        arguments.only_filled,
    )
    parts = Parts(arguments.out, asdict(options), arguments.overwrite)
    for split in IMAGES:
        file = getattr(arguments, f"{split}_annotations")
        sources = read_split(arguments.root, split, file, arguments.allow_partial)
        by_size = large_first({name: sources[name].path for name in sorted(sources)})
        jobs = {name: sources[name] for name in by_size}
        convert = partial(convert_image, arguments.out, options)
        convert_parts(parts, convert, jobs, made_from, arguments.workers)
        names, folder = sorted(sources), arguments.out / "annotations"
        write_instances(folder / f"instances_{split}.json", parts.read(names), CATEGORIES)
        if split == "val":
            whole = (part["whole"] for part in parts.read(names))
            write_instances(folder / "images_val.json", whole, CATEGORIES)
