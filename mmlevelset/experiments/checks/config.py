"""A config against its data, before a training or a test: one check for every family of methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.annotations import CocoFile, View, judge, label_categories, listed, read_coco
from mmlevelset.errors import InputError
from mmlevelset.experiments.checks.heads import head_outputs, head_troubles
from mmlevelset.experiments.checks.image_files import image_troubles
from mmlevelset.experiments.checks.label_maps import label_map_troubles
from mmlevelset.experiments.checks.values import value_troubles

if TYPE_CHECKING:
    from mmengine.config import Config

NOT_A_FILE = "://"


@dataclass(frozen=True)
class Part:
    """A data set of a split.

    Attributes:
        key: Its key in the config.
        settings: Its settings there.
        dataset: The data set, built without its data.
        split: ``train``, ``val`` or ``test``.
    """

    key: str
    settings: dict
    dataset: Any
    split: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order of the labels."""
        return tuple(self.dataset.metainfo.get("classes") or ())

    @property
    def transforms(self) -> set[str]:
        """The names of the transforms of the pipeline."""
        return set(_types(self.settings.get("pipeline", ())))


def require_fit(config: Config, *splits: str) -> None:
    """Check a config against the data of its splits.

    Raises:
        InputError: Something does not fit; the message says how to mend it.
    """
    troubles = [trouble for split in splits for trouble in config_troubles(config, split)]
    if troubles:
        more = f" (and {len(troubles) - 1} more: tools/verify_dataset.py lists them)"
        raise InputError(troubles[0] + more * (len(troubles) > 1))


def config_troubles(
    config: Config, split: str, every_image: bool = False, files: bool = True
) -> list[str]:
    """Return a line for each thing that keeps a config from its data; see :func:`require_fit`.

    Batch size, learning rate and the like, the number of classes of each head, the palette, the
    annotation file, the metric's file, the image files and the values of label maps are checked.
    Images are opened, not decoded, and of many images a sample; label maps are decoded.

    Args:
        config: The config.
        split: ``train``, ``val`` or ``test``; a split that the config lacks has no troubles.
        every_image: Look at all images and label maps.
        files: Whether to look into annotation files, at images and at label maps.

    Raises:
        InputError: A file is missing, or cannot be used; the message names it.
    """
    parts = list(parts_of(config, split))
    outputs = head_outputs(config.get("model") or {}, config.get("default_scope", "mmdet"))
    troubles = value_troubles(config, split)
    read: list[tuple[CocoFile, View]] = []
    for part in parts:
        if not part.classes:
            continue
        troubles += head_troubles(outputs, part.classes, part.transforms)
        troubles += _class_troubles(part)
        ann_file = str(getattr(part.dataset, "ann_file", "") or "")
        if _is_coco(part.dataset) and NOT_A_FILE not in ann_file:
            if files and "img" in part.dataset.data_prefix:
                file = annotation_file(part)
                view = judge(
                    file,
                    label_categories(file, part.dataset._categories()),
                    part.dataset.masks,
                )
                read.append((file, view))
                troubles += annotation_troubles(part, view)
                troubles += _image_troubles(part, file, every_image)
            elif files:
                troubles.append(
                    f"{part.key}.data_prefix must give the folder of the images as dict(img=...)"
                )
            troubles += _metric_troubles(config, part)
        elif files and _is_maps(part.dataset):
            try:
                troubles += label_map_troubles(part.dataset, part.transforms, every_image)
            except (FileNotFoundError, ValueError) as error:
                raise InputError(f"{part.key}: {error}") from error
    if split == "train" and read and len(read) == len(parts):
        troubles += _untrained_troubles(read)
    return list(dict.fromkeys(troubles))


def _untrained_troubles(read: Sequence[tuple[CocoFile, View]]) -> list[str]:
    """Return a line on classes that no annotation file of a training has: misspelt, most often."""
    missing = [view.labels.missing for _, view in read]
    lacking = [name for name in missing[0] if all(name in names for names in missing)]
    if not lacking:
        return []
    there = dict.fromkeys(category["name"] for file, _ in read for category in file.categories)
    files = dict.fromkeys(file.path for file, _ in read)
    return [
        f"the class{'es' * (len(lacking) > 1)} {listed(lacking)} cannot be trained:"
        f" {listed(files)} has the categories {listed(there)}; name the classes in metainfo as the"
        " file does, or leave them out"
    ]


