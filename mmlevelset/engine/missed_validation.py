"""A hook for resumed runs: makes good a validation in which the run was killed."""

from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmlevelset.errors import InputError
from mmlevelset.logs import evaluation_at
from mmlevelset.registry import HOOKS


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Validate before training goes on, if the checkpoint's validation is in no log.

    A checkpoint is written before the validation of its epoch. If the run is killed in between,
    mmengine goes on with the next epoch, and after the last epoch it ends without a score.

    Example:
        >>> custom_hooks = [dict(type="mmlevelset.MissedValidationHook")]
    """

    priority = "LOWEST"

    def before_train(self, runner: Runner) -> None:
        """Validate if it is due."""
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        step = loop.epoch if by_epoch else loop.iter
        end = loop.max_epochs if by_epoch else loop.max_iters
        if runner.val_loop is None or step == 0 or step < loop.val_begin:
            return
        loop._decide_current_val_interval()
        if step % loop.val_interval and step < end:
            return
        try:
            done = evaluation_at(Path(runner.work_dir), step)
        except ValueError as error:
            raise InputError(
                f"the log of the earlier training is broken: {error}; mend it or move the file"
                " away, and --resume goes on"
            ) from error
        if done:
            return
        name = "epoch" if by_epoch else "iteration"
        runner.logger.info(f"The validation of {name} {step} is in no log: it is done now.")
        runner.val_loop.run()
