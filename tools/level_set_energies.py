"""Measure BoxLevelSet's energies of true masks: python tools/level_set_energies.py CONFIG."""

from mmlevelset.experiments.drawing.energies import main

if __name__ == "__main__":
    main()
