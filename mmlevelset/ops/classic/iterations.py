"""The loop of a solver whose images stop by themselves, and CUDA graphs of its iterations."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

CHECK_EVERY = 16
"""Iterations between two looks of the host where each look waits for the device. It is even."""


class Scheme(Protocol):
    """A solver in fixed buffers. No method waits for the device where the state is on one.

    After an even number of steps the state is in the buffers in which it was before them.
    """

    def step(self, running: Tensor | None) -> Tensor:
        """Make an iteration; return the root mean square change of each image.

        Level sets of images that are not ``running`` keep their values; None: all images run.
        """

    def energy(self) -> Tensor:
        """Energy of each image, float64."""


def iterate(
    scheme: Scheme,
    like: Tensor,
    tol: float,
    max_num_iter: int,
    check_every: int | None,
    with_energies: bool,
) -> tuple[Tensor, Tensor]:
    """Make steps until each image has stopped; images do not influence each other.

    An image stops after the first step whose change is at most ``tol``. Where the host looks less
    often than after each step, the image keeps the level set of that step until the host looks, and
    the number of its iterations is that step's.

    Args:
        scheme: The solver.
        like: Any tensor in the shape of a value for each image: (B,), or () without a batch.
        tol: Largest root mean square change of an image at rest.
        max_num_iter: Largest number of steps of an image.
        check_every: Steps between two looks; None: 1 on a CPU, ``CHECK_EVERY`` on other devices.
        with_energies: Record the energy before each step.

    Returns:
        The iterations of each image, int64 in the shape of ``like``, and the recorded energies,
        float64 with the steps in front; entries past an image's iterations have no meaning.
    """
    if check_every is None:
        check_every = 1 if like.device.type == "cpu" else CHECK_EVERY
    size = max(1, min(check_every, max_num_iter))
    running = torch.ones_like(like, dtype=torch.bool)
    iterations = torch.zeros_like(like, dtype=torch.int64)
    energies = like.new_empty(size, *like.shape, dtype=torch.float64)
    recorded = [energies[:0]]
    all_run = True

    def make_steps() -> None:
        nonlocal all_run
        for number in range(size):
            if with_energies:
                energies[number].copy_(scheme.energy())
            change = scheme.step(None if all_run else running)
            iterations.add_(running)
            running.logical_and_(change > tol).logical_and_(iterations < max_num_iter)
            all_run = False

    # After an odd number of steps the state is in other buffers.
    block = Block(make_steps, like.device if size % 2 == 0 else None, scheme)
    for _ in range(0, max_num_iter, size):
        block.run()
        if with_energies:
            recorded.append(energies.clone())
        alive = running.flatten().tolist()
        if not any(alive):
            break
        all_run = size == 1 and all(alive)
    return iterations, torch.cat(recorded)


class Block:
    """Work that is done again and again in the same buffers; on CUDA it becomes a graph.

    The first run starts the kernels one by one, so that work that is done once costs no capture.
    The second run captures them, and from then on a single launch starts them all. Where capturing
    fails, all runs are like the first.

    Args:
        work: It reads and writes tensors that outlive it, and never waits for the device.
        device: Where its tensors are. None: the work is never captured.
        owner: The object whose attributes the work exchanges, such as two buffers.
    """

    def __init__(
        self, work: Callable[[], None], device: torch.device | None, owner: object
    ) -> None:
        self.work = work
        self.device = device
        self.owner = owner
        self.graph: torch.cuda.CUDAGraph | None = None
        self.runs = 0

    def run(self) -> None:
        self.runs += 1
        if self.runs == 2 and self.device is not None and self.device.type == "cuda":
            attributes = dict(vars(self.owner))
            self.graph = self._capture()
            if self.graph is None:  # after an odd number of steps the buffers were exchanged
                vars(self.owner).update(attributes)
        if self.graph is None:
            self.work()
        else:
            self.graph.replay()

    def _capture(self) -> torch.cuda.CUDAGraph | None:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device):
            before = torch.cuda.current_stream()
            try:
                # Other threads may use the device meanwhile, e.g. to pin memory.
                with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                    self.work()
            except RuntimeError:
                torch.cuda.set_stream(before)  # a failed capture leaves its own stream behind
                return None
        return graph
