"""Pictures of a trained model's best and worst results, with the ground truth.

The command writes into --out-dir:

- a strip for each chosen image: phi_0, phi_1, ... and the ground truth; for a model without level
  sets its masks; for a semantic model its label maps;
- results.png, with a row for each chosen image;
- losses.png, if the work dir holds a training log.
"""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Sequence
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
    require_share,
    short_errors,
)
from mmlevelset.experiments.runs import latest_checkpoint
from mmlevelset.files import make_folder, write_figure, write_picture

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config

    from mmlevelset.visualization import Panel


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    options = parser("Draw a trained model's best and worst results, with the ground truth.")
    options.add_argument(
        "checkpoint", help="a checkpoint file, or a work dir: its latest checkpoint"
    )
    options.add_argument(
        "--out-dir",
        metavar="FOLDER",
        help="folder of the pictures [`results` beside the checkpoint]",
    )
    options.add_argument("--num", type=int, default=6, help="number of images to draw [6]")
    options.add_argument(
        "--indices", type=int, nargs="+", help="draw these images of the validation set instead"
    )
    options.add_argument(
        "--search", type=int, default=100, help="choose among SEARCH images, evenly spread [100]"
    )
    options.add_argument(
        "--score-thr", type=float, default=0.5, help="draw objects of at least this score [0.5]"
    )
    options.add_argument(
        "--size", type=int, default=420, help="longer side of a panel in pixels [420]"
    )
    options.add_argument(
        "--format", choices=["png", "jpg"], default="png", help="format of the pictures [png]"
    )
    return options.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("draw_results.py", arguments):
        if arguments.num < 1 or arguments.search < 1 or arguments.size < 32:
            raise InputError("--num and --search must be at least 1, --size at least 32")
        require_share("--score-thr", arguments.score_thr)
        choose_device(arguments)
        config = load_config(arguments)
        checkpoint = find_checkpoint(arguments.checkpoint)
        from mmlevelset.experiments.checks.config import require_fit
        from mmlevelset.experiments.checks.values import require_keys

        require_keys(config, "val")
        require_fit(config, "val")
        folder = Path(arguments.out_dir or checkpoint.parent / "results")
        make_folder(folder, "--out-dir")
        results = open_results(config, str(checkpoint), arguments.score_thr)
        indices = choose(results, arguments)
        draw(results, indices, folder, arguments)
        work_dir = Path(arguments.work_dir or checkpoint.parent)
        draw_losses(work_dir, folder / f"losses.{arguments.format}")


def find_checkpoint(path: str) -> Path:
    """Return the path of a checkpoint file, or of the last checkpoint of a work dir."""
    if Path(path).is_dir():
        return latest_checkpoint(Path(path))
    return Path(require_file(path, "the checkpoint"))


class Results(ABC):
    """A model's predictions on the images of its validation set, and the ground truth."""

    nothing_to_compare: str
    """The error message if no image has a score."""

    def __init__(self, config: Config, checkpoint: str, dataset: Any) -> None:
        from mmcv.transforms import Compose
        from mmdet.utils import get_test_pipeline_cfg

        self.model = build_model(config)
        load_weights(self.model, checkpoint, dataset.metainfo.get("classes"))
        self.dataset = dataset
        self.load = Compose([get_test_pipeline_cfg(config)[0]])

    def image(self, index: int) -> np.ndarray:
        """Return the image, (H, W, 3) uint8, BGR."""
        return self.load(self.dataset.get_data_info(index))["img"]

    def test(self, index: int) -> Any:
        """Return the data sample with the model's predictions, at the image's own size."""
        import torch
        from mmengine.dataset import pseudo_collate

        with torch.no_grad():
            (sample,) = self.model.test_step(pseudo_collate([self.dataset[index]]))
        return sample

    @abstractmethod
    def score(self, index: int) -> float | None:
        """Return the mean IoU of an image, or None if the image has no ground truth."""

    @abstractmethod
    def panels(self, index: int) -> tuple[list[Panel], list[Panel]]:
        """Return the panels of an image in results.png, and in its own strip."""


