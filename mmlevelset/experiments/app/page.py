"""The page itself, made with Gradio. What it does is in the other modules of this room."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from mmlevelset.errors import InputError, one_line
from mmlevelset.experiments.app.evolution import Evolution, draw, predict, solve
from mmlevelset.experiments.app.models import model_facts, model_names
from mmlevelset.experiments.app.photographs import Photograph, read_photograph, samples
from mmlevelset.experiments.app.solvers import ITERATIONS, SOLVERS, Setting

SIDES = (128, 256, 384, 512)
"""The choices of the longer side on which a classic solver works, in pixels."""
MODEL_SIDE = 1333
"""The longer side of the photograph that a model gets."""
LEAST = 0.2
"""The fewest seconds between two pictures of a running solver."""
PAUSE = 0.12
"""Seconds between two frames of the animation."""
FONTS = ("system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")
CSS = """
.gradio-container {max-width: 1280px !important; margin: 0 auto}
#picture img {object-fit: contain}
@media (max-width: 640px) {#picture {height: 340px !important}}
"""
NO_PHOTOGRAPH = "Choose a photograph or a sample first."


def build() -> gr.Blocks:
    """Return the page."""
    models, known = model_names(), samples()
    first = next(iter(SOLVERS))
    with gr.Blocks(title="mmlevelset", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown("# Level sets on a photograph")
        result = gr.State(None, time_to_live=3600)
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                file = gr.File(label="Photograph", height=140, elem_id="file")
                sample = gr.Dropdown(
                    list(known),
                    value=next(iter(known), None),
                    label="or a sample of scikit-image",
                    visible=bool(known),
                    elem_id="sample",
                )
                method = gr.Dropdown(
                    [*SOLVERS, *models], value=first, label="Solver or model", elem_id="method"
                )
                advice = gr.Markdown(SOLVERS[first].advice)
                with gr.Column() as solver_settings:
                    sliders, groups = _sliders(first)
                    iterations = _slider(ITERATIONS)
                    with gr.Row():
                        start = gr.Dropdown(
                            list(SOLVERS[first].starts), label="start", min_width=120
                        )
                        side = gr.Dropdown(
                            list(SIDES), value=256, label="longer side, pixels", min_width=120
                        )
                    swapped = gr.Checkbox(label="the object is the outside")
                with gr.Column(visible=False) as model_settings:
                    score = gr.Slider(0.05, 1, 0.5, step=0.05, label="lowest score of an object")
            with gr.Column(scale=3, min_width=320):
                picture = gr.Image(
                    interactive=False,
                    show_label=False,
                    format="jpeg",
                    height=520,
                    buttons=["download", "fullscreen"],
                    elem_id="picture",
                )
                with gr.Row():
                    run = gr.Button("Run", variant="primary", elem_id="run", min_width=80)
                    stop = gr.Button("Stop", min_width=80)
                    play = gr.Button("Play", elem_id="play", min_width=80)
                step = gr.Slider(0, 1, 0, step=1, label="step", interactive=False, elem_id="step")
                status = gr.Textbox(label="Status", interactive=False, lines=2, elem_id="status")
                with gr.Row():
                    mask = gr.DownloadButton(
                        "Mask (PNG)", interactive=False, elem_id="mask", min_width=120
                    )
                    polygons = gr.DownloadButton(
                        "Contours (GeoJSON)", interactive=False, elem_id="geojson", min_width=120
                    )

        def choose(name: str) -> list[Any]:
            advice, starts, lowest = "", [], gr.skip()
            if name in SOLVERS:
                advice, starts = SOLVERS[name].advice, list(SOLVERS[name].starts)
            elif name in models:
                facts = model_facts(name)
                advice = f"A model that finds: {', '.join(facts.classes)}."
                lowest = gr.update(value=facts.score_thr)
            return [
                advice,
                gr.update(visible=name in SOLVERS),
                gr.update(visible=name in models),
                gr.update(choices=starts, value=next(iter(starts), None)),
                lowest,
                *(gr.update(visible=name == group) for group in groups),
            ]

        def preview(path: str | None, sample: str | None, name: str, side: int) -> list[Any]:
            emptied = [None, gr.update(interactive=False), *[gr.update(interactive=False)] * 2]
            try:
                photograph = read(path, sample, name, side)
            except InputError as error:
                return [None, _sentence(error), *emptied]
            return [draw(photograph.pixels, []), _sizes(photograph), *emptied]

        def read(path: str | None, sample: str | None, name: str, side: int) -> Photograph:
            longest = side if name in SOLVERS else MODEL_SIDE
            if longest not in (*SIDES, MODEL_SIDE):
                raise InputError(
                    f"The longer side must be one of {SIDES}, and was {longest!r:.50}."
                )
            if path is not None:
                return read_photograph(Path(path), longest)
            if sample not in known:
                raise InputError(NO_PHOTOGRAPH)
            return read_photograph(known[sample], longest)

        def calculate(
            path: str | None,
            sample: str | None,
            name: str,
            side: int,
            score: float,
            start: str,
            swapped: bool,
            *numbers: float,
        ) -> Iterator[list[Any]]:
            began = time.perf_counter()
            off = gr.update(interactive=False)
            try:
                photograph = read(path, sample, name, side)
                if name in SOLVERS:
                    settings = dict(zip(sliders, numbers, strict=True))
                    values = {key[1]: value for key, value in settings.items() if key[0] == name}
                    values[ITERATIONS.argument] = settings["", ITERATIONS.argument]
                    evolutions = solve(name, photograph, values, start, swapped)
                else:
                    evolutions = iter([predict(name, photograph, score)])
                drawn = 0.0
                for made in evolutions:
                    last = len(made.frames) - 1
                    if time.perf_counter() - drawn > LEAST:
                        line = f"{made.frames[last].title} …"
                        yield [None, made.draw(last), off, line, off, off]
                        drawn = time.perf_counter()
            except InputError as error:
                yield [None, gr.skip(), off, _sentence(error), off, off]
                return
            with TemporaryDirectory() as folder:  # Gradio keeps a copy while the page needs it
                png, geojson = made.write(Path(folder))
                line = _summary(made, time.perf_counter() - began)
                steps = gr.update(
                    maximum=max(1, last), value=last, interactive=last > 0, label=_label(made, last)
                )
                yield [
                    made,
                    gr.skip(),
                    steps,
                    line,
                    *(gr.update(value=str(path), interactive=True) for path in (png, geojson)),
                ]

        def show(made: Evolution | None, number: float) -> list[Any]:
            if made is None or not 0 <= number < len(made.frames):
                return [gr.skip(), gr.skip()]
            return [made.draw(int(number)), gr.update(label=_label(made, int(number)))]

        def animate(made: Evolution | None) -> Iterator[list[Any]]:
            for number in range(len(made.frames) if made else 0):
                picture, label = show(made, number)
                yield [picture, gr.update(value=number, **{"label": label["label"]})]
                time.sleep(PAUSE)

        sliders["", ITERATIONS.argument] = iterations
        downloads = [mask, polygons]
        chosen = [file, sample, method, side]
        method.change(
            choose,
            method,
            [advice, solver_settings, model_settings, start, score, *groups.values()],
            show_progress="hidden",
        )
        shown = [picture, status, result, step, *downloads]
        gr.on(
            [file.change, sample.change, method.change, side.change, page.load],
            preview,
            chosen,
            shown,
            show_progress="hidden",
        )
        sample.input(lambda: None, None, file)
        running = run.click(
            calculate,
            [*chosen, score, start, swapped, *sliders.values()],
            [result, picture, step, status, *downloads],
            show_progress="hidden",
            concurrency_limit=1,
        )
        playing = play.click(animate, result, [picture, step], show_progress="hidden")
        stop.click(lambda: "Stopped.", None, status, cancels=[running, playing])
        step.input(
            show,
            [result, step],
            [picture, step],
            show_progress="hidden",
            trigger_mode="always_last",
        )
    return page


def _sliders(first: str) -> tuple[dict[tuple[str, str], gr.Slider], dict[str, gr.Column]]:
    """Return the sliders by solver and argument, and the group of each solver."""
    sliders, groups = {}, {}
    for name, solver in SOLVERS.items():
        with gr.Column(visible=name == first) as groups[name]:
            for setting in solver.settings:
                sliders[name, setting.argument] = _slider(setting)
    return sliders, groups


def _slider(setting: Setting) -> gr.Slider:
    return gr.Slider(
        setting.low,
        setting.high,
        setting.default,
        step=setting.step,
        label=setting.label,
        elem_id=setting.argument if setting is ITERATIONS else None,
    )


def _label(made: Evolution, number: int) -> str:
    return f"step: {made.frames[number].title}"


def _sentence(error: InputError) -> str:
    line = one_line(error)
    return line if line.endswith(".") else f"{line}."


def _sizes(photograph: Photograph) -> str:
    height, width = photograph.full_size
    line = f"{width} x {height} pixels"
    if photograph.pixels.shape[:2] != photograph.full_size:
        line += f", reduced to {photograph.pixels.shape[1]} x {photograph.pixels.shape[0]}"
    return f"The photograph has {line}."


def _summary(made: Evolution, seconds: float) -> str:
    share = (made.mask() > 0).mean()
    count = len(made.features or [])
    found = "" if made.features is None else f"{count} object{'s' * (count != 1)}, "
    if made.features == []:
        found = "no object (a lower score shows more), "
    return (
        f"{_sizes(made.photograph)} {made.frames[-1].title}: {found}the mask covers"
        f" {share:.1%} of the photograph. {seconds:.1f} s."
    )
