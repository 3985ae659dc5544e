"""Cityscapes: the label maps of the 19 evaluated classes.

    python tools/dataset_converters/cityscapes.py data/cityscapes

Reads gtFine/{train,val}/CITY/*_gtFine_labelIds.png (34 labels). Beside each of them it writes
*_gtFine_labelTrainIds.png (labels 0 to 18, and 255 for none): 2,975 to train on, 500 to validate.
Run it again to go on after an interruption: finished maps are kept.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmlevelset.converters.command_line import make_parser, require
from mmlevelset.converters.inputs import read_label_map
from mmlevelset.converters.names import below
from mmlevelset.converters.outputs import write_label_maps
from mmlevelset.errors import InputError, exit_on_input_error

SUFFIX = "_gtFine_labelIds.png"
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The labels of the 19 classes, in the order of their training labels."""
LABELS = 34


def annotation_files(root: Path, split: str, suffix: str) -> list[Path]:
    """Return the annotation files of a split, of all cities, in alphabetical order.

    Args:
        root: The folder with gtFine in it.
        split: ``train`` or ``val``.
        suffix: The end of the files' names.

    Raises:
        InputError: The split has no folder, or no such file.
    """
    folder = require(root / "gtFine" / split, "the folder of the annotations")
    found = sorted(folder.glob(f"*/*{suffix}"))
    if not found:
        raise InputError(f"{folder} holds no CITY/*{suffix}")
    return found


def train_map(path: Path) -> np.ndarray:
    """Return the training labels (H, W) uint8 of a file with Cityscapes' labels."""
    labels = read_label_map(path)
    if labels.max() >= LABELS:
        raise InputError(f"{path} has label {labels.max()}, and the last is {LABELS - 1}")
    table = np.full(LABELS, 255, np.uint8)
    table[list(EVALUATED)] = range(len(EVALUATED))
    return table[labels]


@exit_on_input_error("cityscapes.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("root", type=Path, help="the folder with gtFine in it")
    parser.add_argument("--overwrite", action="store_true", help="write all maps again")
    arguments = parser.parse_args(words)
    jobs = []
    for split in ("train", "val"):
        found = annotation_files(arguments.root, split, SUFFIX)
        print(f"{arguments.root / 'gtFine' / split}: {len(found)} images")
        for path in found:
            name = path.name.removesuffix(SUFFIX) + "_gtFine_labelTrainIds.png"
            target = below(arguments.root / "gtFine", split, path.parent.name, name)
            jobs.append((target, partial(train_map, path)))
    write_label_maps(jobs, arguments.overwrite)
