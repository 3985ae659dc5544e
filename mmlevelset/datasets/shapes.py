"""Generated data: textured shapes under changing light, with exact masks.

Nothing is downloaded or written. Every image has a URI (``shapes://...``) that holds all settings
of its rendering. A file backend of mmengine renders the image that a URI names, so pipelines, hooks
and inferencers that load images by path work on generated images unchanged. Importing this module
registers the backend.
"""

import copy
import logging
import math
import os
import posixpath
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import cv2
import numpy as np
import pycocotools.mask as mask_utils
from mmdet.datasets import BaseDetDataset
from mmengine.fileio import BaseStorageBackend, register_backend
from mmengine.logging import print_log

from mmlevelset.datasets.shape_rendering import KINDS, render
from mmlevelset.registry import DATASETS

PALETTE = [
    (230, 80, 60),
    (60, 130, 230),
    (245, 190, 40),
    (60, 180, 110),
    (170, 90, 210),
    (30, 190, 200),
]
CACHE_BYTES = 512 * 2**20
"""A process keeps rendered images up to this many bytes; the least recently used go first."""


@dataclass(frozen=True)
class ShapesSpec:
    """The settings that determine an image, together with its index.

    Attributes:
        seed: Non-negative integer.
        size: (width, height) in pixels, each at least 32.
        num_objects: (least, most) objects in an image, 1 to 100. Without room for the drawn number,
            fewer are painted.
        noise: Scale of pixel noise and blur, >= 0; 1 is sigma 2.5 to 13 grey levels.
        light: Scale of uneven light, shading and cast shadows, in [0, 1].
        occlusion: Probability in [0, 1] that an object may cover objects behind it.
        camouflage: Probability in [0, 1] that an object has the background's hue.
        empty_fraction: Probability in [0, 1] that an image holds no object.
        classes: Kinds to paint, in the order of their labels.
    """

    seed: int = 0
    size: tuple[int, int] = (160, 160)
    num_objects: tuple[int, int] = (2, 6)
    noise: float = 1.0
    light: float = 1.0
    occlusion: float = 0.5
    camouflage: float = 0.1
    empty_fraction: float = 0.0
    classes: tuple[str, ...] = KINDS

    def __post_init__(self) -> None:
        if not _is_int(self.seed) or self.seed < 0:
            raise ValueError(f"seed must be a non-negative integer, not {self.seed!r}")
        if not _is_pair(self.size) or min(self.size) < 32:
            raise ValueError(
                f"image_size must be (width, height), integers of at least 32, not {self.size!r}"
            )
        if not _is_pair(self.num_objects) or not 1 <= self.num_objects[0] <= self.num_objects[1]:
            raise ValueError(
                f"num_objects must be (least, most) with 1 <= least <= most, not"
                f" {self.num_objects!r}"
            )
        if self.num_objects[1] > 100:
            raise ValueError(f"num_objects must be at most 100, not {self.num_objects[1]}")
        for name, most in (
            ("noise", math.inf),
            ("light", 1),
            ("occlusion", 1),
            ("camouflage", 1),
            ("empty_fraction", 1),
        ):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= most or math.isinf(value):
                bound = "a finite number >= 0" if math.isinf(most) else "in [0, 1]"
                raise ValueError(f"{name} must be {bound}, not {value!r}")
        unknown = [name for name in self.classes if name not in KINDS]
        if unknown or not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError(
                f"classes must be different names out of {list(KINDS)}, not {list(self.classes)}"
            )

    def uri(self, index: int, kind: str = "image") -> str:
        """Return the URI of an image or of its label map (kind ``"labels0"``, ``"labels255"``)."""
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            text = ",".join(map(str, value)) if isinstance(value, tuple) else repr(value)
            parts.append(f"{field.name}={text}")
        return f"shapes://{'&'.join(parts)}/{kind}/{index:06d}.png"

    @classmethod
    def from_uri(cls, uri: str) -> tuple["ShapesSpec", str, int]:
        """Return the specification, the kind and the index that a URI of :meth:`uri` names."""
        try:
            query, kind, name = uri.removeprefix("shapes://").split("/")
            index = int(name.removesuffix(".png"))
            raw = dict(parse_qsl(query, strict_parsing=True))
            values: dict[str, Any] = {"seed": int(raw.pop("seed"))}
            values["classes"] = tuple(raw.pop("classes").split(","))
            for pair in ("size", "num_objects"):
                values[pair] = tuple(int(v) for v in raw.pop(pair).split(","))
            values |= {key: float(value) for key, value in raw.items()}
            spec = cls(**values)
            if index < 0 or kind not in ("image", "labels0", "labels255"):
                raise ValueError("no such file")
        except (KeyError, TypeError, ValueError) as error:
            raise FileNotFoundError(f"{uri!r} does not name a generated image: {error}") from error
        return spec, kind, index

    def generator(self, index: int) -> tuple[np.random.Generator, bool]:
        """Return the image's source of random numbers, and whether the image holds no object."""
        rng = np.random.default_rng([self.seed, index])
        return rng, bool(rng.random() < self.empty_fraction)


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_int(v) for v in value)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, Real) else value


