from mmdet.utils import reduce_mean
from torch import Tensor


def mean_count(count: Tensor) -> Tensor:
    """What to divide a sum over a process's items by, for a mean over those of all processes.

    Distributed training averages gradients over processes. Sums that each process divides by its
    own number of items would weigh an item by how few others its process has; divided by the mean
    of these numbers, they are averaged to the mean over all items, as in one process with all of
    them. All processes must call this together.

    Args:
        count: The number of this process's items, floating point, a scalar, at least 0.

    Returns:
        The mean of the processes' numbers; 1 where no process has an item, so that sums are 0.
    """
    count = reduce_mean(count)
    return count.where(count > 0, 1)
