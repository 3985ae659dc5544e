"""The files of the results: pictures, polygons, COCO results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.experiments.prediction.photographs import CONTOURS, EVOLUTION, POLYGONS
from mmlevelset.experiments.prediction.pictures import draw_contours, draw_evolutions
from mmlevelset.experiments.prediction.polygons import collection
from mmlevelset.files import write_json, write_picture, write_text

if TYPE_CHECKING:
    from mmlevelset.experiments.prediction.detector import Detections


@dataclass
class Results:
    """The results of all photographs, in a folder.

    Attributes:
        folder: The folder.
        classes: The names of the classes, in the order of the labels.
        images: COCO's entry of each photograph.
        objects: COCO's entry of each object.
    """

    folder: Path
    classes: Sequence[str]
    images: list[dict[str, Any]] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)

    def add(self, photograph: Path, name: str, found: Detections) -> None:
        """Write the pictures and the polygons of a photograph, and note its objects."""
        files = dict(contours=f"{name}{CONTOURS}", polygons=f"{name}{POLYGONS}")
        write_picture(self.folder / files["contours"], draw_contours(found))
        write_text(self.folder / files["polygons"], json.dumps(collection(found, str(photograph))))
        evolutions = self.folder / f"{name}{EVOLUTION}"
        strips = draw_evolutions(found)
        if strips is not None:
            files["evolution"] = evolutions.name
            write_picture(evolutions, strips)
        else:
            evolutions.unlink(missing_ok=True)  # of an earlier run, perhaps with other weights
        height, width = found.size
        image = dict(id=len(self.images) + 1, file_name=str(photograph), height=height, width=width)
        self.images.append({**image, "results": files})
        for number, (x1, y1, x2, y2) in enumerate(found.boxes.tolist()):
            label = int(found.labels[number])
            self.objects.append(
                dict(
                    image_id=image["id"],
                    file_name=image["file_name"],
                    category_id=label + 1,
                    label=found.names[number],
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    score=float(found.scores[number]),
                    segmentation=found.rles[number],
                )
            )

    def write(self) -> None:
        """Write ``results.json`` and ``photographs.json``."""
        write_text(self.folder / "results.json", json.dumps(self.objects))
        categories = [dict(id=label, name=name) for label, name in enumerate(self.classes, 1)]
        layout = dict(images=self.images, annotations=[], categories=categories)
        write_json(self.folder / "photographs.json", layout)
