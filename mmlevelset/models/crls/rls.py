"""Single-object segmentation by recurrent level sets, on mmdet's data structures."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.detectors import BaseDetector
from mmdet.structures import OptSampleList, SampleList
from mmengine.structures import PixelData
from torch import Tensor

from mmlevelset.models.common import label_map
from mmlevelset.models.recurrent.recurrent_level_set import check_size
from mmlevelset.registry import MODELS

IGNORED = 255


@MODELS.register_module()
class RLS(BaseDetector):
    """Segments the one object of an image (Le et al., Recurrent Level Set Networks, 2019).

    Labels are ``gt_sem_seg.sem_seg`` (1, H, W) of mmdet's data samples: 0 background, 1 object, 255
    no label, padded to the batch by ``DetDataPreprocessor(pad_seg=True)``. Predictions are
    ``pred_sem_seg.sem_seg`` (1, H, W), 0 or 1, at ``ori_shape``. Images of a batch may differ in
    size; the padding is cut off, so that it enters no mean.

    Args:
        network: ``dict(type="mmlevelset.RecurrentLevelSet", ...)`` or
            ``dict(type="mmlevelset.FConNet", ...)``: any module with ``size`` (None: any size), a
            :class:`Segmentation` as its result, and ``loss(result, labels)``.
        input_size: Height and width that images are resized to, bilinearly. None: the network's
            ``size``; if that is None too, images stay as they are.
        standardise: Give each channel of a resized image zero mean and unit variance (our choice).
            Forces are squares of brightness: between images of low and high contrast they would
            differ a hundredfold.
        data_preprocessor: mmdet's ``DetDataPreprocessor``.
        train_cfg: Must be None; there is nothing to set.
        test_cfg: ``dict(level_sets=True)``: predictions also have ``level_sets.data`` (N+1, h, w),
            on the network's grid: foreground minus background scores V phi_t + b_V of t = 0..N. The
            zero contour of the last map is the contour of the prediction.

    Raises:
        ValueError: An argument is out of its range, or ``input_size`` is not the network's size.
    """

    def __init__(
        self,
        network: dict,
        input_size: Sequence[int] | None = None,
        standardise: bool = False,
        data_preprocessor: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if train_cfg:
            raise ValueError(f"train_cfg has no settings and must be None, but is {train_cfg!r}")
        self.test_cfg = dict(test_cfg or {})
        if set(self.test_cfg) - {"level_sets"}:
            raise ValueError(f"test_cfg has the setting level_sets alone, but is {test_cfg!r}")
        self.standardise = standardise
        self.network = MODELS.build(network)
        self.input_size = self.network.size
        if input_size is not None:
            self.input_size = check_size(input_size)
            if self.network.size not in (None, self.input_size):
                raise ValueError(
                    f"input_size must be the network's size {self.network.size} or None, but is"
                    f" {self.input_size}"
                )

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the images: the network has no backbone."""
        return (batch_inputs,)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """``loss_ce`` of images (B, C, H, W): the mean over images of the mean over pixels."""
        labels = [
            self._labels(sample, tuple(batch_inputs.shape[2:])) for sample in batch_data_samples
        ]
        total = batch_inputs.new_zeros(())
        for numbers, images in self._batches(batch_inputs, batch_data_samples):
            size = tuple(images.shape[2:])
            target = torch.stack([_resized_labels(labels[number], size) for number in numbers])
            total = total + len(numbers) * self.network.loss(self.network(images), target)
        return dict(loss_ce=total / len(labels))

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> SampleList:
        """Add ``pred_sem_seg`` to the samples: the object in the original images."""
        for numbers, images in self._batches(batch_inputs, batch_data_samples):
            found = self.network(images)
            for number, logits in zip(numbers, found.logits, strict=True):
                sample = batch_data_samples[number]
                logits = _resized(logits, tuple(sample.ori_shape[:2]))
                sample.pred_sem_seg = PixelData(sem_seg=logits.argmax(0, keepdim=True))
            if self.test_cfg.get("level_sets") and len(found.trajectory):
                scores = torch.stack([self.network.classify(phi) for phi in found.trajectory], 1)
                for number, maps in zip(numbers, scores[:, :, 1] - scores[:, :, 0], strict=True):
                    batch_data_samples[number].level_sets = PixelData(data=maps)
        return batch_data_samples

    def _forward(self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None) -> Tensor:
        """Logits (B, 2, h, w) of images (B, C, H, W), at the network's size."""
        images = torch.stack([self._prepared(image) for image in batch_inputs])
        return self.network(images).logits

    def _batches(self, images: Tensor, samples: SampleList) -> list[tuple[list[int], Tensor]]:
        """Return groups of equal size: the images' indices in the batch, the network's input."""
        groups: dict[tuple[int, ...], list[tuple[int, Tensor]]] = {}
        for number, (image, sample) in enumerate(zip(images, samples, strict=True)):
            height, width = sample.img_shape[:2]
            image = self._prepared(image[:, :height, :width])
            groups.setdefault(tuple(image.shape), []).append((number, image))
        return [
            ([number for number, _ in group], torch.stack([image for _, image in group]))
            for group in groups.values()
        ]

    def _prepared(self, image: Tensor) -> Tensor:
        """The network's input (C, h, w) from an image (C, H, W)."""
        if self.input_size is not None:
            image = _resized(image, self.input_size)
        return F.instance_norm(image[None])[0] if self.standardise else image

    def _labels(self, sample, size: tuple[int, ...]) -> Tensor:
        """Labels (H, W) of the image without its padding."""
        loaders = "mmlevelset.LoadMaskAnnotations or mmlevelset.LoadSemanticAnnotations"
        labels = label_map(sample, size, loaders)
        wrong = ((labels < 0) | (labels > 1)) & (labels != IGNORED)
        if wrong.any():
            raise ValueError(
                f"gt_sem_seg must have labels 0, 1 and {IGNORED} for no label, but has"
                f" {labels[wrong][0].item()}; mmlevelset.BinaryLabels joins all classes"
            )
        height, width = sample.img_shape[:2]
        return labels[0, :height, :width]


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps (C, h, w) at another size, bilinearly; smoothed where they shrink."""
    if maps.shape[1:] == size:
        return maps
    maps = maps.float() if maps.element_size() < 4 else maps
    return F.interpolate(maps[None], size, mode="bilinear", antialias=True)[0]


def _resized_labels(labels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Labels (h, w) at another size: the labels at the centres of the new pixels."""
    if labels.shape == size:
        return labels
    return F.interpolate(labels[None, None].float(), size, mode="nearest-exact")[0, 0].long()
