"""Pictures of the level set inside each box over the checkpoints of a training run.

The command writes a picture for each chosen image, with a row for each object and a column for each
checkpoint. A column shows the image around the object's true box, the box, the contour where the
mask's probability is 0.5, and the probability as a faint overlay. The last column shows the true
mask. The mask comes from the SOLOv2 grid cell at the box's centre, on the first level whose scale
range holds the box.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import (
    build_model,
    choose_device,
    load_config,
    load_weights,
    parser,
    require_file,
    short_errors,
)
from mmlevelset.experiments.drawing.results import write

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from mmlevelset.visualization import Panel

BOX_COLOR, CONTOUR_COLOR = "#ffd60a", "#00d8ff"
OVERLAY_BGR, OVERLAY_ALPHA = (255, 216, 0), 0.35
MARGIN = 0.2


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    options = parser(
        "Draw the level set inside each box over the checkpoints of a training run of a SOLOv2 "
        "model. A run keeps only its last two checkpoints; train with --cfg-options "
        "default_hooks.checkpoint.max_keep_ckpts=-1 to keep all of them."
    )
    options.add_argument("run", metavar="WORK_DIR", help="the run's work dir")
    options.add_argument(
        "--checkpoints",
        nargs="+",
        metavar="FILE",
        help="paths, or names in the work dir [its epoch_*.pth or iter_*.pth]",
    )
    options.add_argument(
        "--num", type=int, default=8, help="draw at most NUM checkpoints, evenly spread [8]"
    )
    options.add_argument(
        "--dataset", choices=["val", "train"], default="val", help="data set of the images [val]"
    )
    options.add_argument(
        "--indices", type=int, nargs="+", help="draw these images [the first 3 with objects]"
    )
    options.add_argument(
        "--objects", type=int, default=4, help="draw at most OBJECTS objects, the largest [4]"
    )
    options.add_argument(
        "--out-dir", metavar="FOLDER", help="folder of the pictures [`training` in the work dir]"
    )
    options.add_argument(
        "--size", type=int, default=220, help="longer side of a panel in pixels [220]"
    )
    options.add_argument(
        "--format", choices=["png", "jpg"], default="png", help="format of the pictures [png]"
    )
    return options.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("draw_training.py", arguments):
        if arguments.num < 1 or arguments.objects < 1 or arguments.size < 32:
            raise InputError("--num and --objects must be at least 1, --size at least 32")
        choose_device(arguments)
        checkpoints = find_checkpoints(Path(arguments.run), arguments.checkpoints, arguments.num)
        arguments.work_dir = arguments.work_dir or arguments.run
        images = Images(load_config(arguments), arguments.dataset)
        chosen = [
            picture
            for index in images.choose(arguments.indices)
            if (picture := images.read(index, arguments.objects)).objects
        ]
        draw(images, checkpoints, chosen, arguments)


def find_checkpoints(run: Path, asked: Sequence[str] | None, most: int) -> list[Path]:
    """Return the checkpoints to draw.

    Args:
        run: The work dir.
        asked: Paths of checkpoints, or names in the work dir.
        most: Largest number of checkpoints if ``asked`` is empty. They are in the run's order, and
            the last checkpoint is among them.

    Raises:
        InputError: A checkpoint or the work dir does not exist.
    """
    if not run.is_dir():
        raise InputError(f"the work dir {run} does not exist")
    if asked:
        inside = [Path(name) if Path(name).is_file() else run / name for name in asked]
        return [Path(require_file(str(path), "the checkpoint")) for path in inside]
    numbered = [
        (found[1], int(found[2]), path)
        for path in run.iterdir()
        if (found := re.fullmatch(r"(epoch|iter)_(\d+)\.pth", path.name))
    ]
    if not numbered:
        raise InputError(f"the work dir {run} holds no checkpoint epoch_*.pth or iter_*.pth")
    paths = [path for _, _, path in sorted(numbered)]
    count = min(most, len(paths))
    last = len(paths) - 1
    return [paths[last - step * last // max(count - 1, 1)] for step in reversed(range(count))]


@dataclass
class Object:
    """A true object: its box (4,) and its mask (H, W). An unknown mask is empty."""

    box: Tensor
    mask: np.ndarray


@dataclass
class Picture:
    """An image of the data set, its input to the model, and its objects."""

    index: int
    inputs: Any
    image: np.ndarray
    objects: list[Object]


class Images:
    """A config's model, and the images of its data set with their true boxes and masks."""

    def __init__(self, config: Any, name: str) -> None:
        from mmcv.transforms import Compose
        from mmdet.models.dense_heads import SOLOV2Head
        from mmdet.registry import DATASETS
        from mmdet.utils import get_test_pipeline_cfg

        self.model = build_model(config)
        if not isinstance(getattr(self.model, "mask_head", None), SOLOV2Head):
            raise InputError("the config's model has no SOLOv2 mask head")
        self.dataset = DATASETS.build(config[f"{name}_dataloader"].dataset)
        steps = get_test_pipeline_cfg(config)
        annotations = dict(type="mmlevelset.LoadMixedAnnotations")
        self.load = Compose([steps[0], annotations])
        self.prepare = Compose([step for step in steps if "Annotations" not in str(step["type"])])

    def choose(self, indices: Sequence[int] | None) -> list[int]:
        """Return the given indices, or the indices of the first three images with objects."""
        count = len(self.dataset)
        if indices is None:
            found = (i for i in range(count) if self.dataset.get_data_info(i)["instances"])
            indices = [index for index, _ in zip(found, range(3), strict=False)]
            if not indices:
                raise InputError("no image of the data set has an object")
        outside = [index for index in indices if not 0 <= index < count]
        if outside:
            raise InputError(f"--indices must be in 0..{count - 1}, and {outside} are not")
        return list(indices)

    def read(self, index: int, most: int) -> Picture:
        """Return an image with its ``most`` largest objects.

        Crowds, and objects of a size that the head is not trained for, are left out.
        """
        info = self.load(self.dataset.get_data_info(index))
        inputs = self.prepare(self.dataset.get_data_info(index))
        boxes, masks = info["gt_bboxes"].tensor, info["gt_masks"].masks
        levels = levels_of(self.model.mask_head, scaled(boxes, inputs["data_samples"]))
        objects = [
            Object(boxes[number], masks[number])
            for number in info["gt_bboxes"].areas.argsort(descending=True, stable=True).tolist()
            if not info["gt_ignore_flags"][number] and levels[number] is not None
        ]
        if not objects:
            print(f"image {index} left out: no object of a size that the head is trained for")
        return Picture(index, inputs, info["img"], objects[:most])

    def probabilities(self, picture: Picture) -> np.ndarray:
        """Return the masks (n, H, W) of the picture's objects, in [0, 1], at the image's size."""
        import torch
        from mmengine.dataset import pseudo_collate

        with torch.no_grad():
            data = self.model.data_preprocessor(pseudo_collate([picture.inputs]), False)
            (sample,) = data["data_samples"]
            predictions = self.model.mask_head(self.model.extract_feat(data["inputs"]))
            boxes = scaled(torch.stack([item.box for item in picture.objects]), sample)
            masks = masks_of_boxes(
                self.model.mask_head, predictions, boxes, sample.img_shape, sample.ori_shape
            )
        return masks.float().cpu().numpy()


