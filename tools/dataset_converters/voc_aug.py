"""Pascal VOC 2012 with the label maps of SBD: 10,582 images to train on, 1,449 to validate.

    python tools/dataset_converters/voc_aug.py data/VOCdevkit/VOC2012 data/benchmark_RELEASE

Reads VOC's SegmentationClass and ImageSets/Segmentation/{train,val}.txt, and SBD's
dataset/{train,val}.txt and dataset/cls/*.mat. Writes VOC's SegmentationClassAug/*.png (labels 0 to
20, and 255 for none) and ImageSets/Segmentation/trainaug.txt: all images of SBD and of VOC's train
list that are not in its val list. Where both have a map, VOC's is taken. Run it again to go on
after an interruption: what is there already is kept.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from label_maps import (
    InputError,
    convert,
    read_label_map,
    read_mat,
    read_names,
    require,
    run,
    write_names,
)

CLASSES = 21


def voc_map(path: Path) -> np.ndarray:
    return _checked(read_label_map(path), path)


def sbd_map(path: Path) -> np.ndarray:
    return _checked(read_mat(path, "GTcls", "Segmentation"), path)


def _checked(labels: np.ndarray, path: Path) -> np.ndarray:
    unknown = np.unique(labels[(labels >= CLASSES) & (labels != 255)])
    if len(unknown):
        raise InputError(f"{path} has labels {unknown.tolist()} outside 0..{CLASSES - 1} and 255")
    return labels.astype(np.uint8)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("voc", type=Path, help="the folder VOC2012, with ImageSets in it")
    parser.add_argument("sbd", type=Path, help="SBD's folder, benchmark_RELEASE or its dataset")
    parser.add_argument("--overwrite", action="store_true", help="write all maps again")
    arguments = parser.parse_args(argv)
    lists = require(arguments.voc / "ImageSets/Segmentation", "the folder of VOC's lists")
    inner = arguments.sbd / "dataset"
    sbd = inner if inner.exists() else require(arguments.sbd, "SBD's folder")

    train, val = (read_names(lists / f"{split}.txt") for split in ("train", "val"))
    of_sbd = read_names(sbd / "train.txt") + read_names(sbd / "val.txt")
    own = {*train, *val}
    trainaug = sorted({*of_sbd, *train} - {*val})
    jobs = []
    for name in sorted({*trainaug, *val}):
        if name in own:
            make = partial(voc_map, arguments.voc / "SegmentationClass" / f"{name}.png")
        else:
            make = partial(sbd_map, sbd / "cls" / f"{name}.mat")
        jobs.append((arguments.voc / "SegmentationClassAug" / f"{name}.png", make))
    convert(jobs, arguments.overwrite)
    write_names(lists / "trainaug.txt", trainaug)


if __name__ == "__main__":
    run(main)
