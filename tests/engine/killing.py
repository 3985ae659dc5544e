"""A hook and a transform that kill a process of a training run, as a power cut does."""

import os
import signal

from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch.utils.data import get_worker_info


@HOOKS.register_module()
class KillHook(Hook):
    """Kills the process of a rank before an iteration."""

    def __init__(self, iteration: int, rank: int = 0) -> None:
        self.iteration = iteration
        self.rank = rank

    def before_train_iter(self, runner, *args, **kwargs) -> None:
        if runner.iter == self.iteration and runner.rank == self.rank:
            os.kill(os.getpid(), signal.SIGKILL)


@TRANSFORMS.register_module()
class KillWorker(BaseTransform):
    """Kills the data loader's worker that loads an image."""

    def __init__(self, index: int) -> None:
        self.index = index

    def transform(self, results: dict) -> dict:
        if get_worker_info() is not None and results["sample_idx"] == self.index:
            os.kill(os.getpid(), signal.SIGKILL)
        return results
