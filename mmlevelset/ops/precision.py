"""Matrix products in the precision of their arguments, whatever the caller's settings are."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch off autocast and the rounding of float32 products (TensorFloat-32, CPU bfloat16)."""
    with torch.autocast(device.type, enabled=False), _exact_products(device):
        yield


@contextmanager
def _exact_products(device: torch.device) -> Iterator[None]:
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # the caller used torch 2.9's settings per backend; then others fail
        matmul = (torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn).matmul
        before = matmul.fp32_precision
        matmul.fp32_precision = "ieee"
        try:
            yield
        finally:
            matmul.fp32_precision = before
        return
    if before == "highest":
        yield
        return
    on_cpu = getattr(torch.backends.mkldnn, "matmul", None)
    if on_cpu is not None and on_cpu.fp32_precision == "none":  # the caller used allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = True
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
