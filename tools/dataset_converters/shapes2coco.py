"""Write generated data as PNG images and COCO annotations.

OUT/images/000000.png ..., OUT/annotations.json, and with --semantic OUT/labels/000000.png ...
(0 for background, category id elsewhere). OUT appears when all is written.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mmengine.fileio as fileio
import pycocotools.mask as mask_utils
from mmengine.utils import track_iter_progress

from mmlevelset.datasets import ShapesDataset


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to make; it must not exist yet")
    parser.add_argument("--length", type=int, default=512, help="number of images (512)")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another split (0)")
    parser.add_argument(
        "--image-size", type=int, nargs=2, default=(160, 160), metavar=("W", "H"), help="(160 160)"
    )
    parser.add_argument(
        "--num-objects", type=int, nargs=2, default=(2, 6), metavar=("LEAST", "MOST"), help="(2 6)"
    )
    parser.add_argument("--noise", type=float, default=1.0, help="pixel noise and blur (1)")
    parser.add_argument("--light", type=float, default=1.0, help="uneven light, 0 to 1 (1)")
    parser.add_argument("--occlusion", type=float, default=0.5, help="probability (0.5)")
    parser.add_argument("--camouflage", type=float, default=0.1, help="probability (0.1)")
    parser.add_argument("--empty-fraction", type=float, default=0.0, help="probability (0)")
    parser.add_argument("--semantic", action="store_true", help="write label maps too")
    return parser.parse_args(argv)


def write_coco(dataset: ShapesDataset, folder: Path, semantic: bool) -> None:
    """Write all images, their annotations and, if ``semantic``, label maps into ``folder``."""
    (folder / "images").mkdir()
    if semantic:
        (folder / "labels").mkdir()
    images: list[dict] = []
    annotations: list[dict] = []
    for index in track_iter_progress(range(len(dataset)), file=sys.stderr):
        info = dataset.get_data_info(index)
        name = Path(info["img_path"]).name
        (folder / "images" / name).write_bytes(fileio.get(info["img_path"]))
        if semantic:
            (folder / "labels" / name).write_bytes(fileio.get(info["seg_map_path"]))
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
    categories = [
        {"id": label, "name": name} for label, name in enumerate(dataset.metainfo["classes"], 1)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.out.exists():
        sys.exit(f"{args.out} exists already; remove it or choose another folder")
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
        sys.exit(str(error))
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


if __name__ == "__main__":
    main()
