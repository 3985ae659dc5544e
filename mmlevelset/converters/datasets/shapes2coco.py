"""Write generated data as PNG images and COCO annotations.

    python tools/dataset_converters/shapes2coco.py OUT --length 1000

Writes OUT/images/000000.png ... and OUT/annotations.json. --semantic adds the label maps
OUT/labels/000000.png ...: 0 for the background, the category's id elsewhere. OUT appears when all
files are written.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mmengine.fileio as fileio
import pycocotools.mask as mask_utils
from mmengine.utils import track_iter_progress

from mmlevelset.converters.coco_layout import number_categories
from mmlevelset.converters.command_line import make_parser
from mmlevelset.converters.outputs import write_compact_json
from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.files import write_bytes

if TYPE_CHECKING:
    from mmlevelset.datasets import ShapesDataset


def parse_args(words: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("out", type=Path, help="folder to make; it must not exist yet")
    parser.add_argument("--length", type=int, default=512, help="number of images (512)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the data; another seed gives another split (0)"
    )
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        default=(160, 160),
        metavar=("W", "H"),
        help="pixels (160 160)",
    )
    parser.add_argument(
        "--num-objects",
        type=int,
        nargs=2,
        default=(2, 6),
        metavar=("LEAST", "MOST"),
        help="in an image (2 6)",
    )
    parser.add_argument("--noise", type=float, default=1.0, help="pixel noise and blur (1)")
    parser.add_argument("--light", type=float, default=1.0, help="uneven light, 0 to 1 (1)")
    parser.add_argument("--occlusion", type=float, default=0.5, help="probability (0.5)")
    parser.add_argument("--camouflage", type=float, default=0.1, help="probability (0.1)")
    parser.add_argument("--empty-fraction", type=float, default=0.0, help="probability (0)")
    parser.add_argument("--semantic", action="store_true", help="write label maps too")
    return parser.parse_args(words)


def write_coco(dataset: ShapesDataset, folder: Path, semantic: bool) -> None:
    """Write all images, their annotations and, with ``semantic``, label maps into ``folder``."""
    (folder / "images").mkdir()
    if semantic:
        (folder / "labels").mkdir()
    images: list[dict] = []
    annotations: list[dict] = []
    for index in track_iter_progress(range(len(dataset)), file=sys.stderr):
        info = dataset.get_data_info(index)
        name = Path(info["img_path"]).name
        write_bytes(folder / "images" / name, fileio.get(info["img_path"]))
        if semantic:
            write_bytes(folder / "labels" / name, fileio.get(info["seg_map_path"]))
        images.append(
            {
                "id": info["img_id"],
                "file_name": name,
                "width": info["width"],
                "height": info["height"],
            }
        )
        for instance in info["instances"]:
            x1, y1, x2, y2 = instance["bbox"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": info["img_id"],
                    "category_id": instance["bbox_label"] + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": int(mask_utils.area(instance["mask"])),
                    "segmentation": instance["mask"],
                    "iscrowd": 0,
                }
            )
    categories = number_categories(dataset.metainfo["classes"])
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_compact_json(folder / "annotations.json", content)


@exit_on_input_error("shapes2coco.py")
def main(words: Sequence[str] | None = None) -> None:
    args = parse_args(words)
    if args.out.exists():
        raise InputError(f"{args.out} exists already; remove it or choose another folder")
    from mmlevelset.datasets import ShapesDataset

    try:
        dataset = ShapesDataset(
            length=args.length,
            image_size=args.image_size,
            seed=args.seed,
            num_objects=args.num_objects,
            noise=args.noise,
            light=args.light,
            occlusion=args.occlusion,
            camouflage=args.camouflage,
            empty_fraction=args.empty_fraction,
            cache=False,
            test_mode=True,
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    args.out.parent.mkdir(parents=True, exist_ok=True)
    # Beside OUT, so that the rename stays on one file system.
    partial = Path(tempfile.mkdtemp(prefix=f".{args.out.name}-", dir=args.out.parent))
    try:
        partial.chmod(0o755)  # mkdtemp's own mode shuts out other users
        write_coco(dataset, partial, args.semantic)
        partial.rename(args.out)
    except BaseException:
        shutil.rmtree(partial)
        raise
    print(f"wrote {len(dataset)} images and annotations.json to {args.out}")
