import cv2
import pytest
import torch
from mmengine.logging import MMLogger


@pytest.fixture(autouse=True)
def restored_settings():
    """Restore the threads and the log level: benchmarks change them in their process."""
    logger = MMLogger.get_current_instance()
    level, threads, cv2_threads = logger.level, torch.get_num_threads(), cv2.getNumThreads()
    yield
    logger.setLevel(level)
    torch.set_num_threads(threads)
    cv2.setNumThreads(cv2_threads)


@pytest.fixture
def tables(capsys):
    """Run a benchmark, and return its number of green checks and the cells of its tables."""

    def run(main, *words: str) -> tuple[int, list[list[str]]]:
        main(words)
        printed = capsys.readouterr().out
        assert "RED" not in printed
        lines = [line.strip("|").split("|") for line in printed.splitlines() if line[:1] == "|"]
        rows = [[cell.strip() for cell in cells] for cells in lines]
        return printed.count("  ok "), rows

    return run
