"""Jobs in worker processes."""

import os
import signal
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from mmlevelset import workers
from mmlevelset.errors import InputError
from mmlevelset.workers import cores, map_jobs


def square(number: int) -> int:
    return number**2


def fail_on_three(number: int) -> int:
    if number == 3:
        raise KeyError("lost")
    return number


def refuse_three(number: int) -> int:
    if number == 3:
        raise InputError("file three is damaged")
    return number


def die_on_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def meet(folder: Path) -> bool:
    """Return whether another process comes too."""
    (folder / str(os.getpid())).touch()
    late = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2:
        if time.monotonic() > late:
            return False
        time.sleep(0.01)
    return True


def process(number: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_order(count):
    assert list(map_jobs(square, range(7), count)) == [0, 1, 4, 9, 16, 25, 36]


def test_workers_work_at_the_same_time(tmp_path):
    assert list(map_jobs(meet, [tmp_path, tmp_path], 2)) == [True, True]
    assert str(os.getpid()) not in [entry.name for entry in tmp_path.iterdir()]


def test_one_worker_is_this_process():
    assert set(map_jobs(process, range(2), 1)) == {os.getpid()}


def test_without_jobs():
    assert list(map_jobs(square, [])) == []


def test_jobs_are_not_sent_before_there_is_room(monkeypatch):
    sent: list[int] = []

    class Pool:
        def __init__(self, *_):
            pass

        def submit(self, function, job):
            sent.append(job)
            future: Future[int] = Future()
            future.set_result(function(job))
            return future

        def shutdown(self, cancel_futures):
            assert cancel_futures

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool)
    results = map_jobs(square, range(20), 2)
    for taken, result in enumerate(results, 1):
        assert result == (taken - 1) ** 2
        assert len(sent) == min(taken + 4, 20)
    assert taken == 20


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_names_the_job(count):
    jobs = map_jobs(fail_on_three, range(9), count, name=lambda job: f"scan {job}")
    with pytest.raises(RuntimeError, match="scan 3: KeyError.*lost"):
        list(jobs)


@pytest.mark.parametrize("count", [1, 2])
def test_bad_input_stays_bad_input(count):
    with pytest.raises(InputError, match="^file three is damaged$"):
        list(map_jobs(refuse_three, range(9), count))


def test_a_worker_that_dies():
    with pytest.raises(InputError, match="a worker died.*fewer workers.*: .*3"):
        list(map_jobs(die_on_three, range(9), 2))


def test_default_is_all_cores():
    assert cores() == len(os.sched_getaffinity(0))
