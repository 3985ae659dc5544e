"""Draw masks in their boxes over a training: python tools/draw_training.py CONFIG WORK_DIR."""

from mmlevelset.experiments.drawing.training import main

if __name__ == "__main__":
    main()