def _encode(image: np.ndarray) -> bytes:
    # Level 1: the default takes three times as long and saves little on noisy images.
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


@dataclass(frozen=True)
class ShapesSample:
    """One generated image as files and annotations.

    Attributes:
        image: PNG of the BGR image.
        labels: uint8 ``(H, W)``: 0 for background, class + 1 elsewhere.
        instances: mmdet's instances: ``bbox`` [x1, y1, x2, y2] in pixels, tight, with exclusive
            right and bottom edges; ``bbox_label``; ``mask``, the visible part, as compressed RLE;
            ``ignore_flag`` 0.
    """

    image: bytes
    labels: np.ndarray
    instances: tuple[dict, ...]

    @property
    def nbytes(self) -> int:
        masks = sum(len(instance["mask"]["counts"]) + 1000 for instance in self.instances)
        return len(self.image) + self.labels.nbytes + masks

    def label_map(self, background: int) -> bytes:
        """Return the label map as PNG, with background 0 (classes from 1) or 255 (from 0)."""
        # In uint8, 0 - 1 wraps to 255.
        return _encode(self.labels if background == 0 else self.labels - np.uint8(1))


def render_sample(spec: ShapesSpec, index: int) -> ShapesSample:
    """Render image ``index`` of ``spec``. The image depends on these two alone."""
    rng, empty = spec.generator(index)
    least, most = spec.num_objects
    count = 0 if empty else int(rng.integers(least, most + 1))
    picture = render(
        rng,
        spec.size,
        spec.classes,
        count,
        noise=spec.noise,
        light=spec.light,
        occlusion=spec.occlusion,
        camouflage=spec.camouflage,
    )
    instances = []
    label_of_id = np.zeros(len(picture.kinds) + 1, np.uint8)
    for number, kind in enumerate(picture.kinds, 1):
        mask = picture.ids == number
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        rle = mask_utils.encode(np.asfortranarray(mask.view(np.uint8)))
        label = spec.classes.index(kind)
        label_of_id[number] = label + 1
        instances.append(
            {
                "bbox": [
                    float(columns[0]),
                    float(rows[0]),
                    float(columns[-1] + 1),
                    float(rows[-1] + 1),
                ],
                "bbox_label": label,
                "mask": {"size": list(rle["size"]), "counts": rle["counts"].decode()},
                "ignore_flag": 0,
            }
        )
    return ShapesSample(_encode(picture.image), label_of_id[picture.ids], tuple(instances))


