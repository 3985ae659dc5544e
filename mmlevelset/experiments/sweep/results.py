"""Tables and plots of a sweep's results."""

from __future__ import annotations

import csv
import io
import math
import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmlevelset.errors import InputError
from mmlevelset.experiments.runs import read_result
from mmlevelset.experiments.scores import as_shown, mean_and_deviation
from mmlevelset.experiments.sweep.plan import Plan, PlannedRun, Variant
from mmlevelset.files import read_json, shipped_folder, write_figure, write_text
from mmlevelset.logs import log_files, read_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SWEEPS = shipped_folder("configs") / "sweeps"
Results = Mapping[str, Mapping[int, dict]]
"""The contents of result.json of finished runs, by variant and seed."""


def read_results(plan: Plan) -> dict[str, dict[int, dict]]:
    """Return the results of a plan, without stale results."""
    results: dict[str, dict[int, dict]] = {}
    for run in plan.table_runs:
        result = result_of(run)
        if result is not None:
            results.setdefault(run.variant.name, {})[run.seed] = result
    return results


def result_of(run: PlannedRun) -> dict | None:
    """Return a run's result; None if there is no result, or if it is stale.

    A result is stale if it has other settings, or if the evaluated run was trained again later.
    """
    result = _written(run)
    if result is None or result["fingerprint"] != run.fingerprint:
        return None
    if run.source is not None:
        source = result_of(run.source)
        if source is None or source["finished"] != result.get("evaluated"):
            return None
    return result


def has_stale_result(run: PlannedRun) -> bool:
    """Return whether the folder of a run has a stale result."""
    return _written(run) is not None and result_of(run) is None


def _written(run: PlannedRun) -> dict | None:
    """Return what a run wrote; None if there is nothing, or nothing that can be read."""
    file = run.folder / "result.json"
    try:
        return read_result(file, of_a_sweep=True) if file.exists() else None
    except InputError:
        return None


def broken(run: PlannedRun) -> str | None:
    """Return the error of the first file of a run that cannot be read; None without one."""
    task, result = run.folder / "run.json", run.folder / "result.json"
    try:
        if task.exists():
            read_json(task)
        if result.exists():
            read_result(result, of_a_sweep=True)
    except InputError as error:
        return str(error)
    return None


def scores(results: Results, variant: Variant, title: str) -> list[float]:
    """Return a variant's values of a column, seed by seed, without NaN and COCO's -1."""
    key = variant.metrics[title]
    runs = [result["metrics"] for _, result in sorted(finished(results, variant).items())]
    values = [float(metrics[key]) for metrics in runs if key in metrics]
    return [score for value in values if math.isfinite(score := as_shown(key, value))]


def finished(results: Results, variant: Variant) -> Mapping[int, dict]:
    """Return the results that a row shows, by seed."""
    return results.get(variant.same or variant.name, {})


def as_printed(value: float) -> str:
    """Return a paper's number with all its digits; from 1 on, with at least one decimal: 33.0."""
    return f"{value:.1f}" if value >= 1 and round(value, 1) == value else f"{value:g}"


def cells(plan: Plan, results: Results) -> Iterator[list[str]]:
    """Yield the table's rows as text: first the titles, then label, runs, and each metric."""
    printed = {title for variant in plan.variants for title in variant.printed}
    titles = ["", "runs"]
    for title in plan.metrics:
        titles += [title, f"{title}, printed"] if title in printed else [title]
    yield titles
    for variant in plan.variants:
        if not variant.shown:
            continue
        done, planned = len(finished(results, variant)), len(plan.runs_of(variant))
        runs = str(done) if done == planned else f"{done} of {planned}"
        row = [variant.label, runs if variant.config or variant.same else ""]
        for title in plan.metrics:
            row.append(mean_and_deviation(scores(results, variant, title)))
            if title in printed:
                row.append(as_printed(variant.printed[title]) if title in variant.printed else "")
        yield row


def markdown(plan: Plan, results: Results) -> str:
    """Return the table in Markdown, and below it the notes on its numbers."""
    titles, *rows = cells(plan, results)
    escaped = r"\|"
    lines = [f"| {' | '.join(titles)} |", f"|:---|{'---:|' * (len(titles) - 1)}"]
    lines += [f"| {' | '.join(cell.replace('|', escaped) for cell in row)} |" for row in rows]
    return "\n".join([f"**{plan.title}**", "", *lines, "", *notes(plan, results)]) + "\n"


def notes(plan: Plan, results: Results) -> list[str]:
    """Return lines on the numbers of the table: seeds, machines, the command, results left out."""
    lines = ["Mean ± sample standard deviation over seeds."]
    if any(variant.printed for variant in plan.variants):
        where = f", on {plan.printed_on}" if plan.printed_on else ""
        lines.append(f"*Printed*: the paper's own number{where}.")
    seeds = sorted({seed for runs in results.values() for seed in runs})
    if seeds:
        lines.append(f"Seeds {', '.join(map(str, seeds))}.")
    machines = {
        ", ".join(f"{name} {version}" for name, version in result["environment"].items())
        for runs in results.values()
        for result in runs.values()
    }
    lines += [f"Measured with {machine}." for machine in sorted(machines)]
    for variant in plan.variants:
        runs = finished(results, variant).values()
        if variant.shown and runs and not any(scores(results, variant, t) for t in plan.metrics):
            logged = sorted({name for run in runs for name in run["metrics"]})
            lines.append(
                f"The runs of {variant.label} logged no {', '.join(variant.metrics.values())}, "
                f"but {', '.join(logged)}."
            )
    lines += left_out(plan)
    chosen = "" if plan.seeds.issuperset(seeds) else f" --seeds {' '.join(map(str, seeds))}"
    lines.append(f"Command: `python tools/sweep.py {name_of(plan.file)}{chosen}`")
    return lines


