"""Compare the ops with their definitions: python tools/dev/fuzz_ops.py [options]."""

from mmlevelset.experiments.fuzz.command import main

if __name__ == "__main__":
    main()
