"""Train a config on two CPU processes: first soundly, then with an overflow on rank 1."""

import sys
from pathlib import Path

import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner


class Overflow(Hook):
    def before_train_iter(self, runner, *args, **kwargs) -> None:
        if runner.iter == 2 and runner.rank == 1:
            runner.model.module.rpn_head.register_forward_hook(
                lambda module, args, output: tuple([x / 0 for x in part] for part in output)
            )


def record(runner: Runner, name: str, message: str) -> None:
    sums = [parameter.double().sum().item() for parameter in runner.model.parameters()]
    text = f"{runner.iter}\n{sum(sums)!r}\n{message}"
    Path(runner.work_dir, f"{name}_{runner.rank}.txt").write_text(text)


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    cfg = Config.fromfile(sys.argv[1])
    cfg.launcher = "pytorch"
    # mmengine's default is a CUDA device for each process.
    cfg.model_wrapper_cfg = dict(type="MMDistributedDataParallel", device_ids=None)

    cfg.experiment_name = "sound"
    runner = Runner.from_cfg(cfg)
    runner.train()
    record(runner, "sound", "")

    cfg.experiment_name = "overflow"
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Overflow())
    try:
        runner.train()
    except FloatingPointError as error:
        record(runner, "overflow", str(error))
    torch.distributed.destroy_process_group()
