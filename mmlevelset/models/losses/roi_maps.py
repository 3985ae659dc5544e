import torch
from torch import Tensor


def check_roi_features(x: Tensor, roi_feat_size: tuple[int, ...]) -> None:
    """Raise ValueError unless RoI features (M, C, h, w) have the size that a mask head expects."""
    if x.shape[2:] != roi_feat_size:
        raise ValueError(
            "roi_feat_size must be the output_size of mask_roi_extractor,"
            f" {tuple(x.shape[2:])}, but is {roi_feat_size}"
        )


def map_of_class(maps: Tensor, labels: Tensor | None, class_agnostic: bool) -> Tensor:
    """The map of each RoI's class.

    Args:
        maps: Those of all classes (M, K, h, w).
        labels: Class of each RoI (M,); not used if ``class_agnostic``.
        class_agnostic: There is one map for all classes.

    Returns:
        (M, 1, h, w), float32.

    Raises:
        ValueError: The labels are missing.
    """
    if class_agnostic:
        return maps[:, :1].float()
    if labels is None:
        raise ValueError(
            "labels must be given unless class_agnostic is True: use mmlevelset.LevelSetRoIHead"
        )
    return maps[torch.arange(len(maps), device=maps.device), labels][:, None].float()
