"""Draw a picture of each function of mmlevelset.ops: python tools/dev/draw_ops.py."""

from mmlevelset.experiments.drawing.ops import main

if __name__ == "__main__":
    main()
