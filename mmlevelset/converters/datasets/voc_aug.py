"""Pascal VOC 2012 with the label maps of SBD: 10,582 images to train on, 1,449 to validate.

    python tools/dataset_converters/voc_aug.py data/VOCdevkit/VOC2012 data/benchmark_RELEASE

Reads VOC's SegmentationClass and ImageSets/Segmentation/{train,val}.txt, and SBD's
dataset/{train,val}.txt and dataset/cls/*.mat. Writes VOC's SegmentationClassAug/*.png (labels 0 to
20, and 255 for none) and ImageSets/Segmentation/trainaug.txt: all images of SBD and of VOC's train
list that are not in VOC's val list. Where both have a map, VOC's map is taken. Run it again to go
on after an interruption: finished maps are kept.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmlevelset.converters.command_line import make_parser
from mmlevelset.converters.inputs import read_label_map, read_mat
from mmlevelset.converters.names import below
from mmlevelset.converters.outputs import write_label_maps, write_names
from mmlevelset.converters.voc_sbd import add_folders, lists_folder, read_lists
from mmlevelset.errors import InputError, exit_on_input_error

CLASSES = 21


def voc_map(path: Path) -> np.ndarray:
    """Return the labels (H, W) uint8 of one of VOC's files."""
    return _checked(read_label_map(path), path)


def sbd_map(path: Path) -> np.ndarray:
    """Return the labels (H, W) uint8 of one of SBD's files."""
    return _checked(read_mat(path, "GTcls", "Segmentation"), path)


def _checked(labels: np.ndarray, path: Path) -> np.ndarray:
    unknown = np.unique(labels[(labels >= CLASSES) & (labels != 255)])
    if len(unknown):
        raise InputError(f"{path} has labels {unknown.tolist()} outside 0..{CLASSES - 1} and 255")
    return labels.astype(np.uint8)


@exit_on_input_error("voc_aug.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_folders(parser)
    parser.add_argument("--overwrite", action="store_true", help="write all maps again")
    arguments = parser.parse_args(words)
    lists = read_lists(arguments.voc, arguments.sbd)
    jobs = []
    for name in sorted([*lists.train, *lists.val]):
        if name in lists.of_voc:
            make = partial(voc_map, arguments.voc / "SegmentationClass" / f"{name}.png")
        else:
            make = partial(sbd_map, lists.sbd / "cls" / f"{name}.mat")
        jobs.append((below(arguments.voc / "SegmentationClassAug", f"{name}.png"), make))
    write_label_maps(jobs, arguments.overwrite)
    write_names(lists_folder(arguments.voc) / "trainaug.txt", lists.train)
