"""Parts of an annotation file: a split for training and validation, chosen classes."""

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmlevelset.errors import InputError
from mmlevelset.files import write_text

TRIES = 50


def split_images(
    names: Sequence[str], labels: Sequence[set[int]], share: float, seed: int
) -> list[bool]:
    """Return for each image whether it is for validation.

    Of :data:`TRIES` random splits by the seed, the first with the most classes on both sides is
    taken. Entries with the same file are on one side.

    Args:
        names: The file of each image.
        labels: The classes in each image.
        share: The share of the images that validate, in (0, 1).
        seed: The seed of the choice.

    Raises:
        InputError: There are fewer than two files.
    """
    files = sorted(set(names))
    if len(files) < 2:
        raise InputError(f"a split needs two images or more, and there is {len(files)}")
    count = min(len(files) - 1, max(1, round(share * len(files))))
    of_file: dict[str, set[int]] = defaultdict(set)
    for name, found in zip(names, labels, strict=True):
        of_file[name] |= found
    best: set[str] = set()
    most = -1
    generator = random.Random(seed)
    for _ in range(TRIES):
        chosen = set(generator.sample(files, count))
        inside = set().union(*(of_file[name] for name in chosen))
        outside = set().union(*(of_file[name] for name in files if name not in chosen))
        both = len(inside & outside)
        if both > most:
            best, most = chosen, both
    return [name in best for name in names]


def write_part(source: Path, images: set[Any], classes: Sequence[str], path: Path) -> None:
    """Write the part of an annotation file that belongs to some images and classes.

    Args:
        source: The annotation file.
        images: The ids of the images.
        classes: The names of the categories.
        path: The file to write.
    """
    content = json.loads(source.read_bytes())
    categories = [item for item in content["categories"] if item["name"] in classes]
    known = {item["id"] for item in categories}
    part = content | {
        "images": [image for image in content["images"] if image["id"] in images],
        "categories": categories,
        "annotations": [
            item
            for item in content["annotations"]
            if item["image_id"] in images and item["category_id"] in known
        ],
    }
    write_text(path, json.dumps(part) + "\n")
