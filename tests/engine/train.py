"""Trains a config in a process of its own that dies at an iteration, as by a power cut."""

import argparse
import os
import signal

from mmengine import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner


class KillHook(Hook):
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner, *args, **kwargs) -> None:
        if runner.iter == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("iteration", type=int)
    args = parser.parse_args()
    runner = Runner.from_cfg(Config.fromfile(args.config))
    runner.register_hook(KillHook(args.iteration))
    runner.train()