class InstanceResults(Results):
    """Results of a model that predicts a mask for each object.

    An object without a mask has its box as the true mask. If no object of the data has a mask, the
    boxes around the predicted masks are compared.
    """

    nothing_to_compare = "no image of the validation set has an object"

    def __init__(self, config: Config, checkpoint: str, dataset: Any, score_thr: float) -> None:
        from mmcv.transforms import Compose
        from mmdet.models.roi_heads.base_roi_head import BaseRoIHead

        super().__init__(config, checkpoint, dataset)
        for head in self.model.modules():
            if isinstance(head, BaseRoIHead) and head.with_mask:
                # Heads without level sets ignore these settings.
                head.test_cfg.update(initial_masks=True, level_sets=True)
        # An object without a mask gets an empty mask.
        annotations = dict(type="mmlevelset.LoadMixedAnnotations")
        self.annotate = Compose([*self.load.transforms, annotations])
        self.score_thr = score_thr
        self.boxes_alone = not any(
            instance.get("mask")
            for index in range(len(dataset))
            for instance in dataset.get_data_info(index).get("instances", ())
        )

    def truth(self, index: int) -> np.ndarray:
        """Return the true masks (m, H, W), without crowds."""
        data = self.annotate(self.dataset.get_data_info(index))
        masks, boxes = data["gt_masks"].masks, data["gt_bboxes"].numpy().round().astype(int)
        for mask, (left, top, right, bottom) in zip(masks, boxes.clip(min=0), strict=True):
            if not mask.any():
                mask[top:bottom, left:right] = 1
        return masks[~data["gt_ignore_flags"]]

    def predict(self, index: int) -> Any:
        """Return the instances with a score of at least the threshold."""
        found = self.test(index).pred_instances.cpu()
        if "masks" not in found:
            raise InputError("the config's model predicts no masks")
        return found[found.scores >= self.score_thr]

    def quality(self, masks: Any, truth: np.ndarray) -> float:
        """Return an image's mean IoU over all objects; a missed or invented object counts as 0."""
        from mmlevelset.visualization import match_masks

        _, _, iou = match_masks(boxes_around(masks) if self.boxes_alone else masks, truth)
        objects = len(masks) + len(truth) - len(iou)
        return float(iou.sum() / objects) if objects else 1.0

    def score(self, index: int) -> float | None:
        truth = self.truth(index)
        return self.quality(self.predict(index).masks, truth) if len(truth) else None

    def panels(self, index: int) -> tuple[list[Panel], list[Panel]]:
        from mmlevelset.visualization import comparison_panels, evolution_panels, matched_colors

        image, truth, found = self.image(index), self.truth(index), self.predict(index)
        named = {"prediction": found.masks}
        if "initial_masks" in found:
            named = {"initial": found.initial_masks, "final": found.masks}
        what = "IoU of boxes" if self.boxes_alone else "IoU"
        masks = {
            f"{name}, {what} {self.quality(found_masks, truth):.2f}": found_masks
            for name, found_masks in named.items()
        }
        row = comparison_panels(image, masks, truth)
        if "level_sets" not in found:
            return row, row
        colors = matched_colors(found.masks, truth)
        refined = found.get("refined_level_sets")
        strip = evolution_panels(
            image, found.level_sets, found.bboxes, truth, colors, refined=refined
        )
        return row, strip


