"""Cityscapes: the label maps of the 19 classes that are evaluated.

    python tools/dataset_converters/cityscapes.py data/cityscapes

Reads gtFine/{train,val}/CITY/*_gtFine_labelIds.png (34 labels) and writes beside each
*_gtFine_labelTrainIds.png (0 to 18, and 255 for none): 2,975 to train on, 500 to validate. Run it
again to go on after an interruption: what is there already is kept.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from label_maps import InputError, convert, read_label_map, require, run

SUFFIX = "_gtFine_labelIds.png"
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The labels of the 19 classes, in the order of their training labels."""
LABELS = 34


def train_map(path: Path) -> np.ndarray:
    labels = read_label_map(path)
    if labels.max() >= LABELS:
        raise InputError(f"{path} has label {labels.max()}, and the last is {LABELS - 1}")
    table = np.full(LABELS, 255, np.uint8)
    table[list(EVALUATED)] = range(len(EVALUATED))
    return table[labels]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="the folder with gtFine in it")
    parser.add_argument("--overwrite", action="store_true", help="write all maps again")
    arguments = parser.parse_args(argv)
    jobs = []
    for split in ("train", "val"):
        folder = require(arguments.root / "gtFine" / split, "the folder of the label maps")
        found = sorted(folder.glob(f"*/*{SUFFIX}"))
        if not found:
            raise InputError(f"{folder} holds no CITY/*{SUFFIX}")
        print(f"{folder}: {len(found)} images")
        for path in found:
            name = path.name.removesuffix(SUFFIX) + "_gtFine_labelTrainIds.png"
            jobs.append((path.with_name(name), partial(train_map, path)))
    convert(jobs, arguments.overwrite)


if __name__ == "__main__":
    run(main)