class _SampleCache:
    """Rendered samples, least recently used first, within a bound in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._samples: OrderedDict[tuple[ShapesSpec, int], ShapesSample] = OrderedDict()
        self._lock = threading.Lock()
        # A worker that is forked while another thread holds the lock would wait for ever.
        os.register_at_fork(
            before=self._lock.acquire,
            after_in_parent=self._lock.release,
            after_in_child=self._lock.release,
        )

    def find(self, spec: ShapesSpec, index: int) -> ShapesSample | None:
        key = (spec, index)
        with self._lock:
            if key in self._samples:
                self._samples.move_to_end(key)
            return self._samples.get(key)

    def get(self, spec: ShapesSpec, index: int) -> ShapesSample:
        sample = self.find(spec, index)
        if sample is not None:
            return sample
        key = (spec, index)
        sample = render_sample(spec, index)
        with self._lock:
            if key not in self._samples:
                self._samples[key] = sample
                self.nbytes += sample.nbytes
            while self.nbytes > self.max_bytes and len(self._samples) > 1:
                self.nbytes -= self._samples.popitem(last=False)[1].nbytes
        return sample


_kept = _SampleCache(CACHE_BYTES)
_recent = _SampleCache(2**20)


@register_backend("shapes", prefixes="shapes", force=True)
class ShapesBackend(BaseStorageBackend):
    """Read-only file backend of ``shapes://`` URIs: images and label maps as PNG."""

    def get(self, filepath: str) -> bytes:
        spec, kind, index = ShapesSpec.from_uri(str(filepath))
        sample = _kept.find(spec, index) or _recent.get(spec, index)
        if kind == "image":
            return sample.image
        return sample.label_map(0 if kind == "labels0" else 255)

    def get_text(self, filepath: str, encoding: str = "utf-8") -> str:
        raise ValueError(f"{filepath} is an image, not text")

    def exists(self, filepath: str) -> bool:
        try:
            ShapesSpec.from_uri(str(filepath))
        except FileNotFoundError:
            return False
        return True

    def isdir(self, filepath: str) -> bool:
        return False

    def isfile(self, filepath: str) -> bool:
        return self.exists(filepath)

    def join_path(self, filepath: str, *filepaths: str) -> str:
        return posixpath.join(filepath, *filepaths)


