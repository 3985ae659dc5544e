"""Data sets for semantic segmentation: label maps of 0..K-1, and 255 for pixels without a label."""

from collections.abc import Sequence
from typing import Any, ClassVar

from mmdet.datasets import BaseSegDataset, VOCDataset
from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmengine import fileio

from mmlevelset.datasets.coco import CocoDataset
from mmlevelset.registry import DATASETS


def voc_palette(count: int) -> list[tuple[int, int, int]]:
    """Return the RGB colours of Pascal VOC's label maps for labels 0 to ``count - 1``.

    The bits of a label, from the lowest on, go to red, green and blue by turns, and fill each
    colour from its highest bit on.
    """
    return [
        (
            sum((label >> 3 * bit & 1) << 7 - bit for bit in range(8)),
            sum((label >> 3 * bit + 1 & 1) << 7 - bit for bit in range(8)),
            sum((label >> 3 * bit + 2 & 1) << 7 - bit for bit in range(8)),
        )
        for label in range(count)
    ]


@DATASETS.register_module()
class SegDataset(BaseSegDataset):
    """Images with label maps in files of the same names: mmdet's ``BaseSegDataset``, checked.

    Args:
        ann_file: Text file with a name in each line, without suffix. If empty, all images below the
            folder are taken.
        data_prefix: ``img_path``, the folder of the images, and ``seg_map_path``, the folder of the
            label maps; a test set has no ``seg_map_path``.
        metainfo: ``classes`` in the order of the labels and, optionally, ``palette``.
        **kwargs: The other arguments of mmdet's ``BaseSegDataset``: ``data_root``, ``img_suffix``,
            ``seg_map_suffix``, ``pipeline`` and so on.

    Raises:
        FileNotFoundError: A folder, the list, an image or a label map does not exist.
        ValueError: ``data_prefix`` has no key ``img_path``, ``classes`` is missing, or there is no
            image.
    """

    CONVERTER: ClassVar[str] = ""
    """The command that writes the label maps and lists, if there is one."""

    def load_data_list(self) -> list[dict]:
        if not self.data_prefix.get("img_path"):
            raise ValueError(
                "data_prefix must give the folder of the images as dict(img_path=...), not"
                f" {self.data_prefix!r}"
            )
        if not self.metainfo.get("classes"):
            raise ValueError("metainfo must give the classes in the order of their labels")
        for key, folder in self.data_prefix.items():
            self._require(folder, f"the folder data_prefix['{key}']", key == "seg_map_path")
        if self.ann_file:
            self._require(self.ann_file, "ann_file", True)
        data_list = super().load_data_list()
        if not data_list:
            where = self.ann_file or f"{self.data_prefix['img_path']} (*{self.img_suffix})"
            raise ValueError(f"{type(self).__name__} has no image: {where} names none")
        for key, what in (("img_path", "images"), ("seg_map_path", "label maps")):
            missing = [
                info[key]
                for info in data_list
                if key in info and not fileio.exists(info[key], backend_args=self.backend_args)
            ]
            if missing:
                raise FileNotFoundError(
                    f"{len(missing)} of {len(data_list)} {what} do not exist, the first is"
                    f" {missing[0]}" + self._hint(key == "seg_map_path")
                )
        for info in data_list:
            info["num_classes"] = len(self.metainfo["classes"])
        return data_list

    def _require(self, path: str, what: str, converted: bool) -> None:
        if not fileio.exists(path, backend_args=self.backend_args):
            raise FileNotFoundError(f"{what} {path} does not exist{self._hint(converted)}")

    def _hint(self, converted: bool) -> str:
        return f" ({self.CONVERTER} writes it)" if converted and self.CONVERTER else ""


