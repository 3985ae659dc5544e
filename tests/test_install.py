"""Both installs, each in an environment of its own, trained and tested through mim."""

import copy
import os
import pickle
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.quick_python import QuickPython

pytestmark = pytest.mark.slow

CONFIG = "levelset-rcnn_shapes.py"
# One or two seconds of training.
SMALL = [
    "train_cfg.max_epochs=1",
    "train_cfg.val_interval=1",
    "train_dataloader.batch_size=2",
    "train_dataloader.dataset.length=4",
    "val_dataloader.dataset.length=2",
    "test_dataloader.dataset.length=2",
    "param_scheduler.1.T_max=1",
]
PROJECT = [
    "pyproject.toml",
    "hatch_build.py",
    "README.md",
    "LICENSE",
    "model-index.yml",
    "mmlevelset",
    "configs",
    "tools",
    "weights",
]


class Environment:
    """A virtual environment that sees the packages of the running one, but not its mmlevelset."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", with_pip=False)
        self.python = folder / "venv" / "bin" / "python"
        self.home = folder
        site = self.ask("import sysconfig; print(sysconfig.get_path('purelib'))")
        # A folder named in a .pth file comes after the environment's own packages. Its own .pth
        # files are not read, so that an editable mmlevelset in it is not found.
        Path(site, "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(self, *words: str | Path, cwd: Path, fails: bool = False) -> str:
        """Run Python; return its output."""
        done = subprocess.run(
            [self.python, *words],
            cwd=cwd,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert (done.returncode != 0) == fails, done.stdout[-16000:]
        return done.stdout

    def ask(self, code: str) -> str:
        return self.run("-c", code, cwd=self.home).strip()

    def install(self, *words: str | Path) -> None:
        options = ["--no-index", "--no-deps", "--no-build-isolation", "-q"]
        self.run("-m", "pip", "install", *options, *words, cwd=self.home)

    def mim(self, *words: str | Path, cwd: Path, fails: bool = False) -> str:
        return self.run("-m", "mim", *words, cwd=cwd, fails=fails)

    def start_quickly(self) -> QuickPython:
        """From now on, run processes as forks of one that has imported the installed package."""
        folder = self.home / "quick"
        folder.mkdir()
        server = QuickPython(folder, self.python, self.variables())
        self.python = server.path
        return server

    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {**kept, "HOME": str(self.home), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture(scope="module")
def project(checkout, tmp_path_factory) -> Path:
    """A copy of the project without build outputs, to install from."""
    folder = tmp_path_factory.mktemp("project")
    for name in PROJECT:
        source = checkout / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    return folder


@pytest.fixture(scope="module")
def editable(project, tmp_path_factory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("editable"))
    environment.install("-e", project)
    return environment


@pytest.fixture(scope="module")
def wheel(project, tmp_path_factory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("wheel"))
    options = ["--no-index", "--no-deps", "--no-build-isolation", "-q"]
    environment.run("-m", "pip", "wheel", *options, project, cwd=environment.home)
    environment.install(next(environment.home.glob("mmlevelset-*.whl")))
    return environment


@pytest.fixture(scope="module")
def quick_wheel(wheel) -> Iterator[Environment]:
    """The wheel's environment for tests of many processes; the editable one has Python itself."""
    quick = copy.copy(wheel)
    server = quick.start_quickly()
    yield quick
    server.close()


