"""Comparison of networks with the classic level-set solvers on images of one object each.

    python tools/compare_single_object.py CONFIG --model RLS CONFIG CHECKPOINT --tune 20

The comparison follows Table 2 and Figure 7 of Le et al., Recurrent Level Set Networks, 2019. The
table has the F-measure and the seconds an image of trained networks and of Chan-Vese, DRLSE,
region-scalable fitting and L2S, on the same test images at one size. The pictures show the
contours.

The command writes into --out-dir comparison.md, which it also prints, comparison.json with the
numbers of each image, and comparison.png with a further picture for each degradation.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import (
    choose_device,
    load_config,
    parser,
    require_file,
    short_errors,
)
from mmlevelset.experiments.single_object.items import CLEAN, Item, images_under, read_items
from mmlevelset.experiments.single_object.methods import (
    Classic,
    Method,
    Network,
    Result,
    WholeImage,
    compare,
)
from mmlevelset.experiments.single_object.report import SIDES, draw, numbers_of, report
from mmlevelset.files import write_json, write_picture, write_text
from mmlevelset.progress import Progress

SOLVERS = ("chan_vese", "drlse", "region_scalable_fitting", "legendre_level_set")
DEGRADATIONS = ("noise", "blur", "light")

if TYPE_CHECKING:
    import numpy as np

    Images: TypeAlias = dict[str, list[np.ndarray]]


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    options = parser("Compare networks with the classic solvers on images of one object each.")
    options.add_argument(
        "--model",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "CONFIG", "CHECKPOINT"),
        help="a trained network of labels 0 and 1; any number of times",
    )
    options.add_argument(
        "--solver",
        nargs="+",
        action="append",
        metavar=("NAME", "KEY=VALUE"),
        help=f"run only this solver, with these settings; any number of times [all: "
        f"{', '.join(SOLVERS)}]; `none`: no solver. Settings are the arguments of"
        " mmlevelset.ops.NAME, and start=box, disk, 'small disk' or checkerboard [box: the image"
        " without a margin of a sixteenth]",
    )
    options.add_argument(
        "--tune",
        type=int,
        default=0,
        metavar="N",
        help="choose the solvers' settings from a small grid on the first N training images [0:"
        " defaults]; settings of --solver stay",
    )
    options.add_argument(
        "--side",
        choices=list(SIDES),
        default="truth",
        help="side of a solver's contour that counts as the object: the side that fits the truth"
        " better, an upper bound, or the side with the image's middle [truth]",
    )
    options.add_argument(
        "--size",
        type=int,
        nargs="+",
        default=[64, 64],
        metavar=("H", "W"),
        help="size of all images; 0: each image's own size [64 64]",
    )
    options.add_argument("--color", action="store_true", help="solvers see colours [grey]")
    options.add_argument(
        "--degrade",
        nargs="+",
        default=[],
        metavar="KIND=AMOUNT",
        help="also compare under noise=SIGMA in grey levels of 255, blur=SIGMA in pixels, or"
        " light=SHARE: a linear ramp from 1 - SHARE to 1 + SHARE times the brightness",
    )
    options.add_argument("--seed", type=int, default=0, help="seed of the degradations [0]")
    options.add_argument("--images", type=int, help="use only the first IMAGES test images [all]")
    options.add_argument(
        "--time-images",
        type=int,
        default=20,
        help="time the first TIME_IMAGES images, one by one [20]",
    )
    options.add_argument("--pictures", type=int, default=6, help="number of images to draw [6]")
    options.add_argument(
        "--panel", type=int, default=200, help="longer side of a panel in pixels [200]"
    )
    options.add_argument(
        "--format", choices=["png", "jpg"], default="png", help="format of the pictures [png]"
    )
    options.add_argument(
        "--json",
        metavar="FILE",
        help="write the means into this file: NAME/FM in percent, or NAME/FM_1 and so on for each"
        " annotator, and NAME/seconds; NAME is a name of --model or --solver, or whole_image",
    )
    options.add_argument(
        "--out-dir", metavar="FOLDER", help="folder of the files [`comparison` in the work dir]"
    )
    return options.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("compare_single_object.py", arguments):
        check_numbers(arguments)
        for _, path, checkpoint in arguments.model:
            require_file(path, "the config")
            require_file(checkpoint, "the checkpoint")
        choose_device(arguments)
        config = load_config(arguments)
        from mmlevelset.experiments.checks.config import require_fit

        require_fit(config, *(("train", "test") if arguments.tune else ("test",)))
        degradations = read_degradations(arguments.degrade)
        solvers = read_solvers(arguments)
        check_names(solvers, arguments.model)
        networks = [Network(*words) for words in arguments.model]
        items = read_items(config, "test", arguments.images, arguments.size)
        if arguments.tune and solvers:
            tune(solvers, read_items(config, "train", arguments.tune, arguments.size))
        methods = [WholeImage(), *solvers, *networks]
        images = {
            condition: images_under(items, condition, amounts, arguments.seed)
            for condition, amounts in {CLEAN: {}, **degradations}.items()
        }
        results = compare_all(methods, items, images, arguments.time_images)
        save(results, items, images, arguments)


def check_numbers(arguments: argparse.Namespace) -> None:
    bounds = dict(tune=0, seed=0, images=1, time_images=1, pictures=0, panel=32)
    for name, least in bounds.items():
        value = getattr(arguments, name)
        if value is not None and value < least:
            option = name.replace("_", "-")
            raise InputError(f"--{option} must be at least {least}, and was {value}")
    size = arguments.size
    if size != [0] and (len(size) != 2 or min(size) < 8):
        raise InputError(f"--size must be a height and a width of at least 8, or 0, and was {size}")


def check_names(solvers: Sequence[Method], models: Sequence[Sequence[str]]) -> None:
    solver_names = [solver.name for solver in solvers]
    names = [WholeImage.name, *solver_names, *(words[0] for words in models)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"each method needs a name of its own, but {twice[0]!r} is there twice")
    if len(names) == 1:
        raise InputError("there is nothing to compare: --solver none needs --model")


def read_pair(word: str, option: str) -> tuple[str, Any]:
    key, equals, value = word.partition("=")
    if not key or not equals:
        raise InputError(f"{option} takes KEY=VALUE, and got {word!r}")
    try:
        return key, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return key, value


def read_solvers(arguments: argparse.Namespace) -> list[Classic]:
    if arguments.solver == [["none"]]:
        return []
    chosen = []
    for name, *words in arguments.solver or [[name] for name in SOLVERS]:
        fixed = dict(read_pair(word, "--solver") for word in words)
        chosen.append(Classic(name, fixed, arguments.side, arguments.color))
    return chosen


def read_degradations(words: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the arguments of :func:`degrade` for each word of --degrade."""
    import numpy as np

    from mmlevelset.datasets.degradation import degrade

    found = {}
    for word in words:
        kind, amount = read_pair(word, "--degrade")
        if kind not in DEGRADATIONS or type(amount) not in (int, float):
            kinds = ", ".join(DEGRADATIONS)
            raise InputError(f"--degrade takes a number of {kinds}, and got {word!r}")
        try:
            amounts = {kind: float(amount)}
            degrade(np.zeros((8, 8), np.uint8), **amounts, rng=np.random.default_rng(0))
        except ValueError as error:
            raise InputError(f"--degrade: {error}") from error
        if word in found:
            raise InputError(f"--degrade has {word} twice")
        found[word] = amounts
    return found


