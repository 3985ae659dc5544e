"""What the converters of instances share: annotations, workers, parts that are kept."""

import importlib
import json
import os
import signal
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_utils
import pytest
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def shared(monkeypatch, checkout):
    monkeypatch.syspath_prepend(str(checkout / "tools/dataset_converters"))
    return importlib.import_module("coco_instances")


def square(number: int) -> int:
    return number**2


def fail_on_three(number: int) -> int:
    if number == 3:
        raise KeyError("lost")
    return number


def refuse_three(number: int) -> int:
    from conversion import InputError

    if number == 3:
        raise InputError("file three is damaged")
    return number


def die_on_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def meet(folder: Path) -> bool:
    """Whether another process comes too."""
    (folder / str(os.getpid())).touch()
    late = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2:
        if time.monotonic() > late:
            return False
        time.sleep(0.01)
    return True


def process(number: int) -> int:
    return os.getpid()


class TestAnnotation:
    def test_against_counting(self, shared):
        mask = np.random.default_rng(0).random((13, 17)) > 0.8
        mask[:2] = mask[:, :3] = False
        found = shared.annotation(mask, 4, 2, iscrowd=1)
        rows, columns = np.nonzero(mask)
        x, y = columns.min(), rows.min()
        assert found["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
        assert found["area"] == mask.sum()
        assert np.array_equal(mask_utils.decode(found["segmentation"]), mask)
        assert (found["image_id"], found["category_id"], found["iscrowd"]) == (4, 2, 1)
        assert json.loads(json.dumps(found)) == found

    def test_layout_in_memory_does_not_matter(self, shared):
        mask = np.asfortranarray(np.random.default_rng(1).random((9, 5)) > 0.5)
        found = shared.annotation(mask, 0, 1)
        assert found == shared.annotation(np.ascontiguousarray(mask), 0, 1)

    def test_an_empty_mask_is_none(self, shared):
        assert shared.annotation(np.zeros((4, 4), bool), 0, 1) is None


class TestFiles:
    def test_images(self, shared, tmp_path):
        image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
        shared.save_image(tmp_path / "new/rgb.png", image)
        shared.save_image(tmp_path / "grey.png", image[..., 0])
        with Image.open(tmp_path / "new/rgb.png") as rgb, Image.open(tmp_path / "grey.png") as grey:
            assert np.array_equal(rgb, image)
            assert np.array_equal(grey, image[..., 0]) and grey.mode == "L"

    def test_what_cannot_be_written_leaves_the_old_file(self, shared, tmp_path):
        path = tmp_path / "value.json"
        shared.write_json(path, {"a": 1})
        with pytest.raises(TypeError):
            shared.write_json(path, {"a": object()})

        def broken_parts():
            yield {"images": [], "annotations": []}
            raise OSError("disk")

        with pytest.raises(OSError, match="disk"):
            shared.write_instances(path, broken_parts(), [])
        assert json.loads(path.read_text()) == {"a": 1}
        assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]


class TestWorkers:
    @pytest.mark.parametrize("workers", [1, 2])
    def test_results_come_in_order(self, shared, workers):
        assert list(shared.map_jobs(square, range(7), workers)) == [0, 1, 4, 9, 16, 25, 36]

    def test_workers_work_at_the_same_time(self, shared, tmp_path):
        assert list(shared.map_jobs(meet, [tmp_path, tmp_path], 2)) == [True, True]
        assert str(os.getpid()) not in [entry.name for entry in tmp_path.iterdir()]

    def test_one_worker_is_this_process(self, shared):
        assert set(shared.map_jobs(process, range(2), 1)) == {os.getpid()}

    def test_without_jobs(self, shared):
        assert list(shared.map_jobs(square, [])) == []

    def test_jobs_are_not_sent_before_there_is_room(self, shared, monkeypatch):
        sent: list[int] = []

        class Pool:
            def __init__(self, *_):
                pass

            def submit(self, function, job):
                sent.append(job)
                future: Future[int] = Future()
                future.set_result(function(job))
                return future

            def shutdown(self, cancel_futures):
                assert cancel_futures

        monkeypatch.setattr(shared, "ProcessPoolExecutor", Pool)
        results = shared.map_jobs(square, range(20), 2)
        for taken, result in enumerate(results, 1):
            assert result == (taken - 1) ** 2
            assert len(sent) == min(taken + 4, 20)
        assert taken == 20

    @pytest.mark.parametrize("workers", [1, 2])
    def test_an_error_names_the_job(self, shared, workers):
        jobs = shared.map_jobs(fail_on_three, range(9), workers, name=lambda job: f"scan {job}")
        with pytest.raises(RuntimeError, match="scan 3: KeyError.*lost"):
            list(jobs)

    @pytest.mark.parametrize("workers", [1, 2])
    def test_bad_input_stays_bad_input(self, shared, workers):
        with pytest.raises(shared.InputError, match="^file three is damaged$"):
            list(shared.map_jobs(refuse_three, range(9), workers))

    def test_a_worker_that_dies(self, shared):
        with pytest.raises(shared.InputError, match="a worker died.*fewer workers.*: .*3"):
            list(shared.map_jobs(die_on_three, range(9), 2))

    def test_default_is_all_cores(self, shared):
        assert shared.cores() == len(os.sched_getaffinity(0))


