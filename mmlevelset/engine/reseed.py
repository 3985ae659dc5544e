"""A hook that seeds random numbers by iteration, so that a resumed run repeats a whole run."""

import logging
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mmlevelset.registry import HOOKS

EPOCH, DATA, MODEL = range(3)


@HOOKS.register_module()
class ReseedHook(Hook):
    """Make every random number of a training run depend on the iteration, not on the history.

    mmengine seeds the generators once, when a run starts, and does not store their state. So a
    resumed run sees other augmentations and other RoI samples than an uninterrupted run. mmengine
    also starts non-persistent data loader workers with the same seeds in every epoch, so
    augmentations repeat. This hook seeds the generators of Python, NumPy and PyTorch (CPU and all
    CUDA devices) from (``randomness`` seed, rank, iteration):

    - before the batch of an iteration is made, in the process or worker that makes it. For the
      same samples, augmentations do not depend on ``num_workers`` or ``persistent_workers``;
    - before the model's training step of that iteration;
    - before each epoch, for samplers that draw from the global generator.

    The checkpoint holds the sampler's seed, so a run without a seed in ``randomness`` also resumes
    in its own order.

    A resumed run is *exact* with deterministic kernels (CPU with an unchanged number of threads, or
    CUDA with ``randomness=dict(seed=..., deterministic=True)``), the same number of ranks and the
    same ``batch_size`` in

    - epoch-based loops resumed from a checkpoint made at the end of an epoch, with mmengine's
      ``DefaultSampler`` or PyTorch's ``RandomSampler``;
    - iteration-based loops resumed from any iteration, with ``InfiniteSampler``. The sampler skips
      the earlier iterations without loading images, so these iterations draw nothing, even with
      ``num_workers=0``.

    A resumed run is *not exact* with

    - iteration-based loops of mmengine before onedl-mmengine 0.10.12. Their data loaders start too
      early to be seeded; the hook warns and seeds only the model's steps;
    - an epoch-based loop resumed in the middle of an epoch (a checkpoint made with
      ``by_epoch=False``): mmengine starts that epoch again;
    - an iteration-based loop with ``fast_forward_on_resume=True``, which loses the order of the
      samples, or with a sampler without ``skip`` that draws from the global generator, such as
      ``RandomSampler``;
    - transforms or batch augmentations with a state of their own: another generator, a cache of
      images (``CachedMosaic``), a current size (``BatchSyncRandomResize``).

    Raises:
        TypeError: Before training, if the train data loader reads an ``IterableDataset`` or
            makes no batches (``batch_size=None``), because its iterations have no indices.

    Example:
        >>> custom_hooks = [dict(type="mmlevelset.ReseedHook")]
    """

    # Run last, so that no other hook draws between the seeding and the step.
    priority = "LOWEST"

    def before_train(self, runner: Runner) -> None:
        """Seed the batches of the train data loader by iteration."""
        loader = runner.train_loop.dataloader
        if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
            raise TypeError(
                "ReseedHook: train_dataloader must draw batches of indices from a map-style"
                f" dataset, but has dataset {type(loader.dataset).__name__} and"
                f" batch_size {loader.batch_size}"
            )
        iterator = getattr(runner.train_loop, "dataloader_iterator", None)
        if getattr(iterator, "_iterator", None) is not None:
            print_log(
                "ReseedHook: this mmengine starts the data loader of an iteration-based loop before"
                " training, so augmentations are not seeded and a resumed run is not exact;"
                " onedl-mmengine 0.10.12 starts it in time",
                logger="current",
                level=logging.WARNING,
            )
            return
        self._restore_sampler_seed(runner, loader)
        if not isinstance(loader.batch_sampler, _SeededBatchSampler):
            _seed_batches(loader, runner.seed, runner.rank)

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the sampler's draws; number batches from the first batch that the loop will draw."""
        _seed_generators(runner.seed, runner.rank, EPOCH, runner.iter)
        loop = runner.train_loop
        if not isinstance(loop.dataloader.batch_sampler, _SeededBatchSampler):
            return
        skips = (
            isinstance(loop, EpochBasedTrainLoop)
            or getattr(loop, "fast_forward_on_resume", False)
            or hasattr(loop.dataloader.sampler, "skip")
        )
        # Without a skip, an iteration-based loop draws all earlier batches of indices again.
        loop.dataloader.batch_sampler.iteration = runner.iter if skips else 0

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Seed the model's step."""
        _seed_generators(runner.seed, runner.rank, MODEL, runner.iter)

    @staticmethod
    def _restore_sampler_seed(runner: Runner, loader: DataLoader) -> None:
        # mmengine builds the sampler before it reads the seed from the checkpoint.
        sampler: Any = getattr(loader.batch_sampler, "sampler", loader.sampler)
        if isinstance(getattr(sampler, "seed", None), int):
            sampler.seed = runner.message_hub.get_info("sampler_seed", sampler.seed)
            runner.message_hub.update_info("sampler_seed", sampler.seed)


class _SeededIndices(list):
    """The indices of one batch with the key of its seeds."""

    key: tuple[int, ...]


class _SeededBatchSampler:
    """Batches of a batch sampler, numbered by iteration; other attributes are the sampler's."""

    def __init__(self, batch_sampler: Any, seed: int, rank: int) -> None:
        self._batch_sampler = batch_sampler
        self._key = (seed, rank, DATA)
        self.iteration = 0

    def __iter__(self) -> Iterator[_SeededIndices]:
        for indices in self._batch_sampler:
            batch = _SeededIndices(indices)
            batch.key = (*self._key, self.iteration)
            self.iteration += 1
            yield batch

    def __len__(self) -> int:
        return len(self._batch_sampler)

    def __getattr__(self, name: str) -> Any:
        if name == "_batch_sampler":  # not set yet while unpickling
            raise AttributeError(name)
        return getattr(self._batch_sampler, name)


def _seed_batches(loader: DataLoader, seed: int, rank: int) -> None:
    # The key travels with the indices, so it reaches persistent workers and survives
    # prefetching. The loader calls ``__getitems__`` in the process that makes the batch.
    dataset: Any = loader.dataset
    dataset.__getitems__ = partial(_get_batch, dataset, getattr(dataset, "__getitems__", None))
    # DataLoader refuses a plain assignment, because existing iterators would not see it. No
    # iterator exists yet.
    loader.__dict__["batch_sampler"] = _SeededBatchSampler(loader.batch_sampler, seed, rank)


def _get_batch(dataset: Dataset, get_items: Callable | None, indices: _SeededIndices) -> Any:
    _seed_generators(*indices.key)
    return get_items(indices) if get_items else [dataset[index] for index in indices]


def _seed_generators(*key: int) -> None:
    python, numpy, pytorch = np.random.SeedSequence(key).generate_state(3).tolist()
    random.seed(python)
    np.random.seed(numpy)  # noqa: NPY002 - the generator that transforms use
    torch.manual_seed(pytorch)
