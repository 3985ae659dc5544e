"""Reading of a file in COCO's layout, with a check of the type of each key."""

import json
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmlevelset.errors import InputError

SHOWN = 10
LONGEST_SIDE = 1_000_000
REQUIRED: dict[str, tuple[str, ...]] = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox", "area"),
}
_REFERENCES = {"images": ("id",), "categories": ("id",)} | {
    "annotations": ("id", "image_id", "category_id")
}


class AnnotationError(InputError, ValueError):
    """An annotation file cannot be used; the message names the file, the place and the key."""


class MissingFileError(InputError, FileNotFoundError):
    """A file does not exist; the message names it."""


@dataclass(frozen=True)
class Refusal:
    """A reason to refuse a file.

    Attributes:
        kind: What is wrong, for a report.
        places: Where: ids or positions, as text.
        message: The same in one sentence for an error.
    """

    kind: str
    places: tuple[str, ...]
    message: str


@dataclass
class CocoFile:
    """The content of a file in COCO's layout, as far as its types are right.

    Attributes:
        path: The file.
        images: Dicts with ``id``, ``file_name``, and ``height`` and ``width`` as whole numbers.
        categories: Dicts with ``id`` and ``name``.
        annotations: Dicts with ``id``, ``image_id`` of an image, ``category_id``, ``bbox`` and
            ``area``. The last two and ``segmentation`` are as they stand in the file.
        refusals: Reasons not to use the file. Entries of the wrong type are not in the lists.
    """

    path: str
    images: list[dict]
    categories: list[dict]
    annotations: list[dict]
    refusals: list[Refusal] = field(default_factory=list)

    def require_sound(self) -> "CocoFile":
        """Return this file.

        Raises:
            AnnotationError: There is a reason to refuse the file.
        """
        for refusal in self.refusals:
            raise AnnotationError(
                f"ann_file {self.path} is not in COCO's layout: {refusal.message}"
            )
        return self


def read_coco(path: str | Path, optional: Sequence[str] = (), name: str = "") -> CocoFile:
    """Return the content of a file, with the reasons to refuse it.

    JSON in UTF-8 with or without a byte order mark, and in UTF-16, is read.

    Args:
        path: The file.
        optional: Keys that may be missing, such as ``annotations`` in a test set.
        name: The file's name in errors, by default ``path``.

    Raises:
        MissingFileError: The file does not exist.
        AnnotationError: The file is not JSON, or has no list of images, categories or annotations.
    """
    shown = name or str(path)
    return parse_coco(read_json(path, shown), shown, optional)


def read_json(path: str | Path, name: str = "") -> dict:
    """Return the JSON object in an annotation file, unchecked; arguments and errors as above."""
    shown = name or str(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = "does not exist" if gone else f"cannot be read: {error.strerror}"
        kind = MissingFileError if gone else AnnotationError
        raise kind(f"ann_file {shown} {reason}") from error
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"ann_file {shown} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise AnnotationError(
            f"ann_file {shown} must hold a JSON object, but it holds a {type(content).__name__}"
        )
    return content


def parse_coco(content: dict, path: str, optional: Sequence[str] = ()) -> CocoFile:
    """Return the content of a parsed file, see :func:`read_coco`; its dicts are changed in place.

    An annotation without ``area`` gets that of its mask, or of its box if it has no mask; a warning
    gives their number.

    Raises:
        AnnotationError: A list is missing.
    """
    content = {key: [] for key in REQUIRED if key in optional} | content
    for key in REQUIRED:
        if not isinstance(content.get(key), list):
            found = f"is a {type(content[key]).__name__}" if key in content else "is missing"
            raise AnnotationError(
                f"ann_file {path} is not in COCO's layout: key '{key}' must be a list, but it"
                f" {found}"
            )
    if "area" not in optional:
        _add_areas(content, path)
    refusals: list[Refusal] = []
    sound = {
        key: _sound_entries(key, content[key], [n for n in names if n not in optional], refusals)
        for key, names in REQUIRED.items()
    }
    if not content["images"]:
        refusals.append(Refusal("images: the list is empty", (path,), "its list 'images' is empty"))
    for key, entries in sound.items():
        repeated = _repeated(entry["id"] for entry in entries)
        _refuse(
            refusals,
            f"{key} with the same id as another",
            repeated,
            f"key '{key}' holds an id more than once: {listed(repeated)}",
        )
    known = {image["id"] for image in sound["images"]}
    faulty = {
        entry["id"]
        for entry in content["images"]
        if isinstance(entry, dict) and _is_id(entry.get("id"))
    }
    orphans = [a for a in sound["annotations"] if a["image_id"] not in known | faulty]
    _refuse(
        refusals,
        "annotations of an image that is not listed",
        [a["id"] for a in orphans],
        f"'image_id' of {len(orphans)} annotations names no image of the file"
        f" (annotation ids {listed(a['id'] for a in orphans)}); the first names"
        f" {orphans[0]['image_id'] if orphans else None!r}",
    )
    sound["annotations"] = [a for a in sound["annotations"] if a["image_id"] in known]
    return CocoFile(path, sound["images"], sound["categories"], sound["annotations"], refusals)


