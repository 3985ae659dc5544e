"""Make one HTML page about several runs: python tools/report.py WORK_DIR ... --out FILE.html."""

from mmlevelset.experiments.report.command import main

if __name__ == "__main__":
    main()
