"""A data loader's worker that is killed: the error names the image that it was reading."""

import os
import signal
from types import SimpleNamespace

import pytest
from mmengine.dataset import Compose
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from mmlevelset.engine.lost_worker import images_of_killed_workers, note_images
from mmlevelset.experiments.command_line import short_errors


class Photographs(Dataset):
    def __init__(self, name: str, deadly: int = -1) -> None:
        def load(data: dict) -> int:
            if data["number"] == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return data["number"]

        self.name, self.metainfo, self.pipeline = name, {}, Compose([load])

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return self.pipeline(dict(number=index, img_path=f"{self.name}/{index}.jpg"))


def loader(dataset: Dataset, workers: int) -> DataLoader:
    runner = SimpleNamespace(
        build_dataloader=lambda **settings: DataLoader(dataset, num_workers=workers, **settings)
    )
    note_images(runner)
    return runner.build_dataloader(batch_size=None, multiprocessing_context="fork")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_command_ends_with_the_name_of_the_image(capsys, workers):
    both = ConcatDataset([Photographs("whole"), Photographs("some ümlaut", deadly=2)])
    arguments = SimpleNamespace(traceback=False, loaded=None)
    with pytest.raises(SystemExit) as stop, short_errors("train.py", arguments):
        list(loader(both, workers))
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "while it read some ümlaut/2.jpg; often for lack of memory" in line


def test_other_errors_name_no_image():
    assert list(DataLoader(Photographs("a"), batch_size=None)) == [0, 1, 2, 3]
    for message in ("", "DataLoader worker (pid 1) is killed", "DataLoader worker (pid(s) 1, 2)"):
        assert images_of_killed_workers(message) == []
