"""Looks types up as a config does: in mmdet's scope, mmlevelset not imported before.

Reads a JSON document from standard input: ``{"get": {registry: [name, ...]}, "break": [[registry,
module], ...]}``. Writes to standard output, as JSON: for each registry the results of looking up
``mmlevelset.<name>``, and for each module the result of a look-up while its import fails.
"""

import importlib.abc
import json
import os
import sys

import mmdet.datasets
import mmdet.engine
import mmdet.evaluation
import mmdet.models
import mmdet.registry
from mmengine.registry import init_default_scope


class Broken(importlib.abc.MetaPathFinder):
    def __init__(self, module: str) -> None:
        self.module = module

    def find_spec(self, name, path=None, target=None):
        if name == self.module:
            raise ImportError(f"{name} is broken")


def look_up(registry: str, name: str) -> str:
    try:
        found = getattr(mmdet.registry, registry).get(f"mmlevelset.{name}")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"{found.__module__}.{found.__qualname__}" if found else "None"


def in_copy(function, *args) -> list[str]:
    """Run in a forked copy of this process, so that nothing stays imported."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as stream:
            json.dump(function(*args), stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        answer = json.load(stream)
    os.wait()
    return answer


def look_up_all(registry: str, names: list[str]) -> list[str]:
    return [look_up(registry, name) for name in names]


def look_up_broken(registry: str, module: str) -> list[str]:
    sys.meta_path.insert(0, Broken(module))
    return [look_up(registry, "Anything")]


if __name__ == "__main__":
    init_default_scope("mmdet")
    request = json.load(sys.stdin)
    assert not any(name.partition(".")[0] == "mmlevelset" for name in sys.modules)
    answers = dict(
        get={name: in_copy(look_up_all, name, types) for name, types in request["get"].items()},
        broken=[in_copy(look_up_broken, *pair)[0] for pair in request["break"]],
    )
    print(json.dumps(answers))