def tune(solvers: Sequence[Classic], items: Sequence[Item]) -> None:
    from mmlevelset.experiments.single_object.solvers import grid_of

    print(f"tuning on {len(items)} training images", file=sys.stderr)
    runs = sum(len(grid_of(solver.key, solver.fixed)) for solver in solvers)
    with Progress(runs * len(items)) as progress:
        for solver in solvers:
            solver.tune(items, progress.update)


def compare_all(
    methods: Sequence[Method],
    items: Sequence[Item],
    images: Images,
    time_images: int,
) -> list[Result]:
    timed = min(time_images, len(items))
    with Progress(len(methods) * (len(items) * len(images) + timed)) as progress:
        return [compare(method, items, images, timed, progress.update) for method in methods]


def save(
    results: Sequence[Result],
    items: Sequence[Item],
    images: Images,
    arguments: argparse.Namespace,
) -> None:
    folder = Path(arguments.out_dir or Path(arguments.loaded.work_dir, "comparison"))
    text = report(results, items, arguments)
    print(text)
    write_text(folder / "comparison.md", text)
    write_json(folder / "comparison.json", numbers_of(results, items, arguments))
    names = ["comparison.md", "comparison.json"]
    for condition, seen in images.items() if arguments.pictures else ():
        suffix = "" if condition == CLEAN else f"_{condition.replace('=', '_')}"
        names.append(f"comparison{suffix}.{arguments.format}")
        write_picture(folder / names[-1], draw(results, items, seen, condition, arguments))
    for name in names:
        print(f"wrote {folder / name}", file=sys.stderr)
    if arguments.json:
        write_json(Path(arguments.json), means_of(results))


def means_of(results: Sequence[Result]) -> dict[str, float]:
    import numpy as np

    means = {}
    for result in results:
        scores = np.mean(result.scores[CLEAN], 0)
        several, key = len(scores) > 1, result.method.key
        for number, score in enumerate(scores, 1):
            means[f"{key}/FM{f'_{number}' if several else ''}"] = 100 * float(score)
        if result.seconds:
            means[f"{key}/seconds"] = float(np.mean(result.seconds))
    return means
