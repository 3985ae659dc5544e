"""No name in somebody else's files makes a converter write outside its folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmlevelset.converters.datasets import cityscapes, isaid, pascal_context, voc_aug, weizmann
from mmlevelset.converters.inputs import read_names
from mmlevelset.converters.names import below, check_name
from mmlevelset.converters.parts import Parts
from mmlevelset.errors import InputError

EVIL = [
    "../x",
    "a/../../x",
    "/tmp/x",
    "..",
    ".",
    "",
    "a//b",
    "..\\x",
    "C:x",
    "a\0b",
    "a\nb",
    "/",
    "./../x",
    "\udcff",
    None,
    5,
    ["a"],
]
STEPS = st.sampled_from(["..", ".", "", "a", "b.png", "\\", "C:", "\0", "~", "...", " ", "é"])
NAMES = st.lists(STEPS, max_size=6).map("/".join) | st.text(max_size=8)


@given(names=st.lists(NAMES, min_size=1, max_size=3))
def test_a_path_is_below_its_folder_or_refused(names):
    folder = Path("/nowhere/out")
    try:
        path = below(folder, *names)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert path.resolve().is_relative_to(folder) and path != folder
    assert path == folder.joinpath(*names)


@pytest.mark.parametrize("name", EVIL)
def test_unsafe_names_are_refused(name):
    with pytest.raises(InputError, match=r"^list: the name .* must be a relative path"):
        check_name(name, "list", folders=True)
    with pytest.raises(InputError, match="must be the plain name of a file"):
        check_name(name, "list")


def test_safe_names_stay():
    for name in ("2007_000027", "a b.png", "x..y", "é.jpg", "-rf", "~x"):
        assert check_name(name, "list") == name
    assert check_name("a/b/c.png", "list", folders=True) == "a/b/c.png"
    with pytest.raises(InputError):
        check_name("a/b.png", "list")


def test_links_that_lead_out_are_refused(tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    (out / "train").symlink_to(other)
    with pytest.raises(InputError, match="train is a link that leads out of"):
        below(out, "train", "x.png")
    (tmp_path / "linked").symlink_to(out)  # the folder itself may be a link
    assert below(tmp_path / "linked", "val", "x.png") == tmp_path / "linked/val/x.png"
    (out / "inner").symlink_to("val")
    below(out, "inner", "x.png")


@given(name=NAMES)
def test_parts_are_below_their_folder_or_refused(name):
    parts = Parts.__new__(Parts)
    parts.folder = Path("/nowhere/out/.parts")
    try:
        path = parts.path(name)
    except InputError:
        return
    assert path.resolve().is_relative_to(parts.folder)


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def write(path: Path, content: str | bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_map(path: Path, size: tuple[int, int] = (4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros(size[::-1], np.uint8)).save(path, format="PNG")


def run(main, *words: object) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a\\b", "a/b"])
def test_lists_of_voc(tmp_path, capsys, name):
    voc, sbd, context = tmp_path / "a/VOC", tmp_path / "a/SBD", tmp_path / "a/context"
    for folder in ("Segmentation", "Main"):
        for split in ("train", "val"):
            write(voc / f"ImageSets/{folder}/{split}.txt", f"good\n{name} 1\n")
            write(sbd / f"{split}.txt", f"{name}\n")
    write_map(voc / "SegmentationClass/good.png")
    write(context / "labels.txt", "1: a\n")
    write(context / "trainval/good.mat")
    before = everything(tmp_path)
    assert run(voc_aug.main, voc, sbd) == 2
    assert name in capsys.readouterr().err.replace("\\\\", "\\")
    assert run(pascal_context.main, voc, context) == 2
    assert everything(tmp_path) == before
    with pytest.raises(InputError, match=r"train\.txt: the name"):
        read_names(sbd / "train.txt")


@pytest.mark.parametrize("name", ["../../../evil.png", "/tmp/evil.png", "..\\x.png", "a\0.png", 3])
def test_file_names_of_isaid(tmp_path, capsys, name):
    content = dict(
        images=[dict(id=1, file_name=name)],
        annotations=[],
        categories=[dict(id=k, name=c) for k, c in enumerate(isaid.CLASSES)],
    )
    write(tmp_path / "in/train/Annotations/iSAID_train.json", json.dumps(content))
    write_map(tmp_path / "in/train/images/images/x.png")
    write_map(tmp_path / "evil.png")
    before = everything(tmp_path)
    assert run(isaid.main, tmp_path / "in", tmp_path / "out", "--allow-partial") == 2
    said = capsys.readouterr().err
    wrong_type = "'file_name' of images[0] must be a text, not 3"
    assert wrong_type in said if name == 3 else "iSAID_train.json: the name" in said
    assert everything(tmp_path) - before <= {tmp_path / "out/.parts/.options.json"}


def test_a_city_that_is_a_link(tmp_path, capsys):
    write_map(tmp_path / "elsewhere/x_gtFine_labelIds.png")
    (tmp_path / "root/gtFine/train").mkdir(parents=True)
    (tmp_path / "root/gtFine/train/city").symlink_to(tmp_path / "elsewhere")
    write_map(tmp_path / "root/gtFine/val/city/x_gtFine_labelIds.png")
    before = everything(tmp_path)
    assert run(cityscapes.main, tmp_path / "root") == 2
    assert "is a link that leads out of" in capsys.readouterr().err
    assert everything(tmp_path) == before


def test_a_link_in_the_target_of_weizmann(tmp_path, capsys):
    picture = np.zeros((3, 4, 3), np.uint8)
    picture[0] = (255, 0, 0)
    for path in ("src_color/x.png", "human_seg/x.png"):
        file = tmp_path / "in/one" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(file)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/images").symlink_to(tmp_path / "elsewhere")
    assert run(weizmann.main, tmp_path / "in", tmp_path / "out") == 2
    assert "is a link that leads out of" in capsys.readouterr().err
    assert not list((tmp_path / "elsewhere").iterdir())
    (tmp_path / "out/images").unlink()
    (tmp_path / "out/images").mkdir()
    (tmp_path / "out/images/one.png").symlink_to(tmp_path / "elsewhere/x.png")
    assert run(weizmann.main, tmp_path / "in", tmp_path / "out") == 0
    assert not list((tmp_path / "elsewhere").iterdir())  # the link is replaced, not followed
