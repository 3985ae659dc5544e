"""Which masks does a BoxLevelSet energy ask for? Its mean over a data set's true masks and others.

    python tools/level_set_energies.py configs/quickstart/box-levelset_shapes.py

Every object of the config's validation images, at a quarter of their size, inside its box: the true
mask, the whole box, and a mask of one half everywhere, on the image (I_u) and on the mask itself,
filtered along the image's tree (t1 of the released I_f). The network takes no part. A useful term
is least for the true masks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import choose_device, load_config, parser, short_errors

CANDIDATES = ("true mask", "box", "flat")
TERMS = ("image", "filtered mask")
STRIDE = 4


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    made = parser("Energies of true masks, boxes and flat masks on a config's validation images.")
    made.add_argument("--images", type=int, default=60, help="the first so many [60]")
    made.add_argument(
        "--softness",
        type=float,
        default=0.02,
        help="scores are this and 1 less this, as a network's never are 0 and 1 [0.02]",
    )
    return made.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("level_set_energies.py", arguments):
        if arguments.images < 1 or not 0 <= arguments.softness < 0.5:
            raise InputError("--images must be at least 1, --softness in [0, 0.5)")
        choose_device(arguments)
        config = load_config(arguments)
        means, count = energies(config, arguments.images, arguments.softness)
        print(f"{count} objects, softness {arguments.softness}; energy of a pixel and a channel\n")
        print(f"| {' | '.join(('', *TERMS))} |\n|:---|{'---:|' * len(TERMS)}")
        for name, row in zip(CANDIDATES, means, strict=True):
            print(f"| {name} | {' | '.join(f'{value:.3f}' for value in row)} |")


def energies(config: Any, most: int, softness: float) -> tuple[list[list[float]], int]:
    """The mean energies, a row for each of CANDIDATES, a column for each of TERMS; the objects."""
    import torch
    from mmdet.registry import DATASETS, MODELS
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import init_default_scope

    from mmlevelset.models.box_levelset import BoxLevelSetLoss

    init_default_scope(config.get("default_scope", "mmdet"))
    dataset = DATASETS.build(config.val_dataloader.dataset)
    preprocess = MODELS.build(config.model.data_preprocessor)
    terms = (
        BoxLevelSetLoss(1, image_weight=1, feature_weight=0),
        BoxLevelSetLoss(1, image_weight=0, feature_weight=1, second_filter=False),
    )
    found: list[torch.Tensor] = []
    for index in range(min(most, len(dataset))):
        batch = preprocess(pseudo_collate([dataset[index]]))
        sample = batch["data_samples"][0]
        if "gt_instances" not in sample or "masks" not in sample.gt_instances:
            raise InputError("val_dataloader.dataset.pipeline loads no masks (LoadAnnotations)")
        if len(sample.gt_instances):
            found.append(_of_image(batch["inputs"], sample, terms, softness))
    if not found:
        raise InputError("the validation images hold no object")
    return torch.cat(found).mean(0).tolist(), sum(map(len, found))


def _of_image(inputs: Any, sample: Any, terms: Any, softness: float) -> Any:
    """Energies (K, candidates, terms) of one image's objects."""
    import torch
    import torch.nn.functional as F

    from mmlevelset.models.box_levelset.level_set_loss import Masks

    objects = sample.gt_instances
    height, width = inputs.shape[-2:]
    size = (height // STRIDE, width // STRIDE)
    # Test pipelines load the masks after resizing: they are as large as the original image.
    shape = sample.img_shape[:2]
    masks = objects.masks.to_tensor(torch.float32, inputs.device)[None]
    masks = F.interpolate(masks, shape, mode="area")
    masks = F.pad(masks, (0, width - shape[1], 0, height - shape[0]))
    true = F.interpolate(masks, size, mode="area")[0]
    box = _boxes(true)
    image = F.interpolate(inputs, size, mode="bilinear", align_corners=False)[0]
    rows = []
    with torch.no_grad():
        for mask in (true, box.float(), torch.full_like(true, 0.5)):
            scores = mask * (1 - 2 * softness) + softness
            rows.append(torch.stack([term(Masks(scores, box, image, None)) for term in terms], 1))
    return torch.stack(rows, 1)


def _boxes(masks: Any) -> Any:
    """The pixels (K, H, W), bool, of the boxes around masks, of which none may be empty."""
    inside = masks > 0
    return inside.any(2, keepdim=True) & inside.any(1, keepdim=True)
