"""The model card of published weights, with what the run's record knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.machine import in_words
from mmlevelset.experiments.results_table import METRICS
from mmlevelset.experiments.runs import RunRecord, read_run, read_settings
from mmlevelset.experiments.weights.loading import Weights
from mmlevelset.files import shipped_folder

if TYPE_CHECKING:
    from mmengine.config import Config

OPEN = "FILL IN"
"""The mark of a place that the record of the run cannot fill."""

CARD = """\
# {name}

{OPEN}: the task of the model in one sentence.

```bash
python tools/predict.py PHOTO --weights {name}
```

| | |
|:---|:---|
| network | `{config}` |
| classes | {classes} |
| training data | {data} |
| training | {training} |
| command | `{command}` |
| seed | {seed} |
| versions | {versions} |
| file | float16 tensors, float32 outside its range; `torch.load(..., weights_only=True)` reads it |

## Scores

{scores}

## Limits

{OPEN}: the images on which the model was not tested or fails.

## Licence

{OPEN}: the licence of the weights, and the terms of the training images and of pretrained parts.
"""


def model_card(name: str, weights: Weights, meta: Mapping[str, Any], config: Config) -> str:
    """Return the text of a model card.

    Args:
        name: The name of the published weights.
        weights: The checkpoint. The record of its run is read from its folder.
        meta: The ``meta`` of the published weights.
        config: The config.
    """
    run = _run_of(Path(weights.source).parent)
    config_file = _path_of(meta["config"])
    steps = [f"{meta[key]} {word}" for key, word in STEPS if key in meta]
    seed = meta.get("seed")
    return CARD.format(
        OPEN=OPEN,
        name=name,
        config=config_file,
        classes=", ".join(meta["dataset_meta"]["classes"]),
        data="; ".join(_data(config.get("train_dataloader", {}).get("dataset", {}))) or OPEN,
        training=", ".join(steps) or OPEN,
        command=f"python tools/train.py {config_file}",
        seed=OPEN if seed is None else seed,
        versions=in_words(_versions(run, meta)),
        scores=_scores(run, weights),
    )


STEPS = (("epoch", "epochs"), ("iter", "iterations"))


def _path_of(name: str) -> str:
    """Return the path of a config of this package, or else its name with a mark."""
    folder = shipped_folder("configs")
    found = next(folder.rglob(f"{name}.py"), None)
    return found.relative_to(folder.parent).as_posix() if found else f"{OPEN}/{name}.py"


def _run_of(folder: Path) -> RunRecord | None:
    try:
        run = read_run(folder)
    except InputError:
        return None
    if run is not None:
        read_settings(run)
    return run


def _versions(run: RunRecord | None, meta: Mapping[str, Any]) -> dict[str, str]:
    return dict(run.environment) if run and run.environment else dict(meta["versions"])


def _data(dataset: Mapping[str, Any]) -> Iterator[str]:
    """Yield the description of each data set inside a data set of a config."""
    inner = dataset.get("datasets") or [dataset[key] for key in ("dataset",) if key in dataset]
    for one in inner:
        yield from _data(one)
    if not inner and dataset:
        facts = [
            f"{key} {dataset[key]}" for key in ("ann_file", "length", "seed") if key in dataset
        ]
        yield f"`{dataset.get('type')}`" + (f" ({', '.join(facts)})" if facts else "")


def _scores(run: RunRecord | None, weights: Weights) -> str:
    """Return a table of the run's last evaluation, if it evaluated this checkpoint."""
    steps = {weights.meta.get(key) for key, _ in STEPS}
    if run is None or not run.scores:
        return f"{OPEN}: the folder of the checkpoint holds no evaluation."
    if run.validation and run.validation[-1].get("step") not in steps:
        return f"{OPEN}: the run's last evaluation is of another checkpoint."
    shown = [metric for metric in METRICS if metric in run.scores]
    rows = [f"| {metric} | {run.scores[metric]:.1f} |" for metric in shown or sorted(run.scores)]
    return "\n".join([f"On {OPEN}, in percent:", "", "| score | |", "|:---|---:|", *rows])
