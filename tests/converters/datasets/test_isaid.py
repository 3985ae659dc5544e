"""The converter of iSAID, on tiny images in the published layout."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from pycocotools.coco import COCO

from mmlevelset.converters.datasets import isaid
from mmlevelset.registry import DATASETS, METRICS

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIZES = {"train/P0000": (150, 130), "train/P0002": (50, 70), "val/P0003": (64, 129)}
"""Height and width of each image."""
SIZE, OVERLAP = 64, 16


@pytest.fixture
def convert(tmp_path):
    def run(*words: object, workers: int = 1, partial: tuple = ("--allow-partial",)) -> Path:
        out = tmp_path / "isaid"
        sizes = ("--size", SIZE, "--overlap", OVERLAP)
        words = (tmp_path / "iSAID", out, *sizes, "--workers", workers, *words, *partial)
        isaid.main([*map(str, words)])
        return out

    return run


def polygon(random, height: int, width: int) -> list[float]:
    """A star around a point, with corners inside the image, some at tenths of pixels."""
    count = int(random.integers(3, 9))
    angles = np.sort(random.uniform(0, 2 * np.pi, count))
    radii = random.uniform(2, 45, count)
    x = random.uniform(5, width - 5) + radii * np.cos(angles)
    y = random.uniform(5, height - 5) + radii * np.sin(angles)
    corners = np.stack([x.clip(0, width), y.clip(0, height)], axis=-1)
    return np.round(corners, int(random.integers(0, 2))).ravel().tolist()


@pytest.fixture
def published(tmp_path) -> dict[str, list[tuple[int, np.ndarray]]]:
    """Write the tree; return our category and the whole mask of each instance, by image."""
    random = np.random.default_rng(0)
    classes = isaid.CLASSES
    masks: dict[str, list[tuple[int, np.ndarray]]] = {}
    for split in ("train", "val"):
        # The ids are not ours, and their order differs between the splits.
        order = random.permutation(len(classes))
        categories = [{"id": 100 + i, "name": classes[k]} for i, k in enumerate(order)]
        content: dict = {"images": [], "annotations": [], "categories": categories}
        for part, (height, width) in SIZES.items():
            if not part.startswith(split):
                continue
            name = part.split("/")[1]
            folder = tmp_path / f"iSAID/{split}/images/images"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
            Image.fromarray(pixels).save(folder / f"{name}_instance_id_RGB.png")
            number = len(content["images"])
            content["images"].append(
                dict(id=number, file_name=f"{name}.png", height=height, width=width)
            )
            masks[part] = []
            for index in range(25):
                polygons = [polygon(random, height, width) for _ in range(1 + (index % 5 == 0))]
                encoded = mask_utils.merge(mask_utils.frPyObjects(polygons, height, width))
                category = int(random.integers(len(classes)))
                whole = mask_utils.decode(encoded).astype(bool)
                masks[part].append((int(order[category]) + 1, whole))
                content["annotations"].append(
                    dict(
                        id=len(content["annotations"]),
                        image_id=number,
                        segmentation=polygons,
                        category_id=100 + category,
                        category_name=categories[category]["name"],
                        iscrowd=0,
                        area=int(whole.sum()),
                        bbox=[0, 0, 1, 1],
                    )
                )
        path = tmp_path / f"iSAID/{split}/Annotations/iSAID_{split}.json"
        path.parent.mkdir()
        path.write_text(json.dumps(content))
    return masks


def expected_patches(published, part: str, min_visible: float) -> dict[str, list]:
    """Return the category and the mask of each instance in a patch, by file name."""
    height, width = SIZES[part]
    patches = {}
    for top in sides(height):
        for left in sides(width):
            bottom, right = min(top + SIZE, height), min(left + SIZE, width)
            inside = []
            for category, whole in published[part]:
                mask = whole[top:bottom, left:right]
                if mask.any() and mask.sum() >= min_visible * whole.sum():
                    inside.append((category, mask))
            patches[f"{Path(part).name}_{top}_{bottom}_{left}_{right}.png"] = inside
    return patches


def sides(length: int) -> list[int]:
    table = {150: [0, 48, 86], 130: [0, 48, 66], 50: [0], 70: [0, 6], 64: [0], 129: [0, 48, 65]}
    return table[length]


def found_in(out: Path, split: str) -> dict[str, list]:
    coco = COCO(out / f"annotations/instances_{split}.json")
    found = {}
    for image in coco.imgs.values():
        with Image.open(out / split / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        masks = [coco.annToMask(annotation).astype(bool) for annotation in annotations]
        for annotation, mask in zip(annotations, masks, strict=True):
            rows, columns = np.nonzero(mask)
            x, y, w, h = annotation["bbox"]
            assert (x, y) == (columns.min(), rows.min()) and annotation["area"] == mask.sum()
            assert (x + w, y + h) == (columns.max() + 1, rows.max() + 1)
        found[image["file_name"]] = [
            (annotation["category_id"], mask)
            for annotation, mask in zip(annotations, masks, strict=True)
        ]
    return found


def assert_same(found: dict[str, list], expected: dict[str, list]) -> None:
    assert found.keys() == expected.keys()
    for name, instances in expected.items():
        assert [category for category, _ in found[name]] == [category for category, _ in instances]
        for (_, mask), (_, oracle) in zip(found[name], instances, strict=True):
            assert np.array_equal(mask, oracle)


def test_patches_have_the_pixels_of_the_whole_image(convert, tmp_path, published, capsys):
    out = convert("--min-visible", 0, workers=2)
    printed = capsys.readouterr()
    assert "iSAID_train.json: 2 images, 50 instances" in printed.out
    assert "warning: images of train: 2 found, 1411 published" in printed.err
    assert "warning: images of val: 1 found, 458 published" in printed.err
    for split in ("train", "val"):
        expected = {}
        for part, (height, width) in SIZES.items():
            if part.startswith(split):
                expected |= expected_patches(published, part, 0)
                with Image.open(tmp_path / f"iSAID/{split}/images/images/{part[-5:]}.png") as image:
                    whole = np.array(image)
                assert whole.shape == (height, width, 3)
                for name in expected_patches(published, part, 0):
                    top, bottom, left, right = map(int, name[:-4].split("_")[1:])
                    with Image.open(out / split / name) as patch:
                        assert np.array_equal(patch, whole[top:bottom, left:right])
        assert_same(found_in(out, split), expected)
        names = json.loads((out / f"annotations/instances_{split}.json").read_text())["categories"]
        assert [item["name"] for item in names] == list(isaid.CLASSES)
    assert not list(out.rglob(".*-*"))


def test_what_is_hardly_visible_is_left_out(convert, published):
    for least in (0.1, 0.5):
        out = convert("--min-visible", least, "--overwrite")
        expected = expected_patches(published, "val/P0003", least)
        assert_same(found_in(out, "val"), expected)
    everything = expected_patches(published, "val/P0003", 0)
    assert sum(map(len, expected.values())) < sum(map(len, everything.values()))

    out = convert("--min-visible", 0, "--min-area", 40, "--overwrite")
    large = {k: [i for i in v if i[1].sum() >= 40] for k, v in everything.items()}
    assert_same(found_in(out, "val"), large)
    assert sum(map(len, large.values())) < sum(map(len, everything.values()))


def test_where_patches_begin():
    starts = isaid.starts
    assert starts(4000, 800, 200) == [0, 600, 1200, 1800, 2400, 3000, 3200]
    assert starts(1400, 800, 200) == [0, 600]
    assert starts(800, 800, 200) == starts(300, 800, 200) == [0]
    for length in range(1, 200):
        begins = starts(length, 64, 16)
        covered = np.zeros(length, int)
        for begin in begins:
            covered[begin : begin + 64] += 1
        assert covered.all() and max(begins) + 64 == max(length, 64)
        assert all(b - a <= 48 for a, b in pairwise(begins))


@pytest.mark.parametrize("decimals", [0, 1, 2, 14])
def test_polygons_on_a_small_canvas(decimals):
    random = np.random.default_rng(decimals)
    for _ in range(60):
        polygons = [
            np.round(random.uniform(0, (90, 70), (4, 2)), decimals).ravel().tolist()
            for _ in range(int(random.integers(1, 3)))
        ]
        encoded = mask_utils.merge(mask_utils.frPyObjects(polygons, 70, 90))
        mask, top, left = isaid.polygon_mask(polygons)
        small = np.zeros((140, 180), bool)
        small[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        assert np.array_equal(small[:70, :90], mask_utils.decode(encoded))
        assert mask.shape[0] <= np.ptp([p[1::2] for p in polygons]) + 3


def region(segmentation):
    published = dict(id=4, segmentation=segmentation, category_id=2)
    return isaid.region(published, "P0.png", 20, 30)


def test_regions():
    over = region([[-5, -4, 6, -4, 6, 8, -5, 8]])
    assert (over.top, over.left, over.area, over.category) == (0, 0, 48, 2)
    assert over.mask.shape == (8, 6) and over.mask.all()
    corner = region([[25, 15, 50, 15, 50, 40, 25, 40]])
    assert (corner.top, corner.left, corner.mask.shape) == (15, 25, (5, 5))
    assert region([[40, 4, 50, 4, 50, 8]]) is None
    assert region([[1, 1, 5, 5]]) is None  # a polygon needs three corners
    whole = np.zeros((20, 30), bool)
    whole[3:7, 20:29] = np.random.default_rng(0).random((4, 9)) > 0.4
    encoded = mask_utils.encode(np.asfortranarray(whole, np.uint8))
    text = {"size": [20, 30], "counts": encoded["counts"].decode()}
    runs = np.diff(np.flatnonzero(np.diff(whole.ravel(order="F"), prepend=0, append=0)))
    start = int(np.flatnonzero(whole.ravel(order="F"))[0])
    lists = {"size": [20, 30], "counts": [start, *runs.tolist()]}
    lists["counts"].append(600 - sum(lists["counts"]))
    for segmentation in (text, lists):
        found = region(segmentation)
        again = np.zeros((20, 30), bool)
        height, width = found.mask.shape
        again[found.top : found.top + height, found.left : found.left + width] = found.mask
        assert np.array_equal(again, whole) and found.area == whole.sum()


def test_whole_images_for_tiled_inference(convert, tmp_path, published, checkout):
    """Labels are right although the published file has another order of categories."""
    out = convert()
    config = Config.fromfile(
        checkout / "configs/box_levelset/box-levelset_tiled_r50_fpn_1x_isaid.py"
    )
    settings = config.val_dataloader.dataset
    settings.update(data_root=str(tmp_path), _scope_="mmdet")
    dataset = DATASETS.build(settings)
    assert len(dataset) == 1
    sample = dataset[0]["data_samples"]
    assert sample.ori_shape == SIZES["val/P0003"]
    truths = published["val/P0003"]
    # mmdet leaves out instances with an empty box.
    kept = [(category, whole) for category, whole in truths if min(box_of(whole)[2:]) >= 1]
    assert sample.gt_instances.labels.tolist() == [category - 1 for category, _ in kept]

    evaluator = config.val_evaluator
    assert evaluator.ann_file == "data/isaid/annotations/images_val.json"
    metric = METRICS.build({**evaluator, "ann_file": str(out / "annotations/images_val.json")})
    metric.dataset_meta = dataset.metainfo
    masks = np.stack([whole for _, whole in truths])
    boxes = np.array([box_of(mask) for mask in masks])
    boxes[:, 2:] += boxes[:, :2]
    found = dict(
        bboxes=torch.tensor(boxes, dtype=torch.float32),
        labels=torch.tensor([category - 1 for category, _ in truths]),
        scores=torch.linspace(0.9, 0.1, len(truths)),
        masks=torch.from_numpy(masks),
    )
    metric.process({}, [dict(img_id=sample.img_id, ori_shape=(64, 129), pred_instances=found)])
    values = metric.evaluate(1)
    assert values["coco/bbox_mAP"] == values["coco/segm_mAP"] == 1


def box_of(mask: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]


def test_annotations_without_the_images_sizes(convert, published):
    whole = files_of(convert())

    def forget(content):
        for image in content["images"]:
            del image["height"], image["width"]

    tmp_path = convert().parent
    shutil.rmtree(tmp_path / "isaid")
    for split in ("train", "val"):
        change(tmp_path, split, forget)
    assert files_of(convert()) == whole


def test_the_annotation_file_is_chosen(convert, refused, tmp_path, published, capsys):
    folder = tmp_path / "iSAID/train/Annotations"
    first = (folder / "iSAID_train.json").rename(folder / "iSAID_train_20190823_114751.json")
    everything = len(json.loads(first.read_text())["annotations"])
    assert len(found_in(convert(), "train"))
    capsys.readouterr()

    second = folder / "iSAID_train.json"
    content = json.loads(first.read_text())
    harbor = next(item["id"] for item in content["categories"] if item["name"] == "Harbor")
    without_harbors = [
        annotation for annotation in content["annotations"] if annotation["category_id"] != harbor
    ]
    assert len(without_harbors) < everything
    second.write_text(json.dumps({**content, "annotations": without_harbors}))
    message = refused(convert)
    assert f"{second.name} and {first.name}; choose by --train-annotations" in message
    out = convert("--train-annotations", second)
    printed = capsys.readouterr()
    assert f"warning: {second} has no Harbor" in printed.err
    assert "parts are made again: their sources have changed" in printed.out
    classes = [item["name"] for item in COCO(out / "annotations/images_val.json").cats.values()]
    number = 1 + classes.index("Harbor")
    assert all(c != number for found in found_in(out, "train").values() for c, _ in found)


def test_configs_read_what_is_written(convert, published, checkout):
    out = convert()
    for name in ("isaid_boxes", "isaid_instance"):
        config = Config.fromfile(checkout / f"configs/_base_/datasets/{name}.py")
        for part in ("train", "val"):
            settings = config[f"{part}_dataloader"].dataset
            settings.update(data_root=str(out), _scope_="mmdet")
            dataset = DATASETS.build(settings)
            found = found_in(out, part)
            filled = {key for key, value in found.items() if value}
            assert len(dataset) == len(filled if part == "train" else found)
            index = next(i for i in range(len(dataset)) if dataset.get_data_info(i)["instances"])
            sample = dataset[index]["data_samples"]
            labels = sample.gt_instances.labels.tolist()
            assert labels == [c - 1 for c, _ in found[Path(sample.img_path).name]]
            has_masks = part == "val" or name == "isaid_instance"
            assert hasattr(sample.gt_instances, "masks") == has_masks


def test_the_flat_layout_and_patches_without_instances(convert, tmp_path, published):
    folder = tmp_path / "iSAID/train"
    for path in (folder / "images/images").iterdir():
        path.rename(folder / "images" / path.name)
    (folder / "images/images").rmdir()
    for split in ("train", "val"):
        change(tmp_path, split, lambda content: content["annotations"].__delitem__(slice(1, None)))
    everything = found_in(convert(), "train")
    filled = {name: value for name, value in everything.items() if value}
    assert 0 < len(filled) < len(everything)
    shutil.rmtree(tmp_path / "isaid")
    out = convert("--only-filled")
    assert_same(found_in(out, "train"), filled)
    assert len(list((out / "train").iterdir())) == len(filled)
    assert len(found_in(out, "val")) == 3


def files_of(out: Path) -> dict[str, bytes]:
    files = [p for p in out.rglob("*") if p.is_file() and ".parts" not in p.parts]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_an_interrupted_conversion_goes_on(convert, refused, tmp_path, published, capsys):
    whole = files_of(convert())
    shutil.rmtree(tmp_path / "isaid")
    broken = tmp_path / "iSAID/train/images/images/P0002.png"
    pixels = broken.read_bytes()
    broken.write_bytes(pixels[:40])
    assert f"{broken} cannot be read as an image" in refused(convert)
    out = tmp_path / "isaid"
    assert (out / ".parts/train/P0000.json").exists() and not (out / "annotations").exists()
    assert not list(out.rglob(".*-*"))
    old = (out / "train/P0000_0_64_0_64.png").stat().st_mtime_ns

    broken.write_bytes(pixels)
    capsys.readouterr()
    convert()
    assert "1 of 2 parts were there already" in capsys.readouterr().out
    assert (out / "train/P0000_0_64_0_64.png").stat().st_mtime_ns == old
    assert files_of(out) == whole
    (out / ".parts/val/P0003.json").unlink()
    convert()
    assert "2 of 2 parts were there already" in capsys.readouterr().out
    assert files_of(out) == whole
    assert "overlap: 16 then, 8 now" in refused(convert, "--overlap", 8)


def change(tmp_path: Path, split: str, edit) -> Path:
    path = tmp_path / f"iSAID/{split}/Annotations/iSAID_{split}.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path


def test_errors(convert, refused, tmp_path, published):
    root = tmp_path / "iSAID"
    assert "images of train: 2 found, 1411 published; --allow" in refused(convert, partial=())
    images = root / "train/images/images"
    (images / "P0002.png").rename(root / "P0002.png")
    assert refused(convert, partial=()) == (
        f"isaid.py: error: {images} lacks 1 images of iSAID_train.json, P0002.png first; "
        "--allow-partial converts the other images"
    )
    convert()
    (images / "P0000.png").rename(root / "P0000.png")
    assert f"{images} holds no image of iSAID_train.json" in refused(convert)
    (root / "P0000.png").rename(images / "P0000.png")
    shutil.rmtree(tmp_path / "isaid")

    def resize(content):
        content["images"][0]["width"] += 1

    path = change(tmp_path, "train", resize)
    assert "P0000.png is 130 x 150 pixels, and 131 x 150 in its annotations" in refused(convert)

    def damage(content):
        content["images"][0]["width"] -= 1
        content["annotations"][3]["segmentation"] = [[1, 2, 3, 4, 5, 6, 7]]

    change(tmp_path, "train", damage)
    assert "annotation 3 of P0000.png has a polygon that is no list of x, y pairs" in refused(
        convert
    )

    def wrong_mask(content):
        content["annotations"][3]["segmentation"] = {"size": [3, 4], "counts": [12]}

    change(tmp_path, "train", wrong_mask)
    assert "annotation 3 of P0000.png has a mask of [3, 4] in an image of [150, 130]" in refused(
        convert
    )

    for key, value in (("segmentation", None), ("category_id", 99)):

        def spoil(content, key=key, value=value):
            content["annotations"][3][key] = value

        before = path.read_text()
        change(tmp_path, "train", spoil)
        assert f"{path}: '{key}' of annotation " in refused(convert)
        path.write_text(before)

    def orphan(content):
        content["annotations"][3]["image_id"] = 77

    before = path.read_text()
    change(tmp_path, "train", orphan)
    assert f"{path} is not in COCO's layout: 'image_id' of 1 annotations" in refused(convert)
    path.write_text(before)

    def rename(content):
        content["categories"][0]["name"] = "boat"

    change(tmp_path, "train", rename)
    message = refused(convert)
    assert f"{path} has the categories boat, " in message and "must be storage_tank," in message
    path.write_text("{")
    assert f"ann_file {path} is not JSON" in refused(convert)
    path.unlink()
    assert f"the annotation file {path} does not exist" in refused(convert)
    shutil.rmtree(root / "train/images")
    path.write_text("{}")
    assert f"{root}/train holds no images/images and no images" in refused(convert)
    shutil.rmtree(root)
    assert f"the split's folder {root}/train does not exist" in refused(convert)


def test_annotations_without_pixels_are_told(convert, tmp_path, published, capsys):
    def empty(content):
        content["annotations"][3]["segmentation"] = [[4, 4, 4, 4, 4, 4]]

    change(tmp_path, "val", empty)
    out = convert("--min-visible", 0)
    assert "note: P0003.png: 1 annotations have no pixels" in capsys.readouterr().err
    del published["val/P0003"][3]
    assert_same(found_in(out, "val"), expected_patches(published, "val/P0003", 0))


@pytest.mark.parametrize(
    "words, message",
    [
        (("--overlap", 64), "--overlap must be from 0 to less than --size 64, not 64"),
        (("--overlap", -1), "--overlap must be from 0 to less than --size 64, not -1"),
        (("--size", 0), "--size: must be a positive integer, not '0'"),
        (("--min-visible", 1.5), "--min-visible: must be from 0 to 1, not '1.5'"),
        (("--min-visible", "x"), "--min-visible: must be from 0 to 1, not 'x'"),
        (("--workers", 0), "--workers: must be a positive integer, not '0'"),
    ],
)
def test_bad_options(convert, capsys, words, message):
    with pytest.raises(SystemExit):
        convert(*words)
    assert message in capsys.readouterr().err
