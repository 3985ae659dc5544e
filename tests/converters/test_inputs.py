"""Reading of published files: each fault is one line that names the file."""

import numpy as np
import pytest
from PIL import Image

from mmlevelset.converters.datasets.pennfudan import read_photograph
from mmlevelset.converters.datasets.weizmann import read_mask
from mmlevelset.converters.inputs import read_image_size, read_label_map
from mmlevelset.errors import InputError

READERS = {
    "size": read_image_size,
    "label map": read_label_map,
    "photograph": read_photograph,
    "mask": lambda path: read_mask(path, path),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_too_many_pixels_is_one_line(reader, tmp_path, monkeypatch):
    """Pillow refuses a header of more than twice as many pixels as its limit."""
    path = tmp_path / "large.png"
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(InputError, match=r"large\.png .*cannot be read: .*81 pixels") as caught:
        READERS[reader](path)
    assert "\n" not in str(caught.value)
