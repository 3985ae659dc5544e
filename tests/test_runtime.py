"""runtime.py without a model: sizes, resizing, outlines, the command's errors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmlevelset import runtime

masks = arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7)))


def filled(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The winding number of each pixel's centre, by crossings of the ray to the left."""
    winding = np.zeros(shape, int)
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    for polygon in polygons:
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
            if x0 == x1:
                crossed = (x0 < columns) & (min(y0, y1) < rows) & (rows < max(y0, y1))
                winding += crossed * int(np.sign(y0 - y1))
    return winding


@settings(max_examples=100, deadline=None)
@given(masks)
def test_outlines_filled_give_the_mask(mask):
    polygons = runtime.outlines(mask)
    np.testing.assert_array_equal(filled(polygons, mask.shape), mask.astype(int))
    for polygon in polygons:
        steps = np.roll(polygon, -1, 0) - polygon
        assert (np.count_nonzero(steps, axis=1) == 1).all()  # along the pixels' edges
        turns = np.roll(steps, -1, 0)
        assert (steps[:, 0] * turns[:, 1] != steps[:, 1] * turns[:, 0]).all()  # corners alone


def test_pixels_that_touch_at_a_corner_have_outlines_of_their_own():
    polygons = runtime.outlines(np.eye(3, dtype=bool))
    assert [len(polygon) for polygon in polygons] == [4, 4, 4]


def test_resize_is_opencvs_up_to_one_level():
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    for height, width in ((80, 111), (20, 29), (37, 54)):
        ours = runtime.resize(image, height, width).astype(int)
        theirs = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(int)
        assert np.abs(ours - theirs).max() <= 1
        assert (ours != theirs).mean() < 0.2
    assert (runtime.resize(image, 37, 53) == image).all()


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (37, 2000), (800, 1333), (1, 1)])
def test_network_size_is_mmcvs(size):
    mmcv = pytest.importorskip("mmcv")
    rule = dict(scale=[1333, 800], keep_ratio=True)
    width, height = mmcv.rescale_size(size[::-1], (1333, 800))
    assert runtime.network_size(*size, rule) == (height, width)
    assert runtime.network_size(*size, dict(rule, keep_ratio=False)) == (800, 1333)
    assert runtime.network_size(*size, None) == size


def run(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, runtime.__file__, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_wrong_files_give_one_line(tmp_path):
    pytest.importorskip("onnxruntime")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    for model, words in ((tmp_path / "missing.onnx", "does not exist"), (broken, "is no model")):
        done = run(model, "photo.jpg")
        assert done.returncode == 2
        assert done.stderr.startswith("runtime.py: error: ")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_photographs_of_one_name_have_pictures_of_their_own(tmp_path):
    written: set[Path] = set()
    names = [
        runtime._unused(tmp_path / name, written).name for name in ("a.png", "a.png", "a_2.png")
    ]
    assert names == ["a.png", "a_2.png", "a_2_2.png"]


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((1, 4, 3), np.uint8), [[0]]],
)
def test_an_array_that_is_no_image_is_refused(image):
    with pytest.raises(runtime.ModelError, match="an image must"):
        runtime._check(image)


def test_a_copied_file_needs_numpy_alone(tmp_path):
    """Of the libraries, only NumPy is imported with the file."""
    copy = tmp_path / "runtime.py"
    copy.write_text(Path(runtime.__file__).read_text())
    code = (
        "import runtime, sys; roots = {name.split('.')[0] for name in sys.modules};"
        " print(roots & {'torch', 'mmlevelset', 'mmdet', 'mmcv', 'PIL', 'onnxruntime', 'scipy'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
