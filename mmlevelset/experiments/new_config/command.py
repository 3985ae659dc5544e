"""Write a config for an annotation file in COCO's layout and a folder of images.

    python tools/new_config.py data/mine/all.json --images data/mine/photos --out mine.py
    python tools/new_config.py train.json --images train --val val.json --val-images val \\
        --method box-levelset --out mine.py

Prints what it chose, checks the config against the data, and prints the next commands. Without
--val, a share of the images is for validation: two files, mine_train.json and mine_val.json, are
written beside the config. They are also written if not all categories are classes.
"""

from __future__ import annotations

import argparse
import colorsys
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.experiments.new_config.methods import (
    AREAS,
    BACKBONES,
    LEAST_EPOCHS,
    METHODS,
    MOST_EPOCHS,
    RPN_STRIDES,
    SCHEDULES,
)

if TYPE_CHECKING:
    from mmlevelset.experiments.new_config.data import Data
    from mmlevelset.experiments.new_config.text import Plan


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("annotations", type=Path, help="annotation file in COCO's layout")
    made.add_argument("--images", type=Path, required=True, help="folder of its images")
    made.add_argument("--val", type=Path, help="annotation file to validate")
    made.add_argument("--val-images", type=Path, help="folder of its images [--images]")
    made.add_argument("--method", choices=METHODS, default="refined", help="[refined]")
    made.add_argument(
        "--backbone",
        choices=BACKBONES,
        default="lite0",
        help="lite0: small, with ImageNet weights; resnet18-scratch: small, without; r50: full"
        " size, for a GPU [lite0]",
    )
    made.add_argument(
        "--classes", nargs="+", help="names of the categories to use [all that have objects]"
    )
    made.add_argument("--out", type=Path, required=True, help="the config to write, such as my.py")
    made.add_argument("--val-share", type=float, default=0.2, help="without --val [0.2]")
    made.add_argument("--seed", type=int, default=0, help="of the split, without --val [0]")
    made.add_argument("--overwrite", action="store_true", help="replace a config that exists")
    return made.parse_args(words)


@exit_on_input_error("new_config.py")
def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    if arguments.out.suffix != ".py":
        raise InputError(f"--out must end in .py, and was {arguments.out}")
    if not 0 < arguments.val_share < 1:
        raise InputError(f"--val-share must be between 0 and 1, and was {arguments.val_share}")
    if arguments.val_images and not arguments.val:
        raise InputError("--val-images needs --val")
    written, epochs = new_config(arguments)
    try:
        check(arguments.out)
    except InputError as error:
        raise InputError(
            f"{error} ({arguments.out} is written: change it, or mend the data and take"
            " --overwrite)"
        ) from error
    out = shlex.quote(str(arguments.out))
    work_dir = f"work_dirs/{arguments.out.stem}"
    print(
        f"{written}\nNext:\n"
        f"  python tools/verify_dataset.py {out}\n"
        f"  python tools/train.py {out}\n"
        f"  python tools/test.py {out} {shlex.quote(f'{work_dir}/epoch_{epochs}.pth')}\n"
        f"  python tools/draw_results.py {out} {shlex.quote(work_dir)}"
    )


def new_config(arguments: argparse.Namespace) -> tuple[str, int]:
    """Write the config, and return a report on what was chosen, and the number of epochs.

    Raises:
        InputError: A file cannot be used, or would be overwritten.
    """
    from mmlevelset.experiments.new_config.data import Data, read_split
    from mmlevelset.experiments.new_config.text import config_text
    from mmlevelset.files import write_text

    method, out = METHODS[arguments.method], arguments.out
    parts = {name: out.with_name(f"{out.stem}_{name}.json") for name in ("train", "val")}
    for path in (out, *parts.values()):
        for source in filter(None, (arguments.annotations, arguments.val)):
            if path.resolve() == source.resolve():
                raise InputError(f"--out {out} would overwrite {path}: take another name")
        if path.exists() and not arguments.overwrite:
            raise InputError(f"{path} exists: take another --out, or --overwrite")
    if not arguments.images.is_dir():
        raise InputError(f"--images {arguments.images} must be a folder")
    if arguments.backbone not in method.bases:
        raise InputError(
            f"--method {arguments.method} has the backbones {', '.join(method.bases)}, and"
            f" --backbone was {arguments.backbone}"
        )
    masks = "unread" if method.from_boxes else "required"
    data = Data.read(arguments.annotations, arguments.images, masks, arguments.classes)
    if not method.from_boxes and not data.has_masks:
        raise InputError(
            f"{arguments.annotations} has boxes alone, but --method {arguments.method} needs masks:"
            " take --method box-levelset"
        )
    notes = data.notes()
    if arguments.val:
        folder = arguments.val_images or arguments.images
        train, val = data, Data.read(arguments.val, folder, "required", data.classes)
        if not data.whole:
            train = train.part({image["id"] for image in train.images}, parts["train"], masks)
            val = val.part({image["id"] for image in val.images}, parts["val"], "required")
    else:
        train, val = read_split(data, parts, masks, arguments.val_share, arguments.seed)
    both = train.files & val.files
    if both:
        notes.append(
            f"{len(both)} images are to train on and to validate, such as {min(both)}: scores say"
            " little about new images"
        )
    absent = [name for name in data.classes if name not in val.seen]
    if absent:
        notes.append(f"no object to validate of: {', '.join(absent)}")
    if not train.objects:
        raise InputError(f"{train.path} has no object to train on")
    plan = make_plan(arguments, train, val)
    write_text(out, config_text(plan))
    notes += (
        []
        if plan.side >= 20
        else [
            f"half of the objects are smaller than {plan.side:.0f} x {plan.side:.0f} pixels at this"
            " scale: a larger image_scale finds more of them"
        ]
    )
    lines = [
        f"{out}: {method.title}; classes: {', '.join(data.classes)}; {len(train.images)} images to"
        f" train on, {len(val.images)} to validate, {plan.epochs} epochs",
        *(f"note: {note}" for note in notes),
    ]
    return "\n".join(lines), plan.epochs


