import subprocess
import sys
import warnings
from types import ModuleType

import pycocotools.coco
import pycocotools.cocoeval
import pytest

from mmlevelset.quiet import LOGGED, PRINTED, WARNED, quieten

PRINTING = (pycocotools.coco, pycocotools.cocoeval)
ONEDL = "Could not import OneDL. Skipping OneDL datasets."


@pytest.fixture(autouse=True)
def undone():
    """Undo what quieten does to other packages."""
    import mmengine.logging
    from mmengine.fileio import file_client

    before = mmengine.logging.print_log, file_client.print_log
    prints = [vars(module).pop("print", None) for module in PRINTING]
    with warnings.catch_warnings():
        yield
    mmengine.logging.print_log, file_client.print_log = before
    for module, own in zip(PRINTING, prints, strict=True):
        vars(module).pop("print", None)
        if own is not None:
            module.print = own


def say(module: str, message: str) -> None:
    """Call mmengine's print_log from a module of this name."""
    code = f"import mmengine.logging\nmmengine.logging.print_log({message!r})"
    exec(code, vars(ModuleType(module)))


def test_a_line_is_silent_by_its_text_and_its_module(capsys):
    quieten()
    quieten()
    say("mmdet.datasets", ONEDL)
    say("mmdet.datasets.transforms", ONEDL)
    assert capsys.readouterr().out == ""
    say("mmdet.datasets", "Could not import X")
    say("mmdet.apis", ONEDL)
    assert capsys.readouterr().out == f"Could not import X\n{ONEDL}\n"


def test_pycocotools_keeps_its_table(capsys):
    from pycocotools import cocoeval
    from pycocotools.coco import COCO

    COCO().createIndex()
    assert "creating index" in capsys.readouterr().out
    quieten()
    COCO().createIndex()
    assert capsys.readouterr().out == ""
    cocoeval.print(" Average Precision  (AP) @[ IoU=0.50:0.95 ] = 0.5", flush=True)
    assert "Average Precision" in capsys.readouterr().out


def warn(message: str, module: str) -> None:
    """Warn from a module of this name."""
    warnings.warn_explicit(message, UserWarning, f"{module}.py", 1, module)


def test_warnings_by_message_and_module():
    message = "torch.meshgrid: in an upcoming release, indexing is needed"
    warnings.simplefilter("error")
    with pytest.raises(UserWarning):
        warn(message, "torch.functional")
    quieten()
    warn(message, "torch.functional")
    for other in ((message, "mine"), ("torch.meshgrid is slow", "torch.functional")):
        with pytest.raises(UserWarning):
            warn(*other)


def test_nothing_is_silenced_as_a_whole():
    patterns = [*LOGGED.values(), *PRINTED.values(), *(message for message, *_ in WARNED)]
    assert all(len(pattern) > 20 and not pattern.startswith(".") for pattern in patterns)
    assert all(module for _, _, module in WARNED)


@pytest.mark.slow
def test_mmdet_is_imported_without_a_line(checkout):
    """In a fresh process, since mmdet says the line when it is imported."""
    code = "from mmlevelset.quiet import quieten\nquieten()\nimport mmdet.datasets\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
