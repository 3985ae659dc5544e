"""Draw the classic solvers' pictures of the docs: python tools/draw_classic_solvers.py."""

from mmlevelset.experiments.drawing.classic_solvers import main

if __name__ == "__main__":
    main()
