"""Report on a data set in COCO's layout: counts, sizes, pictures and problems.

    python tools/verify_dataset.py configs/_base_/datasets/voc_boxes.py --split val
    python tools/verify_dataset.py data/mine/instances_train.json --images data/mine/train

Takes a config, and reports on the data set of a split; or takes an annotation file with the folder
of its images. Prints the report, and writes report.md, report.json, categories.png and overlays.jpg
to a folder. Exit code: 0 without problems, 1 with problems, 2 if the input cannot be read.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.annotations import CocoFile, View, read_coco
from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.experiments.checks.files import (
    PERCENTILES,
    PUBLISHED,
    Finding,
    file_findings,
    make_finding,
    statistics,
    view_of,
)
from mmlevelset.experiments.checks.images import TURNED, ImageJob, check_image
from mmlevelset.experiments.overrides import read_config
from mmlevelset.files import write_json, write_text
from mmlevelset.workers import map_jobs

if TYPE_CHECKING:
    from mmlevelset.experiments.checks.config import Part


@dataclass(frozen=True)
class Source:
    """The annotation file of a data set, the folder of its images, and a config's settings.

    ``part`` is the data set in the config; None without a config.
    """

    annotations: Path
    images: Path
    classes: tuple[str, ...] | None = None
    masks: str = "required"
    optional: tuple[str, ...] = ()
    loader: dict = field(default_factory=dict)
    part: Part | None = None


def check(
    source: Source, file: CocoFile, view: View, workers: int, whole_files: bool
) -> dict[str, Any]:
    """Return the report on a data set, as it is written to JSON; see :func:`markdown`.

    Args:
        source: The data set.
        file: Its annotation file.
        view: The verdicts on the annotations.
        workers: Number of processes.
        whole_files: Whether each image is decoded, not its header alone.
    """
    if not source.images.is_dir():
        raise InputError(f"the folder of the images {source.images} does not exist")
    published = PUBLISHED.get(source.annotations.name)
    problems, notes = file_findings(file, view, published)
    jobs = [
        ImageJob(source.images / image["file_name"], image, used, whole_files, source.loader)
        for image, used in zip(file.images, view.used, strict=True)
    ]
    print(f"{source.annotations}: {len(jobs)} images", file=sys.stderr)
    places: dict[str, list[str]] = defaultdict(list)
    for result in map_jobs(check_image, jobs, workers):
        for kind, place in result:
            places[kind].append(place)
    for kind, found in places.items():
        (notes if kind == TURNED else problems).append(make_finding(kind, found))
    return {
        "annotation_file": str(source.annotations),
        "image_folder": str(source.images),
        "classes": source.classes,
        "published": published,
        "statistics": statistics(file),
        "problems": [asdict(problem) for problem in problems],
        "notes": [asdict(note) for note in notes],
    }


def markdown(report: dict[str, Any], pictures: Sequence[str] = ()) -> str:
    """Return the report as text that shows the files ``pictures``."""
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
        numbers = ", ".join(f"{count:,} {name}" for name, count in report["published"].items())
        lines.append(f"| published | {numbers} |")
    lines += ["", "| category | id | instances | crowds | images |", "|:---|---:|---:|---:|---:|"]
    for category in found["categories"]:
        lines.append(
            f"| {category['name']} | {category['id']} | {category['instances']:,} |"
            f" {category['crowds']:,} | {category['images']:,} |"
        )
    for title, key in (("Problems", "problems"), ("Notes", "notes")):
        lines += ["", f"## {title}", "", *(_line(Finding(**found)) for found in report[key])]
        if not report[key]:
            lines.append("None.")
    for name in pictures:
        lines += ["", f"![{Path(name).stem}]({name})"]
    return "\n".join(lines) + "\n"


def _size(sides: Sequence[float]) -> str:
    return " x ".join(f"{side:g}" for side in sides)


def _line(found: Finding) -> str:
    if not found.examples:
        return f"- {found.kind}"
    more = ", ..." if found.count > len(found.examples) else ""
    return f"- {found.count:,} {found.kind} ({', '.join(found.examples)}{more})"


def of_config(path: Path, split: str, whole_files: bool) -> tuple[Source | None, list[str]]:
    """Return the file of a config's data set, and what does not fit between config and data.

    The file is None if the data set is a folder of label maps.

    Raises:
        InputError: The config cannot be read, or has no such data set.
    """
    from mmlevelset.datasets import CocoDataset, SegDataset
    from mmlevelset.experiments.checks.config import (
        config_troubles,
        loader_of,
        parts_of,
    )

    config = read_config(path)
    if config.get(f"{split}_dataloader") is None:
        raise InputError(f"{path} has no {split}_dataloader")
    parts = list(parts_of(config, split))
    maps = [part for part in parts if isinstance(part.dataset, SegDataset)]
    files = [part for part in parts if isinstance(part.dataset, CocoDataset)]
    if not maps and len(files) != 1:
        kinds = ", ".join(str(part.settings["type"]) for part in parts)
        raise InputError(
            f"{split}_dataloader.dataset of {path} is a {kinds}, but must be a single data set with"
            " an ann_file in COCO's layout, or label maps; give the annotation file and --images"
        )
    troubles = config_troubles(config, split, whole_files, files=bool(maps))
    if maps:
        return None, troubles
    (part,) = files
    dataset = part.dataset
    source = Source(
        Path(dataset.ann_file),
        Path(dataset.data_prefix.get("img") or dataset.data_root or "."),
        tuple(dataset._categories()),
        dataset.masks,
        ("annotations",) if dataset.test_mode else (),
        loader_of(part.settings),
        part,
    )
    return source, troubles


def verify(arguments: argparse.Namespace) -> int:
    """Write and print the reports; return the number of kinds of problems."""
    given = arguments.source
    if given.suffix == ".py":
        if arguments.images:
            raise InputError("--images is for an annotation file; a config names its own folder")
        if not given.is_file():
            raise InputError(f"the config {given} does not exist")
        source, troubles = of_config(given, arguments.split, arguments.whole_files)
        name = f"{given.stem}_{arguments.split}"
    else:
        if not arguments.images:
            raise InputError(f"{given} needs --images, the folder of its images")
        source, name, troubles = Source(given, arguments.images), given.stem, []
    if source is None:
        print("".join(f"- {trouble}\n" for trouble in troubles) or "None.\n")
        return len(troubles)
    file = read_coco(source.annotations, source.optional)
    trains = source.part is None or source.part.split == "train"
    view, unfit, remarks = view_of(file, source.classes, source.masks, trains)
    if source.part is not None:
        from mmlevelset.experiments.checks.config import annotation_troubles

        troubles += annotation_troubles(source.part, view)
    report = check(source, file, view, arguments.workers, arguments.whole_files)
    report["problems"] = [*map(asdict, unfit), *report["problems"]]
    report["notes"] = [*map(asdict, remarks), *report["notes"]]
    report["problems"] += [asdict(Finding(trouble, 1)) for trouble in troubles]

    from mmlevelset.experiments.checks.pictures import choose, draw_histogram, draw_sheet

    out = arguments.out or Path("work_dirs/verify", name)
    out.mkdir(parents=True, exist_ok=True)
    draw_histogram(report["statistics"]["categories"], out / "categories.png")
    pictures = ["categories.png"]
    chosen = choose(file, arguments.samples, arguments.seed)
    used = dict(zip((image["id"] for image in file.images), view.used, strict=True))
    names = {category["id"]: category["name"] for category in file.categories}
    if draw_sheet(chosen, used, names, source.images, out / "overlays.jpg"):
        pictures.append("overlays.jpg")
    write_json(out / "report.json", report)
    write_text(out / "report.md", markdown(report, pictures))
    print(markdown(report))
    print(f"report and pictures: {out}")
    return len(report["problems"])


@exit_on_input_error("verify_dataset.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="config (.py) or annotation file (.json)")
    parser.add_argument("--images", type=Path, help="folder of the images, with an annotation file")
    parser.add_argument(
        "--split",
        choices=["train", "val", "test"],
        default="train",
        help="split of a config [train]",
    )
    parser.add_argument("--out", type=Path, help="[work_dirs/verify/NAME]")
    parser.add_argument("--samples", type=int, default=12, help="images on the sheet [12]")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the choice of these images [0]"
    )
    parser.add_argument(
        "--whole-files",
        action="store_true",
        help="decode each image, not its header alone: finds truncated files, and takes longer",
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=cores, help="processes [all cores]")
    arguments = parser.parse_args(words)
    sys.exit(1 if verify(arguments) else 0)
