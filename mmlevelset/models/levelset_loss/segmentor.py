"""Semantic segmentation on mmdet's data structures."""

from dataclasses import replace
from functools import reduce

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.models.utils import rename_loss_dict
from mmdet.structures import OptSampleList, SampleList
from mmengine.structures import PixelData
from torch import Tensor

from mmlevelset.models.common import label_map
from mmlevelset.models.levelset_loss.inference import Inference, MultiScale
from mmlevelset.models.levelset_loss.resize import (
    grid_size,
    pad_to_grid,
    resize_maps,
    scaled_size,
)
from mmlevelset.registry import MODELS


@MODELS.register_module()
class SemanticSegmentor(BaseDetector):
    """A network of backbone, optional neck and head that predicts the class of each pixel.

    Labels are ``gt_sem_seg.sem_seg`` (1, H, W) of mmdet's data samples. They must have the padded
    size of the batch, as from ``DetDataPreprocessor(pad_seg=True)``. Predictions are
    ``pred_sem_seg.sem_seg`` (1, H, W) at ``ori_shape``, as mmdet's SemSegMetric reads them. Images
    of a batch may differ in size.

    Images of any size are trained and tested in the geometry of the network: they are padded with
    zeros at the right and the bottom to ``stride`` * n + 1 pixels, or to ``stride`` * n pixels if
    the decode head has ``align_corners=False``. Each logit then lies at its pixel, and the padding
    is cut off. Padded pixels have no label.

    Args:
        backbone: Returns a tuple of feature maps (B, C_i, h_i, w_i).
        decode_head: A :class:`DecodeHead`.
        neck: Between backbone and heads.
        stride: Pixels of the image in a pixel of the coarsest feature map that the heads read, or
            a multiple. 32 fits ResNet; a dilated network of stride 8 needs less padding with 8.
        auxiliary_head: A :class:`DecodeHead` that is used only in training, on the features of
            scale 1. Its losses are logged as ``aux.*``. It must have the decode head's
            ``align_corners``.
        multi_scale: ``dict(scales=(0.5, 0.75, 1.0), supervise_scales=True)``: DeepLab-v2's
            multi-scale inputs (Chen et al., PAMI 2018, section 4.1.2). The network runs on the
            image at each scale. The images are padded so that each scaled image spans whole
            strides. The logits are resized to the size of scale 1, and their maximum is the
            result. With ``supervise_scales`` each scale has losses too, named
            ``scale_0.5.loss_ce`` and so on. Monitored losses are computed only for the result.
            ``scales=(1.0,)`` is the same as None.
        data_preprocessor: mmdet's ``DetDataPreprocessor``.
        train_cfg: Must be None; it has no settings.
        test_cfg: ``dict(mode="whole")``, or ``dict(mode="slide", crop_size=(h, w), stride=(h,
            w))`` for the mean logits of overlapping windows. ``crop_size`` is raised to the next
            size without padding, 513 for 512 and a stride of 32. The last window ends at the border
            of the padded image.

    Raises:
        ValueError: An argument is out of its range, or the network's stride does not fit
            ``stride``.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        neck: dict | None = None,
        stride: int = 32,
        auxiliary_head: dict | None = None,
        multi_scale: dict | None = None,
        data_preprocessor: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if train_cfg:
            raise ValueError(f"train_cfg has no settings and must be None, but is {train_cfg!r}")
        self.multi_scale = None if multi_scale is None else MultiScale(**multi_scale)
        if self.multi_scale is not None and len(self.multi_scale.scales) == 1:
            self.multi_scale = None
        if not isinstance(stride, int) or stride < 1:
            raise ValueError(f"stride must be a whole number of at least 1, but is {stride!r}")
        self.stride = stride
        self.inference = Inference(**(test_cfg or {}))
        self.backbone = MODELS.build(backbone)
        if neck is not None:
            self.neck = MODELS.build(neck)
        self.decode_head = MODELS.build(decode_head)
        self.auxiliary_head = None if auxiliary_head is None else MODELS.build(auxiliary_head)
        self.align_corners = self.decode_head.align_corners
        if self.auxiliary_head and self.auxiliary_head.align_corners != self.align_corners:
            raise ValueError(
                f"auxiliary_head.align_corners must be decode_head's, {self.align_corners}, but is"
                f" {self.auxiliary_head.align_corners}"
            )
        self.step = stride * (self.multi_scale.denominator if self.multi_scale else 1)
        if self.inference.crop_size is not None:
            window = grid_size(self.inference.crop_size, self.step, self.align_corners)
            self.inference = replace(self.inference, crop_size=window)

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of images (B, C, H, W)."""
        features = self.backbone(batch_inputs)
        return self.neck(features) if self.with_neck else features

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Return the losses and the monitored losses of images (B, C, H, W)."""
        labels = self._labels(batch_inputs, batch_data_samples)
        labels = self._pad(labels, self.decode_head.ignore_index)
        batch_inputs = self._pad(batch_inputs)
        features = self.extract_feat(batch_inputs)
        logits, scales = self._classify(batch_inputs, features)
        losses = self.decode_head.loss(logits, labels)
        if self.multi_scale is not None and self.multi_scale.supervise_scales:
            for scale, scores in scales.items():
                own = self.decode_head.loss(scores, labels, monitor=False)
                losses |= rename_loss_dict(f"scale_{scale:g}.", own)
        if self.auxiliary_head is not None:
            own = self.auxiliary_head.loss(self.auxiliary_head(features), labels)
            losses |= rename_loss_dict("aux.", own)
        return losses

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> SampleList:
        """Add ``pred_sem_seg``, the class of each pixel of the original image, to the samples."""
        logits = self.predict_logits(batch_inputs, batch_data_samples)
        for sample, scores in zip(batch_data_samples, logits, strict=True):
            sample.pred_sem_seg = PixelData(sem_seg=scores.argmax(0, keepdim=True))
        return batch_data_samples

    def predict_logits(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> list[Tensor]:
        """Return the logits (K, H, W) of each image at its ``ori_shape``.

        Args:
            batch_inputs: Images (B, C, H, W), padded at the right and the bottom.
            batch_data_samples: Samples with ``img_shape``, the size before padding, and
                ``ori_shape``.
        """
        batch = self.inference.run(self._full_logits, self._pad(batch_inputs))
        results = []
        for logits, sample in zip(batch, batch_data_samples, strict=True):
            height, width = sample.img_shape[:2]
            logits = logits[None, :, :height, :width]
            # Data pipelines resize images with the corners of their pixels aligned.
            results.append(resize_maps(logits, sample.ori_shape[:2])[0])
        return results

    def _forward(self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None) -> Tensor:
        """Return the logits (B, K, h, w) of padded images as the head returns them."""
        images = self._pad(batch_inputs)
        return self._classify(images, self.extract_feat(images))[0]

    def _full_logits(self, images: Tensor) -> Tensor:
        """Return the logits (B, K, H, W) of images that span whole steps."""
        logits, _ = self._classify(images, self.extract_feat(images))
        return resize_maps(logits, images.shape[2:], self.align_corners)

    def _pad(self, maps: Tensor, value: float = 0) -> Tensor:
        return pad_to_grid(maps, self.step, self.align_corners, value)

    def _classify(
        self, images: Tensor, features: tuple[Tensor, ...]
    ) -> tuple[Tensor, dict[float, Tensor]]:
        """Return the result and the logits of each scale; ``features`` are of scale 1."""
        logits = self.decode_head(features)
        self._check_stride(images, features)
        if self.multi_scale is None:
            return logits, {}
        aligned, size = self.align_corners, images.shape[2:]
        scales = {}
        for scale in self.multi_scale.scales:
            if scale == 1:
                scales[scale] = logits
            else:
                scaled = resize_maps(images, scaled_size(size, scale, aligned), aligned)
                scales[scale] = self.decode_head(self.extract_feat(scaled))
        resized = [resize_maps(scores, logits.shape[2:], aligned) for scores in scales.values()]
        return reduce(torch.maximum, resized), scales

    def _check_stride(self, images: Tensor, features: tuple[Tensor, ...]) -> None:
        corner = int(self.align_corners)
        for stage in self.decode_head.stages:
            size = features[stage].shape[2:]
            for side, count in zip(images.shape[2:], size, strict=True):
                step = (side - corner) // max(count - corner, 1)
                if step * (count - corner) != side - corner or (step and self.stride % step):
                    raise ValueError(
                        f"stride must be a multiple of the network's stride, but is {self.stride}:"
                        f" images {tuple(images.shape[2:])} have feature maps {tuple(size)}, and"
                        f" align_corners is {self.align_corners}"
                    )

    def _labels(self, images: Tensor, samples: SampleList) -> Tensor:
        """Return the labels of the samples, int64 (B, H, W)."""
        loaders = "mmlevelset.LoadSemanticAnnotations or mmlevelset.SemanticFromInstances"
        size = tuple(images.shape[2:])
        labels = torch.cat([label_map(sample, size, loaders) for sample in samples]).long()
        classes = self.decode_head.num_classes
        wrong = ((labels < 0) | (labels >= classes)) & (labels != self.decode_head.ignore_index)
        if wrong.any():
            raise ValueError(
                f"gt_sem_seg must have labels from 0 to {classes - 1}, for num_classes {classes},"
                f" or {self.decode_head.ignore_index} for no label, but has"
                f" {labels[wrong][0].item()}"
            )
        return labels
