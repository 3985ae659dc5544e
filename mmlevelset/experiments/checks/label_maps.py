"""Label maps: their values against the classes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

IGNORED = 255
SAMPLE = 50
"""Number of label maps that are decoded where not all are asked for."""


def label_map_troubles(dataset: Any, transforms: set[str], every: bool) -> list[str]:
    """Return a line for each kind of fault of a data set's label maps.

    Args:
        dataset: A :class:`~mmlevelset.datasets.SegDataset`, built without its data.
        transforms: The names of its pipeline's transforms.
        every: Decode all maps, not a sample.

    Raises:
        FileNotFoundError, ValueError: The data set cannot list its files; the message names them.
    """
    infos = [info for info in dataset.load_data_list() if info.get("seg_map_path")]
    if not infos:
        return []
    chosen = infos if every or len(infos) <= SAMPLE else random.Random(0).sample(infos, SAMPLE)
    masks = any(name.endswith("LoadMaskAnnotations") for name in transforms)
    seen: dict[int, str] = {}
    faults = []
    for info in chosen:
        for path in info.get("seg_map_paths") or [info["seg_map_path"]]:
            labels, fault = _values(path, info["img_path"])
            if fault:
                faults.append(fault)
            for label in labels:
                seen.setdefault(label, path)
    if masks:
        seen = {int(label != 0): path for label, path in seen.items()}
    troubles = []
    if faults:
        more = f", and {len(faults) - 1} more have faults" * (len(faults) > 1)
        troubles.append(faults[0] + more)
    classes = dataset.metainfo["classes"]
    if not masks and not any(name.endswith("BinaryLabels") for name in transforms):
        unknown = {k: path for k, path in seen.items() if k >= len(classes) and k != IGNORED}
        if unknown:
            label, path = next(iter(unknown.items()))
            troubles.append(
                f"label maps must hold labels 0 to {len(classes) - 1} ({', '.join(classes[:6])})"
                f" and {IGNORED} for pixels without a label, but {path} holds {label}; values"
                f" found: {', '.join(map(str, sorted(seen)))}"
            )
    known = sorted(label for label in seen if label < len(classes))
    how = "all" if len(chosen) == len(infos) else f"a sample of {len(chosen)} of"
    if not troubles and len(known) < 2 <= len(classes):
        hint = ""
        if set(seen) == {0, IGNORED}:
            hint = (
                f": {IGNORED} means 'no label', so {classes[1]!r} never occurs; write the object's"
                " pixels as 1, or take mmlevelset.ImageMaskDataset with LoadMaskAnnotations"
            )
        troubles.append(
            f"{how} {len(infos)} label maps hold the values {', '.join(map(str, sorted(seen)))}"
            f" alone, of {len(classes)} classes (the first map: {infos[0]['seg_map_path']}){hint}"
        )
    never = [name for label, name in enumerate(classes) if label not in seen]
    if every and never and not troubles:
        troubles.append(f"no label map holds the class{'es' * (len(never) > 1)} {', '.join(never)}")
    return troubles


def _values(path: str, image: str) -> tuple[list[int], str | None]:
    """Return the values of a label map, and its fault."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            labels = np.asarray(file)
            size = file.size
        with Image.open(image) as file:
            wanted = file.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return [], f"label map {path} or its image cannot be read: {error}"
    if labels.dtype == bool:
        labels = labels.astype(np.uint8)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        return [], (
            f"label map {path} must have 8 bits and one channel, and is {labels.dtype}"
            f" {labels.shape}"
        )
    if size != wanted:
        return [], (
            f"label map {path} is {size[0]} x {size[1]} pixels (width x height), but its image is"
            f" {wanted[0]} x {wanted[1]}"
        )
    return np.unique(labels).tolist(), None