def make_plan(arguments: argparse.Namespace, train: Data, val: Data) -> Plan:
    """Choose the settings of a config by its data."""
    import numpy as np

    from mmlevelset.experiments.new_config import sizes
    from mmlevelset.experiments.new_config.text import Part, Plan

    method, backbone = METHODS[arguments.method], arguments.backbone
    scale = sizes.image_scale(train.sizes, AREAS[backbone])
    boxes = np.maximum(train.boxes(sizes.resize_factors(train.sizes, scale)), 1)
    count = train.images_with_objects
    epochs = _epochs(count, backbone, method.family)
    rcnn, solo = method.family == "rcnn", method.family == "solo"
    return Plan(
        source=arguments.annotations.name,
        method=method,
        backbone=backbone,
        bases=_bases(method.bases[backbone], arguments.out),
        classes=train.classes,
        palette=palette(len(train.classes)),
        train=Part(str(train.path), str(train.folder), len(train.images), len(train.objects)),
        val=Part(str(val.path), str(val.folder), len(val.images), len(val.objects)),
        has_masks=val.has_masks,
        scale=scale,
        sizes=_range(train.sizes),
        side=float(np.median(np.sqrt(boxes.prod(1)))),
        epochs=epochs,
        iterations=epochs * math.ceil(count / 2),
        anchors=sizes.choose_anchors(boxes, RPN_STRIDES[backbone]) if rcnn else None,
        grids=sizes.choose_grids(boxes, scale) if solo else None,
    )


def check(config: Path) -> None:
    """Check a config against its data.

    Raises:
        InputError: Something does not fit.
    """
    from mmlevelset.requirements import require_openmmlab

    try:
        require_openmmlab()
    except ImportError as error:
        print(f"the config was not checked: {error}", file=sys.stderr)
        return
    from mmlevelset.experiments.checks.config import require_fit
    from mmlevelset.experiments.overrides import read_config

    require_fit(read_config(config), "train", "val")


def palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return different colours, far from each other."""
    colours = []
    for number in range(count):
        hue, strength = (0.97 + 0.618034 * number) % 1, (0.85, 0.6)[number % 2]
        red, green, blue = colorsys.hsv_to_rgb(hue, strength, (0.9, 0.75)[number // 2 % 2])
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(colours)


def _epochs(images: int, backbone: str, family: str) -> int:
    seen = SCHEDULES[backbone] * (4 / 3 if family in ("solo", "boxes") else 1)
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, round(seen / images)))


def _bases(model: str, out: Path) -> tuple[str, ...]:
    """Return the base configs as the config's ``_base_`` names them."""
    from mmlevelset.files import shipped_folder

    names = (f"models/{model}.py", "schedules/light_12e.py", "default_runtime.py")
    configs = shipped_folder("configs")
    if configs.parent.name == ".mim":
        return tuple(f"mmlevelset::_base_/{name}" for name in names)
    start = os.path.relpath(configs, out.resolve().parent)
    return tuple(f"{start}/_base_/{name}" for name in names)


def _range(sizes: Any) -> str:
    low, high = sizes[sizes.prod(1).argmin()], sizes[sizes.prod(1).argmax()]
    if (low == high).all():
        return f"{low[0]} x {low[1]}"
    return f"{low[0]} x {low[1]} to {high[0]} x {high[1]}"


if __name__ == "__main__":
    main()