def parts_of(config: Config, split: str) -> Iterator[Part]:
    """Yield the data sets of a split, without the wrappers around them."""
    from mmdet.registry import DATASETS
    from mmengine.registry import DefaultScope

    def leaves(settings: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(settings.get("dataset"), dict):
            yield from leaves(settings["dataset"], f"{key}.dataset")
        elif isinstance(settings.get("datasets"), list | tuple):
            for index, inner in enumerate(settings["datasets"]):
                yield from leaves(inner, f"{key}.datasets.{index}")
        else:
            yield key, settings

    loader = config.get(f"{split}_dataloader")
    if not loader or "dataset" not in loader:
        return
    for key, settings in leaves(loader["dataset"], f"{split}_dataloader.dataset"):
        with DefaultScope.overwrite_default_scope(config.get("default_scope", "mmdet")):
            try:
                dataset = DATASETS.build({**settings, "pipeline": [], "lazy_init": True})
            except (TypeError, KeyError):
                continue  # no data set of mmengine: its own construction tells
        yield Part(key, settings, dataset, split)


def _types(pipeline: Any) -> Iterator[str]:
    if hasattr(pipeline, "items"):
        if isinstance(pipeline.get("type"), str):
            yield pipeline["type"]
        pipeline = list(pipeline.values())
    for inner in pipeline if isinstance(pipeline, list | tuple) else ():
        yield from _types(inner)


def _is_coco(dataset: Any) -> bool:
    from mmlevelset.datasets import CocoDataset, ShapesDataset

    return isinstance(dataset, CocoDataset) and not isinstance(dataset, ShapesDataset)


def _is_maps(dataset: Any) -> bool:
    from mmlevelset.datasets import SegDataset

    return isinstance(dataset, SegDataset)


def _class_troubles(part: Part) -> list[str]:
    classes, palette = part.classes, part.dataset.metainfo.get("palette")
    troubles = []
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        troubles.append(f"{part.key}.metainfo.classes has {', '.join(twice)} more than once")
    if isinstance(palette, list | tuple) and len(palette) < len(classes):
        troubles.append(
            f"{part.key}.metainfo.palette must have a colour for each of the {len(classes)} classes"
            f" ({', '.join(classes[:6])}{', ...' * (len(classes) > 6)}), and has {len(palette)}"
        )
    elif isinstance(palette, list | tuple) and not all(map(_is_colour, palette)):
        troubles.append(
            f"{part.key}.metainfo.palette must hold colours of three numbers from 0 to 255, and"
            f" holds {next(colour for colour in palette if not _is_colour(colour))!r}"
        )
    return troubles


def _is_colour(colour: Any) -> bool:
    return (
        isinstance(colour, list | tuple)
        and len(colour) == 3
        and all(isinstance(value, int | float) and 0 <= value <= 255 for value in colour)
    )


def annotation_file(part: Part) -> CocoFile:
    """Return the annotation file of a data set in COCO's layout.

    Raises:
        AnnotationError: The file must be refused.
    """
    optional = ("annotations",) if part.dataset.test_mode else ()
    return read_coco(part.dataset.ann_file, optional).require_sound()


def annotation_troubles(part: Part, view: View) -> list[str]:
    """Return a line for each thing that keeps a data set from its annotations."""
    dataset = part.dataset
    troubles = []
    used = sum(map(len, view.used))
    if view.total and not used:
        reasons = ", ".join(f"{len(ids)} {reason}" for reason, ids in view.skipped.items())
        troubles.append(
            f"all {view.total} annotations of {dataset.ann_file} are skipped: {reasons}"
        )
    elif part.split == "train" and all(a["iscrowd"] for group in view.used for a in group):
        crowds = f": its {used} annotations are crowds" * (used > 0)
        troubles.append(f"{dataset.ann_file} has no annotation to train on{crowds}")
    without = next((a for group in view.used for a in group if not a.get("segmentation")), None)
    if without and dataset.masks == "required" and _loads_masks(part.settings):
        troubles.append(
            f"{dataset.ann_file} has boxes alone, but the pipeline of {part.key} loads masks: take"
            " a BoxLevelSet config, or LoadAnnotations(with_mask=False)"
        )
    return troubles


def _image_troubles(part: Part, file: CocoFile, every_image: bool) -> list[str]:
    folder = part.dataset.data_prefix["img"]
    if NOT_A_FILE in folder:
        return []
    return image_troubles(file.images, Path(folder), loader_of(part.settings), every_image)


def _loads_masks(settings: dict) -> bool:
    return any(
        hasattr(step, "get") and step.get("type") == "LoadAnnotations" and step.get("with_mask")
        for step in settings.get("pipeline", ())
    )


def loader_of(settings: dict) -> dict:
    """Return the arguments of the transform that loads the images of a data set."""
    for step in settings.get("pipeline", ()):
        name = str(step.get("type", "")) if hasattr(step, "get") else ""
        if name.rpartition(".")[2] in ("LoadImage", "LoadImageFromFile"):
            return {key: value for key, value in step.items() if key not in ("type", "on_error")}
    return {}


def _metric_troubles(config: Config, part: Part) -> list[str]:
    """Compare the files and the treatment of masks of a metric and its data set."""
    evaluators = config.get(f"{part.split}_evaluator") or ()
    evaluators = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
    single = config[f"{part.split}_dataloader"]["dataset"] is part.settings
    troubles = []
    for index, metric in enumerate(evaluators):
        name = str(metric.get("type", "")).rpartition(".")[2]
        file = metric.get("ann_file")
        if not single or not file or name not in ("LevelSetCocoMetric", "CocoMetric"):
            continue
        key = f"{part.split}_evaluator" + f".{index}" * (len(evaluators) > 1)
        own = part.dataset.ann_file
        if Path(file).resolve() != Path(own).resolve():
            troubles.append(
                f"{key}.ann_file is {file}, but {part.key} reads {own}: --cfg-options"
                f" {key}.ann_file={own}"
            )
        masks = metric.get("masks", "required")
        if name == "LevelSetCocoMetric" and masks != part.dataset.masks:
            troubles.append(
                f"{key}.masks is {masks!r}, but {part.key}.masks is {part.dataset.masks!r}: both"
                f" must be the same"
            )
    return troubles
