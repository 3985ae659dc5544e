"""LiTS: slices of the 131 CT scans with masks, as images with COCO's annotations.

    python tools/dataset_converters/lits.py data/LITS data/lits

Reads volume-N.nii and segmentation-N.nii, or .nii.gz, anywhere below the folder. Writes train/ and
val/ (volume-N_slice-KKKK.png, 8 bits) and annotations/instances_{train,val}.json. A seed splits the
scans 4:1; all slices of a scan are on one side.

Slices are axial and lie as radiologists look at them: the patient's front is up, the patient's
right is at the left, and K counts from the feet. The orientation comes from the header's affine.

Instances: "liver" is all pixels of liver or lesion, one instance in a slice; "lesion" is each
connected region of lesion (8 neighbours) of a slice.

Run it again to go on after an interruption: finished scans are kept.
"""

import argparse
import gzip
import re
import sys
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    io_orientation,
    ornt_transform,
)

from mmlevelset.converters.coco_layout import (
    make_annotation,
    number_categories,
    write_instances,
)
from mmlevelset.converters.command_line import (
    add_part_options,
    check_counts,
    make_parser,
    require,
    whole_number,
)
from mmlevelset.converters.names import below
from mmlevelset.converters.outputs import write_image
from mmlevelset.converters.parts import Parts, convert_parts, large_first, state_of
from mmlevelset.errors import InputError, exit_on_input_error

SCANS = 131
CATEGORIES = number_categories(["liver", "lesion"])
SHOWN = ("L", "P", "S")
"""The directions of a slice's columns, of its rows and of the slices: left, back, head."""
SPACING = (0.1, 20.0)
"""Sides of voxels in millimetres. Outside this range, the header has another unit or is damaged."""
CHUNK = 1 << 20
"""Number of bytes to decompress at a time."""
BODY = -300.0
"""In Hounsfield units; air and most of the lungs are below."""


@dataclass(frozen=True)
class Options:
    """The options that change the written files."""

    window: tuple[float, float]
    every: int
    all_slices: bool
    min_area: int
    identity_as: str


@dataclass(frozen=True)
class Scan:
    number: int
    volume: Path
    segmentation: Path


class Array3D:
    """The array of a file, turned to columns, rows and slices as they are shown, without a copy.

    Args:
        path: NIfTI file. The array of an uncompressed file stays on disk. A compressed file is read
            whole, in the stored type.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            image = nib.load(path)
            assert isinstance(image, nib.Nifti1Image)  # and NIfTI-2, by their names
            proxy = image.dataobj
            assert isinstance(proxy, ArrayProxy)
            compressed = path.suffix == ".gz"
            self._array = _read_compressed(path, proxy) if compressed else proxy.get_unscaled()
        except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
            raise InputError(f"{path} cannot be read; it may be cut off: {error}") from error
        if self._array.ndim != 3:
            raise InputError(f"{path} must have 3 dimensions, not the shape {self._array.shape}")
        self.affine = image.affine
        self._scale = (proxy.slope, proxy.inter)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    def turn(self, orientation: np.ndarray) -> None:
        """Turn the axes by an orientation transform."""
        self._array = apply_orientation(self._array, orientation)

    def slice(self, index: int) -> np.ndarray:
        """Return the values of a slice, (rows, columns); float32, or unscaled stored integers."""
        values = self._array[:, :, index].T
        slope, inter = self._scale
        if (slope, inter) == (1, 0) and values.dtype.kind in "iu":
            return values
        values = values.astype(np.float32) * np.float32(slope) + np.float32(inter)
        if not np.isfinite(values).all():
            raise InputError(f"{self.path} has values that are no numbers in slice {index}")
        return values


def _read_compressed(path: Path, proxy: ArrayProxy) -> np.ndarray:
    # nibabel holds two or three copies of the volume while it reads.
    array = np.empty(proxy.shape, proxy.dtype, order="F")
    data = array.reshape(-1, order="F").view(np.uint8).data
    with gzip.open(path) as file:
        file.seek(proxy.offset)
        for start in range(0, len(data), CHUNK):
            chunk = data[start : start + CHUNK]
            if file.readinto(chunk) < len(chunk):
                raise EOFError(f"it has less than {len(data)} bytes of values")
    return array


def shown_orientation(volume: Array3D, identity_as: str) -> tuple[np.ndarray, list[float]]:
    """Return the transform from stored to shown axes, and the shown spacing in mm."""
    affine = volume.affine
    sizes = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)) if np.isfinite(affine).all() else np.zeros(3)
    low, high = SPACING
    if not ((sizes >= low) & (sizes <= high)).all() or np.linalg.matrix_rank(affine) < 4:
        raise InputError(
            f"{volume.path} has an affine with voxels of "
            f"{' x '.join(f'{size:g}' for size in sizes)}; they must be {low:g} to {high:g} mm"
        )
    stored = axcodes2ornt(identity_as) if is_identity(affine) else io_orientation(affine)
    turn = ornt_transform(stored, axcodes2ornt(SHOWN))
    return turn, [round(float(size), 4) for size in sizes[np.argsort(turn[:, 0])]]


def is_identity(affine: np.ndarray) -> bool:
    """Return whether the affine is the identity: it then says nothing about the patient."""
    return np.array_equal(affine, np.eye(4))


def windowed(hounsfield: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Return grey values, uint8: 0 up to ``level - width / 2``, 255 from ``level + width / 2``."""
    level, width = window
    grey = (hounsfield.astype(np.float32) - (level - width / 2)) * 255 / width
    return np.rint(grey.clip(0, 255)).astype(np.uint8)


