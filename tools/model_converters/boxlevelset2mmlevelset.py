"""Convert a released BoxLevelSet checkpoint.

python tools/model_converters/boxlevelset2mmlevelset.py RELEASED.pth OURS.pth
"""

from mmlevelset.converters.models.boxlevelset2mmlevelset import main

if __name__ == "__main__":
    main()
