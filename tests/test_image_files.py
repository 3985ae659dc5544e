"""Headers of image files, and one rule for turned images, deep values, alpha and other colours."""

import io
import warnings

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from mmlevelset.datasets import LoadImage
from mmlevelset.image_files import Header, ImageFileError, read_header, scale_deep

WIDTH, HEIGHT = 24, 16


def picture() -> np.ndarray:
    """Red at the upper left, grey elsewhere; each patch is large enough for JPEG."""
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    image[:8, :8] = (0, 0, 255)
    return image


def save(path, orientation=None, mode="RGB", **options):
    image = Image.fromarray(picture()[..., ::-1]).convert(mode)
    if orientation is not None:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        options["exif"] = exif
    image.save(path, **options)
    return path


def load(path, **options) -> np.ndarray:
    return LoadImage(**options)({"img_path": str(path)})["img"]


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("orientation", [None, 0, 1, 2, 3, 5, 6, 8, 9])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_header_and_loader_agree_on_turned_images(tmp_path, suffix, orientation, ignore):
    path = save(tmp_path / f"a{suffix}", orientation)
    settings = {"color_type": "color_ignore_orientation"} if ignore else {}
    try:
        header = read_header(path, settings)
    except ImageFileError as error:
        assert "must be turned" in str(error) and str(path) in str(error)
        with pytest.raises(ValueError, match="must be turned"):
            load(path, **settings)
        assert not ignore and suffix == ".webp" and orientation in range(2, 9)
        return
    image = load(path, **settings)
    assert (header.height, header.width) == image.shape[:2]
    if orientation in (None, 0, 1, 9) or (ignore and suffix != ".tif"):
        assert header == Header(WIDTH, HEIGHT, 8, False)
        assert image[2, 2, 2] > 200 > 150 > image[2, 2, 1] + 50
    elif header.turned and orientation == 3:
        assert image[-3, -3, 2] > 200 and image[2, 2, 2] < 150
    elif header.turned and orientation == 6:
        assert image.shape == (WIDTH, HEIGHT, 3) and image[2, -3, 2] > 200


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif"])
def test_an_orientation_in_xmp_data_turns_nothing(tmp_path, suffix):
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    options = dict(tiffinfo={700: xmp}) if suffix == ".tif" else dict(xmp=xmp)
    path = save(tmp_path / f"a{suffix}", **options)
    assert read_header(path) == Header(WIDTH, HEIGHT, 8, False)
    assert load(path).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("dpi", [None, (72, 72)])
def test_damaged_exif_data_turn_nothing(tmp_path, dpi):
    options = dict(dpi=dpi) if dpi else {}
    path = save(tmp_path / "a.jpg", exif=b"Exif\0\0no data", **options)
    assert read_header(path) == Header(WIDTH, HEIGHT, 8, False)
    assert load(path).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(("suffix", "shape"), [(".pgm", (8, 8)), (".ppm", (8, 8, 3))])
def test_deep_values_in_netpbm_files(tmp_path, suffix, shape):
    path = tmp_path / f"a{suffix}"
    kind, values = b"P6" if len(shape) == 3 else b"P5", np.full(shape, 4095, ">u2")
    for largest, value in ((4095, 4095), (65535, 65535)):
        values[:] = value
        path.write_bytes(kind + b" 8 # wide\n8\n%d\n" % largest + values.tobytes())
        assert read_header(path).bits == 16
        if value == 65535:
            assert (load(path) == 255).all()
        else:
            with pytest.raises(ValueError, match="its largest value is 4095"):
                load(path)
            assert (load(path, bits=12) == 255).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_values_of_twelve_bits_are_never_read_as_dark(tmp_path, suffix, channels):
    values = np.linspace(0, 4095, 96).astype(np.uint16).reshape(8, 12)
    image = values if channels == 1 else np.stack([values] * 3, 2)
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), image)
    assert read_header(path).bits == 16
    with pytest.raises(ValueError, match=r"largest value is 4095: .* LoadImage\(bits=12\)"):
        load(path)
    loaded = load(path, bits=12)
    assert loaded.dtype == np.uint8 and loaded.shape == (8, 12, 3)
    assert np.abs(loaded[..., 0] - values / 4095 * 255).max() <= 0.5
    assert load(path, bits=16).max() == 16
    with pytest.raises(ValueError, match="value 4095, but bits=10 allows 1023"):
        load(path, bits=10)


def test_values_of_sixteen_bits_fill_eight(tmp_path):
    values = np.array([[0, 257, 65535, 40000]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    assert load(tmp_path / "a.png")[0, :, 0].tolist() == [0, 1, 255, 156]
    assert scale_deep(values, None, "a").tolist() == [[0, 1, 255, 156]]


def test_eight_bits_stay_as_they_are(tmp_path):
    save(tmp_path / "a.png")
    assert np.array_equal(load(tmp_path / "a.png", bits=12), picture())


@pytest.mark.parametrize("bits", [8, 17, 12.0, "12", True])
def test_bits_out_of_range(bits):
    with pytest.raises(ValueError, match="bits must be a whole number from 9 to 16"):
        LoadImage(bits=bits)


def test_values_of_32_bits_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tif"), np.ones((8, 8), np.float32))
    with pytest.raises(ImageFileError, match="must have 8 or 16 bits a value, but has 32"):
        read_header(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"8 or 16 bits|cannot be decoded"):
        load(tmp_path / "a.tif")


def test_alpha_is_dropped(tmp_path):
    rgba = np.dstack([picture()[..., ::-1], np.zeros((HEIGHT, WIDTH), np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert np.array_equal(load(tmp_path / "a.png"), picture())


@pytest.mark.parametrize(("mode", "suffix"), [("P", ".png"), ("CMYK", ".jpg"), ("L", ".png")])
def test_other_colours_become_three_channels(tmp_path, mode, suffix):
    path = save(tmp_path / f"a{suffix}", mode=mode)
    image = load(path).astype(int)
    assert image.shape == (HEIGHT, WIDTH, 3) and read_header(path).bits == 8
    assert abs(image[12, 20] - 100).max() <= 12
    red = image[3, 3]
    assert red[2] > 200 > red[0] + 100 if mode != "L" else len(set(red)) == 1


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_no_image(tmp_path, data):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source, name in ((path, ""), (data, str(path))):
        with pytest.raises(ImageFileError, match=r"image file .*a\.png cannot be read"):
            read_header(source, name=name)
    with pytest.raises(ImageFileError, match="does not exist"):
        read_header(tmp_path / "none.png")


@pytest.mark.parametrize("kind", ["AVIF", "WEBP", "TIFF", "PNG", "JPEG", "GIF", "JPEG2000", "BMP"])
def test_damaged_files_are_named_or_read(kind):
    """Any damage within a file gives a header or the one error, whatever the decoder raises."""
    data = io.BytesIO()
    Image.new("RGB", (16, 8), (10, 90, 200)).save(data, kind)
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data.getvalue())
        for place in random.integers(0, len(damaged), 8):
            damaged[place] = random.integers(256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_header(bytes(damaged), name="photo")
            except ImageFileError as error:
                assert "photo" in str(error)


def test_a_header_of_too_many_pixels_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 3)
    with pytest.raises(
        ImageFileError, match=r"large\.png has too many pixels .* cut it into parts"
    ):
        read_header(path)
