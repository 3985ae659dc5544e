"""RoI warping: features of a box on a grid of fixed size, if wanted with gradients to the box."""

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor, nn

from mmlevelset.models.common import check_choice, check_not_negative, check_positive_integers
from mmlevelset.registry import MODELS

WARPS = ("grid_sample", "roi_align")


class GridWarp(nn.Module):
    """Bilinear samples at the centres of the cells that divide each box.

    Le et al., Recurrent Level Set Networks, 2019, section 4 (section 3.2 takes the maximum of each
    cell instead). Inside the map the values are those of :class:`mmcv.ops.RoIAlign` with
    ``sampling_ratio=1``; here the boxes have gradients too.

    Args:
        output_size: Cells along each side.
        spatial_scale: Samples of the map per pixel of the image.
    """

    def __init__(self, output_size: int, spatial_scale: float) -> None:
        super().__init__()
        self.output_size = (output_size, output_size)
        self.spatial_scale = spatial_scale

    def forward(self, maps: Tensor, rois: Tensor) -> Tensor:
        """Warp maps within RoIs.

        Args:
            maps: (B, C, H, W); beyond their edges the border samples are repeated.
            rois: (R, 5), R > 0: number in the batch, then x1, y1, x2, y2 in pixels of the image.

        Returns:
            (R, C, output_size, output_size).
        """
        rows = self.output_size[0]
        parts, owners = [], []
        for number, image in enumerate(maps):
            owner = torch.nonzero(rois[:, 0] == number)[:, 0]
            if len(owner):
                # One grid holds all boxes of an image, so that the map is not repeated.
                grid = self._grid(rois[owner, 1:], image.shape[1], image.shape[2]).flatten(0, 1)
                samples = F.grid_sample(
                    image[None], grid[None], padding_mode="border", align_corners=False
                )
                parts.append(samples[0].unflatten(1, (len(owner), rows)).transpose(0, 1))
                owners.append(owner)
        warped = torch.cat(parts)
        return warped if len(parts) == 1 else warped[torch.cat(owners).argsort()]

    def _grid(self, boxes: Tensor, height: int, width: int) -> Tensor:
        """Centres (R, rows, columns, 2) of the cells; x and y run from -1 to 1 over the map."""
        rows, columns = self.output_size
        x1, y1, x2, y2 = (boxes * self.spatial_scale)[..., None].unbind(1)
        across, down = (
            (torch.arange(count, device=boxes.device, dtype=boxes.dtype) + 0.5) / count
            for count in (columns, rows)
        )
        x = (x1 + (x2 - x1) * across) / width * 2 - 1
        y = (y1 + (y2 - y1) * down) / height * 2 - 1
        return torch.stack(
            [x[:, None].expand(-1, rows, -1), y[..., None].expand(-1, -1, columns)], -1
        )


@MODELS.register_module()
class RoIWarp(SingleRoIExtractor):
    """mmdet's extractor of RoI features, with a warp that can give gradients to the boxes.

    With the full gradients, as in the paper, the losses of the RoIs move the proposals against
    targets that stay: in small trainings these gradients were several times the proposals' own, and
    fewer objects were found. So they are off by default. The choice of a pyramid's level for a box
    is never differentiated. Under autocast maps and boxes are float32: in half precision a box is
    rounded to half a pixel.

    Args:
        out_channels: Channels of the maps.
        featmap_strides: Pixels of the image per sample of each map.
        warp: ``grid_sample``, one bilinear sample in each cell; ``roi_align``, the mean of several
            samples, without gradients to the boxes.
        box_gradient: Factor on the gradients to the boxes: 0, none; 1, the chain rule, as in the
            paper (Le et al. 2019, section 4). The features do not depend on it.
        output_size: Cells along each side of a box.
        sampling_ratio: Samples along each side of a cell for ``roi_align``; 0: as many as the map
            has samples in the cell.
        finest_scale: See mmdet's :class:`SingleRoIExtractor`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        out_channels: int,
        featmap_strides: list[int],
        warp: str = "grid_sample",
        output_size: int = 21,
        sampling_ratio: int = 0,
        finest_scale: int = 56,
        box_gradient: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_choice("warp", warp, WARPS)
        check_not_negative(box_gradient=box_gradient)
        if box_gradient and warp == "roi_align":
            raise ValueError(
                "box_gradient must be 0 with warp 'roi_align', which has no gradients to the"
                f" boxes, but is {box_gradient!r}"
            )
        check_positive_integers(output_size=output_size)
        if warp == "grid_sample":
            layer = dict(type=GridWarp, output_size=output_size)
        else:
            layer = dict(type="RoIAlign", output_size=output_size, sampling_ratio=sampling_ratio)
        super().__init__(layer, out_channels, featmap_strides, finest_scale, init_cfg)
        self.warp = warp
        self.box_gradient = box_gradient

    def forward(
        self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        """Warp the levels' maps (B, C, H, W) in RoIs (R, 5) to (R, C, output_size, output_size)."""
        feats = tuple(maps.float() if maps.element_size() < 4 else maps for maps in feats)
        constant = rois.detach()
        if self.box_gradient:
            # The difference is zero; its gradient is not.
            rois = constant + self.box_gradient * (rois - constant)
        else:
            rois = constant
        return super().forward(feats, rois, roi_scale_factor)
