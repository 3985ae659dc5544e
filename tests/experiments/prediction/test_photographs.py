from pathlib import Path

import pytest

from mmlevelset.experiments.prediction.photographs import find_photographs, result_names


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A tree of empty files, below the folder that the commands run in."""
    names = ("b.JPG", "a.png", "sub/a.png", "sub/deep/c.webp", "notes.txt", ".hidden.png")
    for name in (*names, ".cache/d.png", "[odd].png", "out/a_contours.png", "out/mine.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find(*words: str, out: str = "out") -> list[str]:
    found, lines = find_photographs(words, Path(out))
    assert not lines
    return [str(path) for path in found]


def test_a_folder_stands_for_the_photographs_below_it(photos):
    assert find("sub") == ["sub/a.png", "sub/deep/c.webp"]
    # Neither hidden files, nor others, nor pictures of an earlier run.
    everything = ["[odd].png", "a.png", "b.JPG", "out/mine.png", "sub/a.png", "sub/deep/c.webp"]
    assert find(".") == everything
    assert "out/a_contours.png" in find(".", out="elsewhere")


def test_files_patterns_and_repetitions(photos):
    assert find("notes.txt", "a.png", "./a.png", str(photos / "a.png")) == ["notes.txt", "a.png"]
    assert find("**/a.*") == ["a.png", "sub/a.png"]
    assert find("[odd].png") == ["[odd].png"]  # a file before a pattern
    assert find("su*") == ["sub/a.png", "sub/deep/c.webp"]


def test_words_without_photographs(photos):
    (photos / "empty").mkdir()
    found, lines = find_photographs(["no.png", "a.png", "empty", "x*.jpg"], Path("out"))
    assert [str(path) for path in found] == ["a.png"]
    assert lines[0] == "no.png: there is no such file or folder"
    assert lines[1].startswith("empty: the folder holds no photograph (.jpg, .jpeg, ")
    assert lines[2] == "x*.jpg: there is no such file or folder"


def test_a_link_to_itself_costs_no_other_photograph(photos):
    (photos / "sub/loop.png").symlink_to("loop.png")
    found, lines = find_photographs(["sub"], Path("out"))
    assert [path.name for path in found] == ["a.png", "loop.png", "c.webp"] and not lines
    assert result_names(found, Path("out")) == ["a", "loop", "c"]


def test_results_take_the_place_of_no_other_file():
    words = ["a.jpg", "sub/a.jpg", "a.png", "a-2.jpg", "b.c.jpg", "a_contours.png", "a"]
    photographs = [Path(word) for word in words]
    names = result_names(photographs, Path("out"))
    assert names == ["a", "a-2", "a-3", "a-2-2", "b.c", "a_contours", "a-4"]
    # Some file systems allow 255 bytes a name.
    long = ["n" * 251 + ".png", "sub/" + "n" * 240 + ".png", "\u4eba" * 80 + ".png"]
    names = result_names([Path(word) for word in long], Path("out"))
    assert names == ["n" * 200, "n" * 200 + "-2", "\u4eba" * 66]
    # In the folder of the photographs themselves, a_contours.png is a photograph.
    assert result_names(photographs, Path())[0] == "a-2"
