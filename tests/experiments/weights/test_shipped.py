import json
import re

import pytest
import torch
import yaml

from mmlevelset.errors import InputError
from mmlevelset.experiments.weights import shipped
from mmlevelset.experiments.weights.card import OPEN


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of shipped weights with two files, of which b is the default."""
    (tmp_path / "index.json").write_text('{"default": "b"}')
    for name in ("a", "b"):
        (tmp_path / f"{name}.pth").touch()
    monkeypatch.setattr(shipped, "shipped_folder", lambda name: tmp_path)
    return tmp_path


def test_weights_by_name_by_path_and_by_default(folder, tmp_path):
    assert shipped.find_weights(None) == str(folder / "b.pth")
    assert shipped.find_weights("a") == str(folder / "a.pth")
    assert shipped.find_weights(str(folder / "a.pth")) == str(folder / "a.pth")
    assert shipped.find_weights("https://x.org/a.pth") == "https://x.org/a.pth"
    with pytest.raises(InputError, match=re.escape("c are no file and no shipped weights (a, b)")):
        shipped.find_weights("c")


def test_no_default(folder):
    (folder / "index.json").write_text('{"default": null}')
    with pytest.raises(InputError, match="no default weights: give --weights FILE"):
        shipped.find_weights(None)


def test_shipped_files_are_small_plain_and_described(checkout):
    weights = checkout / "weights"
    files = sorted(weights.glob("*.pth"))
    for path in files:
        assert path.stat().st_size <= 14e6
        content = torch.load(path, weights_only=True)
        assert {value.dtype for value in content["state_dict"].values()} & {torch.float16}
        card = path.with_suffix(".md").read_text()
        assert card.startswith(f"# {path.stem}\n") and OPEN not in card
    default = json.loads((weights / "index.json").read_text())["default"]
    assert default in [path.stem for path in files] if files else default is None


def test_metafiles_name_weights_that_exist(checkout):
    named = set()
    for metafile in (checkout / "configs").rglob("metafile.yml"):
        for model in yaml.safe_load(metafile.read_text()).get("Models", ()):
            found = model.get("Weights", [])
            named |= {*([found] if isinstance(found, str) else found)}
    files = {path.relative_to(checkout).as_posix() for path in (checkout / "weights").glob("*.pth")}
    assert named == files
