"""Both installs, each in an environment of its own, trained and tested through mim."""

import os
import pickle
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import fake_slurm

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

    def run(
        self, *words: str | Path, cwd: Path, fails: bool = False, path: Path | None = None
    ) -> str:
        """Run Python; return all that it printed. ``path`` goes first in PATH."""
        variables = self.variables()
        if path is not None:
            variables["PATH"] = f"{path}{os.pathsep}{variables['PATH']}"
        done = subprocess.run(
            [self.python, *words],
            cwd=cwd,
            env=variables,
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

    def mim(
        self, *words: str | Path, cwd: Path, fails: bool = False, path: Path | None = None
    ) -> str:
        return self.run("-m", "mim", *words, cwd=cwd, fails=fails, path=path)

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


@dataclass
class Places:
    """The two environments, and an empty folder to work in."""

    editable: Environment
    wheel: Environment
    project: Path
    empty: Path


JOBS: list[Callable[[Places], list[str]]] = []


def job(function: Callable[[Places], list[str]]) -> Callable[[Places], list[str]]:
    """Make a function one of the jobs; it returns what its processes printed."""
    JOBS.append(function)
    return function


@job
def editable_trainings(at: Places) -> list[str]:
    config = f"configs/quickstart/{CONFIG}"
    options = ["--work-dir", at.empty, "--cfg-options", *SMALL]
    train = at.editable.mim("train", "mmlevelset", config, *options, cwd=at.project)
    words = ["--checkpoint", at.empty / "epoch_1.pth", *options]
    test = at.editable.mim("test", "mmlevelset", config, *words, cwd=at.project)
    longer = [str(word).replace("max_epochs=1", "max_epochs=2") for word in options]
    script = [at.project / "tools/train.py", at.project / config, "--resume"]
    return [train, test, at.editable.run(*script, *longer, cwd=at.empty)]


@job
def wheel_trainings(at: Places) -> list[str]:
    options = ["--work-dir", "out", "--cfg-options", *SMALL]
    train = at.wheel.mim("train", "mmlevelset", CONFIG, "--gpus", "0", *options, cwd=at.empty)
    results = ["--checkpoint", "out/epoch_1.pth", "--out", "all.pkl", "--show-dir", "drawn"]
    return [train, at.wheel.mim("test", "mmlevelset", CONFIG, *results, *options, cwd=at.empty)]


def search_grid(environment: Environment, config: str | Path, values: str, cwd: Path) -> str:
    small = ["train_dataloader.dataset.length=2", *SMALL[:3], *SMALL[4:]]
    search = f"--optim_wrapper.optimizer.weight_decay {values}"
    options = ["--work-dir", "grid", "--search-args", search, "--cfg-options", *small]
    return environment.mim("gridsearch", "mmlevelset", config, "--gpus", "0", *options, cwd=cwd)


@job
def wheel_grid(at: Places) -> list[str]:
    return [search_grid(at.wheel, CONFIG, "0.01 0.02", at.empty)]


@job
def editable_grid(at: Places) -> list[str]:
    return [search_grid(at.editable, at.project / "configs/quickstart" / CONFIG, "0.01", at.empty)]


@job
def two_processes(at: Places) -> list[str]:
    options = ["--launcher", "pytorch", "--gpus", "2", "--work-dir", "out", "--device", "cpu"]
    small = ["--cfg-options", *SMALL]
    return [at.wheel.mim("train", "mmlevelset", CONFIG, *options, *small, cwd=at.empty)]


@job
def two_slurm_tasks(at: Places) -> list[str]:
    slurm = at.empty / "slurm"
    slurm.mkdir()
    fake_slurm.install(slurm)
    cluster = ["--partition", "any", "--gpus", "2", "--gpus-per-node", "2"]
    # mim 0.5.1 breaks without --srun-args.
    launch = ["--launcher", "slurm", *cluster, "--srun-args", "--time=10"]
    options = ["--work-dir", "out", "--device", "cpu", "--cfg-options", *SMALL]
    words = ["train", "mmlevelset", CONFIG, *launch, *options]
    return [at.wheel.mim(*words, cwd=at.empty, path=slurm)]


@job
def commands(at: Places) -> list[str]:
    run = ["run", "mmlevelset"]
    sweep = [*run, "sweep", "levelset-rcnn_table4_small", "--dry-run"]
    refused = ["train", "mmlevelset", CONFIG, "--gpus", "2"]
    return [
        at.wheel.mim(*sweep, cwd=at.empty),
        at.wheel.mim(*run, "sweep_plan", cwd=at.empty, fails=True),
        at.wheel.mim(*refused, cwd=at.empty, fails=True),
    ]


@job
def searches(at: Places) -> list[str]:
    words = ["search", "mmlevelset", "--valid-config"]
    return [install.mim(*words, cwd=at.empty) for install in (at.editable, at.wheel)]


@pytest.fixture(scope="module")
def outputs(editable, wheel, project, tmp_path_factory) -> Iterator[Callable]:
    """Run all jobs, two at a time; by function: the folder of a job and its outputs."""
    folders = {function: tmp_path_factory.mktemp(function.__name__) for function in JOBS}
    with ThreadPoolExecutor(2) as pool:
        started: dict[Callable, Future[list[str]]] = {
            function: pool.submit(function, Places(editable, wheel, project, folder))
            for function, folder in folders.items()
        }
        yield lambda function: (folders[function], *started[function].result())
        for future in started.values():
            future.cancel()


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


def test_mim_trains_and_tests_from_the_checkout(outputs, project):
    _, train, test, _ = outputs(editable_trainings)
    assert f"{project}/tools/train.py configs/quickstart/{CONFIG}" in train
    assert "Training finished successfully" in train
    assert "coco/segm_mAP" in train
    assert "coco/segm_mAP" in test


def test_training_goes_on_from_the_latest_checkpoint(outputs):
    *_, resumed = outputs(editable_trainings)
    assert "resumed epoch: 1" in resumed
    assert "Saving checkpoint at 2 epochs" in resumed
    assert "Saving checkpoint at 1 epochs" not in resumed


def test_mim_trains_and_tests_by_base_name(outputs, wheel):
    folder, train, test = outputs(wheel_trainings)
    assert f".mim/tools/train.py {wheel.home}" in train
    assert "--device cpu" in train
    assert "coco/segm_mAP" in train
    assert "coco/segm_mAP" in test
    assert {path.name for path in folder.iterdir()} == {"out", "all.pkl", "drawn"}
    with open(folder / "all.pkl", "rb") as file:
        assert len(pickle.load(file)) == 2
    assert len(list((folder / "drawn").iterdir())) == 2


@pytest.mark.parametrize(("grid", "count"), [(wheel_grid, 2), (editable_grid, 1)])
def test_mim_searches_a_grid(outputs, grid, count):
    folder, _ = outputs(grid)
    assert len(list(folder.glob("grid_search_*/epoch_1.pth"))) == count


def test_mim_trains_in_two_processes(outputs):
    folder, output = outputs(two_processes)
    assert "Distributed launcher: pytorch" in output
    assert "GPU number: 2" in output
    assert (folder / "out" / "epoch_1.pth").is_file()


def test_mim_trains_through_slurm(outputs):
    folder, output = outputs(two_slurm_tasks)
    assert "Training command is srun -p any --gres=gpu:2 --ntasks=2 --ntasks-per-node=2" in output
    assert "Distributed launcher: slurm" in output
    assert "GPU number: 2" in output
    assert "Training finished successfully" in output
    assert (folder / "out" / "epoch_1.pth").is_file()


def test_mim_runs_commands_and_nothing_else(outputs):
    folder, dry_run, unknown, _ = outputs(commands)
    listed = [line.split() for line in dry_run.splitlines() if line.startswith("waiting ")]
    assert ["waiting", "work_dirs/sweeps/levelset-rcnn_table4_small/ours_seed0"] in listed
    assert "No script in codebase mmlevelset has suffix /sweep_plan.py" in unknown
    assert not list(folder.iterdir())


def test_several_gpus_without_a_launcher_are_refused(outputs):
    *_, output = outputs(commands)
    assert "train.py: error: --gpus 2 needs a process per GPU: add --launcher pytorch" in output


def test_mim_searches_both_installs(outputs):
    _, *found = outputs(searches)
    assert len(found) == 2
    assert all(Path(CONFIG).stem in output for output in found)
