"""Facts that several files of the project state are the same in all of them."""

import re
from pathlib import Path

import pytest
import yaml

from mmlevelset import __version__

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib


@pytest.fixture(scope="module")
def project(checkout) -> dict:
    return tomllib.loads((checkout / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def workflow(checkout) -> dict:
    return yaml.safe_load((checkout / ".github/workflows/ci.yml").read_text())


def pin(checkout: Path, package: str) -> str:
    """The version of a package in the constraints."""
    found = re.search(
        rf"^{package}==(\S+)$", (checkout / "constraints.txt").read_text(), re.MULTILINE
    )
    assert found, package
    return found[1]


def minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def test_citation_is_of_this_version(checkout, project):
    citation = yaml.safe_load((checkout / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["license"] == project["license"]
    assert citation["abstract"] == project["description"]
    assert citation["keywords"] == project["keywords"]
    assert citation["repository-code"] == project["urls"]["Repository"]


def test_hook_before_commits_is_make_lint(checkout):
    hooks = yaml.safe_load((checkout / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for repo in hooks for hook in repo["hooks"]] == ["make lint"]


def test_workflow_runs_each_supported_python(workflow, project):
    prefix = "Programming Language :: Python :: "
    supported = [
        entry.removeprefix(prefix) for entry in project["classifiers"] if entry.startswith(prefix)
    ]
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == supported
    combinations = workflow["jobs"]["ops"]["strategy"]["matrix"]["include"]
    assert {entry["python"] for entry in combinations} <= set(supported)


def test_workflow_runs_the_ops_with_the_oldest_and_the_newest_torch(workflow, project, checkout):
    combinations = workflow["jobs"]["ops"]["strategy"]["matrix"]["include"]
    oldest, newest = (entry["torch"] for entry in combinations)
    [required] = [entry for entry in project["dependencies"] if entry.startswith("torch")]
    assert minor(oldest) == minor(required.removeprefix("torch>="))
    assert newest == pin(checkout, "torch")


def test_workflow_reads_only_and_pins_its_actions(workflow, checkout):
    assert workflow["permissions"] == {"contents": "read"}
    text = (checkout / ".github/workflows/ci.yml").read_text()
    used = re.findall(r"uses: (.*)", text)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 60


def test_the_lock_has_the_pins_and_hashes_and_no_address(checkout):
    """docs/releases.md has the command that makes it."""

    def normal(name: str) -> str:
        return re.sub("[-_.]+", "-", name).lower()

    pinned: dict[str, set[str]] = {}
    for line in (checkout / "constraints.txt").read_text().splitlines():
        if found := re.match(r"([\w.-]+)==([^;\s]+)", line):
            pinned.setdefault(normal(found[1]), set()).add(found[2])
    files = ("requirements.lock", "requirements-mmcv.lock")
    text = "\n".join((checkout / name).read_text() for name in files)
    assert not re.search(r"://|file:|--(extra-)?index|--find-links|(^|\s)/", text, re.MULTILINE)
    locked: dict[str, set[str]] = {}
    for entry in re.split(r"\n(?=\w)", re.sub("^#.*", "", text, flags=re.MULTILINE))[1:]:
        name, version = re.match(r"([\w.-]+)==(\S+)", entry).groups()
        assert "--hash=sha256:" in entry, name
        locked.setdefault(normal(name), set()).add(version)
    assert {name for name in locked if locked[name] - pinned.get(name, locked[name])} == set()
    free = {name for name in locked if name not in pinned}
    assert not {name for name in free if not re.match("nvidia-|cuda-|efficientnet|pip|setup", name)}
    assert {"torch", "onedl-mmcv", "gradio", "onnxruntime"} <= set(locked)