def left_out(plan: Plan) -> list[str]:
    """Return a line on each stale result, and on each run with a broken file."""
    why = "which had other settings, or evaluated an earlier training"
    stale = [f"Left out: {run.name}, {why}." for run in plan.table_runs if has_stale_result(run)]
    errors = {run.name: broken(run) for run in plan.table_runs}
    return [*stale, *(f"Left out: {name}, since {e}." for name, e in errors.items() if e)]


def name_of(sweep: Path) -> str:
    """Return the argument that names a sweep file on the command line."""
    return sweep.stem if sweep.resolve().parent == SWEEPS else shown(sweep)


def shown(path: Path) -> str:
    """Return a path relative to the working directory, if it is below that."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def latex(plan: Plan, results: Results) -> str:
    """Return the table in LaTeX; it needs the package booktabs."""
    titles, *rows = cells(plan, results)
    lines = [f"% {line}" for line in notes(plan, results)]
    lines += [f"\\begin{{tabular}}{{l{'r' * (len(titles) - 1)}}}", "\\toprule"]
    lines += [_latex_row(titles), "\\midrule", *map(_latex_row, rows)]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _latex_row(row: Sequence[str]) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {letter: f"\\{letter}" for letter in "&%$#_{}"} | {"±": r"$\pm$"}
    escaped = ("".join(special.get(letter, letter) for letter in cell) for cell in row)
    return " & ".join(escaped) + r" \\"


def comma_separated(plan: Plan, results: Results) -> str:
    """Return all numbers as CSV: a row for each variant, seed and metric; printed numbers too."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["variant", "label", "seed", "metric", "key", "value"])
    for variant in plan.variants:
        for seed in finished(results, variant):
            of_seed = {name: {seed: runs[seed]} for name, runs in results.items() if seed in runs}
            for title, key in variant.metrics.items():
                for value in scores(of_seed, variant, title):
                    table.writerow([variant.name, variant.label, seed, title, key, round(value, 6)])
        for title, value in variant.printed.items():
            table.writerow([variant.name, variant.label, "printed", title, "", value])
    return text.getvalue()


def score_plot(plan: Plan, results: Results) -> Figure:
    """Plot a panel for each metric: each seed a dot, their mean a bar."""
    from matplotlib.figure import Figure

    rows = [row for row in plan.variants if row.shown and finished(results, row)]
    height = 1.1 + 0.42 * len(rows)
    figure = Figure(figsize=(2.2 + 2.9 * len(plan.metrics), height), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(plan.metrics), squeeze=False, sharey=True)[0]
    for axes, title in zip(panels, plan.metrics, strict=True):
        for row, variant in enumerate(rows):
            values = scores(results, variant, title)
            if values:
                axes.barh(row, statistics.mean(values), height=0.6, color="#9ec5e8")
                axes.plot(values, [row] * len(values), "o", color="#1b4f72", markersize=4)
        axes.set(title=title, yticks=range(len(rows)), xlim=(0, None))
        axes.set_yticklabels([variant.label for variant in rows])
        axes.grid(alpha=0.3, axis="x")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    return figure


def write_results(plan: Plan) -> str | None:
    """Write the table (.md, .csv, .tex) and the plots of finished runs into the sweep's folder.

    Returns:
        The table in Markdown; None if no run is finished.
    """
    results = read_results(plan)
    if not results:
        return None
    table = markdown(plan, results)
    files = {
        "table.md": table,
        "table.csv": comma_separated(plan, results),
        "table.tex": latex(plan, results),
    }
    for name, text in files.items():
        write_text(plan.folder / name, text)
    write_figure(plan.folder / "scores.png", score_plot(plan, results))
    curves = {
        variant.label: logs
        for variant in plan.variants
        if (variant.train or not variant.of)
        and not variant.same
        and (logs := _logs(plan, results, variant))
    }
    if curves:
        from mmlevelset.visualization import plot_curves

        write_figure(plan.folder / "losses.png", plot_curves(curves, ["loss"]))
    return table


def _logs(plan: Plan, results: Results, variant: Variant) -> list[list[Path]]:
    """Return the logs of each finished training of a variant."""
    done = finished(results, variant)
    logs = [log_files(run.folder) for run in plan.runs_of(variant) if run.seed in done]
    return [files for files in logs if _is_drawn(files)]


def _is_drawn(files: Sequence[Path]) -> bool:
    try:
        return bool(read_log(files))
    except ValueError as error:
        print(f"no curve: {error}", file=sys.stderr)
        return False
