"""Plot what runs logged over the iterations, several runs in one picture.

    python tools/plot_runs.py work_dirs/shapes/fcn32s* --out fcn32s.png
    python tools/plot_runs.py work_dirs/voc/* --names loss_ce mIoU BF_1 --out voc.png

By default cross-entropy, level-set energy and mIoU. Runs in folders named <variant>_seed<number>
have one colour: each is drawn faint, and their mean.
"""

import argparse
import re
import sys
from pathlib import Path


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work_dirs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the picture: .png, .pdf, .svg")
    parser.add_argument(
        "--names",
        nargs="+",
        default=["loss_ce", "energy_level_set", "mIoU"],
        help="what to plot, as the log names it [loss_ce energy_level_set mIoU]",
    )
    parser.add_argument(
        "--window", type=int, help="logged steps in the running mean of losses [1/20 of them]"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    from mmlevelset.logs import log_files
    from mmlevelset.visualization import plot_curves

    runs: dict[str, list[list[Path]]] = {}
    for work_dir in arguments.work_dirs:
        logs = log_files(work_dir)
        if not logs:
            sys.exit(f"plot_runs.py: error: {work_dir} holds no log (*/vis_data/scalars.json)")
        variant = re.sub(r"_seed\d+$", "", work_dir.name)
        runs.setdefault(variant, []).append(logs)
    try:
        figure = plot_curves(runs, arguments.names, arguments.window)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(arguments.out)
    except ValueError as error:
        sys.exit(f"plot_runs.py: error: {error}")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