def scaled(boxes: Tensor, sample: Any) -> Tensor:
    """Return boxes (n, 4) of the image in pixels of the model's input."""
    (height, width), (full_height, full_width) = sample.img_shape, sample.ori_shape
    return boxes * boxes.new_tensor([width / full_width, height / full_height] * 2)


def levels_of(head: Any, boxes: Tensor) -> list[int | None]:
    """Return for each box (n, 4) the first level whose scale range holds the box, or None."""
    scales = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt().tolist()
    return [
        next(
            (level for level, (low, high) in enumerate(head.scale_ranges) if low <= scale <= high),
            None,
        )
        for scale in scales
    ]


def masks_of_boxes(
    head: Any,
    predictions: tuple[list[Tensor], list[Tensor], Tensor],
    boxes: Tensor,
    img_shape: Sequence[int],
    ori_shape: Sequence[int],
) -> Tensor:
    """Return the mask probabilities (n, *ori_shape) of the cells at the centres of boxes.

    Args:
        head: A SOLOv2 head.
        predictions: The head's output for one image: kernels, scores, mask features.
        boxes: (n, 4) in pixels of the model's input, n >= 1.
        img_shape: Height and width of the image in the input, without padding.
        ori_shape: Height and width of the image itself.

    Raises:
        ValueError: The size of a box is in no scale range of the head.
    """
    import torch
    import torch.nn.functional as F

    kernels, _, features = predictions
    padded = [side * head.mask_stride for side in features.shape[2:]]
    size = torch.tensor(padded[::-1], dtype=torch.float64)
    chosen = []
    for box, level in zip(boxes.double().cpu(), levels_of(head, boxes), strict=True):
        if level is None:
            raise ValueError(f"box {box.tolist()} is in no scale range of {head.scale_ranges}")
        # As SOLO: a pixel's place is its index, not its centre, and the divisor is 1 / grid.
        middle = (box[:2] + box[2:]) / 2 - 0.5
        column, row = torch.floor_divide(middle / size, 1 / head.num_grids[level]).long()
        chosen.append(kernels[level][0, :, row, column])
    width = head.dynamic_conv_size
    weights = torch.stack(chosen).unflatten(1, (-1, width, width))
    masks = F.conv2d(features, weights).sigmoid()
    masks = F.interpolate(masks, tuple(padded), mode="bilinear", align_corners=False)
    masks = masks[:, :, : img_shape[0], : img_shape[1]]
    return F.interpolate(masks, tuple(ori_shape), mode="bilinear", align_corners=False)[0]