@DATASETS.register_module()
class VOCSegDataset(SegDataset):
    """Pascal VOC 2012 with SBD's label maps: 21 classes, 0 is the background.

    ``tools/dataset_converters/voc_aug.py`` writes ``SegmentationClassAug`` and the list
    ``trainaug.txt``; VOC's own ``SegmentationClass`` can be read as well.
    """

    CONVERTER = "tools/dataset_converters/voc_aug.py"
    METAINFO: ClassVar[dict[str, Any]] = {
        "classes": ("background", *VOCDataset.METAINFO["classes"]),
        "palette": voc_palette(21),
    }


@DATASETS.register_module()
class PascalContextDataset(SegDataset):
    """Pascal-Context, 60 classes: 0 is the background, then the 59 most frequent by name.

    ``tools/dataset_converters/pascal_context.py`` writes the label maps and the lists. Most
    published label maps have this order; the data's own list of the 59 classes has another.
    """

    CONVERTER = "tools/dataset_converters/pascal_context.py"
    METAINFO: ClassVar[dict[str, Any]] = {
        "classes": tuple(
            """background aeroplane bag bed bedclothes bench bicycle bird boat book bottle building
            bus cabinet car cat ceiling chair cloth computer cow cup curtain dog door fence floor
            flower food grass ground horse keyboard light motorbike mountain mouse person plate
            platform pottedplant road rock sheep shelves sidewalk sign sky snow sofa table track
            train tree truck tvmonitor wall water window wood""".split()
        ),
        "palette": voc_palette(60),
    }


@DATASETS.register_module()
class CityscapesSegDataset(SegDataset):
    """Cityscapes, 19 classes without a background, in the folders of all cities.

    ``tools/dataset_converters/cityscapes.py`` writes the maps ``*_gtFine_labelTrainIds.png``.
    """

    CONVERTER = "tools/dataset_converters/cityscapes.py"
    METAINFO: ClassVar[dict[str, Any]] = {
        "classes": (
            "road",
            "sidewalk",
            "building",
            "wall",
            "fence",
            "pole",
            "traffic light",
            "traffic sign",
            "vegetation",
            "terrain",
            "sky",
            "person",
            "rider",
            "car",
            "truck",
            "bus",
            "train",
            "motorcycle",
            "bicycle",
        ),
        "palette": [
            (128, 64, 128),
            (244, 35, 232),
            (70, 70, 70),
            (102, 102, 156),
            (190, 153, 153),
            (153, 153, 153),
            (250, 170, 30),
            (220, 220, 0),
            (107, 142, 35),
            (152, 251, 152),
            (70, 130, 180),
            (220, 20, 60),
            (255, 0, 0),
            (0, 0, 142),
            (0, 0, 70),
            (0, 60, 100),
            (0, 80, 100),
            (0, 0, 230),
            (119, 11, 32),
        ],
    }

    def __init__(
        self,
        img_suffix: str = "_leftImg8bit.png",
        seg_map_suffix: str = "_gtFine_labelTrainIds.png",
        **kwargs: Any,
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


@DATASETS.register_module()
class CocoSegDataset(CocoDataset):
    """Instances in COCO's layout for semantic networks: class 0 is the background.

    :class:`~mmlevelset.datasets.SemanticFromInstances` in the pipeline makes the label maps.
    Arguments and errors are as in :class:`~mmlevelset.datasets.CocoDataset`. If ``metainfo`` gives
    ``classes``, the first class must be ``"background"``. The labels in ``instances`` start at 0
    with the second class. Annotations that ``CocoDataset`` leaves out become background.

    Raises:
        ValueError: The first of ``classes`` is not ``"background"``.
    """

    METAINFO: ClassVar[dict[str, Any]] = {
        "classes": ("background", *MMDetCocoDataset.METAINFO["classes"]),
        "palette": [(0, 0, 0), *MMDetCocoDataset.METAINFO["palette"]],
    }

    def _categories(self) -> Sequence[str]:
        classes = self.metainfo["classes"]
        if not classes or classes[0] != "background":
            raise ValueError(f'the first of classes must be "background", not {list(classes)}')
        return classes[1:]  # the file's categories do not list the background
