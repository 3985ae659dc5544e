"""Report on a data set in COCO's layout: counts, sizes, pictures, and what is wrong with it.

    python tools/verify_dataset.py configs/_base_/datasets/voc_boxes.py --split val
    python tools/verify_dataset.py data/mine/instances_train.json --images data/mine/train

Takes a config, of which it reads the data set of a split, or an annotation file with the folder of
its images. Prints the report, and writes report.md, report.json, categories.png and overlays.jpg to
a folder. Exit code: 0 where all is well, 1 where there are problems, 2 where it could not look.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataset_checks import (
    PERCENTILES,
    PUBLISHED,
    TURNED,
    Finding,
    ImageJob,
    check_image,
    file_findings,
    finding,
    read_annotations,
    statistics,
)

from mmlevelset.errors import InputError


@dataclass(frozen=True)
class Source:
    """A data set: its annotations, its images, and a config's classes."""

    annotations: Path
    images: Path
    classes: tuple[str, ...] | None = None


def of_config(path: Path, split: str) -> Source:
    """The data set that a config trains on, or evaluates.

    Raises:
        InputError: the config cannot be read, or its data set is of several or in another layout.
    """
    from mmdet.registry import DATASETS
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    try:
        config = Config.fromfile(path)
    except Exception as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    loader = config.get(f"{split}_dataloader")
    if loader is None:
        raise InputError(f"{path} has no {split}_dataloader")
    settings = loader.dataset
    while "ann_file" not in settings and "dataset" in settings:  # RepeatDataset and the like
        settings = settings.dataset
    if not str(settings.get("ann_file", "")).endswith(".json"):
        raise InputError(
            f"{split}_dataloader.dataset of {path} is a {settings.type}, and not one data set with"
            " an ann_file in COCO's layout; give the annotation file and --images"
        )
    with DefaultScope.overwrite_default_scope(config.get("default_scope", "mmdet")):
        dataset = DATASETS.build({**settings, "pipeline": [], "lazy_init": True})
    return Source(
        Path(dataset.ann_file),
        Path(dataset.data_prefix.get("img") or dataset.data_root or "."),
        tuple(dataset.metainfo["classes"]),
    )


