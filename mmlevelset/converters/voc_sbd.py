"""The images of Pascal VOC 2012 and SBD, and their split."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from mmlevelset.converters.command_line import require
from mmlevelset.converters.inputs import read_names


@dataclass(frozen=True)
class ImageLists:
    """Names of images, without suffix.

    Attributes:
        sbd: SBD's folder ``dataset``.
        of_voc: The images that VOC annotates. SBD annotates the others.
        train: The images to train on, in alphabetical order: all images of SBD and of VOC's train
            list that are not in VOC's val list.
        val: The images of VOC's val list, in alphabetical order.
    """

    sbd: Path
    of_voc: frozenset[str]
    train: list[str]
    val: list[str]


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name the folders of VOC and of SBD."""
    parser.add_argument("voc", type=Path, help="the folder VOC2012, with ImageSets in it")
    parser.add_argument("sbd", type=Path, help="SBD's folder, benchmark_RELEASE or its dataset")


def lists_folder(voc: Path) -> Path:
    """Return VOC's folder of lists for segmentation; raise InputError if it does not exist."""
    return require(voc / "ImageSets/Segmentation", "the folder of VOC's lists")


def read_lists(voc: Path, sbd: Path) -> ImageLists:
    """Read the lists of both data sets.

    Args:
        voc: The folder VOC2012.
        sbd: SBD's folder, ``benchmark_RELEASE`` or the folder ``dataset`` in it.

    Raises:
        InputError: A folder or a list does not exist.
    """
    lists = lists_folder(voc)
    inner = sbd / "dataset"
    sbd = inner if inner.exists() else require(sbd, "SBD's folder")
    train, val = (read_names(lists / f"{split}.txt") for split in ("train", "val"))
    of_sbd = read_names(sbd / "train.txt") + read_names(sbd / "val.txt")
    return ImageLists(
        sbd, frozenset([*train, *val]), sorted({*of_sbd, *train} - {*val}), sorted({*val})
    )
