"""Run-length encoded masks: bitmaps of a large image's masks would not fit into memory."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from mmdet.structures.mask import encode_mask_results
from pycocotools import mask as mask_util
from torch import Tensor


class EncodedMasks:
    """The masks (n, H, W) of an image in COCO's run-length encoding (RLE).

    ``EncodedMasks`` replaces mmdet's bool tensor in ``pred_instances.masks``. COCO metrics read the
    RLEs; other code calls ``numpy()``, ``astype()`` or ``cpu()`` and gets all masks decoded. An
    index returns the RLE of a mask. A slice, or an index array in ``InstanceData``, returns the
    chosen masks. Iteration decodes the masks one by one.

    Args:
        rles: ``dict(size=[H, W], counts=bytes)`` for each mask.
        height: Height H of the image.
        width: Width W of the image.

    Raises:
        ValueError: A mask has another size.
    """

    def __init__(self, rles: Sequence[dict], height: int, width: int) -> None:
        self.rles = list(rles)
        self.size = (int(height), int(width))
        for rle in self.rles:
            if tuple(rle["size"]) != self.size:
                raise ValueError(f"masks must have size {self.size}, but a mask has {rle['size']}")

    @classmethod
    def encode(cls, masks: Tensor | np.ndarray) -> "EncodedMasks":
        """Encode masks (n, H, W) of 0 and 1."""
        height, width = masks.shape[1:]
        array = masks.detach().cpu().numpy() if isinstance(masks, Tensor) else masks
        return cls(encode_mask_results(array), height, width)

    @staticmethod
    def cat(parts: Sequence["EncodedMasks"]) -> "EncodedMasks":
        """Concatenate the masks of one or more parts."""
        return EncodedMasks([rle for part in parts for rle in part.rles], *parts[0].size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (n, H, W)."""
        return len(self.rles), *self.size

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, index: int | slice) -> "dict | EncodedMasks":
        if isinstance(index, slice):
            return EncodedMasks(self.rles[index], *self.size)
        return self.rles[index]

    def __iter__(self) -> Iterator[np.ndarray]:
        for rle in self.rles:
            yield mask_util.decode(rle).astype(bool)

    def __repr__(self) -> str:
        return f"EncodedMasks(shape={self.shape})"

    def areas(self) -> np.ndarray:
        """Return the number of pixels of each mask, float64 (n,)."""
        # Mask by mask: pycocotools 2.0.x with NumPy 2 fails for a list of more than 255 masks.
        return np.array([mask_util.area(rle) for rle in self.rles], dtype=np.float64)

    def boxes(self) -> np.ndarray:
        """Return the masks' bounding boxes (x1, y1, x2, y2), float64 (n, 4); 0 for empty masks."""
        boxes = np.asarray(mask_util.toBbox(self.rles), dtype=np.float64).reshape(len(self), 4)
        boxes[:, 2:] += boxes[:, :2]
        return np.where(self.areas()[:, None] > 0, boxes, 0.0)

    def numpy(self) -> np.ndarray:
        """Decode all masks to a bool array (n, H, W)."""
        masks = np.zeros(self.shape, dtype=bool)
        for index, mask in enumerate(self):
            masks[index] = mask
        return masks

    def astype(self, dtype: np.typing.DTypeLike) -> np.ndarray:
        """Decode all masks to an array (n, H, W) of ``dtype``."""
        return self.numpy().astype(dtype, copy=False)

    def detach(self) -> "EncodedMasks":
        """Return this object, as encoded masks have no gradient."""
        return self

    def cpu(self) -> Tensor:
        """Decode all masks to a bool tensor (n, H, W)."""
        return torch.from_numpy(self.numpy())


def place_mask(mask: np.ndarray, left: int, top: int, height: int, width: int) -> dict:
    """Return the RLE of a mask (h, w) placed in an image, without a bitmap of the image.

    Args:
        mask: Mask (h, w) of bool, or of 0 and 1.
        left: Column of the image at which the mask starts.
        top: Row of the image at which the mask starts.
        height: Height of the image.
        width: Width of the image.

    Raises:
        ValueError: The mask reaches beyond the image.
    """
    if left < 0 or top < 0 or left + mask.shape[1] > width or top + mask.shape[0] > height:
        raise ValueError(
            f"a mask of {mask.shape} at column {left}, row {top} must lie within the image"
            f" ({height}, {width})"
        )
    x, y, w, h = 0, 0, 0, 0
    if mask.size:
        x, y, w, h = cv2.boundingRect(np.ascontiguousarray(mask, dtype=np.uint8))
    # The runs of an RLE go down the columns, and continue from the end of a column into the next.
    columns = np.zeros((w, h + 2), dtype=np.int8)
    columns[:, 1:-1] = mask[y : y + h, x : x + w].T
    steps = np.diff(columns, axis=1)
    column, first = np.nonzero(steps == 1)
    _, end = np.nonzero(steps == -1)
    offset = (left + x + column).astype(np.int64) * height + top + y
    first, end = first + offset, end + offset
    goes_on = np.flatnonzero(first[1:] == end[:-1])
    edges = np.stack([np.delete(first, goes_on + 1), np.delete(end, goes_on)], 1).ravel()
    counts = np.diff(edges, prepend=0, append=height * width)
    if counts[-1] == 0:
        counts = counts[:-1]
    uncompressed = dict(size=[height, width], counts=counts.tolist())
    return mask_util.frPyObjects(uncompressed, height, width)