def check(
    source: Source, content: dict[str, list[dict]], workers: int, whole_files: bool
) -> dict[str, Any]:
    """The report on a data set, as JSON has it; see :func:`markdown`."""
    from mmengine.utils import track_iter_progress, track_parallel_progress

    if not source.images.is_dir():
        raise InputError(f"the folder of the images {source.images} does not exist")
    published = PUBLISHED.get(source.annotations.name)
    problems, notes = file_findings(content, source.classes, published)
    by_image: dict[Any, list[dict]] = defaultdict(list)
    for one in content["annotations"]:
        by_image[one["image_id"]].append(one)
    categories = frozenset(category["id"] for category in content["categories"])
    has_masks = any(one.get("segmentation") for one in content["annotations"])
    jobs = [
        ImageJob(
            source.images / str(image["file_name"]),
            image,
            by_image[image["id"]],
            categories,
            has_masks,
            whole_files,
        )
        for image in content["images"]
    ]
    print(f"{source.annotations}: {len(jobs)} images", file=sys.stderr)
    if workers > 1 and len(jobs) > 1:
        chunk = max(1, min(64, len(jobs) // (4 * workers)))
        results = track_parallel_progress(
            check_image, jobs, workers, chunksize=chunk, file=sys.stderr
        )
    else:
        results = [check_image(job) for job in track_iter_progress(jobs, file=sys.stderr)]
    places: dict[str, list[str]] = defaultdict(list)
    for result in results:
        for kind, place in result:
            places[kind].append(place)
    for kind, found in places.items():
        (notes if kind == TURNED else problems).append(finding(kind, found))
    return {
        "annotation_file": str(source.annotations),
        "image_folder": str(source.images),
        "classes": source.classes,
        "published": published,
        "statistics": statistics(content),
        "problems": [asdict(one) for one in problems],
        "notes": [asdict(one) for one in notes],
    }


def markdown(report: dict[str, Any], pictures: Sequence[str] = ()) -> str:
    """The report as text; ``pictures`` are the files to show in it."""
    found = report["statistics"]
    sizes, objects = found["image_sizes"], found["instance_sizes"]
    frequent = ", ".join(f"{w} x {h} ({n:,})" for w, h, n in sizes["most_frequent"])
    lines = [
        f"# {report['annotation_file']}",
        "",
        "| | |",
        "|:---|:---|",
        f"| images | {found['images']:,} in {report['image_folder']} |",
        f"| instances | {found['instances']:,} |",
        f"| crowds | {found['crowds']:,} |",
        f"| images without annotations | {found['images_without_annotations']:,} |",
        f"| annotations in an image | {found['annotations_per_image']['mean']:.1f} on average, "
        f"{found['annotations_per_image']['most']} at most |",
        f"| sizes of images | {_size(sizes['smallest'])} to {_size(sizes['largest'])}, median "
        f"{_size(sizes['median'])}, {sizes['different']} different: {frequent} |",
        f"| instances by area | {objects['small']:,} small (below 32²), {objects['medium']:,} "
        f"medium, {objects['large']:,} large (from 96²) |",
    ]
    roots = objects["square_root_of_area"]
    if roots:
        spread = ", ".join(f"{roots[str(p)]:g}" for p in PERCENTILES)
        percents = ", ".join(map(str, PERCENTILES))
        lines.append(f"| square root of the area | {spread} (percentiles {percents}) |")
    if report["published"]:
        told = ", ".join(f"{count:,} {name}" for name, count in report["published"].items())
        lines.append(f"| published | {told} |")
    lines += ["", "| category | id | instances | crowds | images |", "|:---|---:|---:|---:|---:|"]
    for one in found["categories"]:
        lines.append(
            f"| {one['name']} | {one['id']} | {one['instances']:,} | {one['crowds']:,} |"
            f" {one['images']:,} |"
        )
    for title, key in (("Problems", "problems"), ("Notes", "notes")):
        lines += ["", f"## {title}", "", *(_told(Finding(**one)) for one in report[key])]
        if not report[key]:
            lines.append("None.")
    for name in pictures:
        lines += ["", f"![{Path(name).stem}]({name})"]
    return "\n".join(lines) + "\n"


def _size(sides: Sequence[float]) -> str:
    return " x ".join(f"{side:g}" for side in sides)


def _told(one: Finding) -> str:
    more = ", ..." if one.count > len(one.examples) else ""
    places = f" ({', '.join(one.examples)}{more})" if one.examples else ""
    return f"- {one.count:,} {one.kind}{places}" if one.examples else f"- {one.kind}"


def verify(arguments: argparse.Namespace) -> int:
    """Write and print the report; the number of kinds of problems."""
    given = arguments.source
    if given.suffix == ".py":
        if arguments.images:
            raise InputError("--images goes with an annotation file; a config names its own")
        if not given.is_file():
            raise InputError(f"the config {given} does not exist")
        source, name = of_config(given, arguments.split), f"{given.stem}_{arguments.split}"
    else:
        if not arguments.images:
            raise InputError(f"{given} needs --images, the folder of its images")
        source, name = Source(given, arguments.images), given.stem
    content = read_annotations(source.annotations)
    report = check(source, content, arguments.workers, arguments.whole_files)

    from dataset_pictures import choose, draw_histogram, draw_sheet

    out = arguments.out or Path("work_dirs/verify", name)
    out.mkdir(parents=True, exist_ok=True)
    draw_histogram(report["statistics"]["categories"], out / "categories.png")
    pictures = ["categories.png"]
    chosen = choose(content, arguments.samples, arguments.seed)
    if draw_sheet(chosen, content, source.images, out / "overlays.jpg"):
        pictures.append("overlays.jpg")
    (out / "report.json").write_text(json.dumps(report, indent=1))
    (out / "report.md").write_text(markdown(report, pictures))
    print(markdown(report))
    print(f"report and pictures: {out}")
    return len(report["problems"])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="config (.py) or annotation file (.json)")
    parser.add_argument("--images", type=Path, help="with an annotation file: its images' folder")
    parser.add_argument(
        "--split", choices=["train", "val", "test"], default="train", help="of a config [train]"
    )
    parser.add_argument("--out", type=Path, help="[work_dirs/verify/NAME]")
    parser.add_argument("--samples", type=int, default=12, help="images on the sheet [12]")
    parser.add_argument("--seed", type=int, default=0, help="which images those are [0]")
    parser.add_argument(
        "--whole-files",
        action="store_true",
        help="decode every image, not its header alone: finds truncated ones, and takes longer",
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=cores, help="processes [all cores]")
    arguments = parser.parse_args(argv)
    try:
        problems = verify(arguments)
    except InputError as error:
        parser.exit(2, f"verify_dataset.py: error: {error}\n")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
