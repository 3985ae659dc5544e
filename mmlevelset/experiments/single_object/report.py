"""Tables and pictures of the comparison of networks and classic solvers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmlevelset.experiments.machine import in_words, processor_and_threads, versions
from mmlevelset.experiments.single_object.items import CLEAN, Item
from mmlevelset.experiments.single_object.methods import Classic, Method, Network, Result

if TYPE_CHECKING:
    import numpy as np

SIDES = dict(
    truth="the side of a contour that fits the truth better counts, an upper bound",
    centre="the side of a contour with the image's middle counts",
)
PACKAGES = ("mmlevelset", "torch", "numpy", "opencv")
CONTOUR_COLOR, TRUTH_COLOR = "#ffd60a", "#34e05b"


def report(results: Sequence[Result], items: Sequence[Item], arguments: argparse.Namespace) -> str:
    """Return the table in Markdown, with the settings that its numbers depend on."""
    import numpy as np

    first = results[0]
    annotators = len(items[0].truths)
    several = [f"_{number + 1}" for number in range(annotators)] if annotators > 1 else [""]
    titles = ["", *(title for c in first.scores for title in columns(c, several))]
    titles += ["iterations", "at most", "s/image", "median"]
    lines = [*header(items, arguments), "", f"| {' | '.join(titles)} |"]
    lines.append(f"|:---|{'---:|' * (len(titles) - 1)}")
    for result in results:
        cells = [f"{100 * mean:.2f}" for c in first.scores for mean in np.mean(result.scores[c], 0)]
        cells += timing_cells(result)
        lines.append(f"| {result.method.name} | {' | '.join(cells)} |")
    lines.append("")
    for result in results:
        words = describe(result.method)
        if words:
            lines.append(f"- {result.method.name}: {words}")
    return "\n".join(lines) + "\n"


def columns(condition: str, annotators: Sequence[str]) -> list[str]:
    suffix = "" if condition == CLEAN else f" {condition}"
    return [f"FM{annotator}{suffix}" for annotator in annotators]


def header(items: Sequence[Item], arguments: argparse.Namespace) -> list[str]:
    sizes = {item.image.shape[:2] for item in items}
    height, width = min(sizes)
    size = f"{height} x {width} pixels" if len(sizes) == 1 else "at their own sizes"
    colors = "colours" if arguments.color else "grey"
    timed = min(arguments.time_images, len(items))
    return [
        f"FM: F-measure in percent, mean over {len(items)} test images of"
        f" `{arguments.config}`, {size}.",
        f"Classic solvers see {colors}; {SIDES[arguments.side]}.",
        "Iterations: mean over the images. At most: share of the images that took max_num_iter.",
        f"Seconds: mean and median over {timed} images, one by one, after a first run that is not"
        f" counted; {machine()}.",
    ]


def timing_cells(result: Result) -> list[str]:
    import numpy as np

    cells = ["", ""]
    if isinstance(result.method, Classic):
        iterations = np.array(result.iterations[CLEAN])
        most = result.method.settings["max_num_iter"]
        cells = [f"{iterations.mean():.0f}", f"{100 * (iterations >= most).mean():.0f}%"]
    if result.method.kind == "reference":
        return [*cells, "", ""]
    return [*cells, f"{np.mean(result.seconds):.4f}", f"{np.median(result.seconds):.4f}"]


def describe(method: Method) -> str:
    if isinstance(method, Network):
        return f"`{method.path}`, `{method.checkpoint}`"
    if not isinstance(method, Classic):
        return ""
    words = [f"{key}={value}" for key, value in method.settings.items()]
    if method.tuning is not None:
        tried = len(method.tuning.tried)
        score = 100 * method.tuning.best[1]
        words.append(f"the best of {tried} on the training images, FM {score:.2f} there")
    return ", ".join(words)


def machine() -> str:
    """Return the processor with its threads, the GPU and the versions in one line."""
    import torch

    words = [processor_and_threads()]
    if torch.cuda.is_available():
        words.append(f"networks on {torch.cuda.get_device_name()}")
    return ", ".join([*words, in_words(versions(*PACKAGES))])


def numbers_of(
    results: Sequence[Result], items: Sequence[Item], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Return all numbers, for JSON."""
    names = ("config", "cfg_options", "side", "size", "color", "seed", "tune")
    return dict(
        settings={name: getattr(arguments, name) for name in names},
        machine=machine(),
        versions=versions(*PACKAGES),
        images=[item.name for item in items],
        methods=[
            dict(
                name=result.method.name,
                kind=result.method.kind,
                **result.method.describe(),
                f_measure={c: [v.tolist() for v in rows] for c, rows in result.scores.items()},
                iterations=result.iterations,
                seconds=result.seconds,
            )
            for result in results
        ],
    )


def draw(
    results: Sequence[Result],
    items: Sequence[Item],
    images: Sequence[np.ndarray],
    condition: str,
    arguments: argparse.Namespace,
) -> np.ndarray:
    """Draw images from the easiest to the hardest, each with the contours of all methods.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    import numpy as np

    from mmlevelset.visualization import Panel, draw_panels, mask_polygons

    shown = [result for result in results if result.method.kind != "reference"]
    # The images are chosen by their clean scores, so that all conditions show the same images.
    ease = np.mean([np.mean(result.scores[CLEAN], 1) for result in shown], 0)
    order = np.argsort(-ease, kind="stable")
    count = min(arguments.pictures, len(items))
    chosen = order[np.linspace(0, len(order) - 1, count).round().astype(int)].tolist()
    rows = []
    for number in chosen:
        truth = mask_polygons(items[number].truths[:1] == 1)
        row = [
            Panel(images[number], f"image {number}"),
            Panel(images[number], "truth", truth, [TRUTH_COLOR]),
        ]
        for result in shown:
            outline = mask_polygons(result.masks[condition][number][None])
            score = 100 * result.scores[condition][number].mean()
            title = f"{result.method.name}: {score:.1f}"
            row.append(Panel(images[number], title, outline, [CONTOUR_COLOR]))
        rows.append(row)
    return draw_panels(rows, arguments.panel)
