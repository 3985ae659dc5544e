"""Plot what several runs logged: python tools/plot_runs.py WORK_DIR ... --out PICTURE."""

from mmlevelset.experiments.plot_runs import main

if __name__ == "__main__":
    main()