class TestParts:
    def test_numbers_run_over_all_parts(self, shared, tmp_path):
        parts = shared.Parts(tmp_path, {"size": 3})
        for name, count in (("train/b", 1), ("train/a", 2)):
            images = [
                {"id": i, "file_name": f"{name[-1]}{i}.png", "height": 4, "width": 4}
                for i in range(count)
            ]
            masks = [np.full((4, 4), True)] * (count + 1)
            found = [shared.annotation(mask, count - 1, 1) for mask in masks]
            parts.write(name, images, found)
        path = tmp_path / "annotations/instances_train.json"
        read = parts.read(["train/a", "train/b"])
        from pycocotools.coco import COCO

        counts = shared.write_instances(path, read, [{"id": 1, "name": "cell"}], info={"by": "us"})
        assert counts == (3, 5)
        assert json.loads(path.read_text())["info"] == {"by": "us"}
        coco = COCO(path)
        assert sorted(coco.anns) == [1, 2, 3, 4, 5]
        assert [coco.imgs[i]["file_name"] for i in (1, 2, 3)] == ["a0.png", "a1.png", "b0.png"]
        assert [len(coco.getAnnIds(i)) for i in (1, 2, 3)] == [0, 3, 2]

    def test_a_part_is_finished_with_its_images(self, shared, tmp_path):
        parts = shared.Parts(tmp_path, {})
        assert not parts.finished("val/a")
        parts.write("val/a", [{"id": 0, "file_name": "a0.png"}], [])
        assert not parts.finished("val/a")
        shared.save_image(tmp_path / "val/a0.png", np.zeros((2, 2), np.uint8))
        assert parts.finished("val/a")
        assert shared.Parts(tmp_path, {}).finished("val/a")
        assert not shared.Parts(tmp_path, {}, overwrite=True).finished("val/a")

    def test_a_part_of_changed_files_is_made_anew(self, shared, tmp_path, capsys):
        source = tmp_path / "source"
        parts = shared.Parts(tmp_path / "out", {})

        def convert(text: str) -> list[dict]:
            source.write_text(text)

            def make(named):
                assert named == ("val/a", source)
                return {"images": [], "annotations": [{"text": source.read_text()}], "notes": []}

            shared.convert_parts(parts, make, {"val/a": source}, shared.state_of, workers=1)
            return next(parts.read(["val/a"]))["annotations"]

        assert convert("one") == [{"text": "one"}]
        assert capsys.readouterr().out == ""
        time = source.stat().st_mtime_ns
        source.write_text("two")
        os.utime(source, ns=(time, time))
        assert shared.state_of(source) == shared.state_of(source)
        assert convert("three") == [{"text": "three"}]
        assert capsys.readouterr().out == (
            "1 parts are made anew: what they were made from has changed\n"
        )
        shared.convert_parts(parts, None, {"val/a": source}, shared.state_of)
        assert capsys.readouterr().out == "1 of 1 parts were there already\n"

    def test_state_of_sources(self, shared, tmp_path):
        state_of, file = shared.state_of, tmp_path / "file"
        absent = state_of(file)
        file.write_text("text")
        there = state_of(file)
        assert len({absent, there, state_of(file, 3), state_of(file, "3"), state_of(3, file)}) == 5
        assert state_of(file) == there

    def test_other_options_are_refused(self, shared, tmp_path):
        shared.Parts(tmp_path, {"size": 3, "window": (1.0, 2.0)})
        shared.Parts(tmp_path, {"window": (1.0, 2.0), "size": 3})
        with pytest.raises(shared.InputError) as error:
            shared.Parts(tmp_path, {"size": 4, "window": (1.0, 2.0)})
        assert str(error.value) == (
            f"{tmp_path} was begun with other options (size: 3 then, 4 now); take those, "
            "another folder, or --overwrite"
        )
        shared.Parts(tmp_path, {"size": 4}, overwrite=True)
        shared.Parts(tmp_path, {"size": 4})

    def test_missing_and_damaged_parts_are_named(self, shared, tmp_path):
        parts = shared.Parts(tmp_path, {})
        with pytest.raises(shared.InputError, match="the part .*train/a.json does not exist"):
            list(parts.read(["train/a"]))
        parts.path("train").mkdir(parents=True)
        parts.path("train/a").parent.mkdir(exist_ok=True)
        parts.path("train/a").write_text("{")
        with pytest.raises(shared.InputError, match="a.json is damaged .*; remove it"):
            list(parts.read(["train/a"]))


def test_counts(shared, capsys):
    shared.check_counts("scans", 5, 5)
    shared.check_counts("scans", 4, 5, allow_partial=True)
    assert capsys.readouterr() == ("", "warning: scans: 4 found, 5 published\n")
    with pytest.raises(shared.InputError, match="^scans: 4 found, 5 published; --allow-partial"):
        shared.check_counts("scans", 4, 5)


def test_error_of_a_tool_is_one_line(shared, monkeypatch):
    def main():
        raise shared.InputError("it is wrong")

    monkeypatch.setattr(sys, "argv", ["tools/lits.py"])
    with pytest.raises(SystemExit, match="^lits.py: error: it is wrong$"):
        shared.run(main)