def _add_areas(content: dict, path: str) -> None:
    lacking = [a for a in content["annotations"] if isinstance(a, dict) and "area" not in a]
    if not lacking:
        return
    from mmlevelset.annotations.areas import area_of  # it needs this module

    sizes = {
        image["id"]: (int(image["height"]), int(image["width"]))
        for image in content["images"]
        if next(_faults("images", 0, image, ["id", "height", "width"]), None) is None
    }
    added = []
    for annotation in lacking:
        owner = annotation.get("image_id")
        size = sizes.get(owner) if _is_id(owner) else None
        if size is None:
            continue  # the file is refused for its image
        area = area_of(annotation, *size)
        # An invalid mask has no pixels; the verdict on it names its fault.
        annotation["area"] = 1.0 if area is None else area
        added.append(annotation.get("id"))
    if added:
        warnings.warn(
            f"ann_file {path}: {len(added)} annotations have no 'area' (ids {listed(added)}); it is"
            " taken from the mask, or from the box of an annotation without a mask",
            stacklevel=2,
        )


def _sound_entries(
    key: str, entries: list, required: list[str], refusals: list[Refusal]
) -> list[dict]:
    """Return the entries whose types are right; add the reasons to refuse the others."""
    sound = []
    faults: dict[str, list[tuple[str, str]]] = {}
    for position, entry in enumerate(entries):
        fault = next(_faults(key, position, entry, required), None)
        if fault is None:
            sound.append(entry)
        else:
            kind, place, message = fault
            faults.setdefault(kind, []).append((place, message))
    for kind, found in faults.items():
        more = f", and {len(found) - 1} more like it" if len(found) > 1 else ""
        places = tuple(place for place, _ in found)
        refusals.append(Refusal(kind, places, found[0][1] + more))
    return sound


def _faults(
    key: str, position: int, entry: Any, required: list[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield the faults of an entry: kind, place and message."""
    where = f"{key}[{position}]"
    if not isinstance(entry, dict):
        yield f"{key} that are no objects", where, f"{where} must be a dict, not {entry!r:.80}"
        return
    for name in required:
        if name not in entry:
            text = f"{where} (id {entry.get('id')!r:.80}) has no key '{name}'"
            yield f"{key} without '{name}'", where, text
            return
    for name in _REFERENCES[key]:
        if not _is_id(entry[name]):
            yield (
                f"{key} whose {name} is neither a whole number nor a text",
                where,
                f"'{name}' of {where} must be a whole number or a text, not {entry[name]!r:.80}",
            )
            return
    if key == "annotations":
        return
    name = "name" if key == "categories" else "file_name"
    if not isinstance(entry.get(name, ""), str):
        text = f"'{name}' of {where} must be a text, not {entry[name]!r:.80}"
        yield f"{key} whose {name} is no text", where, text
        return
    for name in ("height", "width") if key == "images" else ():
        value = entry.get(name, 1)  # a key may be optional
        if not is_number(value) or value != int(value) or not 1 <= value <= LONGEST_SIDE:
            yield (
                "images whose width or height is no positive integer",
                str(entry["id"]),
                f"'{name}' of image {entry['id']} must be a number of pixels, at least 1 and at"
                f" most {LONGEST_SIDE:,}, not {value!r:.80}",
            )
            return
        if name in entry:
            entry[name] = int(value)


def _refuse(refusals: list[Refusal], kind: str, places: list, message: str) -> None:
    if places:
        refusals.append(Refusal(kind, tuple(map(str, places)), message))


def _is_id(value: Any) -> bool:
    return type(value) in (int, str) or (type(value) is float and value.is_integer())


def is_number(value: Any) -> bool:
    """Return whether a value of a JSON file is a finite number; true and false are none."""
    if type(value) is int:
        return abs(value) < 1e300
    return type(value) is float and math.isfinite(value)


def _repeated(values: Iterable[Any]) -> list:
    return [value for value, count in Counter(values).items() if count > 1]


def listed(values: Iterable[Any]) -> str:
    """Return the first values as text, with the number of the others."""
    values = list(values)
    more = f", ... {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(f"{value!s:.80}" for value in values[:SHOWN]) + more
