"""Compare our BoxLevelSet head with the released head.

python tools/model_converters/check_released.py FILE
"""

from mmlevelset.converters.models.check_released import main

if __name__ == "__main__":
    main()
