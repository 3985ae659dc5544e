"""A file of instances in COCO's layout, cut in two by a seed, with one class for all instances.

    python tools/dataset_converters/coco_objects.py \
        data/coco128/annotations/instances_coco128.json data/coco128_objects --val 32

Writes OUT/instances_train.json and OUT/instances_val.json with the class "object". Images stay
where they are. The images are sorted by id and shuffled by the seed; the first of them validate.
Images without instances are kept. --only keeps the instances of some classes alone:

    python tools/dataset_converters/coco_objects.py \
        data/coco128/annotations/instances_coco128.json data/coco128_people --val 24 \
        --only person --name person
"""

import random
from collections.abc import Sequence
from pathlib import Path

from mmlevelset.annotations import parse_coco, read_json
from mmlevelset.converters.coco_layout import number_categories
from mmlevelset.converters.command_line import make_parser, whole_number
from mmlevelset.converters.outputs import write_compact_json
from mmlevelset.errors import InputError, exit_on_input_error


def read_instances(path: Path) -> dict:
    """Return the content of a file of instances, with all its keys.

    Raises:
        InputError: The file is missing, or not in COCO's layout.
    """
    content = read_json(path)
    parse_coco(content, str(path)).require_sound()
    return content


def instances_of(content: dict, names: Sequence[str]) -> list[dict]:
    """Return the annotations of the categories of these names, in the order of the file.

    Raises:
        InputError: A name is not a category of the file.
    """
    known = {category["name"] for category in content["categories"]}
    for name in names:
        if name not in known:
            raise InputError(
                f"--only must name classes of the file, {sorted(known)}, but has {name!r}"
            )
    ids = {category["id"] for category in content["categories"] if category["name"] in names}
    return [entry for entry in content["annotations"] if entry["category_id"] in ids]


def split_ids(ids: Sequence[int], val: int, seed: int) -> dict[str, set[int]]:
    """Return the image ids of train and of val: the first ``val`` of the shuffled ids validate.

    Ids that are texts come after the numbers.
    """
    shuffled = sorted(ids, key=lambda value: (isinstance(value, str), value))
    random.Random(seed).shuffle(shuffled)
    return {"train": set(shuffled[val:]), "val": set(shuffled[:val])}


def part_of(content: dict, ids: set[int], name: str) -> dict:
    """Return the file of these images, in the order of the source; all instances have one class."""
    return {
        **content,
        "images": [image for image in content["images"] if image["id"] in ids],
        "annotations": [
            {**annotation, "category_id": 1}
            for annotation in content["annotations"]
            if annotation["image_id"] in ids
        ],
        "categories": number_categories([name]),
    }


@exit_on_input_error("coco_objects.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("annotations", type=Path, help="a file of instances in COCO's layout")
    parser.add_argument("target", type=Path, help="where to write")
    parser.add_argument(
        "--val", type=whole_number, required=True, metavar="N", help="number of images to validate"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split [0]")
    parser.add_argument(
        "--only", nargs="+", metavar="CLASS", help="classes whose instances are kept [all]"
    )
    parser.add_argument("--name", default="object", help="of the class [object]")
    arguments = parser.parse_args(words)
    content = read_instances(arguments.annotations)
    if arguments.only:
        content["annotations"] = instances_of(content, arguments.only)
    ids = [image["id"] for image in content["images"]]
    if arguments.val >= len(ids):
        raise InputError(
            f"--val must be less than the {len(ids)} images of {arguments.annotations}, but is"
            f" {arguments.val}"
        )
    paths = {split: arguments.target / f"instances_{split}.json" for split in ("train", "val")}
    for path in paths.values():
        if path.exists() and path.samefile(arguments.annotations):
            raise InputError(f"{arguments.target} must be another folder: {path} would be replaced")
    for split, of_split in split_ids(ids, arguments.val, arguments.seed).items():
        part = part_of(content, of_split, arguments.name)
        write_compact_json(paths[split], part)
        print(f"{paths[split]}: {len(part['images'])} images, {len(part['annotations'])} instances")
