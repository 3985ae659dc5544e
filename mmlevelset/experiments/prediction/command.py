"""Find objects on photographs, draw their contours, and write them as COCO results and polygons.

    python tools/predict.py photo.jpg
    python tools/predict.py photos/ "more/*.png" --out mine --weights work_dirs/x/epoch_8.pth

The folder of the results then has, for each photograph NAME:

- NAME_contours.png, the photograph with the contours, names and scores of its objects;
- NAME_evolution.png, phi_0 to phi_N of the best objects, if the model has level sets;
- NAME.geojson, the contours as polygons in pixels;

and for all photographs results.json, COCO's results with run-length encoded masks, and
photographs.json, the images and the categories of these results.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import (
    add_config_options,
    choose_device,
    require_share,
    short_errors,
)
from mmlevelset.experiments.prediction.photographs import find_photographs, result_names
from mmlevelset.experiments.weights.shipped import find_weights

if TYPE_CHECKING:
    from mmlevelset.experiments.prediction.detector import Detector

NAME = "predict.py"


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(
        prog=NAME, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "photographs",
        nargs="+",
        metavar="PHOTO",
        help="a file, a folder (all photographs below it) or a pattern in quotes",
    )
    made.add_argument(
        "--weights", help="shipped weights by name, or a file [the default of weights/index.json]"
    )
    made.add_argument("--config", help="the model's config [the text in the weights]")
    made.add_argument(
        "--out",
        metavar="FOLDER",
        type=_folder,
        default=Path("work_dirs/predict"),
        help="folder of the results [work_dirs/predict]",
    )
    made.add_argument(
        "--score-thr",
        type=float,
        help="leave out objects of a lower score [that of the weights, or 0.5]",
    )
    add_config_options(made)
    return made.parse_args(words)


def _folder(word: str) -> Path:
    if not word:
        raise argparse.ArgumentTypeError("the name of the folder is empty")
    return Path(word)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    # A file's name need not be text that the terminal can show.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with short_errors(NAME, arguments):
        sys.exit(predict(arguments))


def predict(arguments: argparse.Namespace) -> int:
    """Write the results of all photographs.

    Returns:
        The exit code: 0, or 2 if a photograph could not be read, or 130 after Ctrl-C.

    Raises:
        InputError: The arguments or the weights are wrong, or there is no photograph.
    """
    score_thr = arguments.score_thr
    if score_thr is not None:
        require_share("--score-thr", score_thr)
    photographs, unreadable = find_photographs(arguments.photographs, arguments.out)
    if not photographs:
        raise InputError("; ".join(unreadable))
    source = find_weights(arguments.weights)
    choose_device(arguments)

    from mmlevelset.experiments.prediction.results import Results
    from mmlevelset.files import make_folder

    detector = load_detector(source, arguments)
    make_folder(arguments.out, "--out")
    for line in unreadable:
        print(f"{NAME}: {line}", file=sys.stderr)
    results = Results(arguments.out, detector.classes)
    spent = []
    try:
        names = result_names(photographs, arguments.out)
        for number, (photograph, name) in enumerate(zip(photographs, names, strict=True), 1):
            start = time.perf_counter()
            try:
                found = detector.detect(detector.read(photograph))
            except Exception as error:  # no image, too narrow to be resized, too large for memory
                of_file = isinstance(error, OSError | ValueError)
                if not of_file and (arguments.traceback or isinstance(error, InputError)):
                    raise
                line = " ".join(str(error).split()) or type(error).__name__
                unreadable.append(line if str(photograph) in line else f"{photograph}: {line}")
                print(f"{NAME}: {unreadable[-1]}", file=sys.stderr, flush=True)
                continue
            results.add(photograph, name, found)
            spent.append(time.perf_counter() - start)
            objects = f"{len(found)} object{'s' * (len(found) != 1)}"
            place = f"[{number}/{len(photographs)}]"
            print(f"{place} {photograph}: {objects}, {spent[-1]:.2f} s", flush=True)
    except KeyboardInterrupt:
        done = f"{len(results.images)} of {len(photographs)} photographs are done"
        print(f"{NAME}: interrupted: {done}, in {arguments.out}", file=sys.stderr)
        return 130
    finally:
        if results.images:  # the photographs so far, if the run is ended
            results.write()
    if spent:
        mean = sum(spent) / len(spent)
        photographs_done = f"{len(spent)} photograph{'s' * (len(spent) != 1)}"
        print(f"{photographs_done}, {mean:.2f} s each; results in {arguments.out}")
    return 2 if unreadable else 0


def load_detector(source: str, arguments: argparse.Namespace) -> Detector:
    """Return the detector of the weights and the config."""
    from mmlevelset.experiments.prediction.detector import Detector
    from mmlevelset.experiments.weights.loading import config_of, read_weights

    weights = read_weights(source)
    config, _ = config_of(weights, arguments)
    score_thr = arguments.score_thr
    if score_thr is None:
        score_thr = weights.meta.get("score_thr", 0.5)
    return Detector(config, weights, score_thr)


if __name__ == "__main__":
    main()
