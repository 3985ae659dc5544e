"""Inference of a detector on overlapping tiles of large images."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from mmdet.datasets.transforms import Resize
from mmdet.models.utils import samplelist_boxtype2tensor
from mmdet.structures import DetDataSample, OptSampleList, SampleList
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from pycocotools import mask as mask_util
from torch import Tensor, nn

from mmlevelset.models.inference.encoded import EncodedMasks, place_mask
from mmlevelset.models.inference.merge import IOS_OF, Window, join_pieces, mask_nms
from mmlevelset.registry import MODELS

CUT = ("join", "keep", "drop")
MASKS = ("masks", "initial_masks")


def tile_windows(
    height: int, width: int, tile_size: tuple[int, int], overlap: tuple[int, int]
) -> list[Window]:
    """Return windows (left, top, right, bottom) of equal size that cover an image.

    Neighbours overlap by at least ``overlap``. The windows are as few as possible, at equal
    distances. A window is not longer than the image.

    Args:
        height: Height of the image.
        width: Width of the image.
        tile_size: Height and width of a tile.
        overlap: Minimum overlap in height and width, smaller than the tile.
    """
    (tops, rows), (lefts, columns) = (
        _starts(*side) for side in zip((height, width), tile_size, overlap, strict=True)
    )
    return [(left, top, left + columns, top + rows) for top in tops for left in lefts]


def _starts(length: int, tile: int, overlap: int) -> tuple[list[int], int]:
    if length <= tile:
        return [0], length
    count = math.ceil((length - tile) / (tile - overlap)) + 1
    return [round(place * (length - tile) / (count - 1)) for place in range(count)], tile


@MODELS.register_module()
class TiledDetector(BaseTTAModel):
    """Run a detector on overlapping tiles of each image and merge the detections.

    If the image is not larger than a tile, the result is the detector's own. If it is larger, the
    masks are run-length encoded (:class:`EncodedMasks`) from the tiles to the result, so that
    bitmaps exist only for a batch of tiles. Detections of the same tile are never compared, because
    the detector has compared them. Detections of different tiles are merged in two steps:

    1. A detection near an inner edge of its tile is cut: it may be a piece of an object. With
       ``cut="join"``, pieces that agree where their tiles overlap are united
       (:func:`join_pieces`), with the highest of their scores and the box around their boxes. With
       ``cut="drop"``, cut detections are removed.
    2. Mask NMS (:func:`mask_nms`) takes whole objects first, by score, then pieces, the largest
       first.

    The test pipeline must not resize images, because tiles are cut from the original pixels.
    ``tile_scale`` resizes each tile for the network, as the detector's own pipeline resizes
    training images. Results have boxes, scores, labels, masks and, if the detector predicts them,
    ``initial_masks``. Detections with an empty mask are removed. Checkpoints of the detector load.

    Args:
        module: The detector, or its config.
        tile_size: Side of a tile, or its height and width, in pixels of the image.
        overlap: Minimum overlap of neighbouring tiles, a number or two. An object that is smaller
            than the overlap minus two margins is whole in a tile.
        tile_scale: (width, height) that bounds the resized tile, as ``scale`` of mmdet's
            ``Resize`` with ``keep_ratio``; None to keep the size.
        batch_size: Number of tiles in a batch of the detector.
        cut: Treatment of pieces: ``join``, ``keep`` (only NMS) or ``drop``.
        margin: A detection is cut if its box or mask is nearer than this to an inner edge, in
            pixels of the image.
        join_thr: See :func:`join_pieces`.
        iou_thr: See :func:`mask_nms`.
        ios_thr: See :func:`mask_nms`.
        ios_of: See :func:`mask_nms`.
        class_agnostic: Whether detections of different classes are merged.
        max_per_img: Maximum number of detections of an image; None for all.
        data_preprocessor: Replaces the detector's data preprocessor if ``module`` is a config.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        module: dict | nn.Module,
        tile_size: int | Sequence[int] = 800,
        overlap: int | Sequence[int] = 200,
        tile_scale: Sequence[int] | None = None,
        batch_size: int = 4,
        cut: str = "join",
        margin: float = 4,
        join_thr: float = 0.5,
        iou_thr: float | None = 0.5,
        ios_thr: float | None = 0.5,
        ios_of: str = "cut",
        class_agnostic: bool = False,
        max_per_img: int | None = None,
        data_preprocessor: dict | nn.Module | None = None,
    ) -> None:
        super().__init__(module, data_preprocessor)
        self.data_preprocessor = self.module.data_preprocessor
        self.tile_size = _pair("tile_size", tile_size, 1)
        self.overlap = _pair("overlap", overlap, 0)
        if any(part >= whole for part, whole in zip(self.overlap, self.tile_size, strict=True)):
            raise ValueError(
                f"overlap must be less than tile_size, but is {overlap!r} of {tile_size!r}"
            )
        for name, count in dict(batch_size=batch_size, max_per_img=max_per_img).items():
            optional = name == "max_per_img" and count is None
            if not optional and (not isinstance(count, int) or count < 1):
                raise ValueError(f"{name} must be a positive integer, but is {count!r}")
        for name, value, known in (("cut", cut, CUT), ("ios_of", ios_of, IOS_OF)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, but is {value!r}")
        for name, threshold in dict(join_thr=join_thr, iou_thr=iou_thr, ios_thr=ios_thr).items():
            optional = name != "join_thr" and threshold is None
            if not optional and not (isinstance(threshold, int | float) and 0 < threshold <= 1):
                raise ValueError(f"{name} must be in (0, 1], but is {threshold!r}")
        if not margin > 0:
            raise ValueError(f"margin must be positive, but is {margin!r}")
        self.resize = None
        if tile_scale is not None:
            self.resize = Resize(scale=_pair("tile_scale", tile_scale, 1), keep_ratio=True)
        self.batch_size = batch_size
        self.cut = cut
        self.margin = margin
        self.join_thr = join_thr
        self.iou_thr = iou_thr
        self.ios_thr = ios_thr
        self.ios_of = ios_of
        self.class_agnostic = class_agnostic
        self.max_per_img = max_per_img

    def forward(
        self, inputs: Tensor, data_samples: OptSampleList = None, mode: str = "tensor"
    ) -> dict | list | tuple | Tensor:
        """Run the detector on whole images; only :meth:`test_step` cuts tiles."""
        return self.module(inputs, data_samples, mode=mode)

    def val_step(self, data: dict) -> SampleList:
        """Return the result of :meth:`test_step`."""
        return self.test_step(data)

    def test_step(self, data: dict) -> SampleList:
        """Return the detections in each image of a batch, in pixels of the image.

        Args:
            data: ``inputs``, a list of images (3, H, W), and ``data_samples``.

        Raises:
            ValueError: The pipeline has resized or flipped an image, or the detector predicts no
                masks.
        """
        return [
            self._detect(image, sample)
            for image, sample in zip(data["inputs"], data["data_samples"], strict=True)
        ]

    def _detect(self, image: Tensor, sample: DetDataSample) -> DetDataSample:
        height, width = image.shape[-2:]
        if sample.get("flip", False) or tuple(sample.ori_shape[:2]) != (height, width):
            raise ValueError(
                "the test pipeline must neither resize nor flip images that are cut into tiles"
                f" (tile_scale resizes tiles), but an image of size {tuple(sample.ori_shape[:2])}"
                f" came with size {(height, width)} and flip={sample.get('flip', False)}"
            )
        windows = tile_windows(height, width, self.tile_size, self.overlap)
        tiles = [
            image[..., top:bottom, left:right].contiguous() for left, top, right, bottom in windows
        ]
        if len(windows) == 1:
            return self.module.test_step(_batch([self._prepare(tiles[0], sample)]))[0]
        found: list[InstanceData] = []
        for start in range(0, len(windows), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            prepared = [
                self._prepare(tile, DetDataSample(metainfo=sample.metainfo))
                for tile in tiles[chosen]
            ]
            for result, window in zip(
                self.module.test_step(_batch(prepared)), windows[chosen], strict=True
            ):
                found.append(self._placed(result.pred_instances, window, (height, width)))
        return self.merge_preds([(sample, found, windows)])[0]

    def _prepare(self, tile: Tensor, sample: DetDataSample) -> tuple[Tensor, DetDataSample]:
        """Return a tile resized for the network, and a sample with the tile as original image."""
        sample = sample.new()
        shape = tuple(tile.shape[-2:])
        settings = dict(ori_shape=shape, img_shape=shape, scale_factor=(1.0, 1.0))
        if self.resize is not None:
            # OpenCV needs contiguous arrays with channels last.
            results = self.resize(dict(img=np.ascontiguousarray(tile.permute(1, 2, 0).numpy())))
            tile = torch.from_numpy(results["img"]).permute(2, 0, 1).contiguous()
            settings.update(img_shape=results["img_shape"], scale_factor=results["scale_factor"])
        sample.set_metainfo(settings)
        return tile, sample

    def _placed(
        self, instances: InstanceData, window: Window, size: tuple[int, int]
    ) -> InstanceData:
        """Return a tile's detections in the image's coordinates, without empty masks."""
        if "masks" not in instances:
            raise ValueError("module must predict masks, but predicts only boxes")
        left, top, _, _ = window
        placed = InstanceData(scores=instances.scores, labels=instances.labels)
        placed.bboxes = instances.bboxes + instances.bboxes.new_tensor([left, top, left, top])
        for name in MASKS:
            if name in instances:
                rles = [
                    place_mask(mask, left, top, *size) for mask in instances[name].cpu().numpy()
                ]
                placed[name] = EncodedMasks(rles, *size)
        # Detectors without boxes return zeros for boxes.
        tight = torch.from_numpy(placed.masks.boxes()).to(placed.bboxes)
        without = (instances.bboxes[:, 2:] <= instances.bboxes[:, :2]).any(1)
        placed.bboxes = torch.where(without[:, None], tight, placed.bboxes)
        placed.cut = torch.from_numpy(
            self._touches(placed.masks.boxes(), window, size)
            | self._touches(placed.bboxes.cpu().numpy(), window, size)
        )
        return placed[torch.from_numpy(placed.masks.areas() > 0)]

    def _touches(self, boxes: np.ndarray, window: Window, size: tuple[int, int]) -> np.ndarray:
        """Return whether each of the boxes (n, 4) is near an inner edge of the tile."""
        left, top, right, bottom = window
        near = [
            (left > 0) & (boxes[:, 0] < left + self.margin),
            (top > 0) & (boxes[:, 1] < top + self.margin),
            (right < size[1]) & (boxes[:, 2] > right - self.margin),
            (bottom < size[0]) & (boxes[:, 3] > bottom - self.margin),
        ]
        return np.any(near, axis=0)

    def merge_preds(
        self, data_samples_list: list[tuple[DetDataSample, list[InstanceData], list[Window]]]
    ) -> SampleList:
        """Return the images' samples with the merged detections of their tiles."""
        merged = []
        for sample, found, windows in data_samples_list:
            samplelist_boxtype2tensor([sample])
            sample.pred_instances = self._merge(found, windows)
            merged.append(sample)
        return merged

    def _merge(self, found: list[InstanceData], windows: list[Window]) -> InstanceData:
        counts = [len(detections) for detections in found]
        tiles = np.repeat(np.arange(len(found)), counts)
        full = [detections for detections in found if len(detections)]
        if not full:
            return _without_cut(found[0])
        detections = InstanceData.cat(full)
        if self.cut == "drop":
            whole = ~detections.cut
            detections, tiles = detections[whole], tiles[whole.numpy()]
        labels, cut = detections.labels.cpu().numpy(), detections.cut.numpy()
        groups = [[index] for index in range(len(detections))]
        if self.cut == "join":
            groups = join_pieces(
                detections.masks,
                labels,
                tiles,
                windows,
                cut,
                join_thr=self.join_thr,
                class_agnostic=self.class_agnostic,
            )
        detections = _united(detections, groups)
        scores = detections.scores.cpu().numpy()
        kept = mask_nms(
            detections.masks,
            scores,
            detections.labels.cpu().numpy(),
            iou_thr=self.iou_thr,
            ios_thr=self.ios_thr,
            ios_of=self.ios_of,
            class_agnostic=self.class_agnostic,
            cut=detections.cut.numpy(),
            sources=[frozenset(tiles[group].tolist()) for group in groups],
        )
        order = kept[np.argsort(-scores[kept], kind="stable")][: self.max_per_img]
        return _without_cut(detections[torch.from_numpy(order)])


def _united(detections: InstanceData, groups: list[list[int]]) -> InstanceData:
    """Return a detection for each group: the union of its masks, its best score and its label."""
    scores = detections.scores.cpu().numpy()
    best = torch.tensor([max(group, key=lambda index: scores[index]) for group in groups])
    united = detections[best.long()]
    for number, group in enumerate(groups):
        if len(group) > 1:
            boxes = detections.bboxes[group]
            united.bboxes[number] = torch.cat([boxes[:, :2].amin(0), boxes[:, 2:].amax(0)])
            for name in MASKS:
                if name in detections:
                    pieces = [detections[name].rles[index] for index in group]
                    united[name].rles[number] = mask_util.merge(pieces)
    return united


def _without_cut(detections: InstanceData) -> InstanceData:
    detections.pop("cut")
    return detections


def _batch(prepared: Sequence[tuple[Tensor, DetDataSample]]) -> dict:
    inputs, samples = zip(*prepared, strict=True)
    return dict(inputs=list(inputs), data_samples=list(samples))


def _pair(name: str, value: int | Sequence[int], least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(side, int) and side >= least for side in pair):
        raise ValueError(
            f"{name} must be one or two integers of at least {least}, but is {value!r}"
        )
    return pair
