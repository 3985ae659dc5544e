"""An annotation file as a new config sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmlevelset.annotations import View, judge, label_categories, read_coco
from mmlevelset.errors import InputError
from mmlevelset.experiments.new_config.split import split_images, write_part


@dataclass(frozen=True)
class Data:
    """The images of an annotation file and the objects that a training uses.

    Attributes:
        path: The annotation file.
        folder: The folder of the images.
        images: Its images.
        view: The verdicts on its annotations.
        unused: Categories without an object that can be used, which are no classes.
        whole: Whether the classes are all categories of the file.
        reasons: Reasons to skip annotations, with their numbers, before a class was left out.
    """

    path: Path
    folder: Path
    images: list[dict]
    view: View
    unused: tuple[str, ...] = ()
    whole: bool = True
    reasons: tuple[tuple[str, int], ...] = ()

    @classmethod
    def read(cls, path: Path, folder: Path, masks: str, classes: Sequence[str] | None) -> Data:
        """Read an annotation file.

        Args:
            path: The file.
            folder: The folder of its images.
            masks: As for :class:`~mmlevelset.datasets.CocoDataset`.
            classes: Names of categories; None: all categories that have objects.

        Raises:
            InputError: The file cannot be used, lacks a class, or has no object.
        """
        file = read_coco(path).require_sound()
        names = [category["name"] for category in file.categories]
        unused: tuple[str, ...] = ()
        reasons: tuple[tuple[str, int], ...] = ()
        if classes is None:
            everything = cls(path, folder, file.images, judge(file, label_categories(file), masks))
            unused = tuple(name for name in names if name not in everything.seen)
            classes = everything.seen
            reasons = tuple((r, len(ids)) for r, ids in everything.view.skipped.items())
            if not classes:
                skipped = everything.view.skipped.items()
                why = "".join(f"; {len(ids)} skipped: {reason}" for reason, ids in skipped)
                raise InputError(f"{path} has no object that can be used{why}")
        unknown = [name for name in classes if name not in names]
        if unknown:
            raise InputError(
                f"the class {unknown[0]} is no category of {path}, which has"
                f" {', '.join(names[:20])}{', ...' * (len(names) > 20)}"
            )
        labels = label_categories(file, [name for name in names if name in classes])
        whole = labels.classes == tuple(names)
        view = judge(file, labels, masks)
        reasons = reasons or tuple((r, len(ids)) for r, ids in view.skipped.items())
        return cls(path, folder, file.images, view, unused, whole, reasons)

    def part(self, images: set[Any], path: Path, masks: str) -> Data:
        """Write the part of the file that belongs to some images and the classes; return it."""
        write_part(self.path, images, self.classes, path)
        return Data.read(path, self.folder, masks, self.classes)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in the file's order."""
        return self.view.labels.classes

    @cached_property
    def objects(self) -> list[tuple[int, dict]]:
        """The objects, with the positions of their images. Crowds are none."""
        return [
            (row, annotation)
            for row, used in enumerate(self.view.used)
            for annotation in used
            if not annotation["iscrowd"]
        ]

    @property
    def labels(self) -> list[set[int]]:
        """The labels in each image."""
        found: list[set[int]] = [set() for _ in self.images]
        for row, annotation in self.objects:
            found[row].add(self.view.labels.label_of[annotation["category_id"]])
        return found

    @property
    def seen(self) -> tuple[str, ...]:
        """The classes that have objects."""
        found = set().union(*self.labels)
        return tuple(name for label, name in enumerate(self.classes) if label in found)

    @property
    def has_masks(self) -> bool:
        """Whether there are objects, and all have a mask."""
        return bool(self.objects) and all(a.get("segmentation") for _, a in self.objects)

    @property
    def images_with_objects(self) -> int:
        """The number of images with an object."""
        return len({row for row, _ in self.objects})

    @property
    def files(self) -> set[Path]:
        """The files of the images."""
        return {self.folder.resolve() / image["file_name"] for image in self.images}

    @property
    def sizes(self) -> np.ndarray:
        """Width and height of each image (N, 2) in pixels."""
        return np.array([(image["width"], image["height"]) for image in self.images])

    def boxes(self, factors: np.ndarray) -> np.ndarray:
        """Return width and height (M, 2) of each object's box in images resized by factors (N,)."""
        return np.array([np.array(a["bbox"][2:], float) * factors[row] for row, a in self.objects])

    def notes(self) -> list[str]:
        """Return lines on what is left out."""
        lines = []
        if self.unused:
            lines.append(f"left out the categories without objects: {', '.join(self.unused)}")
        lines += [f"{count} annotations are skipped: {reason}" for reason, count in self.reasons]
        return lines


def read_split(
    data: Data, parts: dict[str, Path], masks: str, share: float, seed: int
) -> tuple[Data, Data]:
    """Write a split of an annotation file, and return both parts.

    Args:
        data: The file.
        parts: ``train`` and ``val`` -> the file to write.
        masks: The treatment of masks in training; validation reads them if they are there.
        share: The share of the images that validate.
        seed: The seed of the choice.
    """
    names = [image["file_name"] for image in data.images]
    held_out = split_images(names, data.labels, share, seed)
    rows = list(zip(data.images, held_out, strict=True))
    train = data.part({image["id"] for image, held in rows if not held}, parts["train"], masks)
    val = data.part({image["id"] for image, held in rows if held}, parts["val"], "required")
    return train, val
