"""Make one HTML page about several runs: scores, curves, configs, predictions.

    python tools/report.py work_dirs/a work_dirs/b --out report.html
    python tools/report.py work_dirs/sweeps/NAME/* --classwise --out report.html

Runs in folders named <variant>_seed<number> are one variant. The page needs no network. Scores and
curves come from the logs. Pictures, and with --classwise the scores of each class, come from the
checkpoints, on the config's validation set. If a run lacks a part, the page leaves the part out and
adds a note.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import choose_device, short_errors
from mmlevelset.files import write_text

if TYPE_CHECKING:
    from mmlevelset.experiments.report.predictions import Prediction
    from mmlevelset.experiments.runs import RunRecord


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "work_dirs", nargs="+", type=Path, help="work dirs of the runs; files are ignored"
    )
    made.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page")
    made.add_argument("--title", help="of the page")
    made.add_argument("--metrics", nargs="+", help="columns of the tables, without 'coco/'")
    made.add_argument(
        "--images", type=int, default=2, metavar="N", help="best N and worst N of each run [2]"
    )
    made.add_argument("--no-pictures", action="store_true", help="show no predictions")
    made.add_argument(
        "--classwise",
        action="store_true",
        help="evaluate the checkpoints if the log has no scores of classes",
    )
    made.add_argument(
        "--search",
        type=int,
        default=100,
        help="choose the best and the worst among N images, evenly spread [100]",
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
    return made.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("report.py", arguments):
        if arguments.images < 1 or arguments.search < 1 or arguments.size < 32:
            raise InputError("--images and --search must be at least 1, --size at least 32")
        if arguments.window is not None and arguments.window < 1:
            raise InputError(f"--window must be at least 1, and was {arguments.window}")
        if arguments.out.is_dir():
            raise InputError(f"--out must be a file, and {arguments.out} is a folder")
        choose_device(arguments)
        from mmlevelset.experiments.report.page import page
        from mmlevelset.experiments.report.tables import result_tables
        from mmlevelset.experiments.runs import read_runs, read_settings

        runs, left_out = read_runs(arguments.work_dirs)
        result_tables(runs, arguments.metrics)
        for line in left_out:
            print(f"left out: {line}", file=sys.stderr)
        drawn = {}
        for number, run in enumerate(runs, 1):
            print(f"[{number}/{len(runs)}] {run.work_dir}", flush=True)
            read_settings(run)
            drawn[run.name] = ask_model(run, arguments)
            for note in run.notes:
                print(f"{run.name}: {note}", file=sys.stderr)
        out = arguments.out
        write_text(out, page(runs, left_out, drawn, arguments))
        print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


def ask_model(run: RunRecord, arguments: argparse.Namespace) -> list[Prediction]:
    """Return predictions of the checkpoint, and add the scores of classes to the run.

    An error is noted in the run.
    """
    evaluates = arguments.classwise and not run.classes
    if arguments.no_pictures and not evaluates:
        return []
    from mmlevelset.experiments.drawing.results import open_results
    from mmlevelset.experiments.report.predictions import evaluate, predictions
    from mmlevelset.experiments.runs import latest_checkpoint

    if run.config is None:
        run.notes.append("no predictions without a config")
        return []
    if (
        not any(run.checkpoints.glob("*.pth"))
        and not (run.checkpoints / "last_checkpoint").exists()
    ):
        run.notes.append("no checkpoint in the work dir: no predictions")
        return []
    drawn: list[Prediction] = []
    with noting(run, "the checkpoint could not be used", arguments):
        checkpoint = latest_checkpoint(run.checkpoints)
        results = open_results(run.config, str(checkpoint), arguments.score_thr)
        if evaluates:
            with noting(run, "no evaluation of classes", arguments):
                logged, run.classes = evaluate(results, run.config.val_evaluator)
                if not run.scores:
                    run.take_scores(logged)
                    run.notes.append(f"the scores are of {checkpoint.name}, evaluated here")
                if not run.classes:
                    run.notes.append("the metrics give no scores of classes")
        if not arguments.no_pictures:
            with noting(run, "no predictions", arguments):
                drawn = predictions(results, arguments.images, arguments.search, arguments.size)
    return drawn


@contextmanager
def noting(run: RunRecord, what: str, arguments: argparse.Namespace) -> Iterator[None]:
    """Note an error in the run, so that the page of the other runs is still made."""
    try:
        yield
    except Exception as error:
        if arguments.traceback:
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        run.notes.append(f"{what}: {message:.300}")
