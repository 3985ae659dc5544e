"""Draw a model's best and worst results: python tools/draw_results.py CONFIG CHECKPOINT."""

from mmlevelset.experiments.drawing.results import main

if __name__ == "__main__":
    main()
