"""Print a table of the last evaluation of runs: python tools/results_table.py WORK_DIR ..."""

from mmlevelset.experiments.results_table import main

if __name__ == "__main__":
    main()