@DATASETS.register_module()
class ShapesDataset(BaseDetDataset):
    """Generated instance segmentation data, made in memory.

    Six classes: convex ellipses and polygons, concave stars, rings (a hole), spiders (thin
    arms) and split shapes (two or three separate parts). An image depends on the seed, its index
    and the arguments of its look alone; length, order, worker and process do not matter. A mask
    holds the pixels whose centre is inside the outline and not covered by a nearer object. At least
    40 pixels and 40% of each object are visible.

    Use another ``seed`` for another split. ``img_path`` and ``seg_map_path`` are URIs that
    ``LoadImageFromFile`` and ``LoadAnnotations`` read like files.

    Args:
        length: Number of images.
        image_size: (width, height) in pixels.
        seed: Non-negative integer; the images of two seeds differ.
        num_objects: (least, most) objects in an image.
        noise: Scale of pixel noise and blur, >= 0.
        light: Scale of uneven light, shading and cast shadows, in [0, 1].
        occlusion: Probability in [0, 1] that an object may cover objects behind it.
        camouflage: Probability in [0, 1] that an object has the background's hue and differs
            from it by texture and a little brightness only.
        empty_fraction: Probability in [0, 1] that an image holds no object.
        background_label: Value of the background in the map at ``seg_map_path``: 0 (class ``c``
            is then ``c + 1``) or 255, which mmdet's losses and metrics ignore (class ``c`` is
            ``c``).
        cache: Keep rendered images in memory, up to :data:`CACHE_BYTES` for each process, so
            that later epochs do not render again. Without the cache, an image is rendered once each
            time that it is used.
        metainfo: ``classes`` chooses the kinds to paint and the order of their labels.
        **kwargs: mmdet's ``BaseDetDataset``: ``pipeline``, ``test_mode``, ``filter_cfg``
            (``filter_empty_gt`` drops images without objects in training; their number is
            logged), ``indices`` and so on.

    Raises:
        ValueError: An argument is out of its range; the message names it.

    Example:
        >>> dataset = ShapesDataset(length=8, pipeline=[dict(type="LoadImageFromFile")])
        >>> dataset[0]["img"].shape
        (160, 160, 3)
    """

    METAINFO: ClassVar = {"classes": KINDS, "palette": PALETTE}
    BACKGROUND_LABELS: ClassVar[tuple[int, ...]] = (0, 255)

    def __init__(
        self,
        length: int = 512,
        image_size: Sequence[int] = (160, 160),
        seed: int = 0,
        num_objects: Sequence[int] = (2, 6),
        noise: float = 1.0,
        light: float = 1.0,
        occlusion: float = 0.5,
        camouflage: float = 0.1,
        empty_fraction: float = 0.0,
        background_label: int = 0,
        cache: bool = True,
        metainfo: Mapping | None = None,
        **kwargs: Any,
    ) -> None:
        if not _is_int(length) or length < 1:
            raise ValueError(f"length must be a positive integer, not {length!r}")
        for name in ("ann_file", "data_root", "data_prefix"):
            if kwargs.get(name):
                raise ValueError(f"{name} has no meaning for generated data, remove it")
        self.length = int(length)
        self.background_label = background_label
        self.cache = cache
        if background_label not in self.BACKGROUND_LABELS:
            raise ValueError(
                f"background_label must be one of {self.BACKGROUND_LABELS}, not"
                f" {background_label!r}"
            )
        classes = self._load_metainfo(copy.deepcopy(metainfo))["classes"]
        self.spec = ShapesSpec(
            seed=int(seed) if _is_int(seed) else seed,
            size=_as_tuple(image_size),
            num_objects=_as_tuple(num_objects),
            noise=_as_float(noise),
            light=_as_float(light),
            occlusion=_as_float(occlusion),
            camouflage=_as_float(camouflage),
            empty_fraction=_as_float(empty_fraction),
            classes=self._painted_classes(classes),
        )
        super().__init__(ann_file="", metainfo=metainfo, **kwargs)
        if "palette" not in (metainfo or {}):
            colours = dict(zip(self.METAINFO["classes"], self.METAINFO["palette"], strict=True))
            self._metainfo["palette"] = [colours[name] for name in classes]

    def _painted_classes(self, classes: Sequence[str]) -> tuple[str, ...]:
        return tuple(classes)

    def load_data_list(self) -> list[dict]:
        width, height = self.spec.size
        return [
            {
                "img_id": index,
                "img_path": self.spec.uri(index),
                "seg_map_path": self.spec.uri(index, f"labels{self.background_label}"),
                "height": height,
                "width": width,
            }
            for index in range(self.length)
        ]

    def filter_data(self) -> list[dict]:
        if self.test_mode or not (self.filter_cfg or {}).get("filter_empty_gt", False):
            return self.data_list
        kept = [info for info in self.data_list if not self.spec.generator(info["img_id"])[1]]
        if len(kept) < len(self.data_list):
            print_log(
                f"{type(self).__name__}: left out {len(self.data_list) - len(kept)} of"
                f" {len(self.data_list)} images: without objects",
                logger="current",
                level=logging.INFO,
            )
        return kept

    def get_data_info(self, idx: int) -> dict:
        """Return the image's URIs, its size, and ``instances``; see :class:`ShapesSample`."""
        info = super().get_data_info(idx)
        sample = (_kept if self.cache else _recent).get(self.spec, info["img_id"])
        info["instances"] = copy.deepcopy(list(sample.instances))
        return info


@DATASETS.register_module()
class ShapesSegDataset(ShapesDataset):
    """The generated data as semantic maps: class 0 is the background, then the six kinds.

    ``seg_map_path`` names the label map; there are no ``instances``. The arguments are the same as
    for :class:`ShapesDataset`, but ``background_label`` must be 0. If ``metainfo`` gives
    ``classes``, the first class must be ``"background"``.
    """

    METAINFO: ClassVar = {"classes": ("background", *KINDS), "palette": [(0, 0, 0), *PALETTE]}
    BACKGROUND_LABELS: ClassVar[tuple[int, ...]] = (0,)

    def _painted_classes(self, classes: Sequence[str]) -> tuple[str, ...]:
        if not classes or classes[0] != "background":
            raise ValueError(f'the first of classes must be "background", not {list(classes)}')
        return tuple(classes[1:])

    def get_data_info(self, idx: int) -> dict:
        info = super().get_data_info(idx)
        del info["instances"]
        return info
