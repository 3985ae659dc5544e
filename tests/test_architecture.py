"""Imports go one way: from the floors above to the floors below. CONTRIBUTING.md has the rules."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mmlevelset"
GROUND = (
    "errors",
    "files",
    "image_files",
    "logs",
    "progress",
    "quiet",
    "registry",
    "requirements",
    "runtime",
    "workers",
)
FLOORS = {
    **dict.fromkeys(("", *GROUND), 0),
    "annotations": 1,
    "ops": 1,
    **dict.fromkeys(("datasets", "engine", "evaluation", "models", "visualization"), 2),
    **dict.fromkeys(("converters", "experiments"), 3),
}
"""The floor of each room and of each module of the package itself."""
OUTSIDE = {"configs", "tests", "tools"}
NEIGHBOURS: dict[str, set[str]] = {}
"""The rooms of its own floor that a room may import, beside itself."""
SHARED_MODELS = {"common", "recurrent", "backbones"}
"""The rooms of models that all methods may import."""
BELOW_MODELS = {"common": set(), "backbones": set(), "recurrent": {"common"}}
"""The shared rooms that each shared room may import."""
OPTIONAL_OF_OPS = {"contourpy", "numpy", "scipy", "shapely", "skimage"}
"""The modules that functions of ops import when they are called."""
NUMBA = {"numba", "numpy"}
BACKENDS = {
    "ops.kernels": {"triton"},
    **dict.fromkeys(("ops.compiled", "ops.distance_numba", "ops.tree_numba"), NUMBA),
}
"""Rooms and modules of ops that are imported where their library is there, and that library."""


def modules() -> dict[str, Path]:
    """The modules of the package by their names, without ``mmlevelset``; "" is the package."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def statements(body: list, inside: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements that run with a module; with ``inside`` all, also of functions."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif (
            not inside
            and isinstance(node, ast.If)
            and ast.unparse(node.test).endswith("TYPE_CHECKING")
        ):
            yield from statements(node.orelse, inside)
        elif inside or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from statements(getattr(node, field, []), inside)


@cache
def imported(name: str, *, inside: bool = True) -> set[str]:
    """The full names of the modules that a module of ours imports."""
    path = MODULES[name]
    found = set()
    for node in statements(ast.parse(path.read_text()).body, inside):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        assert node.level == 0, f"{path}: imports are written in full"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            ours = inner.removeprefix("mmlevelset.") in MODULES
            found.add(inner if ours else node.module)
    return found


def ours(name: str, *, inside: bool = True) -> set[str]:
    """The modules of the package that a module imports, without ``mmlevelset``."""
    return {
        other.removeprefix("mmlevelset").removeprefix(".")
        for other in imported(name, inside=inside)
        if other.split(".")[0] == "mmlevelset"
    }


def room(name: str, depth: int = 0) -> str:
    return (name.split(".") + [""] * depth)[depth]


def test_every_room_has_a_floor():
    assert {room(name) for name in MODULES} - set(FLOORS) == set(), "give new rooms a floor"


def test_imports_go_down():
    wrong = []
    for name in MODULES:
        own = room(name)
        outside = {other for other in imported(name) if other.split(".")[0] in OUTSIDE}
        wrong += [f"{name} imports {other}" for other in outside]
        allowed = {own} | NEIGHBOURS.get(own, set())
        for other in ours(name):
            higher = FLOORS[room(other)] >= FLOORS[own] and room(other) not in allowed
            if higher and not FLOORS[own] == FLOORS[room(other)] == 0:
                wrong.append(f"{name} imports {other}")
    assert wrong == []


def test_no_method_imports_another():
    """A method's room imports ops, the shared rooms of models and mmdet."""
    wrong = []
    for name in MODULES:
        own = room(name, 1)
        if room(name) != "models" or not own:
            continue
        allowed = {own} | BELOW_MODELS.get(own, SHARED_MODELS)
        wrong += [
            f"{name} imports {other}"
            for other in ours(name)
            if room(other) == "models" and room(other, 1) not in allowed
        ]
    assert wrong == []


def test_no_circles():
    """Imports that run with a module form no circle; a package runs before its modules."""
    graph = {}
    for name in MODULES:
        graph[name] = {other for other in ours(name, inside=False) if other in MODULES} - {name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle of imports: " + " <- ".join(error.args[1]))


def test_ops_need_torch_alone():
    wrong = []
    for name in MODULES:
        if room(name) != "ops":
            continue
        backend = set().union(*(own for key, own in BACKENDS.items() if name.startswith(key)))
        for inside, optional in ((False, set()), (True, OPTIONAL_OF_OPS)):
            foreign = {other.split(".")[0] for other in imported(name, inside=inside)}
            foreign -= {"mmlevelset", "torch", *sys.stdlib_module_names, *backend, *optional}
            wrong += [f"{name} imports {other}" for other in foreign]
    assert wrong == []