@pytest.fixture
def empty(tmp_path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_editable_install_is_the_checkout(editable, project):
    found = editable.ask("import mmlevelset; print(mmlevelset.__file__)")
    assert Path(found) == project / "mmlevelset" / "__init__.py"
    # A second copy of the configs would make mim's search by base name ambiguous.
    assert len(list(project.rglob(CONFIG))) == 1


def test_wheel_is_found_outside_of_the_checkout(wheel):
    code = (
        "import mmlevelset; from mmlevelset.files import shipped_folder;"
        "from mim.utils import get_installed_path;"
        "print(mmlevelset.__file__, get_installed_path('mmlevelset'),"
        " shipped_folder('tools') / 'train.py')"
    )
    package, root, tool = map(Path, wheel.ask(code).split())
    assert package.is_relative_to(wheel.home)
    assert root.name == "_mmlevelset_mim"
    assert tool.is_relative_to(package.parent) and tool.is_file()


@pytest.mark.parametrize("install", ["wheel", "editable"])
def test_shipped_weights_are_found(install, request, project):
    environment = request.getfixturevalue(install)
    code = (
        "from mmlevelset.experiments.weights.shipped import default_name, shipped_weights;"
        "print(default_name(), *shipped_weights())"
    )
    default, *names = environment.ask(code).split()
    files = sorted(path.stem for path in (project / "weights").glob("*.pth"))
    assert names == files and default in (files or ["None"])


def test_mim_trains_from_the_checkout(editable, project, tmp_path):
    config = f"configs/quickstart/{CONFIG}"
    options = ["--work-dir", str(tmp_path), "--cfg-options", *SMALL]
    output = editable.mim("train", "mmlevelset", config, "--gpus", "0", *options, cwd=project)
    assert f"{project}/tools/train.py {config}" in output
    assert "--device cpu" in output
    assert "Training finished successfully" in output
    assert "coco/segm_mAP" in output
    assert (tmp_path / "epoch_1.pth").is_file()


def test_mim_trains_in_two_processes_and_tests_by_base_name(quick_wheel, empty):
    options = ["--work-dir", "out", "--cfg-options", *SMALL]
    launch = ["--launcher", "pytorch", "--gpus", "2", "--device", "cpu"]
    output = quick_wheel.mim("train", "mmlevelset", CONFIG, *launch, *options, cwd=empty)
    assert f".mim/tools/train.py {quick_wheel.home}" in output
    assert "Distributed launcher: pytorch" in output
    assert "GPU number: 2" in output
    assert "coco/segm_mAP" in output

    results = ["--checkpoint", "out/epoch_1.pth", "--out", "all.pkl", "--show-dir", "drawn"]
    output = quick_wheel.mim("test", "mmlevelset", CONFIG, *results, *options, cwd=empty)
    assert "coco/segm_mAP" in output
    made = {path.name for path in empty.iterdir()} - {".dist_test"}  # mmengine's, of processes
    assert made == {"out", "all.pkl", "drawn"}
    with open(empty / "all.pkl", "rb") as file:
        assert len(pickle.load(file)) == 2
    assert len(list((empty / "drawn").iterdir())) == 2


def test_mim_searches_a_grid(quick_wheel, empty):
    small = ["train_dataloader.dataset.length=2", *SMALL[:3], *SMALL[4:]]
    search = "--optim_wrapper.optimizer.weight_decay 0.01"  # a training for each value
    options = ["--work-dir", "grid", "--search-args", search, "--cfg-options", *small]
    output = quick_wheel.mim("gridsearch", "mmlevelset", CONFIG, "--gpus", "0", *options, cwd=empty)
    assert "weight_decay=0.01" in output
    assert len(list(empty.glob("grid_search_*/epoch_1.pth"))) == 1


def test_mim_trains_through_slurm(quick_wheel, empty, slurm):
    cluster = ["--partition", "any", "--gpus", "1", "--gpus-per-node", "1"]
    # mim 0.5.1 breaks without --srun-args.
    launch = ["--launcher", "slurm", *cluster, "--srun-args", "--time=10"]
    options = ["--work-dir", "out", "--device", "cpu", "--cfg-options", *SMALL]
    output = quick_wheel.mim("train", "mmlevelset", CONFIG, *launch, *options, cwd=empty)
    assert "Training command is srun -p any --gres=gpu:1 --ntasks=1 --ntasks-per-node=1" in output
    assert "Distributed launcher: slurm" in output
    assert "GPU number: 1" in output
    assert "Training finished successfully" in output
    assert (empty / "out" / "epoch_1.pth").is_file()


def test_mim_runs_commands_and_nothing_else(quick_wheel, empty):
    sweep = ["sweep", "levelset-rcnn_table4_small", "--dry-run"]
    output = quick_wheel.mim("run", "mmlevelset", *sweep, cwd=empty)
    listed = [line.split() for line in output.splitlines() if line.startswith("waiting ")]
    assert ["waiting", "work_dirs/sweeps/levelset-rcnn_table4_small/ours_seed0"] in listed
    output = quick_wheel.mim("run", "mmlevelset", "sweep_plan", cwd=empty, fails=True)
    assert "No script in codebase mmlevelset has suffix /sweep_plan.py" in output
    assert not list(empty.iterdir())


def test_several_gpus_without_a_launcher_are_refused(quick_wheel, empty):
    output = quick_wheel.mim("train", "mmlevelset", CONFIG, "--gpus", "2", cwd=empty, fails=True)
    assert "train.py: error: --gpus 2 needs a process per GPU: add --launcher pytorch" in output


@pytest.mark.parametrize("install", ["quick_wheel", "editable"])
def test_mim_searches(install, request, empty):
    environment = request.getfixturevalue(install)
    output = environment.mim("search", "mmlevelset", "--valid-config", cwd=empty)
    assert Path(CONFIG).stem in output
