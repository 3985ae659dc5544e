"""Mean energies of BoxLevelSet's terms for true masks, boxes and flat masks.

    python tools/level_set_energies.py configs/quickstart/box-levelset_shapes.py

The command takes the objects of the config's validation images, at a quarter of the images' size.
For each object it computes the energy of three masks inside the object's box: the true mask, the
whole box, and a mask of one half everywhere. A term compares the mask with the image (I_u), or with
the mask itself after the filter along the image's tree (t1 of the released I_f). The network is not
used. A useful term has its least energy at the true masks.
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
    options = parser(
        "Energies of true masks, boxes and flat masks on a config's validation images."
    )
    options.add_argument(
        "--images", type=int, default=60, help="use only the first IMAGES images [60]"
    )
    options.add_argument(
        "--softness",
        type=float,
        default=0.02,
        help="scores are s outside and 1 - s inside, since a network never reaches 0 and 1 [0.02]",
    )
    return options.parse_args(words)


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
    """Return the mean energies, a row for each of CANDIDATES, and the number of objects.

    Args:
        config: The config, with a model of BoxLevelSet's family.
        most: Largest number of images.
        softness: The least score of a mask, in [0, 0.5).

    Returns:
        The energies of a pixel and a channel: a row has a number for each of TERMS.

    Raises:
        InputError: The data set gives no masks, or has no object.
    """
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
    """Return the energies (K, candidates, terms) of one image's objects."""
    import torch
    import torch.nn.functional as F

    from mmlevelset.models.box_levelset.level_set_loss import Masks

    objects = sample.gt_instances
    height, width = inputs.shape[-2:]
    size = (height // STRIDE, width // STRIDE)
    # Test pipelines load the masks after resizing the image, so masks have the image's own size.
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
    """Return the pixels (K, H, W), bool, of the boxes around masks. No mask may be empty."""
    inside = masks > 0
    return inside.any(2, keepdim=True) & inside.any(1, keepdim=True)
