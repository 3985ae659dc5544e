"""Memory for time: a block's output is computed again in the backward pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

COUNT = "num_batches_tracked"


def recompute(block: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``forward(x)``; only x is kept for the backward pass, which computes the block again.

    The second pass does not update the running statistics of the block's batch norms again.
    """
    learning = [
        module
        for module in block.modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]
    if not learning:
        return checkpoint(forward, x, use_reentrant=False)

    def contexts():
        return nullcontext(), _statistics_stay(learning)

    return checkpoint(forward, x, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_stay(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    before = [(norm.momentum, norm.get_buffer(COUNT).clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.get_buffer(COUNT).copy_(count)
