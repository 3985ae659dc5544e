"""A hook that stops training at the first non-finite loss and names the cause."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import BaseBoxes
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmlevelset.registry import HOOKS

MAX_NAMES = 5


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop training when a loss is NaN or infinite, before the weights are updated.

    The hook checks the losses that the model returns (entries with ``loss`` in their name, before
    the scaling of mixed precision) after the forward pass. It reads one number from the device. If
    a loss is not finite, the hook logs and raises :class:`FloatingPointError` before the backward
    pass. Parameters, optimizer and checkpoints then hold the last good state; running statistics
    of the model in memory may not. The message names the losses, the epoch, the iteration, the
    image files and the likely cause:

    - inputs or ground truth that are not finite, with their image;
    - parameters that are not finite: an earlier update overflowed;
    - else the first submodule with a non-finite output for finite inputs. To find the submodule,
      the forward pass is repeated once with the same random numbers.

    The same error is raised instead of saving a checkpoint with parameters that are not finite:
    the last update overflowed, and no loss has been computed since.

    In distributed training all ranks share the result of each check (one all-reduce of one
    number). All ranks log and raise the messages of the ranks with a non-finite loss. A refused
    checkpoint stops rank 0, which writes checkpoints; the launcher then ends the other ranks.

    Args:
        interval (int): The hook checks every ``interval``-th iteration; 1 or more. A larger value
            waits for the device less often, but non-finite losses may then update the weights
            before the error.

    Raises:
        ValueError: ``interval`` is not a positive integer.
        FloatingPointError: During training, as described above.

    Example:
        >>> custom_hooks = [dict(type="mmlevelset.NonFiniteLossHook")]
    """

    def __init__(self, interval: int = 1) -> None:
        if not isinstance(interval, int) or interval < 1:
            raise ValueError(f"interval must be a positive integer, but is {interval!r}")
        self.interval = interval
        self._handles: list[Any] = []
        self._diagnosing = False

    def before_train(self, runner: Runner) -> None:
        """Register the checks on the model."""
        self._remove()
        model = _unwrapped(runner.model)
        generators: list[Any] = []

        # Plain functions, not methods: a copy of the model must not copy this object and the
        # runner.
        def remember_generators(module: nn.Module, args: tuple, kwargs: dict) -> None:
            if self._is_due(runner, args, kwargs):
                generators[:] = [_generator_states()]

        def check(module: nn.Module, args: tuple, kwargs: dict, losses: Any) -> None:
            if self._is_due(runner, args, kwargs) and not _all_finite_on_all_ranks(losses):
                self._stop(runner, module, args, kwargs, losses, generators[0])

        self._handles = [
            model.register_forward_pre_hook(remember_generators, with_kwargs=True),
            model.register_forward_hook(check, with_kwargs=True),
        ]

    def after_train(self, runner: Runner) -> None:
        """Remove the checks from the model."""
        self._remove()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse to save parameters that are not finite."""
        if names := _nonfinite_parameters(_unwrapped(runner.model)):
            message = f"Checkpoint not written: {_parameter_message(names)}"
            runner.logger.error(message)
            raise FloatingPointError(message)

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _is_due(self, runner: Runner, args: tuple, kwargs: dict) -> bool:
        mode = kwargs.get("mode", args[2] if len(args) > 2 else None)
        return mode == "loss" and not self._diagnosing and runner.iter % self.interval == 0

    @torch.no_grad()
    def _stop(
        self,
        runner: Runner,
        model: nn.Module,
        args: tuple,
        kwargs: dict,
        losses: Any,
        generators: tuple,
    ) -> None:
        self._diagnosing = True
        try:
            # Every rank looks for the cause: the forward pass may hold collective calls.
            cause = _find_cause(model, args, kwargs, generators)
        finally:
            self._diagnosing = False
            self._remove()
        message = ""
        if terms := [f"{name} = {_describe(loss)}" for name, loss in _nonfinite(losses)]:
            files = _image_files(args, kwargs) or ["unknown"]
            message = (
                f"Non-finite loss in epoch {runner.epoch + 1}, iteration {runner.iter + 1}"
                f" (rank {runner.rank}): {_listed(terms)}.\n"
                f"Images of the batch: {', '.join(files)}.\n{cause}"
            )
        message = "\n".join(filter(None, all_gather_object(message)))
        runner.logger.error(message)
        raise FloatingPointError(message)


def _unwrapped(model: Any) -> nn.Module:
    return model.module if is_model_wrapper(model) else model


def _loss_terms(losses: Any) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(losses, Mapping):
        return
    for name, loss in losses.items():
        if "loss" not in name:  # mmengine's parse_losses skips these, for example accuracies
            continue
        if isinstance(loss, Tensor):
            yield name, loss
        elif isinstance(loss, list | tuple):
            yield from ((f"{name}[{index}]", term) for index, term in enumerate(loss))


def _mean(loss: Tensor) -> Tensor:
    return loss.detach().float().mean()


def _all_finite_on_all_ranks(losses: Any) -> bool:
    # The sum of the means, like the total loss, is finite only if all terms are. A sum also
    # allows terms on different devices.
    total = sum(_mean(loss) for _, loss in _loss_terms(losses))
    finite = torch.isfinite(torch.as_tensor(total)).float()
    if get_world_size() > 1:
        all_reduce(finite, op="min")
    return bool(finite)


def _nonfinite(losses: Any) -> list[tuple[str, Tensor]]:
    return [(name, loss) for name, loss in _loss_terms(losses) if not _mean(loss).isfinite()]


def _describe(loss: Tensor) -> str:
    if loss.numel() == 1:
        return f"{loss.item():g}"
    if loss.numel() == 0:
        return f"mean of no elements, shape {tuple(loss.shape)}"
    bad = int((~loss.isfinite()).sum())
    return f"{_mean(loss).item():g} ({bad} of {loss.numel()} elements not finite)"


def _find_cause(model: nn.Module, args: tuple, kwargs: dict, generators: tuple) -> str:
    submodule = _find_submodule(model, args, kwargs, generators)
    if data := _nonfinite_data(args, kwargs):
        return f"Cause: the data are not finite: {_listed(data)}."
    if names := _nonfinite_parameters(model):
        return f"Cause: {_parameter_message(names)}"
    return f"Cause: {submodule}"


def _nonfinite_parameters(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if not _is_finite(parameter)]


def _parameter_message(names: list[str]) -> str:
    return (
        f"parameters are not finite: {_listed(names)}. An earlier update overflowed: lower the"
        " learning rate, lengthen its warm-up, or clip gradients"
        " (optim_wrapper.clip_grad=dict(max_norm=...))."
    )


def _listed(names: list[str]) -> str:
    rest = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _arguments(args: tuple, kwargs: dict) -> dict[str, Any]:
    return dict(zip(("inputs", "data_samples"), args, strict=False)) | kwargs


def _image_files(args: tuple, kwargs: dict) -> list[str]:
    samples = _arguments(args, kwargs).get("data_samples")
    if not isinstance(samples, list | tuple):
        return []
    return [str(getattr(sample, "img_path", "no img_path")) for sample in samples]


def _nonfinite_data(args: tuple, kwargs: dict) -> list[str]:
    """Return the names of non-finite images and fields of data samples, with the image file."""
    files = _image_files(args, kwargs)
    found = []
    for name, value in _arguments(args, kwargs).items():
        # A batched tensor has one element per image, like a list.
        elements = value if isinstance(value, list | tuple | Tensor) else [value]
        for index, element in enumerate(elements):
            image = f" of {files[index]}" if index < len(files) else ""
            found += [
                f"{path}{image}"
                for path, tensor in _tensors(element, f"{name}[{index}]")
                if not tensor.isfinite().all()
            ]
    return found


def _tensors(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors in nested containers, data elements and boxes, with their paths."""
    if isinstance(value, BaseBoxes):
        value = value.tensor
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping | BaseDataElement):
        for key, item in value.items():
            yield from _tensors(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _tensors(item, f"{path}[{index}]")


def _is_finite(value: Any) -> bool:
    return all(bool(tensor.isfinite().all()) for _, tensor in _tensors(value))


def _largest(value: Any) -> float:
    sizes = [tensor.float().abs().max().item() for _, tensor in _tensors(value) if tensor.numel()]
    return max(sizes, default=0.0)


def _find_submodule(model: nn.Module, args: tuple, kwargs: dict, generators: tuple) -> str:
    """Repeat the forward pass; name the first submodule with non-finite output for finite input."""
    finite_inputs: list[bool] = []
    culprits: list[str] = []
    receivers: list[str] = []

    def hooks(name: str) -> tuple[Callable, Callable]:
        # Inputs are checked before the call, because an in-place module overwrites them.
        def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
            finite_inputs.append(_is_finite((args, kwargs)))
            if not finite_inputs[-1]:
                receivers.append(name)

        def after(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            if finite_inputs.pop() and not _is_finite(output):
                culprits.append(
                    f"submodule {name} ({type(module).__name__}) gives a non-finite output for"
                    f" finite inputs (largest magnitude {_largest((args, kwargs)):.3g})"
                )

        return before, after

    handles = []
    for name, module in model.named_modules():
        if name:
            before, after = hooks(name)
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
    present = _generator_states()
    _set_generator_states(generators)
    failure = None
    try:
        losses = model(*args, **kwargs)
    except Exception as error:  # an assertion, for example; submodules seen before still count
        failure = error
    finally:
        _set_generator_states(present)
        for handle in handles:
            handle.remove()
    if culprits:
        return f"{culprits[0]}."
    if failure is not None:
        return f"not found, repeating the forward pass raised {type(failure).__name__}: {failure}"
    if not _nonfinite(losses):
        return (
            "not found, repeating the forward pass gave finite losses (a non-deterministic kernel"
            " or a hardware fault)."
        )
    if receivers:
        return f"the code that makes the inputs of submodule {receivers[0]}."
    return "the code that makes the losses from the submodules' finite outputs."


def _generator_states() -> tuple:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    numpy = np.random.get_state()  # noqa: NPY002 - the generator of mmdet's box samplers
    return random.getstate(), numpy, torch.get_rng_state(), cuda


def _set_generator_states(states: tuple) -> None:
    python, numpy, cpu, cuda = states
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state(cuda)
