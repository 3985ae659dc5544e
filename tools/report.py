"""One HTML page about several runs: scores, curves, configs, best and worst predictions.

    python tools/report.py work_dirs/a work_dirs/b --out report.html
    python tools/report.py work_dirs/sweeps/NAME/* --classwise --out report.html

Runs in folders named <variant>_seed<number> are one variant. The page needs no network. Scores and
curves come from the logs; pictures, and with --classwise the scores of each class, from the
checkpoints, on the config's validation set. What a run lacks is left out, and the page says so.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import choose_device, short_errors

if TYPE_CHECKING:
    from report_models import Prediction
    from report_runs import Run

MANY_DIFFERENCES = 30


def parse() -> argparse.Namespace:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("work_dirs", nargs="+", type=Path, help="of the runs; files are ignored")
    made.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page")
    made.add_argument("--title", help="of the page")
    made.add_argument("--metrics", nargs="+", help="columns of the tables, without 'coco/'")
    made.add_argument(
        "--images", type=int, default=2, metavar="N", help="the best N and the worst N a run [2]"
    )
    made.add_argument("--no-pictures", action="store_true", help="show no predictions")
    made.add_argument(
        "--classwise",
        action="store_true",
        help="evaluate the checkpoints for the scores of each class, where the log lacks them",
    )
    made.add_argument(
        "--search",
        type=int,
        default=100,
        help="choose best and worst among this many images, evenly spread [100]",
    )
    made.add_argument("--score-thr", type=float, default=0.5, help="least score drawn [0.5]")
    made.add_argument(
        "--size", type=int, default=240, help="longer side of a picture in pixels [240]"
    )
    made.add_argument(
        "--window", type=int, help="logged steps in the running mean of losses [1/20 of them]"
    )
    made.add_argument("--device", choices=["cpu", "cuda"], help="the GPU, if there is one")
    made.add_argument(
        "--traceback", action="store_true", help="show the whole traceback of an error"
    )
    made.set_defaults(gpus=None, local_rank=0, launcher="none")
    return made.parse_args()


def main() -> None:
    arguments = parse()
    with short_errors("report.py", arguments):
        if arguments.images < 1 or arguments.search < 1 or arguments.size < 32:
            raise InputError("--images and --search must be at least 1, --size at least 32")
        if arguments.window is not None and arguments.window < 1:
            raise InputError(f"--window must be at least 1, and was {arguments.window}")
        choose_device(arguments)
        from report_runs import read_runs, result_tables

        try:
            runs, left_out = read_runs(arguments.work_dirs)
            result_tables(runs, arguments.metrics)
        except (FileNotFoundError, ValueError) as error:
            raise InputError(str(error)) from error
        for line in left_out:
            print(f"left out: {line}", file=sys.stderr)
        drawn = {}
        for number, run in enumerate(runs, 1):
            print(f"[{number}/{len(runs)}] {run.work_dir}", flush=True)
            drawn[run.name] = ask_model(run, arguments)
            for note in run.notes:
                print(f"{run.name}: {note}", file=sys.stderr)
        write(page(runs, left_out, drawn, arguments), arguments.out)


def ask_model(run: Run, arguments: argparse.Namespace) -> list[Prediction]:
    """Fill in what only the checkpoint knows; its predictions. What fails is noted in the run."""
    evaluates = arguments.classwise and not run.classes
    if arguments.no_pictures and not evaluates:
        return []
    from draw_results import find_checkpoint, open_results
    from report_models import evaluate, predictions

    if run.config is None:
        run.notes.append("no predictions without a config")
        return []
    if not (run.checkpoints / "last_checkpoint").is_file():
        run.notes.append("no checkpoint in the work dir: no predictions")
        return []
    drawn: list[Prediction] = []
    with noting(run, "the checkpoint could not be used", arguments):
        checkpoint = find_checkpoint(str(run.checkpoints))
        results = open_results(run.config, str(checkpoint), arguments.score_thr)
        if evaluates:
            with noting(run, "no evaluation of classes", arguments):
                logged, run.classes = evaluate(results, run.config.val_evaluator)
                if not run.scores:
                    run.take_scores(logged)
                    run.notes.append(f"its scores are of {checkpoint.name}, evaluated here")
                if not run.classes:
                    run.notes.append("its metrics know no classes")
        if not arguments.no_pictures:
            with noting(run, "no predictions", arguments):
                drawn = predictions(results, arguments.images, arguments.search, arguments.size)
    return drawn


@contextmanager
def noting(run: Run, what: str, arguments: argparse.Namespace) -> Iterator[None]:
    """Note an error in the run: its missing data set must not cost the page of all others."""
    try:
        yield
    except Exception as error:
        if arguments.traceback:
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        run.notes.append(f"{what}: {message:.300}")


def page(
    runs: list[Run],
    left_out: list[str],
    drawn: dict[str, list[Prediction]],
    arguments: argparse.Namespace,
) -> str:
    """The whole page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from report_charts import FRAME, make_charts, style
    from report_runs import (
        CURVES,
        by_variant,
        class_table,
        config_differences,
        label,
        result_tables,
    )
    from sweep_run import environment

    from mmlevelset import __version__

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
    return templates.get_template("report_template.html").render(
        title=arguments.title or f"{len(runs)} run{'s' if len(runs) > 1 else ''}",
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        environment={"mmlevelset": __version__, **environment()},
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


def write(content: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(content, encoding="utf-8")
    os.replace(unfinished, path)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
