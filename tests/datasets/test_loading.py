import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import DefaultScope

from mmlevelset.datasets import LoadImage
from mmlevelset.datasets.loading import image_file_problem


def _picture(height=60, width=80):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _bytes(extension, image=None, *options):
    return cv2.imencode(extension, _picture() if image is None else image, options)[1].tobytes()


def _write(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def _with_thumbnail(jpeg):
    """The JPEG with a whole small JPEG in an application segment, as cameras write it."""
    thumbnail = _bytes(".jpg", _picture(12, 16))
    segment = b"Exif\0\0" + thumbnail
    return jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".webp"])
def test_sound_files_load_as_mmcv_loads_them(tmp_path, extension):
    path = _write(tmp_path, f"image{extension}", _bytes(extension))
    info = {"img_path": path, "height": 60, "width": 80}
    ours, theirs = LoadImage()(dict(info)), LoadImageFromFile()(dict(info))
    assert np.array_equal(ours["img"], theirs["img"])
    assert ours.keys() == theirs.keys()
    assert ours["img_shape"] == ours["ori_shape"] == (60, 80)
    assert LoadImage(to_float32=True)(dict(info))["img"].dtype == np.float32


@pytest.mark.parametrize("name", ["mmlevelset.LoadImage", "mmlevelset.LoadImageFromFile"])
def test_both_names_build(name):
    with DefaultScope.overwrite_default_scope("mmdet"):
        assert type(ROOT_TRANSFORMS.build({"type": name})) is LoadImage
        assert type(ROOT_TRANSFORMS.build({"type": "LoadImageFromFile"})) is LoadImageFromFile


@pytest.mark.parametrize("keep", [0.25, 0.5, 0.75, 0.95])
@pytest.mark.parametrize("make", [_bytes, lambda e: _with_thumbnail(_bytes(e))])
def test_truncated_jpeg_is_an_error(tmp_path, keep, make):
    data = make(".jpg")
    assert image_file_problem(data) is None
    path = _write(tmp_path, "image.jpg", data[: int(keep * len(data))])
    with pytest.raises(ValueError, match=r"image\.jpg (is truncated|cannot be decoded)"):
        LoadImage()({"img_path": path})


def test_one_missing_byte_is_enough():
    for extension in (".jpg", ".png"):
        assert "truncated" in image_file_problem(_bytes(extension)[:-1])


@pytest.mark.parametrize("trailer", [b"\0" * 64, b"\r\n", b"camera notes " * 20])
def test_bytes_after_the_end_of_a_jpeg_or_png_are_accepted(tmp_path, trailer):
    for extension in (".jpg", ".png"):
        path = _write(tmp_path, f"image{extension}", _bytes(extension) + trailer)
        assert LoadImage()({"img_path": path})["img"].shape == (60, 80, 3)


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
@pytest.mark.parametrize("restart", [(), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_progressive_jpeg_and_restart_markers_are_sound(options, restart):
    data = _bytes(".jpg", None, *options, *restart)
    assert image_file_problem(data) is None
    assert image_file_problem(data[: len(data) * 9 // 10]) is not None


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.99])
def test_truncated_png_is_an_error(tmp_path, keep):
    data = _bytes(".png")
    path = _write(tmp_path, "image.png", data[: int(keep * len(data))])
    with pytest.raises(ValueError, match=r"image\.png is truncated"):
        LoadImage()({"img_path": path})


def test_changed_byte_of_a_png_is_an_error(tmp_path):
    data = bytearray(_bytes(".png"))
    for position in range(8, len(data) - 12, 97):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        assert image_file_problem(bytes(damaged)) is not None
    path = _write(tmp_path, "image.png", bytes(damaged))
    with pytest.raises(ValueError, match=r"image\.png is (corrupt|truncated)"):
        LoadImage()({"img_path": path})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"no image at all", "cannot be decoded"),
        (b"\xff\xd8\xff\xda nothing \xff\xd9", "cannot be decoded"),
    ],
)
def test_what_is_no_image_is_an_error(tmp_path, data, message):
    path = _write(tmp_path, "image.jpg", data)
    with pytest.raises(ValueError, match=rf"image\.jpg {message}"):
        LoadImage()({"img_path": path})


@pytest.mark.parametrize("decoder", ["cv2", "pillow"])
def test_every_decoder_gives_the_same_kind_of_error(tmp_path, decoder):
    path = _write(tmp_path, "image.jpg", b"no image at all")
    with pytest.raises(ValueError, match=r"image\.jpg cannot be decoded"):
        LoadImage(imdecode_backend=decoder)({"img_path": path})


def test_missing_file_is_named(tmp_path):
    for path in (tmp_path / "no.png", tmp_path):
        with pytest.raises(FileNotFoundError, match=str(path)):
            LoadImage()({"img_path": str(path)})


def test_size_is_compared_with_the_annotation(tmp_path):
    path = _write(tmp_path, "image.png", _bytes(".png"))
    with pytest.raises(ValueError, match=r"is 80 x 60 .*annotation says 81 x 60$"):
        LoadImage()({"img_path": path, "height": 60, "width": 81})
    with pytest.raises(ValueError, match=r"says 60 x 80; .*color_ignore_orientation"):
        LoadImage()({"img_path": path, "height": 80, "width": 60})
    assert LoadImage()({"img_path": path})["img"].shape == (60, 80, 3)


def test_skip_gives_none_and_counts_each_file_once(tmp_path, log):
    load = LoadImage(on_error="skip")
    first = _write(tmp_path, "first.jpg", _bytes(".jpg")[:-30])
    second = str(tmp_path / "second.jpg")
    good = _write(tmp_path, "good.jpg", _bytes(".jpg"))
    for path in (first, first, second, first):
        assert load({"img_path": path}) is None
    assert load({"img_path": good})["img"].shape == (60, 80, 3)
    assert len(log) == 2
    assert log[0].startswith("skipped an image (1 so far)") and "first.jpg is truncated" in log[0]
    assert log[1].startswith("skipped an image (2 so far)") and "does not exist" in log[1]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"on_error.*'ignore'"):
        LoadImage(on_error="ignore")
    with pytest.raises(ValueError, match="ignore_empty"):
        LoadImage(ignore_empty=True)
    assert "on_error='skip'" in repr(LoadImage(on_error="skip"))
