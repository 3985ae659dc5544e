"""Make small weights from a checkpoint: float16 tensors and the facts that a user needs.

    python tools/publish_weights.py work_dirs/NAME/epoch_12.pth --out weights/NAME.pth

The command writes the weights and, beside them, a model card NAME.md. "FILL IN" marks the places
of the card that only you can fill. A card that exists is left as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import (
    add_config_options,
    build_model,
    choose_device,
    short_errors,
)
from mmlevelset.experiments.weights.card import model_card
from mmlevelset.experiments.weights.loading import (
    Weights,
    config_of,
    load_strictly,
    read_weights,
)
from mmlevelset.files import write_text, write_whole

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import Tensor

OF_A_RUN = ("work_dir", "load_from", "resume", "launcher")
"""Keys of a config that belong to a run on a machine."""
PRETRAINED = ("Pretrained", "PipWeights")
"""Types of an ``init_cfg`` that read a file."""


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("checkpoint", help="a checkpoint of a training")
    made.add_argument("--config", help="the config of the model [the text in the checkpoint]")
    made.add_argument("--out", metavar="FILE.pth", required=True, help="the weights to write")
    made.add_argument(
        "--limit", type=float, default=14, metavar="MB", help="maximum size in 10^6 bytes [14]"
    )
    made.add_argument(
        "--score-thr",
        type=float,
        default=0.5,
        help="predict.py shows objects of at least this score by default [0.5]",
    )
    add_config_options(made)
    return made.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("publish_weights.py", arguments):
        out = Path(arguments.out)
        if out.suffix != ".pth":
            raise InputError(f"--out must end in .pth, and was {out}")
        if not 0 <= arguments.score_thr <= 1:
            raise InputError(f"--score-thr must be in 0..1, and was {arguments.score_thr}")
        choose_device(arguments)
        weights = read_weights(arguments.checkpoint)
        config, name = config_of(weights, arguments)
        content = published(weights, config, name, arguments.score_thr)
        write(content, out, arguments.limit)
        print(f"wrote {out}, {out.stat().st_size / 1e6:.1f} MB")
        card = out.with_suffix(".md")
        if card.exists():
            print(f"{card} exists and stays as it is")
            return
        write_text(card, model_card(out.stem, weights, content["meta"], config))
        print(f"wrote {card}: fill in the places that are marked")


def published(
    weights: Weights, config: Config, name: str, score_thr: float = 0.5
) -> dict[str, Any]:
    """Return the content of a file of published weights.

    Args:
        weights: A checkpoint of the config's model.
        config: The config.
        name: The name of the config.
        score_thr: The score from which ``predict.py`` shows an object.

    Returns:
        ``state_dict``: the tensors of :func:`halved`. ``meta``: ``dataset_meta`` (``classes``,
        ``palette``), ``cfg`` (the flat text of the config, without files of pretrained weights),
        ``config`` (its name), ``score_thr``, ``epoch``, ``iter`` and ``seed`` of the training,
        ``versions``. The keys ``dataset_meta`` and ``cfg`` are those that mmdet's
        ``DetInferencer`` reads.

    Raises:
        InputError: The checkpoint is not of the config's model, names no classes, or holds a
            number that is not finite.
    """
    from mmlevelset.experiments.machine import versions

    config = without_run(config)
    load_strictly(build_model(config), weights)
    if weights.classes is None:
        raise InputError(f"the checkpoint {weights.source} names no classes")
    palette = (weights.meta.get("dataset_meta") or {}).get("palette")
    kept: dict[str, Any] = {
        key: weights.meta[key] for key in ("epoch", "iter", "seed") if key in weights.meta
    }
    meta: dict[str, Any] = dict(
        dataset_meta=dict(classes=weights.classes, palette=_plain(palette)),
        cfg=config.pretty_text,
        config=name,
        score_thr=score_thr,
        versions=versions("mmlevelset", "torch", "mmengine", "mmcv", "mmdet"),
        **kept,
    )
    return dict(meta=meta, state_dict=halved(weights.state))


def without_run(config: Config) -> Config:
    """Return a copy of a config without what belongs to a run, and without pretrained weights.

    The weights of a backbone are in the file, so that its own file is not needed again.
    """
    from mmengine.config import Config

    kept = {key: value for key, value in config.to_dict().items() if key not in OF_A_RUN}
    kept["model"] = _without_pretrained(kept["model"])
    return Config(kept)


def _without_pretrained(value: Any) -> Any:
    """Return a value of a config without the ``init_cfg`` of pretrained parts."""
    if isinstance(value, dict):
        if _is_pretrained(value):
            return None
        return {
            key: None if key == "pretrained" else _without_pretrained(inner)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(_without_pretrained(one) for one in value if not _is_pretrained(one))
    return value


def _is_pretrained(value: Any) -> bool:
    kind = value.get("type", "") if isinstance(value, dict) else ""
    return str(kind).rpartition(".")[2] in PRETRAINED


def _plain(value: Any) -> Any:
    """Return a palette as lists of Python's numbers, which ``weights_only`` reads."""
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value.item() if hasattr(value, "item") else value


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with floating-point numbers as float16; integers stay as they are.

    A tensor stays float32 if float16 has not its range: its largest number overflows, or its
    numbers are so small that float16 loses more than three digits of the largest.

    Raises:
        InputError: A number is not finite.
    """
    made = {}
    for name, value in state.items():
        value = value.detach().cpu()
        if value.is_floating_point():
            if not value.isfinite().all():
                raise InputError(f"{name} holds NaN or infinity")
            half, value = value.half(), value.float()
            error = (half.float() - value).abs()
            fits = not value.numel() or error.max() <= 2**-10 * value.abs().max()
            value = half if fits else value
        made[name] = value.contiguous().clone()  # a view would be saved with its whole storage
    return made


def write(content: dict[str, Any], out: Path, limit: float) -> None:
    """Write the file whole, or not at all if it is larger than ``limit`` x 10^6 bytes.

    Raises:
        InputError: The file would be larger.
    """
    import torch

    def save(unfinished: str) -> None:
        torch.save(content, unfinished)
        size = Path(unfinished).stat().st_size / 1e6
        if size > limit:
            raise InputError(f"{out} would have {size:.1f} MB, more than --limit {limit:g}")

    write_whole(out, save)
