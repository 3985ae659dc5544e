"""The converter of LiTS, on tiny scans in the published layout."""

import gzip
import json
import re
import shutil
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_utils
import pytest
from mmengine.config import Config
from PIL import Image
from scipy import ndimage

from mmlevelset.registry import DATASETS

nib = pytest.importorskip("nibabel")
from mmlevelset.converters.datasets import lits  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

COLUMNS, ROWS, SLICES = 40, 36, 8
SPACING = {"L": 0.8, "P": 0.7, "S": 2.5}
AXIS = dict(L=(0, 1), R=(0, -1), P=(1, 1), A=(1, -1), S=(2, 1), I=(2, -1))
"""The axis of a shown scan (columns, rows, slices) that a letter names, and the step along it."""
WORLD = dict(R=(1, 0, 0), L=(-1, 0, 0), A=(0, 1, 0), P=(0, -1, 0), S=(0, 0, 1), I=(0, 0, -1))


def stored(shown: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a shown scan as a file with the axes ``codes`` stores it, and the affine."""
    axes, steps = zip(*(AXIS[code] for code in codes), strict=True)
    array = shown.transpose(axes)[tuple(slice(None, None, step) for step in steps)]
    affine = np.eye(4)
    sizes = list(SPACING.values())
    for column, (code, axis) in enumerate(zip(codes, axes, strict=True)):
        affine[:3, column] = np.multiply(WORLD[code], sizes[axis])
    affine[:3, 3] = (-31, 12.5, 400)
    return array, affine


def phantom(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a shown scan and its labels: a liver on the patient's right, with lesions."""
    random = np.random.default_rng(seed)
    column, row, index = np.indices((COLUMNS, ROWS, SLICES))
    body = ((column - 19.5) / 19) ** 2 + ((row - 17.5) / 17) ** 2 < 1
    liver = ((column - 13) / 8) ** 2 + ((row - 14) / 9) ** 2 + ((index - 4) / 3.2) ** 2 < 1
    labels = liver.astype(np.uint8)
    for x, y in ((10, 12), (14, 17), (15, 18)):
        labels[(abs(column - x) < 1 + seed % 2) & (abs(row - y) < 1) & liver & (index > 2)] = 2
    hounsfield = np.where(body, 40, -1000)
    hounsfield[liver] = 110
    hounsfield[labels == 2] = 60
    return (hounsfield + random.integers(-20, 20, body.shape)).astype(np.int16), labels


def save(path: Path, array: np.ndarray, affine: np.ndarray, slope=None, inter=None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine)
    image.header.set_slope_inter(slope, inter)
    nib.save(image, path)


def write_scan(root: Path, number: int, codes: str = "LPS", suffix: str = ".nii") -> tuple:
    volume, labels = phantom(number)
    save(root / f"volume-{number}{suffix}", *stored(volume, codes))
    save(root / f"segmentation-{number}{suffix}", *stored(labels, codes))
    return volume, labels


@pytest.fixture
def convert(tmp_path):
    def run(*words: object, workers: int = 1, root: Path = tmp_path / "LITS") -> Path:
        out = tmp_path / "lits"
        words = (root, out, "--allow-partial", "--workers", workers, *words)
        lits.main([*map(str, words)])
        return out

    return run


def content(out: Path, split: str) -> dict:
    return json.loads((out / f"annotations/instances_{split}.json").read_text())


def images_of(out: Path) -> dict[tuple[int, int], tuple[dict, np.ndarray, list[dict]]]:
    """Return the entry, the picture and the annotations of an image, by scan and slice."""
    found = {}
    for split in ("train", "val"):
        both = content(out, split)
        for image in both["images"]:
            instances = [a for a in both["annotations"] if a["image_id"] == image["id"]]
            with Image.open(out / split / image["file_name"]) as picture:
                entry = (image, np.array(picture), instances)
            found[image["scan"], image["slice"]] = entry
    return found


def hidden(out: Path) -> list[str]:
    return [p.name for p in out.rglob(".*-*")]


CODES = ("LPS", "RAS", "LAS", "SRA", "IPL")


def test_images_and_masks_are_those_of_the_scans(convert, tmp_path, capsys):
    scans = {}
    for number, codes in enumerate(CODES):
        suffix = ".nii.gz" if number == 2 else ".nii"
        folder = tmp_path / "LITS" / ("Training Batch 1" if number < 3 else "Training Batch 2")
        scans[number] = write_scan(folder, number, codes, suffix)
    out = convert(workers=2)
    printed = capsys.readouterr()
    assert (
        "warning: scans with masks: 5 found, 131 published" in printed.err
        and "note:" not in printed.err
    )
    found = images_of(out)
    expected = {
        (n, k) for n, (_, labels) in scans.items() for k in range(8) if labels[..., k].any()
    }
    assert set(found) == expected
    split = {s: {image["scan"] for image in content(out, s)["images"]} for s in ("train", "val")}
    assert len(split["train"]) == 4 and len(split["val"]) == 1
    assert not split["train"] & split["val"]

    lesions = 0
    for (number, index), (entry, picture, instances) in found.items():
        volume, labels = (array[..., index].T for array in scans[number])
        grey = [[round(Fraction(int(v) + 40, 200) * 255) for v in row] for row in volume]
        assert np.array_equal(picture, np.clip(grey, 0, 255))
        assert (entry["height"], entry["width"]) == picture.shape == (ROWS, COLUMNS)
        assert entry["file_name"] == f"volume-{number}_slice-{index:04d}.png"
        assert entry["spacing"] == pytest.approx(list(SPACING.values()), abs=1e-4)
        masks = [mask_utils.decode(instance["segmentation"]) for instance in instances]
        assert instances[0]["category_id"] == 1
        assert np.array_equal(masks[0], labels > 0)
        regions, count = ndimage.label(labels == 2, np.ones((3, 3)))
        assert {mask.tobytes() for mask in masks[1:]} == {
            np.uint8(regions == region).tobytes() for region in range(1, count + 1)
        }
        assert all(instance["category_id"] == 2 for instance in instances[1:])
        lesions += count
    assert lesions > 10
    ids = [a["id"] for a in content(out, "train")["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    assert hidden(out) == []


@pytest.mark.parametrize(
    "affine, row, column, index",
    [
        # The first axis leads to the patient's left, the second to the back, the third upwards.
        (np.diag([-0.8, -0.8, 2.5, 1]), 5, 3, 6),
        # To the right and to the front: counted from the other ends of 40 and 36.
        (np.diag([0.8, 0.8, 2.5, 1]), 35 - 5, 39 - 3, 6),
        # Head first: the last of 8 slices is the lowest.
        (np.diag([-0.8, -0.8, -2.5, 1]), 5, 3, 7 - 6),
        # A gantry tilted by some degrees.
        (np.array([[-0.8, 0, 0, 9], [0, -0.79, 0.4, 9], [0, 0.12, 2.4, 9], [0, 0, 0, 1]]), 5, 3, 6),
    ],
)
def test_where_a_voxel_lands(convert, tmp_path, affine, row, column, index):
    volume = np.full((COLUMNS, ROWS, SLICES), -1000, np.int16)
    volume[3, 5, 6] = 1000
    save(tmp_path / "LITS/volume-7.nii", volume, affine)
    save(tmp_path / "LITS/segmentation-7.nii", np.uint8(volume > 0), affine)
    [(key, (_, picture, [instance]))] = images_of(convert()).items()
    assert key == (7, index)
    assert np.argwhere(picture).tolist() == [[row, column]]
    assert instance["bbox"] == [column, row, 1, 1] and instance["area"] == 1


def test_window():
    values = np.array([[-32768, -1000, -41, -40, 10, 60, 110, 160, 161, 32767]], np.int16)
    grey = lits.windowed(values, (60, 200))
    assert grey.dtype == np.uint8
    assert grey.tolist() == [[0, 0, 0, 0, 64, 128, 191, 255, 255, 255]]
    assert lits.windowed(values, (30, 0.5)).tolist() == [[0] * 5 + [255] * 5]


def test_a_scaled_volume_is_in_hounsfield_units(convert, tmp_path):
    volume, labels = phantom(0)
    _, affine = stored(volume, "LPS")
    save(tmp_path / "LITS/volume-0.nii", volume, affine)
    save(tmp_path / "LITS/segmentation-0.nii", labels, affine)
    write_scan(tmp_path / "LITS", 1)
    plain = images_of(convert())
    save(tmp_path / "LITS/volume-0.nii", ((volume + 1024) * 2).astype(np.int16), affine, 0.5, -1024)
    scaled = images_of(convert("--overwrite"))
    assert plain.keys() == scaled.keys()
    assert all(np.array_equal(plain[key][1], scaled[key][1]) for key in plain)


def test_options(convert, tmp_path):
    write_scan(tmp_path / "LITS", 0)
    everything = images_of(convert("--all-slices", "--window", 0, 2000))
    assert [key[1] for key in everything] == list(range(SLICES))
    _, picture, instances = everything[0, 0]
    assert instances == [] and picture.max() < 150
    small = [a["area"] for *_, found in everything.values() for a in found if a["category_id"] == 2]
    assert min(small) < 2 <= max(small)

    third = images_of(convert("--every", 3, "--all-slices", "--overwrite"))
    assert [key[1] for key in third] == [0, 3, 6]
    large = images_of(convert("--min-area", 2, "--overwrite"))
    areas = [a["area"] for *_, found in large.values() for a in found if a["category_id"] == 2]
    assert sorted(areas) == sorted(area for area in small if area >= 2)


def test_scans_without_liver_are_an_error(convert, refused, tmp_path):
    for number in (1, 2):
        volume, labels = phantom(number)
        save(tmp_path / f"LITS/volume-{number}.nii", *stored(volume, "LPS"))
        save(tmp_path / f"LITS/segmentation-{number}.nii", *stored(labels * 0, "LPS"))
    for words in ((), ("--all-slices",)):
        line = refused(convert, "--allow-partial", "--overwrite", *words)
        assert "there is no liver to segment" in line
    assert not list(tmp_path.rglob("instances_*.json"))


def test_split_is_by_scan_and_by_seed():
    draw = lits.validation_scans
    published = range(131)
    assert len(draw(published, 0)) == 26
    assert draw(published, 0) == draw(reversed(published), 0) != draw(published, 1)
    assert [len(draw(range(count), 0)) for count in (1, 2, 3, 5, 10)] == [0, 1, 1, 1, 2]


def test_configs_read_what_is_written(convert, tmp_path, checkout):
    for number in range(3):
        write_scan(tmp_path / "LITS", number)
    out = convert()
    for name in ("lits_boxes", "lits_instance"):
        config = Config.fromfile(checkout / f"configs/_base_/datasets/{name}.py")
        for part in ("train", "val"):
            settings = config[f"{part}_dataloader"].dataset
            settings.update(data_root=str(out), _scope_="mmdet")
            dataset = DATASETS.build(settings)
            assert len(dataset) == len(content(out, part)["images"]) > 0
            assert dataset.metainfo["classes"] == ("liver", "lesion")
            instances = dataset[0]["data_samples"].gt_instances
            has_masks = part == "val" or name == "lits_instance"
            assert hasattr(instances, "masks") == has_masks
            assert instances.labels[0] == 0


def test_an_interrupted_conversion_goes_on(convert, tmp_path, capsys, monkeypatch):
    for number in range(4):
        write_scan(tmp_path / "LITS", number)
    whole = shutil.copytree(convert(), tmp_path / "whole")
    shutil.rmtree(tmp_path / "lits")

    write_image = lits.write_image
    written = []

    def interrupted(path, image):
        if len(written) == 17:
            raise KeyboardInterrupt
        written.append(path)
        write_image(path, image)

    monkeypatch.setattr(lits, "write_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert()
    out = tmp_path / "lits"
    assert not (out / "annotations").exists() and hidden(out) == []
    finished = [json.loads(path.read_text()) for path in out.glob(".parts/*/*.json")]
    assert 1 <= len(finished) < 4
    assert sum(len(part["images"]) for part in finished) < 17
    monkeypatch.setattr(lits, "write_image", write_image)
    old = written[0].stat().st_mtime_ns

    capsys.readouterr()
    convert()
    assert f"{len(finished)} of 4 parts were there already" in capsys.readouterr().out
    assert written[0].stat().st_mtime_ns == old
    assert images_and_json(out) == images_and_json(whole)

    # Only lost images and lost parts are made again.
    (out / content(out, "val")["images"][0]["file_name"]).unlink(missing_ok=True)
    next((out / "val").iterdir()).unlink()
    next(out.glob(".parts/train/*.json")).unlink()
    convert()
    assert "2 of 4 parts were there already" in capsys.readouterr().out
    assert images_and_json(out) == images_and_json(whole)

    # A scan that has been corrected since is converted again.
    before = content(out, "train")["annotations"] + content(out, "val")["annotations"]
    path = tmp_path / "LITS/segmentation-2.nii"
    image = nib.load(path)
    labels = np.asarray(image.dataobj) * (np.arange(image.shape[2]) % 2).astype(np.uint8)
    nib.save(nib.Nifti1Image(labels, image.affine), path)
    convert()
    printed = capsys.readouterr().out
    assert "3 of 4 parts were there already" in printed and "1 parts are made again" in printed
    after = content(out, "train")["annotations"] + content(out, "val")["annotations"]
    assert 0 < len(after) < len(before)


def images_and_json(out: Path) -> dict[str, bytes]:
    files = [p for p in out.rglob("*") if p.is_file() and ".parts" not in p.parts]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_other_options_do_not_mix(convert, refused, tmp_path):
    for number in range(3):
        write_scan(tmp_path / "LITS", number)
    convert()
    changes = {
        ("--window", 50, 400): "window: [60.0, 200.0] then, [50.0, 400.0] now",
        ("--seed", 1): "seed: 0 then, 1 now",
        ("--every", 2): "every: 1 then, 2 now",
    }
    for words, change in changes.items():
        assert change in refused(convert, *words)
    write_scan(tmp_path / "LITS", 3)
    assert "scans: 0,1,2 then, 0,1,2,3 now" in refused(convert)
    convert("--overwrite")


def edit(path: Path, change) -> None:
    image = nib.load(path)
    array = np.array(image.dataobj)
    save(path, change(array), image.affine)


def test_errors(convert, refused, tmp_path):
    root = tmp_path / "LITS"
    assert refused(convert) == f"lits.py: error: the folder {root} does not exist"
    root.mkdir()
    assert "holds no volume-N.nii with segmentation-N.nii" in refused(convert)
    write_scan(root, 0)
    volume, segmentation = root / "volume-0.nii", root / "segmentation-0.nii"

    edit(segmentation, lambda labels: labels + np.uint8(2) * (labels == 2))
    assert f"{segmentation} has labels [4] other than 0, 1 and 2" in refused(convert)
    edit(segmentation, lambda labels: labels.astype(np.float32) / 8)
    assert f"{segmentation} has labels [0.125] other than" in refused(convert)
    edit(segmentation, lambda labels: labels[..., :-1])
    assert "segmentation-0.nii has the shape (40, 36, 7), and its volume (40, 36, 8)" in refused(
        convert
    )
    write_scan(root, 0)
    edit(volume, lambda values: values[..., None])
    assert f"{volume} must have 3 dimensions, not the shape (40, 36, 8, 1)" in refused(convert)
    write_scan(root, 0)
    edit(volume, lambda values: np.where(values > 100, np.nan, values).astype(np.float32))
    assert f"{volume} has values that are no numbers in slice" in refused(convert)
    for affine, sizes in (
        (np.diag([0.8, 0.8, 0, 1]), "0.8 x 0.8 x 0;"),
        (np.diag([0.0008, 0.0008, 0.0025, 1]), "0.0008 x 0.0008 x 0.0025; they must be 0.1 to 20"),
        (np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "1.41421 x 1.41421"),
    ):
        image = nib.Nifti1Image(phantom(0)[0], None)
        image.header.set_sform(affine, 1)
        nib.save(image, volume)
        message = refused(convert)
        assert f"{volume} has an affine with voxels of" in message and sizes in message
    assert not (tmp_path / "lits/annotations").exists()


def test_files_that_are_cut_off(convert, refused, tmp_path):
    root = tmp_path / "LITS"
    write_scan(root, 0)
    volume = root / "volume-0.nii"
    volume.write_bytes(volume.read_bytes()[:-1000])
    assert f"{volume} cannot be read; it may be cut off:" in refused(convert)
    volume.write_bytes(b"no header")
    assert f"{volume} cannot be read; it may be cut off:" in refused(convert)
    shutil.rmtree(root)
    shutil.rmtree(tmp_path / "lits")
    write_scan(root, 1, suffix=".nii.gz")
    for name in ("volume-1.nii.gz", "segmentation-1.nii.gz"):
        path = root / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert f"{path} cannot be read; it may be cut off:" in refused(convert)
        path.write_bytes(gzip.compress(gzip.decompress(whole)[:-1000]))
        assert f"{path} cannot be read; it may be cut off:" in refused(convert)
        path.write_bytes(whole)
    convert()


def test_scans_without_a_partner(convert, refused, tmp_path, capsys):
    root = tmp_path / "LITS"
    for number in range(3):
        write_scan(root, number)
    (root / "segmentation-1.nii").unlink()
    (root / "volume-2.nii").unlink()
    convert()
    warnings = capsys.readouterr().err
    assert (
        f"warning: {root}/volume-1.nii has no segmentation-1.nii or .nii.gz, left out" in warnings
    )
    assert (
        f"warning: {root}/segmentation-2.nii has no volume-2.nii or .nii.gz, left out" in warnings
    )

    words = [str(root), str(tmp_path / "other")]
    message = refused(lits.main, words)
    assert re.search("has no segmentation-1.nii.*--allow-partial leaves it out", message)
    write_scan(root, 1)
    write_scan(root, 2)
    message = refused(lits.main, words)
    assert "scans with masks: 3 found, 131 published; --allow" in message
    assert not (tmp_path / "other").exists()
    write_scan(root / "again", 2, suffix=".nii.gz")
    assert "are one scan; remove one of them" in refused(convert)


@pytest.mark.parametrize(
    "words, message",
    [
        (("--window", 60, 0), "--window must have a finite level and a positive width"),
        (("--window", "nan", 10), "--window must have a finite level and a positive width"),
        (("--every", 0), "--every: must be a positive integer, not '0'"),
        (("--min-area", "x"), "--min-area: must be a positive integer, not 'x'"),
        (("--seed", -1), "--seed must be at least 0, not -1"),
        (("--identity-as", "LAX"), "--identity-as: must be one of R and L, of A and P"),
    ],
)
def test_bad_options(convert, capsys, words, message):
    with pytest.raises(SystemExit):
        convert(*words)
    assert message in capsys.readouterr().err


def test_a_header_that_says_nothing_or_mirrors(convert, tmp_path, capsys):
    root = tmp_path / "LITS"
    volume, labels = phantom(0)
    # Stored with the first axis to the patient's left; the identity says to the right.
    save(root / "volume-0.nii", volume, np.eye(4))
    save(root / "segmentation-0.nii", labels, np.eye(4))
    mirrored = images_of(convert())
    notes = capsys.readouterr().err
    assert "note: volume-0.nii has no orientation in its header; taken as RAS" in notes
    assert "note: the liver of volume-0.nii lies on the patient's left by the header" in notes
    upright = images_of(convert("--identity-as", "LPS", "--overwrite"))
    notes = capsys.readouterr().err
    assert "taken as LPS" in notes and "patient's left" not in notes
    assert np.array_equal(mirrored[0, 4][1], upright[0, 4][1][::-1, ::-1])

    array, affine = stored(labels, "LPS")
    save(root / "segmentation-0.nii", array, affine)
    assert images_of(convert("--identity-as", "LPS", "--overwrite"))[0, 4][2] == upright[0, 4][2]
    assert "segmentation-0.nii has another affine than its volume" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_memory_is_a_volume_at_most(convert, tmp_path, suffix):
    shape = (128, 128, 400)
    volume = np.full(shape, 50, np.int16)
    labels = np.zeros(shape, np.uint8)
    labels[20:60, 30:70] = 1
    affine = stored(np.zeros((1, 1, 1)), "LPS")[1]
    save(tmp_path / f"LITS/volume-0{suffix}", volume, affine)
    save(tmp_path / f"LITS/segmentation-0{suffix}", labels, affine)
    convert("--every", 100)
    tracemalloc.start()
    convert("--every", 40, "--overwrite")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    slices = 4e6  # memory of some slices and the modules
    assert peak < slices + (volume.nbytes + labels.nbytes) * (suffix == ".nii.gz")