class SemanticResults(Results):
    """Results of a model that predicts label maps."""

    nothing_to_compare = "no image of the validation set has a labelled pixel"

    def __init__(self, config: Config, checkpoint: str, dataset: Any) -> None:
        from mmlevelset.models.crls import RLS

        super().__init__(config, checkpoint, dataset)
        if isinstance(self.model, RLS):
            self.model.test_cfg.update(level_sets=True)

    def maps(self, sample: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the predicted and the true label map (H, W)."""
        if "pred_sem_seg" not in sample:
            raise InputError("the config's model predicts no semantic map")
        pred, truth = sample.pred_sem_seg.sem_seg[0], sample.gt_sem_seg.sem_seg[0]
        return pred.cpu().numpy(), truth.cpu().numpy()

    def score(self, index: int) -> float | None:
        return mean_iou(*self.maps(self.test(index)))

    def panels(self, index: int) -> tuple[list[Panel], list[Panel]]:
        import numpy as np

        from mmlevelset.visualization import evolution_panels, semantic_panels

        image, sample = self.image(index), self.test(index)
        palette = self.dataset.metainfo["palette"]
        if "crop_box" in sample:  # the sample is a crop around an object, with labels 0 and 1
            left, top, right, bottom = sample.crop_box
            image = image[top:bottom, left:right]
            palette = [(0, 0, 0), palette[0]]
        pred, truth = self.maps(sample)
        iou = mean_iou(pred, truth)
        title = "prediction" if iou is None else f"prediction, mIoU {iou:.2f}"
        row = semantic_panels(image, {title: pred}, truth, palette=palette)
        if "level_sets" not in sample:
            return row, row
        box = np.array([[0, 0, *truth.shape[::-1]]], dtype=np.float32)
        return row, evolution_panels(image, sample.level_sets.data[None], box, truth[None] == 1)


def boxes_around(masks: Any) -> np.ndarray:
    """Return for each of the masks (n, H, W) the pixels of the box around it, as uint8."""
    import numpy as np

    filled = np.zeros(np.shape(masks), np.uint8)
    for box, mask in zip(filled, map(np.asarray, masks), strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if rows.size:
            box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 1
    return filled


def mean_iou(pred: np.ndarray, truth: np.ndarray, ignored: int = 255) -> float | None:
    """Return the mean IoU over the classes that either label map has at labelled pixels.

    Returns:
        The mean IoU in [0, 1], or None if no pixel is labelled.
    """
    import numpy as np

    pred, truth = pred[truth != ignored], truth[truth != ignored]
    labels = np.union1d(pred, truth)
    found = [
        ((pred == k) & (truth == k)).sum() / ((pred == k) | (truth == k)).sum() for k in labels
    ]
    return float(np.mean(found)) if found else None


def open_results(config: Config, checkpoint: str, score_thr: float) -> Results:
    """Return the results of a model: semantic ones if its validation set has label maps."""
    from mmdet.registry import DATASETS
    from mmengine.registry import init_default_scope

    init_default_scope(config.get("default_scope", "mmdet"))
    dataset = DATASETS.build(config.val_dataloader.dataset)
    if "gt_sem_seg" in dataset[0]["data_samples"]:
        return SemanticResults(config, checkpoint, dataset)
    return InstanceResults(config, checkpoint, dataset, score_thr)


def rank(results: Results, search: int) -> dict[int, float]:
    """Return the mean IoU of at most ``search`` images, evenly spread, by index, the best first."""
    from mmengine.utils import track_iter_progress

    count = len(results.dataset)
    number = min(search, count)
    quality = {}
    for index in track_iter_progress([step * count // number for step in range(number)]):
        score = results.score(index)
        if score is not None:
            quality[index] = score
    print()
    if not quality:
        raise InputError(results.nothing_to_compare)
    return {index: quality[index] for index in sorted(quality, key=lambda index: -quality[index])}


def choose(results: Results, arguments: argparse.Namespace) -> list[int]:
    """Return the indices to draw: --indices, or the best and then the worst images."""
    count = len(results.dataset)
    if arguments.indices:
        outside = [index for index in arguments.indices if not 0 <= index < count]
        if outside:
            raise InputError(f"--indices must be in 0..{count - 1}, and {outside} are not")
        return arguments.indices
    order = list(rank(results, arguments.search))
    chosen = min(arguments.num, len(order))
    best, worst = order[: chosen - chosen // 2], order[len(order) - chosen // 2 :]
    print(f"best {best}, worst {worst}, by mean IoU among {len(order)} images")
    return best + worst


def draw(results: Results, indices: list[int], folder: Path, arguments: argparse.Namespace) -> None:
    """Write the strip of each image, and the picture of all."""
    from mmlevelset.visualization import draw_panels

    rows = []
    for index in indices:
        row, strip = results.panels(index)
        write(draw_panels([strip], arguments.size), folder / f"{index:06d}.{arguments.format}")
        row[0].title = f"image {index}"
        rows.append(row)
    write(draw_panels(rows, arguments.size), folder / f"results.{arguments.format}")


def draw_losses(work_dir: Path, path: Path) -> None:
    """Write the curves of the training, if the work dir holds its log."""
    from mmlevelset.logs import log_files, read_log
    from mmlevelset.visualization import plot_losses

    logs = log_files(work_dir)
    try:
        read_log(logs)
    except ValueError as error:
        print(f"no losses drawn: {error} (looked in {work_dir})")
        return
    write_figure(path, plot_losses(logs))
    print(f"wrote {path}")


def write(picture, path: Path) -> None:
    write_picture(path, picture)
    print(f"wrote {path}")
