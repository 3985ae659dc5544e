import copy
import math
import random
import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import nn
from torch.utils.data import Dataset

from mmlevelset.engine import NonFiniteLossHook


class Images(Dataset):
    metainfo: ClassVar[dict] = dict()

    def __init__(self, bad_image: int | None = None, bad_box: int | None = None) -> None:
        self.bad_image, self.bad_box = bad_image, bad_box

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        image = torch.full((3, 4, 4), float(index))
        if index == self.bad_image:
            image[1, 2, 3] = math.nan
        sample = DetDataSample(metainfo=dict(img_path=f"folder/{index}.png"))
        box = math.inf if index == self.bad_box else 1.0
        sample.gt_instances = InstanceData(bboxes=torch.tensor([[0, 0, 1, box]]))
        return dict(inputs=image, data_samples=sample)


class Poison(nn.Module):
    """Gives ``emits`` for an image with pixels of ``value``; by default no image has them."""

    def __init__(self, value: float = -1.0, emits: float = math.nan) -> None:
        super().__init__()
        self.value, self.emits = value, emits

    def forward(self, x):
        return torch.where(self.reference == self.value, self.emits, x)


class Chain(BaseModel):
    def __init__(self, layers=(), outside: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(3, 2, 1)
        self.outside = outside
        self.calls = 0

    def forward(self, inputs, data_samples=None, mode="tensor"):
        self.calls += 1
        x = torch.stack(inputs)
        for module in self.modules():
            module.reference = x
        x = self.layers(x / 10)
        if self.outside:
            x = torch.where(self.reference == 5, math.inf, x)
        out = self.head(x)
        return dict(
            loss_good=self.head.bias.square().sum(),
            loss_many=[out[:, 0].square().mean((1, 2)), out[:, 1].square().mean()],
            accuracy=torch.tensor(math.nan),
        )


def make_runner(work_dir, model, dataset=None, hook=None, **kwargs) -> Runner:
    return Runner(
        model=model,
        work_dir=str(work_dir),
        experiment_name=f"nonfinite_{random.SystemRandom().random()}",
        train_cfg=dict(by_epoch=True, max_epochs=2),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=Images() if dataset is None else dataset,
        ),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=1e-3)),
        custom_hooks=[dict(type="mmlevelset.NonFiniteLossHook")] if hook is None else [hook],
        randomness=dict(seed=0),
        **kwargs,
    )


class Remember(Hook):
    """Keeps the weights before each training step."""

    def before_train_iter(self, runner, *args, **kwargs) -> None:
        self.iter = runner.iter
        self.weights = copy.deepcopy(dict(runner.model.named_parameters()))


def stop(runner: Runner) -> str:
    """Train until the error; check that the weights are clean and that the log ends with it."""
    remember = Remember()
    runner.register_hook(remember, priority="LOWEST")
    with pytest.raises(FloatingPointError) as error:
        runner.train()
    for name, parameter in runner.model.named_parameters():
        assert torch.equal(parameter, remember.weights[name])
        assert parameter.grad is None or parameter.grad.isfinite().all()
    message = str(error.value)
    [log] = Path(runner.work_dir).glob("*/*.log")
    assert log.read_text().rstrip().endswith(message)
    assert not any(module._forward_hooks for module in runner.model.modules())
    return message


def test_layer_that_overflows_for_one_image_is_named(tmp_path):
    layers = [nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True), Poison(value=5, emits=math.inf), nn.ReLU()]
    message = stop(make_runner(tmp_path, Chain(layers)))
    lines = message.splitlines()
    assert re.fullmatch(
        r"Non-finite loss in epoch 1, iteration 3 \(rank 0\):"
        r" loss_many\[0\] = \S+ \(1 of 2 elements not finite\), loss_many\[1\] = \S+\.",
        lines[0],
    )
    assert lines[1] == "Images of the batch: folder/4.png, folder/5.png."
    assert lines[2].startswith("Cause: submodule layers.2 (Poison) gives a non-finite output")


