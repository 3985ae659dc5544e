"""The examples in the docstrings of the public functions."""

import doctest
import sys

import pytest
import torch

from mmlevelset import ops

FUNCTIONS = [name for name in ops.__all__ if name not in ("Surface", "Tree")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_example(name):
    function = getattr(ops, name)
    module = sys.modules[function.__module__]
    names = {"torch": torch, **vars(ops)}
    (example,) = doctest.DocTestFinder().find(function, name, module, names)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
