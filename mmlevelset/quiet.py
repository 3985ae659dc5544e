"""Lines of other packages on which the user of a command cannot act, silenced one by one.

Each is named by its text and by the module that gives it. Everything else comes through.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

LOGGED = {
    r"mmdet\.datasets(\.transforms)?": r"Could not import OneDL\. Skipping OneDL datasets\.",
    r"mmengine\.fileio\.file_client": (
        r'"FileClient" will be deprecated in future'
        r'|"HardDiskBackend" is the alias of "LocalBackend"'
    ),
}
"""Module -> messages that it gives to mmengine's ``print_log``."""
PRINTED = {
    "pycocotools.coco": r"(creating index|index created|Loading and preparing results|DONE \(t=)",
    "pycocotools.cocoeval": (
        r"(Running per image evaluation|Evaluate annotation type|Accumulating evaluation results"
        r"|DONE \(t=)"
    ),
}
"""Module -> starts of lines that it prints."""
WARNED = (
    (r"torch\.meshgrid: in an upcoming release", UserWarning, r"torch\.functional"),
    (r"Warning: The (bbox|polygon) is out of bounds", UserWarning, r"mmengine\.visualization\."),
)
"""Message, category and module of warnings."""


def quieten() -> None:
    """Silence the known lines, for the commands of this package.

    The function must run before mmdet is imported. A second call does nothing.
    """
    import mmengine.logging
    from mmengine.fileio import file_client

    if not getattr(mmengine.logging.print_log, "quiet", False):
        # Modules that are imported later take print_log from mmengine.logging.
        quiet = _quiet_log(mmengine.logging.print_log)
        mmengine.logging.print_log = file_client.print_log = quiet
    for name, lines in PRINTED.items():
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        module.print = _quiet_print(re.compile(lines))  # type: ignore[attr-defined]
    for message, category, source in WARNED:
        warnings.filterwarnings("ignore", message, category, source)


def _quiet_log(print_log: Callable[..., None]) -> Callable[..., None]:
    def quiet_log(msg: Any, *args: Any, **settings: Any) -> None:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        for module, messages in LOGGED.items():
            if re.fullmatch(module, caller) and re.match(messages, str(msg)):
                return
        print_log(msg, *args, **settings)

    quiet_log.quiet = True  # type: ignore[attr-defined]
    return quiet_log


def _quiet_print(lines: re.Pattern) -> Callable[..., None]:
    def quiet_print(*values: Any, **settings: Any) -> None:
        if not (values and lines.match(str(values[0]))):
            print(*values, **settings)

    return quiet_print