def slice_annotations(labels: np.ndarray, image_id: int, min_area: int) -> list[dict]:
    """Return the annotations of the liver and of the lesions in labels (H, W) of 0, 1, 2."""
    count, regions = cv2.connectedComponents((labels == 2).astype(np.uint8), connectivity=8)
    masks = [(1, labels >= 1), *((2, regions == number) for number in range(1, count))]
    found = (make_annotation(mask, image_id, category) for category, mask in masks)
    return [instance for instance in found if instance and instance["area"] >= min_area]


def made_from(scan: Scan) -> str:
    """Return the state of a scan's files."""
    return state_of(scan.volume, scan.segmentation)


def convert_scan(out: Path, options: Options, named: tuple[str, Scan]) -> dict:
    """Write the slices of a scan below ``out``, and return its part."""
    name, scan = named
    volume, segmentation = Array3D(scan.volume), Array3D(scan.segmentation)
    if volume.shape != segmentation.shape:
        raise InputError(
            f"{scan.segmentation} has the shape {segmentation.shape}, and its volume {volume.shape}"
        )
    turn, spacing = shown_orientation(volume, options.identity_as)
    notes = []
    if is_identity(volume.affine):
        notes.append(
            f"{scan.volume.name} has no orientation in its header; taken as {options.identity_as}"
        )
    if not np.allclose(volume.affine, segmentation.affine, atol=1e-2):
        notes.append(
            f"{scan.segmentation.name} has another affine than its volume; the volume's is used"
        )
    volume.turn(turn)
    segmentation.turn(turn)

    images: list[dict] = []
    annotations: list[dict] = []
    sides = np.zeros((2, 2))  # of liver and body: sum of the columns, number of pixels
    for index in range(0, volume.shape[2], options.every):
        labels = segmentation.slice(index)
        if not np.isin(labels, (0, 1, 2)).all():
            unknown = np.setdiff1d(labels, (0, 1, 2))[:5].tolist()
            raise InputError(f"{scan.segmentation} has labels {unknown} other than 0, 1 and 2")
        has_liver = labels.any()
        if not has_liver and not options.all_slices:
            continue
        hounsfield = volume.slice(index)
        if has_liver:
            for side, mask in zip(sides, (labels > 0, hounsfield > BODY), strict=True):
                columns = mask.sum(axis=0)
                side += (columns @ np.arange(len(columns)), columns.sum())
        file_name = f"{Path(name).name}_slice-{index:04d}.png"
        image = windowed(hounsfield, options.window)
        write_image(below(out, f"{Path(name).parent}", file_name), image)
        images.append(
            {
                "id": len(images),
                "file_name": file_name,
                "height": labels.shape[0],
                "width": labels.shape[1],
                "scan": scan.number,
                "slice": index,
                "spacing": spacing,
            }
        )
        annotations += slice_annotations(labels, images[-1]["id"], options.min_area)
    if sides[:, 1].all():
        liver, body = sides[:, 0] / sides[:, 1]
        if liver > body:
            notes.append(
                f"the liver of {scan.volume.name} lies on the patient's left by the header. "
                "If the header is wrong, the slices are mirrored"
            )
    return {"images": images, "annotations": annotations, "notes": notes}