def test_in_place_layer_is_named(tmp_path):
    class InPlace(Poison):
        def forward(self, x):
            return x.masked_fill_(self.reference == self.value, self.emits)

    layers = [nn.Conv2d(3, 3, 1), InPlace(value=3), nn.ReLU()]
    message = stop(make_runner(tmp_path, Chain(layers)))
    assert "iteration 2" in message and "submodule layers.1 (InPlace)" in message


def test_code_between_submodules(tmp_path):
    message = stop(make_runner(tmp_path, Chain(outside=True)))
    assert "Cause: the code that makes the inputs of submodule head." in message


def test_code_of_the_losses(tmp_path):
    class Loss(Chain):
        def forward(self, *args, **kwargs):
            losses = super().forward(*args, **kwargs)
            return dict(loss=losses["loss_good"] / 0)

    message = stop(make_runner(tmp_path, Loss()))
    assert "loss = inf" in message and "the code that makes the losses" in message


def test_fault_that_does_not_repeat(tmp_path):
    class Fault(Chain):
        def forward(self, *args, **kwargs):
            losses = super().forward(*args, **kwargs)
            return dict(loss=losses["loss_good"] * (math.nan if self.calls == 3 else 1))

    message = stop(make_runner(tmp_path, Fault()))
    assert "iteration 3" in message and "repeating the forward pass gave finite losses" in message


def test_forward_is_repeated_with_the_same_random_numbers(tmp_path):
    class Dice(Chain):
        """Overflows at random; draws from each generator."""

        def forward(self, *args, **kwargs):
            losses = super().forward(*args, **kwargs)
            draws = [random.random(), np.random.rand(), torch.rand(1).item()]  # noqa: NPY002
            self.seen = [*getattr(self, "seen", []), draws]
            return dict(loss=losses["loss_good"] / (max(draws) < 0.5))

    runner = make_runner(tmp_path, Dice())
    message = stop(runner)
    assert "the code that makes the losses" in message
    *_, first, repeated = runner.model.seen
    assert first == repeated


def test_repeated_forward_that_raises(tmp_path):
    class Raises(Chain):
        def forward(self, *args, **kwargs):
            losses = super().forward(*args, **kwargs)
            if self.calls > 1:
                raise AssertionError("boxes must be finite")
            return dict(loss=losses["loss_good"] / 0)

    message = stop(make_runner(tmp_path, Raises()))
    assert "repeating the forward pass raised AssertionError: boxes must be finite" in message


@pytest.mark.parametrize(
    ("fault", "where", "iteration"),
    [
        (dict(bad_image=6), "inputs[0] of folder/6.png", 4),
        (dict(bad_box=1), "data_samples[1].gt_instances.bboxes of folder/1.png", 1),
    ],
)
def test_data_that_are_not_finite_are_named(tmp_path, fault, where, iteration):
    class Boxes(Chain):
        def forward(self, inputs, data_samples=None, mode="tensor"):
            losses = super().forward(inputs, data_samples, mode)
            boxes = torch.cat([sample.gt_instances.bboxes for sample in data_samples])
            return dict(loss=losses["loss_many"][1] + 0 * boxes.sum())

    message = stop(make_runner(tmp_path, Boxes(), Images(**fault)))
    assert f"iteration {iteration} " in message
    assert message.endswith(f"Cause: the data are not finite: {where}.")


class Overflow(Hook):
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner, *args, **kwargs) -> None:
        if runner.iter == self.iteration:
            with torch.no_grad():
                runner.model.head.weight[0, 0] = math.inf


def test_parameters_of_an_overflowed_update_are_named(tmp_path):
    runner = make_runner(tmp_path, Chain())
    runner.register_hook(Overflow(1))
    message = stop(runner)
    assert "iteration 3 " in message
    assert "parameters are not finite: head.weight. An earlier update overflowed" in message
    assert "clip_grad" in message


