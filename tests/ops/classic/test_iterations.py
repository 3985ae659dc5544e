"""Blocks of iterations that CUDA runs as one graph; here a tape of their operations stands in."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmlevelset.experiments.benchmarks.launches import Launches, iteration
from mmlevelset.ops import chan_vese
from mmlevelset.ops.classic import getreuer_solver, grid_solver, iterations
from mmlevelset.ops.classic.getreuer_block import Parameters

PARAMETERS = Parameters(0.2, 1.0, 1.3, 0.5, 4e-3, 90)
SPACING = (2.0, 1.0, 0.5)


class Tape(TorchDispatchMode):
    """Operations on fixed tensors: a replay reads and writes the same memory, as a graph does."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.replays = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, result))
        return result

    def replay(self) -> None:
        self.replays += 1
        if self.replays == 1:
            return  # the recording, unlike a graph's, has done the work
        for func, args, kwargs, result in self.operations:
            again = func(*args, **kwargs)
            if not func._schema.is_mutable and not func.is_view and isinstance(again, torch.Tensor):
                result.copy_(again)


@pytest.fixture
def tapes(monkeypatch) -> list[Tape]:
    """Make blocks capture on the CPU; the tapes that they make."""
    made: list[Tape] = []

    class Taped(iterations.Block):
        def __init__(self, work, device, owner):
            super().__init__(work, device and torch.device("cuda"), owner)

        def _capture(self):
            made.append(Tape())
            with made[-1]:
                self.work()
            return made[-1]

    monkeypatch.setattr(iterations, "Block", Taped)
    return made


def solve_images(check_every: int | None):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(3, 2, 12, 14, generator=generator, dtype=torch.float64)
    phi = torch.randn(3, 12, 14, generator=generator, dtype=torch.float64)
    options = dict(with_energies=True, check_every=check_every, block_pixels=10**6)
    return getreuer_solver.solve(images, phi, PARAMETERS, **options)


def solve_volumes(check_every: int | None):
    generator = torch.Generator().manual_seed(2)
    volumes = torch.rand(2, 1, 5, 6, 7, generator=generator, dtype=torch.float64)
    phi = torch.randn(2, 5, 6, 7, generator=generator, dtype=torch.float64)
    return grid_solver.solve_on_grid(volumes, phi, PARAMETERS, SPACING, True, check_every)


@pytest.mark.parametrize("solver", [solve_images, solve_volumes])
@torch.no_grad()
def test_blocks_and_graphs_give_what_single_looks_give(solver, tapes):
    want = solver(1)
    tapes.clear()
    assert min(want.iterations) % 16 and max(want.iterations) > 3 * 16  # they end inside of blocks
    got = solver(16)
    assert max(tape.replays for tape in tapes) >= 2
    assert torch.equal(got.phi, want.phi)
    assert got.iterations == want.iterations
    assert got.energies == want.energies
    assert [len(values) for values in got.energies] == got.iterations


def test_the_number_of_iterations_is_kept_inside_of_a_block(tapes):
    with torch.no_grad():
        short = Parameters(0.2, 1.0, 1.0, 0.5, 0.0, 21)
        image, phi = torch.rand(2, 1, 8, 9), torch.randn(2, 8, 9)
        runs = [
            getreuer_solver.solve(image, phi, short, check_every=every, block_pixels=10**6)
            for every in (1, 16)
        ]
    assert runs[0].iterations == runs[1].iterations == [21, 21]
    assert torch.equal(runs[0].phi, runs[1].phi)


def test_an_iteration_never_waits_for_the_device_and_starts_few_kernels():
    step = iteration((20, 30), images=2)
    with Launches() as count:
        step()
    assert count.waits == 0 and count.launches <= 80
    grid = grid_solver._Grid(torch.rand(1, 4, 5, 6), torch.randn(4, 5, 6), PARAMETERS, SPACING)
    with Launches() as count:
        grid.energy()
        grid.step(torch.tensor(True))
    assert count.waits == 0


def test_a_block_starts_its_work_once_then_captures_it(monkeypatch):
    class Graph:
        replays = 0

        def replay(self):
            self.replays += 1

    for graph in (Graph(), None):  # None: the work cannot be captured
        done = []
        owner = SimpleNamespace(phi="own", other="next")
        block = iterations.Block(lambda done=done: done.append(1), torch.device("cuda"), owner)
        captures = []

        def capture(graph=graph, captures=captures, owner=owner):
            if graph is None:
                owner.phi, owner.other = owner.other, owner.phi
            captures.append(1)
            return graph

        monkeypatch.setattr(block, "_capture", capture)
        for _ in range(4):
            block.run()
        assert len(captures) == 1 and owner == SimpleNamespace(phi="own", other="next")
        assert (len(done), graph and graph.replays) == ((1, 3) if graph else (4, None))


@pytest.mark.gpu
@pytest.mark.parametrize("spacing", [None, SPACING])
def test_cuda_graphs_give_what_single_launches_give(spacing, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2, 24, 28) if spacing is None else (2, 1, 9, 10, 11)
    image = torch.rand(shape, generator=generator).cuda()
    options = dict(tol=1e-4, max_num_iter=150, extended_output=True, spacing=spacing)
    captured = []
    capture = iterations.Block._capture

    def keep(block):
        captured.append(capture(block))
        return captured[-1]

    monkeypatch.setattr(iterations.Block, "_capture", keep)
    with_graphs = chan_vese(image, **options)
    assert captured and all(graph is not None for graph in captured)
    monkeypatch.setattr(iterations.Block, "_capture", lambda block: None)
    without = chan_vese(image, **options)
    assert torch.equal(with_graphs[1], without[1]) and with_graphs[2] == without[2]


@pytest.mark.gpu
def test_work_that_waits_is_not_captured():
    value = torch.zeros((), device="cuda")

    def wait() -> None:
        value.add_(1)
        value.item()

    before = torch.cuda.current_stream()
    block = iterations.Block(wait, value.device, SimpleNamespace())
    for _ in range(3):
        block.run()
    assert block.graph is None and torch.cuda.current_stream() == before
    assert value.item() == 3
