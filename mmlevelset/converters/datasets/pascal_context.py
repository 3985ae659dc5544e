"""Pascal-Context: label maps of 59 classes and the background for the images of VOC 2010.

    python tools/dataset_converters/pascal_context.py data/VOCdevkit/VOC2010 data/pascal-context

Reads the official annotations' labels.txt and trainval/*.mat (459 labels) and VOC's
ImageSets/Main/{train,val}.txt. Writes VOC's SegmentationClassContext/*.png (0 for the background,
then the 59 classes by name; all other labels are background) and
ImageSets/SegmentationContext/{train,val}.txt: the images of VOC's lists that have an annotation,
4,998 and 5,105. Run it again to go on after an interruption: finished maps are kept.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmlevelset.converters.command_line import make_parser, require
from mmlevelset.converters.inputs import read_mat, read_names
from mmlevelset.converters.names import below
from mmlevelset.converters.outputs import write_label_maps, write_names
from mmlevelset.errors import InputError, exit_on_input_error


def label_table(path: Path) -> np.ndarray:
    """Return the table from numbers in labels.txt (lines such as ``397: table``) to our labels."""
    from mmlevelset.datasets import PascalContextDataset

    classes = PascalContextDataset.METAINFO["classes"]
    numbers: dict[str, int] = {}
    for line in require(path, "the list of labels").read_text().splitlines():
        number, _, name = line.partition(":")
        if line.strip() and not number.strip().isdigit():
            raise InputError(f"{path}: {line!r} is not a number, a colon and a name")
        if line.strip():
            numbers[name.replace(" ", "")] = int(number)
    missing = [name for name in classes[1:] if name not in numbers]
    if missing:
        raise InputError(f"{path} has no label {', '.join(missing)}")
    table = np.zeros(max(numbers.values()) + 1, np.uint8)
    for label, name in enumerate(classes[1:], 1):
        table[numbers[name]] = label
    return table


def context_map(path: Path, table: np.ndarray) -> np.ndarray:
    """Return our labels (H, W) uint8 of an annotation file."""
    labels = read_mat(path, "LabelMap")
    if labels.max() >= len(table):
        raise InputError(f"{path} has label {labels.max()}, and the last is {len(table) - 1}")
    return table[labels.astype(np.int64)]


@exit_on_input_error("pascal_context.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("voc", type=Path, help="the folder VOC2010, with ImageSets in it")
    parser.add_argument("context", type=Path, help="the folder with labels.txt and trainval/*.mat")
    parser.add_argument("--overwrite", action="store_true", help="write all maps again")
    arguments = parser.parse_args(words)
    table = label_table(arguments.context / "labels.txt")
    folder = require(arguments.context / "trainval", "the folder of the annotations")
    annotated = {path.stem for path in folder.glob("*.mat")}
    splits = {}
    for split in ("train", "val"):
        names = read_names(arguments.voc / "ImageSets/Main" / f"{split}.txt")
        splits[split] = [name for name in names if name in annotated]
        if not splits[split]:
            raise InputError(f"no image of VOC's {split} list has an annotation in {folder}")
    jobs = [
        (
            below(arguments.voc / "SegmentationClassContext", f"{name}.png"),
            partial(context_map, folder / f"{name}.mat", table),
        )
        for names in splits.values()
        for name in names
    ]
    write_label_maps(jobs, arguments.overwrite)
    for split, names in splits.items():
        write_names(arguments.voc / "ImageSets/SegmentationContext" / f"{split}.txt", names)
