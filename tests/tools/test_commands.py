"""Every file in tools/ is a command: it imports a `main` from the package and calls it."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
COMMANDS = sorted(path for path in TOOLS.rglob("*.py") if "dev" not in path.parts)
START = ast.dump(ast.parse('if __name__ == "__main__":\n    main()').body[0])
LIGHT = ["train", "test", "new_config", "sweep", "report", "results_table", "plot_runs", "app"]


def module_of(command: Path) -> str:
    """Return the module of a command's `main`; check that the command has nothing else."""
    text = command.read_text()
    tree = ast.parse(text)
    _, imported, start = tree.body
    assert ast.get_docstring(tree)
    assert isinstance(imported, ast.ImportFrom)
    assert [name.name for name in imported.names] == ["main"]
    assert ast.dump(start) == START
    assert imported.module.startswith("mmlevelset.")
    return imported.module


@pytest.mark.parametrize("command", COMMANDS, ids=lambda path: str(path.relative_to(TOOLS)))
def test_a_tool_is_a_command_and_has_help(command, capsys):
    main = importlib.import_module(module_of(command)).main
    with pytest.raises(SystemExit) as end:
        main(["-h"])
    assert end.value.code == 0
    assert "usage: " in capsys.readouterr().out


def test_names_are_unique_for_mim():
    """``mim run`` finds a command by its base name."""
    names = [path.stem for path in COMMANDS]
    assert names and sorted(set(names)) == sorted(names)


def test_nothing_else_is_in_tools():
    others = [path for path in TOOLS.rglob("*") if path.is_file() and path.suffix != ".py"]
    outside = [path for path in others if not {"dev", "__pycache__"} & {*path.parts}]
    assert [path.name for path in outside] in ([], ["gpu.sh"])


def test_help_comes_without_the_libraries():
    code = (
        "import importlib, sys\n"
        f"for name in {[module_of(TOOLS / f'{name}.py') for name in LIGHT]}:\n"
        "    try:\n"
        "        importlib.import_module(name).main(['-h'])\n"
        "    except SystemExit:\n"
        "        pass\n"
        "loaded = [name for name in ('torch', 'numpy', 'mmengine') if name in sys.modules]\n"
        "sys.exit(', '.join(loaded) or 0)\n"
    )
    variables = {**os.environ, "PYTHONPATH": str(TOOLS.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"usage: ") == len(LIGHT)