def test_overflowed_parameters_are_not_stored(tmp_path):
    runner = make_runner(tmp_path, Chain())
    runner.register_hook(Overflow(7))  # after the last iteration, where no loss shows it
    with pytest.raises(FloatingPointError, match=r"not written: parameters .* head\.weight"):
        runner.train()
    assert (tmp_path / "epoch_1.pth").exists()
    assert not (tmp_path / "epoch_2.pth").exists()


def test_interval(tmp_path):
    class Counted(Chain):
        def forward(self, *args, **kwargs):
            losses = super().forward(*args, **kwargs)
            return dict(loss=losses["loss_good"] + (math.nan if self.calls >= 2 else 0))

    hook = dict(type="mmlevelset.NonFiniteLossHook", interval=3)
    with pytest.raises(FloatingPointError, match="iteration 4"):
        make_runner(tmp_path, Counted(), hook=hook).train()


@pytest.mark.parametrize("interval", [0, -1, 1.5, "2"])
def test_bad_interval(interval):
    with pytest.raises(ValueError, match=f"interval must be a positive .* is {interval!r}"):
        NonFiniteLossHook(interval=interval)


def test_sound_training_is_unaffected(tmp_path):
    def train(name, **kwargs):
        torch.manual_seed(0)
        runner = make_runner(
            tmp_path / name, Chain([nn.Dropout(0.5), nn.Conv2d(3, 3, 1)]), **kwargs
        )
        runner.train()
        return runner.model

    watched, plain = train("watched"), train("plain", hook=Remember())
    assert watched.calls == plain.calls == 8
    for parameter, expected in zip(watched.parameters(), plain.parameters(), strict=True):
        assert torch.equal(parameter, expected)
    assert not watched._forward_hooks and not watched._forward_pre_hooks


def test_half_precision_loss_that_overflows(tmp_path):
    class Half(Chain):
        def forward(self, *args, **kwargs):
            losses = super().forward(*args, **kwargs)
            loss = losses["loss_good"] * 0 + 70000
            assert loss.isfinite()
            return dict(loss=loss.half())

    assert "loss = inf" in stop(make_runner(tmp_path, Half()))


def test_empty_loss_is_told_apart(tmp_path):
    class Empty(Chain):
        def forward(self, *args, **kwargs):
            losses = super().forward(*args, **kwargs)
            return dict(loss_mask=losses["loss_many"][0][:0])

    assert "loss_mask = mean of no elements, shape (0,)" in stop(make_runner(tmp_path, Empty()))


class Square(nn.Conv2d):
    """Squares its output ``steps`` times, which may overflow."""

    steps = 0

    def forward(self, x):
        x = super().forward(x)
        for _ in range(self.steps):
            x = 10 * (1 + x.abs()) ** 2
        return x


class Switch(Hook):
    def before_train_iter(self, runner, *args, **kwargs) -> None:
        if runner.iter == 4:
            runner.model.roi_head.mask_head.conv_logits.steps = 9


def test_mask_rcnn_with_a_layer_that_overflows(tiny_config, tmp_path):
    tiny_config.custom_hooks = [dict(type="mmlevelset.NonFiniteLossHook")]
    tiny_config.experiment_name = str(tmp_path)
    runner = Runner.from_cfg(tiny_config)
    head = runner.model.roi_head.mask_head
    logits = Square(16, 1, 1)
    logits.load_state_dict(head.conv_logits.state_dict())
    head.conv_logits = logits
    runner.register_hook(Switch())
    message = stop(runner)
    assert "epoch 2, iteration 5" in message and "loss_mask = " in message
    assert "loss_cls" not in message
    assert "submodule roi_head.mask_head.conv_logits (Square)" in message
    assert tiny_config.train_dataloader.dataset.data_root in message and ".png" in message
    checkpoint = torch.load(Path(runner.work_dir, "epoch_1.pth"), weights_only=False)
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    assert Path(runner.work_dir, "last_checkpoint").read_text().endswith("epoch_1.pth")
