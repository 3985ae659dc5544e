"""LVIS restricted to COCO's categories: the ground truth of AP*.

    python tools/dataset_converters/lvis_coco.py lvis_v0.5_val.json data/coco
    python tools/dataset_converters/lvis_coco.py lvis_v1_val.json data/coco

Writes COCO/annotations/lvis_v0.5_val_coco.json (or v1): the annotations of the categories that have
a synset of COCO's categories, under COCO's ids and names. Each image keeps its neg_category_ids and
not_exhaustive_category_ids, mapped to COCO's ids: the federated AP needs them. Images have the
names of COCO's folders (val2017/000000000139.jpg). All 80 categories of COCO are listed; the
categories that LVIS lacks get no annotation, and do not count in AP*.

LVIS v1 validates some images of COCO's train2017. These images are left out, because a model
trained on COCO has seen them. --all-images keeps them.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmlevelset.annotations import read_coco
from mmlevelset.converters.command_line import check_counts, make_parser
from mmlevelset.converters.outputs import write_compact_json
from mmlevelset.errors import InputError, exit_on_input_error

# LVIS's table of the synsets of COCO's categories: id, COCO's name, synset.
CATEGORIES = (
    (1, "person", "person.n.01"),
    (2, "bicycle", "bicycle.n.01"),
    (3, "car", "car.n.01"),
    (4, "motorcycle", "motorcycle.n.01"),
    (5, "airplane", "airplane.n.01"),
    (6, "bus", "bus.n.01"),
    (7, "train", "train.n.01"),
    (8, "truck", "truck.n.01"),
    (9, "boat", "boat.n.01"),
    (10, "traffic light", "traffic_light.n.01"),
    (11, "fire hydrant", "fireplug.n.01"),
    (13, "stop sign", "stop_sign.n.01"),
    (14, "parking meter", "parking_meter.n.01"),
    (15, "bench", "bench.n.01"),
    (16, "bird", "bird.n.01"),
    (17, "cat", "cat.n.01"),
    (18, "dog", "dog.n.01"),
    (19, "horse", "horse.n.01"),
    (20, "sheep", "sheep.n.01"),
    (21, "cow", "beef.n.01"),
    (22, "elephant", "elephant.n.01"),
    (23, "bear", "bear.n.01"),
    (24, "zebra", "zebra.n.01"),
    (25, "giraffe", "giraffe.n.01"),
    (27, "backpack", "backpack.n.01"),
    (28, "umbrella", "umbrella.n.01"),
    (31, "handbag", "bag.n.04"),
    (32, "tie", "necktie.n.01"),
    (33, "suitcase", "bag.n.06"),
    (34, "frisbee", "frisbee.n.01"),
    (35, "skis", "ski.n.01"),
    (36, "snowboard", "snowboard.n.01"),
    (37, "sports ball", "ball.n.06"),
    (38, "kite", "kite.n.03"),
    (39, "baseball bat", "baseball_bat.n.01"),
    (40, "baseball glove", "baseball_glove.n.01"),
    (41, "skateboard", "skateboard.n.01"),
    (42, "surfboard", "surfboard.n.01"),
    (43, "tennis racket", "tennis_racket.n.01"),
    (44, "bottle", "bottle.n.01"),
    (46, "wine glass", "wineglass.n.01"),
    (47, "cup", "cup.n.01"),
    (48, "fork", "fork.n.01"),
    (49, "knife", "knife.n.01"),
    (50, "spoon", "spoon.n.01"),
    (51, "bowl", "bowl.n.03"),
    (52, "banana", "banana.n.02"),
    (53, "apple", "apple.n.01"),
    (54, "sandwich", "sandwich.n.01"),
    (55, "orange", "orange.n.01"),
    (56, "broccoli", "broccoli.n.01"),
    (57, "carrot", "carrot.n.01"),
    (58, "hot dog", "frank.n.02"),
    (59, "pizza", "pizza.n.01"),
    (60, "donut", "doughnut.n.02"),
    (61, "cake", "cake.n.03"),
    (62, "chair", "chair.n.01"),
    (63, "couch", "sofa.n.01"),
    (64, "potted plant", "pot.n.04"),
    (65, "bed", "bed.n.01"),
    (67, "dining table", "dining_table.n.01"),
    (70, "toilet", "toilet.n.02"),
    (72, "tv", "television_receiver.n.01"),
    (73, "laptop", "laptop.n.01"),
    (74, "mouse", "mouse.n.04"),
    (75, "remote", "remote_control.n.01"),
    (76, "keyboard", "computer_keyboard.n.01"),
    (77, "cell phone", "cellular_telephone.n.01"),
    (78, "microwave", "microwave.n.02"),
    (79, "oven", "oven.n.01"),
    (80, "toaster", "toaster.n.02"),
    (81, "sink", "sink.n.01"),
    (82, "refrigerator", "electric_refrigerator.n.01"),
    (84, "book", "book.n.01"),
    (85, "clock", "clock.n.01"),
    (86, "vase", "vase.n.01"),
    (87, "scissors", "scissors.n.01"),
    (88, "teddy bear", "teddy.n.01"),
    (89, "hair drier", "hand_blower.n.01"),
    (90, "toothbrush", "toothbrush.n.01"),
)
FEDERATED = ("neg_category_ids", "not_exhaustive_category_ids")
# Published numbers: images to validate, and COCO's categories in the release.
IMAGES = {"v0.5": 5000, "v1": 19809}
MATCHED = {"v0.5": 78, "v1": 79}


def read_lvis(path: Path) -> dict:
    """Return the content of LVIS's file, checked for the keys that AP* needs.

    Raises:
        InputError: The file is missing, no JSON, or not in LVIS's layout; the message names the
            key.
    """
    file = read_coco(path, ("file_name", "name")).require_sound()  # LVIS v1 names no files
    content = dict(images=file.images, categories=file.categories, annotations=file.annotations)
    needed = {
        "images": FEDERATED,
        "categories": ("synset", "frequency"),
        "annotations": ("segmentation",),
    }
    for key, names in needed.items():
        if not content[key]:
            raise InputError(f"{path} is no file of LVIS: its list {key!r} is empty")
        for entry in content[key]:
            missing = [name for name in names if name not in entry]
            if missing:
                raise InputError(
                    f"{path} is no file of LVIS: {key} with id {entry['id']} have no {missing[0]!r}"
                )
    for image in content["images"]:
        for key in FEDERATED:
            ids = image[key]
            if not isinstance(ids, list) or not all(type(number) is int for number in ids):
                raise InputError(
                    f"{path}: {key!r} of image {image['id']} must be a list of whole numbers, and"
                    f" is {ids!r:.60}"
                )
    return content


def file_name(image: dict) -> str:
    """Return the image's name in COCO's folders, such as ``val2017/000000000139.jpg``."""
    found = re.search(r"((?:train|val)2017)/(\d{12}\.jpg)$", image.get("coco_url") or "")
    if found:
        return f"{found[1]}/{found[2]}"
    # LVIS v0.5 has names of COCO 2014, and validates on val2017.
    found = re.fullmatch(r"(?:COCO_val2014_)?(\d{12}\.jpg)", image.get("file_name") or "")
    if found:
        return f"val2017/{found[1]}"
    raise InputError(
        f"image {image['id']} has neither a coco_url nor a file_name of COCO's train2017 or val2017"
    )


def restrict(content: dict, all_images: bool = False) -> tuple[dict, list[str]]:
    """Return LVIS's content with COCO's categories alone.

    Args:
        content: Content of LVIS's file.
        all_images: Keep the images of COCO's train2017 too.

    Returns:
        The restricted content, and the names of COCO's categories that LVIS lacks.
    """
    by_synset = {category["synset"]: category for category in content["categories"]}
    ids = {
        by_synset[synset]["id"]: number for number, _, synset in CATEGORIES if synset in by_synset
    }
    known = {category["id"] for category in content["categories"]}
    images = []
    for image in content["images"]:
        name = file_name(image)
        if not all_images and name.startswith("train"):
            continue
        mapped = {**image, "file_name": name}
        for key in FEDERATED:
            unknown = set(image[key]) - known
            if unknown:
                raise InputError(
                    f"image {image['id']} has categories {sorted(unknown)} in {key} that the file"
                    " does not list"
                )
            mapped[key] = sorted(ids[number] for number in image[key] if number in ids)
        images.append(mapped)
    kept = {image["id"] for image in images}
    annotations: list[dict] = []
    for annotation in content["annotations"]:
        number = ids.get(annotation["category_id"])
        if number is None or annotation["image_id"] not in kept:
            continue
        # Ids begin at 1: the evaluation takes id 0 for no match.
        annotations.append(
            {**annotation, "id": len(annotations) + 1, "category_id": number, "iscrowd": 0}
        )
    of_category = Counter(annotation["category_id"] for annotation in annotations)
    image_counts = Counter(
        number for _, number in {(a["image_id"], a["category_id"]) for a in annotations}
    )
    categories = [
        {
            "id": number,
            "name": name,
            "synset": synset,
            "frequency": by_synset[synset]["frequency"] if synset in by_synset else "f",
            "image_count": image_counts[number],
            "instance_count": of_category[number],
        }
        for number, name, synset in CATEGORIES
    ]
    result = {"images": images, "annotations": annotations, "categories": categories}
    return result, [name for _, name, synset in CATEGORIES if synset not in by_synset]


@exit_on_input_error("lvis_coco.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "lvis", type=Path, help="LVIS's file, lvis_v0.5_val.json or lvis_v1_val.json"
    )
    parser.add_argument("coco", type=Path, help="COCO's folder, with annotations and val2017 in it")
    parser.add_argument(
        "--all-images", action="store_true", help="keep images of COCO's train2017 too"
    )
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="only warn if a count is not the published count",
    )
    arguments = parser.parse_args(words)
    content = read_lvis(arguments.lvis)
    named = re.fullmatch(r"lvis_(v0\.5|v1)_val", arguments.lvis.stem)
    if named:
        count = len(content["images"])
        check_counts(
            f"images of {arguments.lvis}", count, IMAGES[named[1]], arguments.allow_partial
        )
    result, missing = restrict(content, arguments.all_images)
    matched = len(CATEGORIES) - len(missing)
    if not matched:
        raise InputError(f"{arguments.lvis} has no category with the synset of one of COCO's")
    if named:
        check_counts("categories of COCO", matched, MATCHED[named[1]], arguments.allow_partial)
    if not result["images"]:
        raise InputError(f"{arguments.lvis} has no image of COCO's val2017; try --all-images")
    out = arguments.coco / "annotations" / f"{arguments.lvis.stem}_coco.json"
    write_compact_json(out, result)
    left_out = len(content["images"]) - len(result["images"])
    print(
        f"{out}: {len(result['images'])} images ({left_out} of train2017 left out),"
        f" {len(result['annotations'])} instances of {matched} categories"
        + (f"; LVIS has no {', '.join(missing)}" if missing else "")
    )
