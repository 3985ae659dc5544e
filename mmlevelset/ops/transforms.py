"""Custom ops under torch.func: reverse mode and vmap work, forward mode is refused."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

FORWARD_MODE = (
    "{} has no forward-mode derivative: use reverse mode (backward, torch.func.grad, vjp, jacrev)"
)

SECOND = "{} has no second derivative"


def without_derivative(name: str, op: Callable[..., Any]) -> Callable[..., Any]:
    """An op that makes gradients and has none itself, also inside of the transforms."""

    class Final(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*inputs: Any) -> Any:
            return op(*inputs)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            raise RuntimeError(SECOND.format(name))

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            raise RuntimeError(SECOND.format(name))

    def call(*inputs: Any) -> Any:
        if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
            return Final.apply(*inputs)
        return op(*inputs)

    return call


def under_transforms(
    name: str, op: Callable[..., Any], setup_context: Callable, backward: Callable
) -> Callable[..., Any]:
    """The op with the gradient that it registers, also inside of the transforms of torch.func.

    Args:
        name: The public function, for errors.
        op: The custom op.
        setup_context: As for ``op.register_autograd``.
        backward: Likewise.
    """

    def forward(*inputs: Any) -> Any:
        return op(*inputs)

    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(FORWARD_MODE.format(name))

    methods = dict(forward=forward, setup_context=setup_context, backward=backward, jvp=jvp)
    transformed: Any = type(
        "Transformed",
        (torch.autograd.Function,),
        {"generate_vmap_rule": True, **{key: staticmethod(m) for key, m in methods.items()}},
    )

    def call(*inputs: Any) -> Any:
        if torch.compiler.is_compiling():
            return op(*inputs)
        if torch._C._are_functorch_transforms_active():
            return transformed.apply(*inputs)
        for value in inputs:
            if isinstance(value, Tensor) and forward_ad.unpack_dual(value).tangent is not None:
                raise RuntimeError(FORWARD_MODE.format(name))
        return op(*inputs)

    return call
