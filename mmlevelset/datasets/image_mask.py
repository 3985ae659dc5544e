"""Images of one object each, with its mask by one or several annotators."""

import random
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio

from mmlevelset.datasets.semantic import SegDataset
from mmlevelset.datasets.semantic_annotations import LoadSemanticAnnotations
from mmlevelset.registry import DATASETS, TRANSFORMS


@DATASETS.register_module()
class ImageMaskDataset(SegDataset):
    """A folder of images and one folder of masks for each annotator, with the same file names.

    ::

        images/a.png            data_prefix=dict(img_path="images", seg_map_path="masks"),
        masks/1/a.png           annotators=("1", "2")
        masks/2/a.png

    :class:`LoadMaskAnnotations` reads the masks. ``tools/dataset_converters/weizmann.py`` converts
    data in Weizmann's layout.

    Args:
        annotators: Folders in ``data_prefix["seg_map_path"]``. If empty, the masks lie in that
            folder itself.
        img_suffix: End of the images' names.
        **kwargs: The other arguments of :class:`~mmlevelset.datasets.SegDataset`.

    Raises:
        FileNotFoundError: A folder, the list, an image or a mask does not exist.
        ValueError: There is no image, or ``annotators`` is not a sequence of different names.
    """

    METAINFO: ClassVar[dict[str, Any]] = {
        "classes": ("background", "object"),
        "palette": [(0, 0, 0), (230, 80, 60)],
    }

    def __init__(
        self, annotators: Sequence[str] = (), img_suffix: str = ".png", **kwargs: Any
    ) -> None:
        if isinstance(annotators, str) or not all(
            isinstance(name, str) and name for name in annotators
        ):
            raise ValueError(f"annotators must be names of folders, not {annotators!r}")
        if len(set(annotators)) < len(annotators):
            raise ValueError(f"annotators must be different folders, not {list(annotators)}")
        self.annotators = tuple(annotators)
        super().__init__(img_suffix=img_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        parent = self.data_prefix.get("seg_map_path")
        if self.annotators and not parent:
            raise ValueError(
                "data_prefix must give the folder of the annotators' folders as"
                f" dict(seg_map_path=...), not {self.data_prefix!r}"
            )
        if not self.annotators:
            data_list = super().load_data_list()
            for info in data_list if parent else ():
                info["seg_map_paths"] = [info["seg_map_path"]]
            return data_list
        lists = []
        try:
            for name in self.annotators:
                folder = fileio.join_path(parent, name, backend_args=self.backend_args)
                self.data_prefix["seg_map_path"] = folder
                lists.append(super().load_data_list())
        finally:
            self.data_prefix["seg_map_path"] = parent
        for info, *others in zip(*lists, strict=True):
            info["seg_map_paths"] = [entry["seg_map_path"] for entry in (info, *others)]
        return lists[0]


@TRANSFORMS.register_module()
class LoadMaskAnnotations(LoadSemanticAnnotations):
    """Load the masks of :class:`ImageMaskDataset`: any value but 0 is the object.

    Required keys: ``seg_map_paths``, or ``seg_map_path`` alone (without both, nothing is loaded);
    ``ori_shape``, if given, must be the masks' size. Added keys: ``gt_seg_map`` (H, W) uint8 of 0
    and 1, which later transforms resize and flip; and ``annotator_maps`` (A, H, W), the unchanged
    masks of all annotators. :class:`~mmlevelset.evaluation.FMeasureMetric` reads
    ``annotator_maps``, if ``meta_keys`` of ``PackDetInputs`` name it.

    Args:
        annotator: Number of the annotator, from 0 on, that gives ``gt_seg_map``; or ``random``: a
            random annotator each time, for training.
        ignore_value: Value of pixels without a label in the files; these pixels become 255. None:
            all pixels have a label.
        **kwargs: The arguments of :class:`~mmlevelset.datasets.LoadSemanticAnnotations`.

    Raises:
        FileNotFoundError: A mask does not exist.
        ValueError: ``annotator`` is invalid, or the image has fewer masks; or a file is no image of
            8 bits and one channel, or not of the image's size. The message names the file.
    """

    def __init__(
        self, annotator: int | str = 0, ignore_value: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if annotator != "random" and (not isinstance(annotator, int) or annotator < 0):
            raise ValueError(f"annotator must be a number from 0 on or 'random', not {annotator!r}")
        self.annotator = annotator
        self.ignore_value = ignore_value

    def _load_seg_map(self, results: dict) -> None:
        paths = results.get("seg_map_paths") or [results.get("seg_map_path")]
        if paths == [None]:
            return
        if isinstance(self.annotator, str):
            number = random.randrange(len(paths))
        else:
            number = self.annotator
        if number >= len(paths):
            raise ValueError(
                f"annotator must be below {len(paths)}, the number of masks of"
                f" {results.get('img_path')}, but is {number}"
            )
        maps = np.stack([self._load_mask(path, results) for path in paths])
        results["annotator_maps"] = maps
        results["gt_seg_map"] = maps[number].copy()
        results["ignore_index"] = self.ignore_index

    def _load_mask(self, path: str, results: dict) -> np.ndarray:
        # The values in the file are not labels: num_classes is no bound for them.
        known = {key: results[key] for key in ("ori_shape",) if key in results}
        loaded = {"seg_map_path": path, **known}
        super()._load_seg_map(loaded)
        values = loaded["gt_seg_map"]
        mask = (values != 0).astype(np.uint8)
        if self.ignore_value is not None:
            mask[values == self.ignore_value] = self.ignore_index
        return mask


@TRANSFORMS.register_module()
class BinaryLabels(BaseTransform):
    """Make one object of all classes of a label map: labels above 0 become 1.

    Required keys: ``gt_seg_map`` (without it, nothing is changed). Pixels of ``ignore_index``, 255
    by default, stay as they are.

    Args:
        foreground: The labels that become 1; all others but ``ignore_index`` become 0. None: all
            labels above 0.

    Raises:
        ValueError: ``foreground`` is empty.
    """

    def __init__(self, foreground: Sequence[int] | None = None) -> None:
        if foreground is not None and not len(foreground):
            raise ValueError("foreground must name at least one label, or be None")
        self.foreground = None if foreground is None else tuple(foreground)

    def transform(self, results: dict) -> dict:
        if results.get("gt_seg_map") is None:
            return results
        labels = results["gt_seg_map"]
        ignored = labels == results.get("ignore_index", 255)
        chosen = labels > 0 if self.foreground is None else np.isin(labels, self.foreground)
        results["gt_seg_map"] = np.where(ignored, labels, chosen).astype(labels.dtype)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(foreground={self.foreground})"
