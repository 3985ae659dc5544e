"""NumPy arrays as arguments: arrays in, arrays out. NumPy is never imported for it."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])

KINDS = {"b": "bool", "i": "integer", "u": "integer", "f": "floating point"}

OPTIONS = ("spacing",)
"""Arguments that stay as they are: a list of numbers, which may be an array."""


def is_array(value: object) -> bool:
    """Whether a value is a NumPy array; there is none before NumPy has been imported."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def check_array(name: str, array: Any) -> None:
    """Raise TypeError unless a NumPy array has real numbers that are all there."""
    if isinstance(array, sys.modules["numpy"].ma.MaskedArray):
        raise TypeError(
            f"{name} must be an array without a mask, but is a masked array: fill it, or give its "
            "mask where the function has a domain"
        )
    if array.dtype.kind not in KINDS:
        raise TypeError(f"{name} must hold real numbers, but is {array.dtype}")


def to_tensor(name: str, array: Any) -> Tensor:
    """A copy of a NumPy array as a tensor of the same type."""
    check_array(name, array)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        raise TypeError(f"{name} must have at most 64 bits a number, but is {array.dtype}")
    # A copy in the machine's byte order, because torch takes no other order and no negative stride.
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def takes_arrays(function: Function) -> Function:
    """Let a function of tensors also take NumPy arrays; then it returns arrays."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or not any(map(_has_array, (*args, *kwargs.values()))):
            return function(*args, **kwargs)
        given = inspect.signature(function).bind(*args, **kwargs).arguments
        options = {name: given.pop(name) for name in OPTIONS if name in given}
        arrays = [name for name, value in given.items() if _has_array(value)]
        if not arrays:
            return function(*args, **kwargs)
        for name, value in given.items():
            if isinstance(value, Tensor):
                raise TypeError(
                    f"{name} must be a NumPy array as {arrays[0]} is, or both must be tensors, but "
                    f"{name} is a tensor"
                )
        with torch.no_grad():
            tensors = {name: _to_tensors(name, value) for name, value in given.items()}
            return _to_numpy(function(**tensors, **options))

    return cast(Function, wrapper)


def _has_array(value: object) -> bool:
    """Whether a value is an array, or a tuple with names (a tree) that holds one."""
    return is_array(value) or (hasattr(value, "_fields") and any(map(is_array, cast(tuple, value))))


def _to_tensors(name: str, value: Any) -> Any:
    if is_array(value):
        return to_tensor(name, value)
    if not _has_array(value):
        return value
    return value._make(_to_tensors(f"{name}.{f}", v) for f, v in value._asdict().items())


def _to_numpy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, tuple):
        parts = map(_to_numpy, value)
        return value._make(parts) if hasattr(value, "_make") else tuple(parts)
    return value
