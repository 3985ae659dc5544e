"""Try a solver or a model on a photograph, in the browser: python tools/app.py"""

from mmlevelset.experiments.app.command import main

if __name__ == "__main__":
    main()
