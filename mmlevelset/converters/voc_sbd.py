"""The images of Pascal VOC 2012 and SBD, and their two splits."""

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
        of_voc: The images whose annotations are VOC's. SBD annotates the others.
        train: The images to train on, in alphabetical order.
        val: The images to validate, in alphabetical order.
    """

    sbd: Path
    of_voc: frozenset[str]
    train: list[str]
    val: list[str]


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name the folders of VOC and of SBD."""
    parser.add_argument("voc", type=Path, help="the folder VOC2012, with ImageSets in it")
    parser.add_argument("sbd", type=Path, help="SBD's folder, benchmark_RELEASE or its dataset")


def lists_folder(voc: Path, task: str = "Segmentation") -> Path:
    """Return VOC's folder of lists for a task; raise InputError if it does not exist."""
    return require(voc / "ImageSets" / task, "the folder of VOC's lists")


def read_lists(voc: Path, sbd: Path) -> ImageLists:
    """Read the augmented split: VOC's images for segmentation, and SBD's to train on.

    The images to train on are all images of SBD and of VOC's train list that are not in VOC's val
    list. VOC's annotations are taken where there are both.

    Args:
        voc: The folder VOC2012.
        sbd: SBD's folder, ``benchmark_RELEASE`` or the folder ``dataset`` in it.

    Raises:
        InputError: A folder or a list does not exist.
    """
    sbd, of_sbd = _read_sbd(sbd)
    train, val = _read_voc(voc, "Segmentation")
    return ImageLists(sbd, frozenset(train | val), sorted((of_sbd | train) - val), sorted(val))


def read_detection_lists(voc: Path, sbd: Path) -> ImageLists:
    """Read the split of SDS and its successors: VOC's images for detection that SBD annotates.

    All annotations are SBD's. Arguments and errors are those of :func:`read_lists`.
    """
    sbd, of_sbd = _read_sbd(sbd)
    train, val = _read_voc(voc, "Main")
    return ImageLists(sbd, frozenset(), sorted(of_sbd & train), sorted(of_sbd & val))


def _read_sbd(sbd: Path) -> tuple[Path, set[str]]:
    """SBD's folder ``dataset``, and the names of all its images."""
    inner = sbd / "dataset"
    sbd = inner if inner.exists() else require(sbd, "SBD's folder")
    return sbd, {*read_names(sbd / "train.txt"), *read_names(sbd / "val.txt")}


def _read_voc(voc: Path, task: str) -> tuple[set[str], set[str]]:
    """The names of VOC's images to train on and to validate."""
    lists = lists_folder(voc, task)
    return {*read_names(lists / "train.txt")}, {*read_names(lists / "val.txt")}
