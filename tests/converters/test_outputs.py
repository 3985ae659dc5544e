"""Files that converters write."""

import json

import numpy as np
import pytest
from PIL import Image

from mmlevelset.converters.coco_layout import write_instances
from mmlevelset.converters.outputs import write_compact_json, write_image

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_images(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_image(tmp_path / "new/rgb.png", image)
    write_image(tmp_path / "grey.png", image[..., 0])
    with Image.open(tmp_path / "new/rgb.png") as rgb, Image.open(tmp_path / "grey.png") as grey:
        assert np.array_equal(rgb, image)
        assert np.array_equal(grey, image[..., 0]) and grey.mode == "L"


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "value.json"
    write_compact_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_compact_json(path, {"a": object()})

    def broken_parts():
        yield {"images": [], "annotations": []}
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write_instances(path, broken_parts(), [])
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]
