"""The page of a report."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mmlevelset.experiments.machine import environment
from mmlevelset.experiments.report.charts import FRAME, make_charts, style
from mmlevelset.experiments.report.tables import (
    CURVES,
    class_table,
    config_differences,
    label,
    result_tables,
)
from mmlevelset.experiments.runs import RunRecord, by_variant

if TYPE_CHECKING:
    from mmlevelset.experiments.report.predictions import Prediction

MANY_DIFFERENCES = 30
"""The table of config differences is open at first if it has at most this many rows."""


def page(
    runs: list[RunRecord],
    left_out: list[str],
    drawn: dict[str, list[Prediction]],
    arguments: argparse.Namespace,
) -> str:
    """Return the page as HTML.

    Args:
        runs: the runs.
        left_out: a line for each folder without a log.
        drawn: the predictions of each run, by its name.
        arguments: the command's arguments.
    """
    variants = by_variant(runs)
    tables = result_tables(runs, arguments.metrics)
    present = {name for run in runs for name in run.scores}
    scores = arguments.metrics or [name for name in CURVES if name in present]
    configs = {
        name: [run.config.to_dict() for run in seeds if run.config is not None]
        for name, seeds in variants.items()
    }
    known = {name: seeds for name, seeds in configs.items() if seeds}
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["label"] = label
    return templates.get_template("template.html").render(
        title=arguments.title or f"{len(runs)} run{'s' if len(runs) > 1 else ''}",
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        environment=environment(),
        runs=runs,
        same_environment=all(run.environment == runs[0].environment for run in runs),
        variants=variants,
        styles={name: style(number) for number, name in enumerate(variants)},
        left_out=left_out,
        tables=tables,
        classes=class_table(runs),
        charts=make_charts(variants, scores, arguments.window),
        frame=FRAME,
        compared=list(known),
        differences=config_differences(known),
        many=MANY_DIFFERENCES,
        drawn=drawn,
        pictures=not arguments.no_pictures,
        search=arguments.search,
        score_thr=arguments.score_thr,
    )
