"""Train a config in a process that is killed at an iteration, as by a power cut."""

import argparse

from killing import KillHook
from mmengine import Config
from mmengine.runner import Runner

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("iteration", type=int)
    args = parser.parse_args()
    runner = Runner.from_cfg(Config.fromfile(args.config))
    runner.register_hook(KillHook(args.iteration))
    runner.train()