def draw(
    images: Images,
    checkpoints: Sequence[Path],
    pictures: Sequence[Picture],
    arguments: argparse.Namespace,
) -> None:
    """Write the picture of each image, and the picture of all."""
    from mmlevelset.visualization import draw_panels

    if not pictures:
        raise InputError("none of the images holds an object to draw")
    rows: list[list[list[Panel]]] = [[[] for _ in picture.objects] for picture in pictures]
    for path in checkpoints:
        load_weights(images.model, str(path), images.dataset.metainfo.get("classes"))
        title = path.stem.replace("_", " ")
        for picture, of_picture in zip(pictures, rows, strict=True):
            masks = images.probabilities(picture)
            for item, mask, row in zip(picture.objects, masks, of_picture, strict=True):
                row.append(predicted_panel(title, picture.image, item, mask))
    folder = Path(arguments.out_dir or Path(arguments.run, "training"))
    folder.mkdir(parents=True, exist_ok=True)
    for picture, of_picture in zip(pictures, rows, strict=True):
        for item, row in zip(picture.objects, of_picture, strict=True):
            row.append(true_panel(picture.image, item))
        path = folder / f"{picture.index:06d}.{arguments.format}"
        write(draw_panels(of_picture, arguments.size), path)
    if len(pictures) > 1:
        together = [row for of_picture in rows for row in of_picture]
        write(draw_panels(together, arguments.size), folder / f"training.{arguments.format}")


def predicted_panel(title: str, image: np.ndarray, item: Object, mask: np.ndarray) -> Panel:
    """Return the image around an object's box, with its probabilities (H, W) and their contour."""
    import numpy as np
    import torch

    from mmlevelset.ops.contours import contours

    x1, y1, x2, y2 = window(item.box, image.shape)
    if item.mask.any():
        inside, true = mask > 0.5, item.mask.astype(bool)
        title += f", IoU {(inside & true).sum() / (inside | true).sum():.2f}"
    alpha = OVERLAY_ALPHA * mask[y1:y2, x1:x2, None]
    faint = (1 - alpha) * image[y1:y2, x1:x2] + alpha * np.array(OVERLAY_BGR)
    # The contour is closed along the crop's edge, so the crop is wider than the panel.
    left, top = max(x1 - 2, 0), max(y1 - 2, 0)
    crop = np.ascontiguousarray(mask[top : y2 + 2, left : x2 + 2])
    (polygons,) = contours(torch.from_numpy(crop)[None], 0.5)
    polygons = [polygon + 0.5 + [left - x1, top - y1] for polygon in polygons]
    return object_panel(title, faint.round().astype(np.uint8), item, polygons, (x1, y1))


def true_panel(image: np.ndarray, item: Object) -> Panel:
    """Return the image around an object's box, with the outline of its true mask."""
    import numpy as np

    from mmlevelset.visualization import mask_polygons

    x1, y1, x2, y2 = window(item.box, image.shape)
    (polygons,) = mask_polygons(item.mask[None])
    crop = np.ascontiguousarray(image[y1:y2, x1:x2])
    title = "ground truth" if item.mask.any() else "no true mask"
    return object_panel(title, crop, item, [polygon - [x1, y1] for polygon in polygons], (x1, y1))


def object_panel(
    title: str,
    crop: np.ndarray,
    item: Object,
    polygons: list[np.ndarray],
    origin: tuple[int, int],
) -> Panel:
    import numpy as np

    from mmlevelset.visualization import Panel

    x1, y1, x2, y2 = item.box.double().tolist()
    box = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]]) - origin
    return Panel(crop, title, [[box], polygons], [BOX_COLOR, CONTOUR_COLOR])


def window(box: Tensor, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Return x1, y1, x2, y2 of the box with a margin, in whole pixels within the image."""
    x1, y1, x2, y2 = box.tolist()
    margin = max(MARGIN * max(x2 - x1, y2 - y1), 4)
    left, top = max(int(x1 - margin), 0), max(int(y1 - margin), 0)
    return left, top, min(int(x2 + margin) + 1, shape[1]), min(int(y2 + margin) + 1, shape[0])