def find_scans(root: Path, allow_partial: bool) -> list[Scan]:
    """Return the scans with masks below a folder, sorted by their numbers."""
    files: dict[tuple[str, int], Path] = {}
    for path in sorted(require(root, "the folder").rglob("*.nii*")):
        match = re.fullmatch(r"(volume|segmentation)-(\d+)\.nii(\.gz)?", path.name)
        if match and path.is_file():
            key = (match[1], int(match[2]))
            if key in files:
                raise InputError(f"{files[key]} and {path} are one scan; remove one of them")
            files[key] = path
    numbers = sorted({number for _, number in files})
    scans = []
    for number in numbers:
        volume, segmentation = (files.get((kind, number)) for kind in ("volume", "segmentation"))
        if volume and segmentation:
            scans.append(Scan(number, volume, segmentation))
            continue
        present, absent = (volume, "segmentation") if volume else (segmentation, "volume")
        lack = f"{present} has no {absent}-{number}.nii or .nii.gz"
        if not allow_partial:
            raise InputError(f"{lack}; --allow-partial leaves it out")
        print(f"warning: {lack}, left out", file=sys.stderr)
    if not scans:
        raise InputError(f"{root} holds no volume-N.nii with segmentation-N.nii (or .nii.gz)")
    check_counts("scans with masks", len(scans), SCANS, allow_partial)
    return scans


def validation_scans(numbers: Sequence[int], seed: int) -> set[int]:
    """Draw a fifth of the scans by the seed; at least one scan if there are two."""
    drawn = np.random.default_rng(seed).permutation(sorted(numbers))
    count = round(len(drawn) / 5) or min(len(drawn) - 1, 1)
    return {int(number) for number in drawn[:count]}


def axis_codes(text: str) -> str:
    """Return the word of the command line if it names three axes, such as LAS."""
    if sorted(text.translate(str.maketrans("LPI", "RAS"))) != sorted("RAS"):
        raise argparse.ArgumentTypeError(
            f"must be one of R and L, of A and P, and of S and I, such as LAS, not {text!r}"
        )
    return text


@exit_on_input_error("lits.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("root", type=Path, help="the folder with the training batches in it")
    parser.add_argument("out", type=Path, help="the folder to write, such as data/lits")
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        default=(60.0, 200.0),
        metavar=("LEVEL", "WIDTH"),
        help="Hounsfield units that become grey values (60 200: from -40 to 160)",
    )
    parser.add_argument(
        "--every", type=whole_number, default=1, metavar="N", help="take each N-th slice (1)"
    )
    parser.add_argument("--all-slices", action="store_true", help="take slices without liver too")
    parser.add_argument(
        "--min-area",
        type=whole_number,
        default=1,
        metavar="PIXELS",
        help="least area of an instance (1)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the split (0)")
    parser.add_argument(
        "--identity-as",
        type=axis_codes,
        default="RAS",
        metavar="AXES",
        help="axes of scans with the identity as affine (RAS, as the header says)",
    )
    add_part_options(parser, f"{SCANS} scans")
    arguments = parser.parse_args(words)
    level, width = arguments.window
    if not (np.isfinite([level, width]).all() and width > 0):
        parser.error(f"--window must have a finite level and a positive width, not {level} {width}")
    if arguments.seed < 0:
        parser.error(f"--seed must be at least 0, not {arguments.seed}")

    scans = find_scans(arguments.root, arguments.allow_partial)
    options = Options(
        (level, width),
        arguments.every,
        arguments.all_slices,
        arguments.min_area,
        arguments.identity_as,
    )
    val = validation_scans([scan.number for scan in scans], arguments.seed)
    made_with = {
        **asdict(options),
        "seed": arguments.seed,
        "scans": ",".join(str(scan.number) for scan in scans),
    }
    parts = Parts(arguments.out, made_with, arguments.overwrite)
    named = {
        f"{'val' if scan.number in val else 'train'}/volume-{scan.number}": scan for scan in scans
    }
    by_size = large_first({name: scan.volume for name, scan in named.items()})
    jobs = {name: named[name] for name in by_size}
    convert = partial(convert_scan, arguments.out, options)
    convert_parts(parts, convert, jobs, made_from, arguments.workers)
    if not any(part["annotations"] for part in parts.read(named)):
        raise InputError(
            f"no label of the scans in {arguments.root} is 1 or 2: there is no liver to segment"
        )
    for split in ("train", "val"):
        write_instances(
            arguments.out / f"annotations/instances_{split}.json",
            parts.read(name for name in named if name.startswith(f"{split}/")),
            CATEGORIES,
        )
