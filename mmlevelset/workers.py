"""Work on all cores, with a progress bar."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from typing import TypeVar

import cv2

from mmlevelset.errors import InputError
from mmlevelset.progress import Progress

Job = TypeVar("Job")
Result = TypeVar("Result")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def map_jobs(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int | None = None,
    name: Callable[[Job], str] = str,
) -> Iterator[Result]:
    """Yield ``function(job)`` for each job, in the jobs' order, computed in worker processes.

    Each worker has at most two jobs: waiting, running, or with a result that is not taken yet. The
    first error cancels the waiting jobs. The progress goes to stderr.

    Args:
        function: A function at a module's top level (or a partial of one): it is sent to workers.
        jobs: The arguments of the calls.
        workers: Number of processes, by default all cores; 1 is this process.
        name: Gives the name of a job, for errors.

    Raises:
        InputError: The function raised it, or a worker died.
        RuntimeError: The function raised another error; the message names the job.
    """
    jobs = list(jobs)
    workers = min(cores() if workers is None else workers, len(jobs))
    if not jobs:
        return
    with Progress(len(jobs)) as progress:
        for result in _results(function, jobs, workers, name):
            progress.update()
            yield result


def _results(
    function: Callable[[Job], Result], jobs: list[Job], workers: int, name: Callable[[Job], str]
) -> Iterator[Result]:
    if workers == 1:
        for job in jobs:
            yield _named(partial(function, job), job, name)
        return
    # Not forked: a copy of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker)
    waiting = iter(jobs)
    pending: deque[tuple[Job, Future[Result]]] = deque()
    try:
        for job in islice(waiting, 2 * workers):
            pending.append((job, pool.submit(function, job)))
        while pending:
            job, future = pending[0]
            result = _named(future.result, job, name)
            pending.popleft()
            for job in islice(waiting, 1):
                pending.append((job, pool.submit(function, job)))
            yield result
    except BrokenProcessPool as error:
        lost = ", ".join(name(job) for job, _ in pending)
        raise InputError(
            f"a worker died, perhaps for lack of memory (try fewer workers), at one of: {lost}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _named(result: Callable[[], Result], job: Job, name: Callable[[Job], str]) -> Result:
    try:
        return result()
    except (InputError, BrokenProcessPool):
        raise
    except Exception as error:
        raise RuntimeError(f"{name(job)}: {error!r}") from error


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the work
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
