"""Progress of a long command: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

LINES = 10
"""Lines of a whole run where the output is no terminal."""


class Progress:
    """Shows on stderr how many of some steps are done.

    A terminal gets mmengine's bar, which draws over itself. A file or a pipe gets at most
    :data:`LINES` lines.

    Args:
        total: Number of steps, 0 or more.

    Example:
        >>> with Progress(3) as progress:
        ...     for _ in range(3):
        ...         progress.update()
    """

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._began = time.monotonic()
        self._bar = None
        if total and sys.stderr.isatty():
            from mmengine.utils import ProgressBar

            self._bar = ProgressBar(total, file=sys.stderr)

    def update(self, steps: int = 1) -> None:
        """Count further steps."""
        before = self.done
        self.done += steps
        if self._bar is not None:
            self._bar.update(steps)
        elif self.done * LINES // self.total > before * LINES // self.total:
            seconds = time.monotonic() - self._began
            print(f"{self.done} of {self.total}, {seconds:.0f} s", file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            print(file=sys.stderr)  # ends the bar's line
