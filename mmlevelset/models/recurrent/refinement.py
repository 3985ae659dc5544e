"""Recurrent refinement: a recurrent level set that starts from a head's masks."""

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlevelset.models.common import check_choice, check_positive_integers
from mmlevelset.models.recurrent.controls import ConvolutionalControl
from mmlevelset.models.recurrent.recurrent_level_set import RecurrentLevelSet
from mmlevelset.ops.checks import check_floating, check_same_device, check_shape
from mmlevelset.registry import MODELS

CONTROLS = ("convolutions", "region_term")


@MODELS.register_module()
class RecurrentRefinement(BaseModule):
    r"""Refines masks by a recurrent level set with convolutional gates.

    phi_0 is tanh(slope * mask); I is the image and the features under the mask. V phi_N + b_V,
    foreground minus background, is added to the mask (see
    :class:`~mmlevelset.models.recurrent.RecurrentLevelSet`). V and b_V start at zero: until they
    have learned, the masks stay exactly as they are. Le et al. 2019 refine no masks.

    Args:
        in_channels: Channels of the features; the heads set it.
        feature_channels: Channels to which a learned 1 x 1 convolution projects the features. They
            are then standardised in each region. 0: no features.
        image_channels: Channels of the normalised image; 0: no image.
        num_steps: N; with a control the number of its layers before the last.
        hidden_channels: Channels of the state; with a control of its layers.
        tied: The same weights in all steps.
        reduction: How (I - c)^2 is reduced over the channels of I: ``none``, ``sum`` or ``mean``.
        eps: Width of the Heaviside function of phi.
        eta: See :func:`mmlevelset.ops.curvature`.
        slope: 0.5 is for logits: phi_0 is then 2 p - 1, p the probability, with values in (-1, 1).
        detach: Stop all gradients into masks and features, so that the layers before learn as
            without a refinement.
        control: What a comparison puts in the place of the recurrent level set. None: nothing.
            ``convolutions``: plain layers with the same input, phi_0 and I. ``region_term``: these
            layers with (I - c1)^2 and (I - c2)^2 of phi_0 in their input. ``tied`` and
            ``reduction`` then keep their defaults.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        in_channels: int = 256,
        feature_channels: int = 8,
        image_channels: int = 3,
        num_steps: int = 3,
        hidden_channels: int = 8,
        tied: bool = True,
        reduction: str = "none",
        eps: float = 0.1,
        eta: float = 1e-4,
        slope: float = 0.5,
        detach: bool = False,
        control: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        for name, number in dict(
            feature_channels=feature_channels, image_channels=image_channels
        ).items():
            if not isinstance(number, int) or number < 0:
                raise ValueError(f"{name} must be 0 or a positive integer, but is {number!r}")
        if feature_channels + image_channels == 0:
            raise ValueError("feature_channels and image_channels must not both be 0")
        if not slope > 0:
            raise ValueError(f"slope must be positive, but is {slope!r}")
        self.in_channels = in_channels
        self.image_channels = image_channels
        self.slope = slope
        self.detach = detach
        self.projection: ConvModule | None = None
        if feature_channels:
            norm = dict(type="GN", num_groups=1)
            self.projection = ConvModule(
                in_channels, feature_channels, 1, norm_cfg=norm, act_cfg=None
            )
        channels = feature_channels + image_channels
        self.network: RecurrentLevelSet | ConvolutionalControl
        if control is None:
            self.network = RecurrentLevelSet(
                gate="conv",
                in_channels=channels,
                hidden_channels=hidden_channels,
                num_steps=num_steps,
                tied=tied,
                reduction=reduction,
                eps=eps,
                eta=eta,
            )
        else:
            check_choice("control", control, CONTROLS)
            check_positive_integers(num_steps=num_steps, hidden_channels=hidden_channels)
            if not tied or reduction != "none":
                raise ValueError(
                    "tied must be True and reduction 'none' with a control, but are"
                    f" {tied!r} and {reduction!r}"
                )
            self.network = ConvolutionalControl(
                channels, hidden_channels, num_steps, control == "region_term", eps
            )
        self._reset()

    def init_weights(self) -> None:
        """Set the initial weights; an outer module's ``init_cfg`` may have set others before."""
        self._reset()
        super().init_weights()

    def _reset(self) -> None:
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
        for parameter in self.network.output.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, masks: Tensor, image: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        """Return M refined masks.

        Args:
            masks: (M, H, W), above zero inside: logits, or level sets.
            image: (M, image_channels, h, w), which covers the same region at any resolution.
            features: (M, in_channels, h', w'), which cover the same region.

        Returns:
            The refined masks (M, H, W), float32 at least.

        Raises:
            TypeError: An argument is not floating point.
            ValueError: A shape or a device does not fit, or an argument is missing.
        """
        check_floating(masks=masks, image=image, features=features)
        check_same_device(masks=masks, image=image, features=features)
        if self.detach:
            masks = masks.detach()
            features = None if features is None else features.detach()
        masks = masks.float() if masks.element_size() < 4 else masks
        return masks + self.correction(masks, image, features)

    def correction(self, masks: Tensor, image: Tensor | None, features: Tensor | None) -> Tensor:
        """Return the maps (M, H, W) that :meth:`forward` adds to the masks."""
        check_shape("masks", masks, ("M", "H", "W"))
        return self._answer(masks, *self._inputs(image, features, masks.shape[0]))

    def _inputs(
        self, image: Tensor | None, features: Tensor | None, *batch: int
    ) -> tuple[Tensor | None, Tensor | None]:
        """The image and the projected features, not yet standardised; None where not used."""
        if self.image_channels:
            image = _given("image", image, "image_channels")
            check_shape("image", image, (*batch, self.image_channels, "h", "w"))
        else:
            image = None
        if self.projection is not None:
            features = _given("features", features, "feature_channels")
            check_shape("features", features, (*batch, self.in_channels, "h", "w"))
            return image, self.projection.conv(features)
        return image, None

    def _answer(self, masks: Tensor, image: Tensor | None, projected: Tensor | None) -> Tensor:
        """Foreground minus background (M, H, W), from the maps of :meth:`_inputs`."""
        inputs = []
        if image is not None:
            inputs.append(_resized(image, masks))
        if self.projection is not None and projected is not None:
            inputs.append(_resized(self.projection.norm(projected), masks))
        background, foreground = self.network(
            torch.cat(inputs, 1), torch.tanh(self.slope * masks)
        ).logits.unbind(1)
        return foreground - background


def _given(name: str, value: Tensor | None, option: str) -> Tensor:
    if value is None:
        raise ValueError(f"{name} must be given unless {option} is 0, but is None")
    return value


def _resized(maps: Tensor, masks: Tensor) -> Tensor:
    """Maps (M, C, h, w) on the grid and in the dtype of masks (M, H, W)."""
    maps = maps.to(masks.dtype)
    if maps.shape[2:] == masks.shape[1:]:
        return maps
    return F.interpolate(maps, masks.shape[1:], mode="bilinear", align_corners=False)
