"""Products in the precision of their arguments, whatever the caller's settings are."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch off autocast and, on CUDA, TensorFloat-32: its 10 bits would drown small contrasts."""
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda" or not torch.backends.cuda.matmul.allow_tf32:
            yield
            return
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = True
