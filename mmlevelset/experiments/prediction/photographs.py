"""The photographs that a user names, and the names of their results."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

EXTENSIONS = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".jp2", ".avif"),
)
"""The files that are photographs in a folder. A named file may have any ending."""
CONTOURS, EVOLUTION, POLYGONS = "_contours.png", "_evolution.png", ".geojson"
"""The ends of the names of a photograph's results."""


def find_photographs(words: Sequence[str], out: Path) -> tuple[list[Path], list[str]]:
    """Return the photographs that words name, and a line for each word that names none.

    Args:
        words: Files, folders or patterns such as ``photos/**/*.jpg``. A folder stands for all
            photographs below it, in the order of their paths, without hidden files.
        out: The folder of the results. Pictures of earlier results in it are no photographs.

    Returns:
        The paths, each once, in the order of the words; and the lines.
    """
    found: dict[Path, Path] = {}
    lines = []
    for word in words:
        named = [word] if os.path.exists(word) else sorted(glob.glob(word, recursive=True))
        photographs: list[Path] = []
        for path in map(Path, named):
            photographs += _below(path, out) if path.is_dir() else [path]
        if not named:
            lines.append(f"{word}: there is no such file or folder")
        elif not photographs:
            lines.append(f"{word}: the folder holds no photograph ({', '.join(EXTENSIONS)})")
        for path in photographs:
            found.setdefault(_real(path), path)
    return list(found.values()), lines


def _below(folder: Path, out: Path) -> Iterator[Path]:
    results = out.resolve()
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        own = Path(root).resolve() == results
        for name in sorted(names):
            result = own and name.endswith((CONTOURS, EVOLUTION))
            if name.lower().endswith(EXTENSIONS) and not name.startswith(".") and not result:
                yield Path(root, name)


def result_names(photographs: Sequence[Path], out: Path) -> list[str]:
    """Return a name for each photograph's results, without the end of the file's name.

    The name is the photograph's, cut to 200 bytes. If several photographs share it, the later names
    get a number. No result takes the place of another, or of a photograph.
    """
    taken = {_real(path) for path in photographs}
    names = []
    for path in photographs:
        stem = _cut(path.stem)
        name, number = stem, 1
        while taken & (files := _results_of(name, out)):
            number += 1
            name = f"{stem}-{number}"
        taken |= files
        names.append(name)
    return names


def _cut(name: str) -> str:
    while len(os.fsencode(name)) > 200:
        name = name[:-1]
    return name


def _results_of(name: str, out: Path) -> set[Path]:
    return {_real(out / f"{name}{end}") for end in (CONTOURS, EVOLUTION, POLYGONS)}


def _real(path: Path) -> Path:
    """Return a path without links. Path.resolve raises an error at a link to itself."""
    return Path(os.path.realpath(path))
