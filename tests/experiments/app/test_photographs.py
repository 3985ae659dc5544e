import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmlevelset.errors import InputError
from mmlevelset.experiments.app.photographs import MOST_BYTES, read_photograph, samples


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A grey PNG file with a header of any size, and chunks before its end."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    made = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        crc = zlib.crc32(name + body).to_bytes(4, "big")
        made += len(body).to_bytes(4, "big") + name + body + crc
    return made


def encoded(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    data = io.BytesIO()
    Image.effect_noise(size, 60).save(data, kind)
    return data.getvalue()


def zeros(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


HOSTILE = {
    "text": (b"hello", "no image"),
    "empty": (b"", "empty"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "no image"),
    "html": (b"<img src=x onerror=alert(1)>", "no image"),
    "huge": (png(30000, 30000, (b"IDAT", zeros(10**6))), "30000 x 30000|twice"),
    "huge and short": (png(9000, 9000), "9000 x 9000"),
    "enormous": (png(2**31 - 1, 2**31 - 1), "million pixels"),
    "bomb in a text": (png(8, 8, (b"zTXt", b"k\0\0" + zeros(3 * 10**7))), "no image|damaged"),
    "bomb in a profile": (png(8, 8, (b"iCCP", b"k\0\0" + zeros(3 * 10**7))), "no image|damaged"),
    "no pixels": (png(8, 8), "damaged"),
    "no size": (png(0, 8), "no image|damaged"),
    "thread": (png(5000, 2, (b"IDAT", zeros(10002))), "100 times"),
    "half a jpeg": (encoded("JPEG")[:600], "damaged"),
    "half a png": (encoded("PNG")[:600], "damaged"),
    "a start": (encoded("TIFF")[:8], "no image|damaged"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "no image"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_give_a_sentence(name, tmp_path):
    content, words = HOSTILE[name]
    file = tmp_path / "photograph.png"
    file.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_photograph(file, 64)
    assert str(caught.value).endswith(".") and str(tmp_path) not in str(caught.value)


def test_a_large_file_is_not_read(tmp_path):
    file = tmp_path / "large.png"
    with file.open("wb") as sparse:
        sparse.truncate(MOST_BYTES + 1)
    with pytest.raises(InputError, match="at most 50 MB"):
        read_photograph(file, 64)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_formats_by_their_content(kind, tmp_path):
    file = tmp_path / "..%2F..%2Fetc.txt"
    file.write_bytes(encoded(kind))
    read = read_photograph(file, 64)
    assert read.pixels.shape == (30, 40, 3) and read.pixels.dtype == np.uint8
    assert read.full_size == (30, 40)


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((400, 300), 100, (75, 100)),
        ((300, 400), 100, (100, 75)),
        ((1000, 11), 64, (1, 64)),
        ((64, 20), 64, (20, 64)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_reduction(size, longest, expected, kind, tmp_path):
    file = tmp_path / "photograph"
    file.write_bytes(encoded(kind, size))
    read = read_photograph(file, longest)
    assert read.pixels.shape[:2] == expected
    assert read.full_size == size[::-1]


PLACES = ["top left", "top right", "bottom right", "bottom left"]
"""The corner to which each orientation brings the first pixel, twice."""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_turned_as_the_exif_data_says(kind, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((60, 200), np.uint8)
    pixels[:20, :20] = 255
    file = tmp_path / "photograph"
    Image.fromarray(pixels).save(file, kind, exif=exif)
    read = read_photograph(file, 50)
    turned = orientation > 4
    assert read.full_size == ((200, 60) if turned else (60, 200))
    height, width = read.pixels.shape[:2]
    assert (height, width) == ((50, 15) if turned else (15, 50))
    rows, columns = np.nonzero(read.pixels[..., 0] > 128)
    vertical = "top" if rows.mean() < height / 2 else "bottom"
    horizontal = "left" if columns.mean() < width / 2 else "right"
    assert f"{vertical} {horizontal}" == PLACES[(orientation - 1) % 4]


def test_values_and_colours(tmp_path):
    file = tmp_path / "photograph.png"

    def read(image: Image.Image, kind: str = "PNG") -> list:
        image.save(file, kind)
        return read_photograph(file, 64).pixels[0].tolist()

    deep = Image.fromarray(np.array([[0, 2048, 4096]], np.uint16))
    assert read(deep) == [[0] * 3, [128] * 3, [255] * 3]
    assert read(Image.new("I;16", (1, 1), 700)) == [[0] * 3]
    clear = Image.new("RGBA", (2, 1), (9, 8, 7, 0))
    clear.putpixel((1, 0), (10, 20, 30, 255))
    assert read(clear) == [[255] * 3, [10, 20, 30]]
    assert read(clear.quantize()) == [[255] * 3, [10, 20, 30]]
    assert read(Image.new("1", (1, 1), 1)) == [[255] * 3]
    ((red, green, blue),) = read(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF")
    assert red > 200 and green < 60 and blue < 60
    assert read(Image.fromarray(np.array([[-1.0, 0, 1]], np.float32)), "TIFF")[1] == [128] * 3
    with pytest.raises(InputError, match="finite"):
        read(Image.fromarray(np.array([[np.nan, 1]], np.float32)), "TIFF")


def test_samples_are_files():
    pytest.importorskip("skimage")
    assert "coins" in samples()
    assert all(Path(path).is_file() for path in samples().values())
