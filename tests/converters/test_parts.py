"""Conversions in parts."""

import json
import os

import numpy as np
import pytest
from pycocotools.coco import COCO

from mmlevelset.converters.coco_layout import make_annotation, write_instances
from mmlevelset.converters.outputs import write_image
from mmlevelset.converters.parts import Parts, convert_parts, state_of
from mmlevelset.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_numbers_run_over_all_parts(tmp_path):
    parts = Parts(tmp_path, {"size": 3})
    for name, count in (("train/b", 1), ("train/a", 2)):
        images = [
            {"id": i, "file_name": f"{name[-1]}{i}.png", "height": 4, "width": 4}
            for i in range(count)
        ]
        masks = [np.full((4, 4), True)] * (count + 1)
        found = [make_annotation(mask, count - 1, 1) for mask in masks]
        parts.write(name, images, found)
    path = tmp_path / "annotations/instances_train.json"
    read = parts.read(["train/a", "train/b"])
    counts = write_instances(path, read, [{"id": 1, "name": "cell"}], info={"by": "us"})
    assert counts == (3, 5)
    assert json.loads(path.read_text())["info"] == {"by": "us"}
    coco = COCO(path)
    assert sorted(coco.anns) == [1, 2, 3, 4, 5]
    assert [coco.imgs[i]["file_name"] for i in (1, 2, 3)] == ["a0.png", "a1.png", "b0.png"]
    assert [len(coco.getAnnIds(i)) for i in (1, 2, 3)] == [0, 3, 2]


def test_a_part_is_finished_with_its_images(tmp_path):
    parts = Parts(tmp_path, {})
    assert not parts.finished("val/a")
    parts.write("val/a", [{"id": 0, "file_name": "a0.png"}], [])
    assert not parts.finished("val/a")
    write_image(tmp_path / "val/a0.png", np.zeros((2, 2), np.uint8))
    assert parts.finished("val/a")
    assert Parts(tmp_path, {}).finished("val/a")
    assert not Parts(tmp_path, {}, overwrite=True).finished("val/a")


def test_a_part_of_changed_files_is_made_anew(tmp_path, capsys):
    source = tmp_path / "source"
    parts = Parts(tmp_path / "out", {})

    def convert(text: str) -> list[dict]:
        source.write_text(text)

        def make(named):
            assert named == ("val/a", source)
            return {"images": [], "annotations": [{"text": source.read_text()}], "notes": []}

        convert_parts(parts, make, {"val/a": source}, state_of, workers=1)
        return next(parts.read(["val/a"]))["annotations"]

    assert convert("one") == [{"text": "one"}]
    assert capsys.readouterr().out == ""
    time = source.stat().st_mtime_ns
    source.write_text("two")
    os.utime(source, ns=(time, time))
    assert state_of(source) == state_of(source)
    assert convert("three") == [{"text": "three"}]
    assert capsys.readouterr().out == ("1 parts are made again: their sources have changed\n")
    convert_parts(parts, None, {"val/a": source}, state_of)
    assert capsys.readouterr().out == "1 of 1 parts were there already\n"


def test_state_of_sources(tmp_path):
    file = tmp_path / "file"
    absent = state_of(file)
    file.write_text("text")
    there = state_of(file)
    assert len({absent, there, state_of(file, 3), state_of(file, "3"), state_of(3, file)}) == 5
    assert state_of(file) == there


def test_other_options_are_refused(tmp_path):
    Parts(tmp_path, {"size": 3, "window": (1.0, 2.0)})
    Parts(tmp_path, {"window": (1.0, 2.0), "size": 3})
    with pytest.raises(InputError) as error:
        Parts(tmp_path, {"size": 4, "window": (1.0, 2.0)})
    assert str(error.value) == (
        f"{tmp_path} was begun with other options (size: 3 then, 4 now); use these "
        "options, another folder, or --overwrite"
    )
    Parts(tmp_path, {"size": 4}, overwrite=True)
    Parts(tmp_path, {"size": 4})


def test_missing_and_damaged_parts_are_named(tmp_path):
    parts = Parts(tmp_path, {})
    with pytest.raises(InputError, match="the part .*train/a.json does not exist"):
        list(parts.read(["train/a"]))
    parts.path("train").mkdir(parents=True)
    parts.path("train/a").parent.mkdir(exist_ok=True)
    parts.path("train/a").write_text("{")
    with pytest.raises(InputError, match="a.json is damaged .*; remove it"):
        list(parts.read(["train/a"]))
