"""Write a config for your own data: python tools/new_config.py FILE --images DIR --out my.py."""

from mmlevelset.experiments.new_config.command import main

if __name__ == "__main__":
    main()
