"""Annotations that all have a box; some also have a mask."""

import hashlib
from typing import Any

from mmdet.datasets.transforms import LoadAnnotations

from mmlevelset.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadMixedAnnotations(LoadAnnotations):
    """Load boxes, labels and masks; an instance without a mask gets an empty mask.

    This is mmdet's ``LoadAnnotations(with_bbox=True, with_mask=True)`` for data where only some
    instances have a mask. If an instance's ``mask`` is absent, None or empty, its mask in
    ``gt_masks`` is all zeros. A head with ``supervision="mixed"`` trains such an instance by its
    box. mmdet ignores an instance with an invalid mask, as always.

    Later transforms must not judge an instance by its mask: leave ``recompute_bbox`` of mmdet's
    crops and ``by_mask`` of ``FilterAnnotations`` off.

    Required keys: ``img_id``, ``ori_shape``, ``instances``. Added keys: as mmdet's, with
    ``gt_masks`` as ``BitmapMasks``.

    Args:
        mask_fraction: The fraction in [0, 1] of the masks that is kept; the others are emptied.
            The choice depends on the image's ``img_id`` and the instance's place in ``instances``
            alone. A greater fraction keeps all masks that a smaller fraction keeps.
        **kwargs: The arguments of mmdet's ``LoadAnnotations``. ``with_bbox``, ``with_mask`` and
            ``poly2mask`` must be True.

    Raises:
        ValueError: ``mask_fraction`` is no number in [0, 1], or one of the three flags is not True.
    """

    def __init__(self, mask_fraction: float = 1.0, **kwargs: Any) -> None:
        if not isinstance(mask_fraction, int | float) or not 0 <= mask_fraction <= 1:
            raise ValueError(f"mask_fraction must be a number in [0, 1], not {mask_fraction!r}")
        for name in ("with_bbox", "with_mask", "poly2mask"):
            if kwargs.setdefault(name, True) is not True:
                raise ValueError(f"{name} must be True, not {kwargs[name]!r}")
        super().__init__(**kwargs)
        self.mask_fraction = mask_fraction

    def _process_masks(self, results: dict) -> list:
        height, width = results["ori_shape"]
        empty = {"size": [height, width], "counts": [height * width]}
        instances = [
            instance if self._has_mask(results, index) else {**instance, "mask": empty}
            for index, instance in enumerate(results.get("instances", []))
        ]
        filled = {**results, "instances": instances}
        masks = super()._process_masks(filled)
        results["gt_ignore_flags"] = filled["gt_ignore_flags"]
        return masks

    def _has_mask(self, results: dict, index: int) -> bool:
        if not results["instances"][index].get("mask"):
            return False
        key = f"{results['img_id']}/{index}".encode()
        draw = int.from_bytes(hashlib.blake2b(key, digest_size=6).digest(), "big") / 2**48
        return draw < self.mask_fraction

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, mask_fraction={self.mask_fraction})"
