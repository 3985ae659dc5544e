"""Loading of image files, with checks that the decoders do not make."""

import logging
import zlib
from typing import cast

import cv2
import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log

from mmlevelset.image_files import read_header, scale_deep
from mmlevelset.registry import TRANSFORMS

_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"


def image_file_problem(data: bytes) -> str | None:
    """Return the problem of the bytes of an image file, or None.

    The function finds empty files, JPEG files without an end marker after the last scan, and PNG
    files that end early or have wrong checksums. Some decoders reject such a file, others fill the
    rest with grey. The decoder must find problems of other formats, and damage inside the scan of a
    JPEG file that still has its end marker.
    """
    if not data:
        return "is empty"
    if data.startswith(_JPEG_START):
        # Inside a scan, 0 or a restart number follows 0xff. So an end marker after the start of the
        # last scan belongs to the image, not to a thumbnail in the header.
        if data.rfind(_JPEG_END) <= data.rfind(_JPEG_SCAN):
            return "is truncated: the JPEG end marker is missing"
    if data.startswith(_PNG_START):
        return _png_problem(data)
    return None


def _png_problem(data: bytes) -> str | None:
    position = len(_PNG_START)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(data):
            break
        body = memoryview(data)[position + 4 : end]
        if zlib.crc32(body) != int.from_bytes(data[end : end + 4], "big"):
            return "is corrupt: the checksum of a PNG chunk is wrong"
        if body[:4] == b"IEND":
            return None
        position = end + 4
    return "is truncated: the PNG end chunk is missing"


@TRANSFORMS.register_module(name=["LoadImage", "LoadImageFromFile"])
class LoadImage(LoadImageFromFile):
    """Load an image. A missing, truncated or wrong file is an error.

    Required keys: ``img_path``; ``height`` and ``width`` (pixels), if given, must be the image's
    size. Added keys: ``img`` (H, W, 3), ``img_shape``, ``ori_shape``.

    The transform is registered as ``mmlevelset.LoadImage`` and as
    ``mmlevelset.LoadImageFromFile``: the ``DetInferencer`` of mmdet 3.5 looks for the second name
    in a test pipeline and puts its own loader there. So give no arguments under that name.

    Args:
        on_error: ``"raise"``, or ``"skip"``: log a warning that names the file and counts the
            files skipped so far in this process, and return None. In training, mmengine's data
            sets then take another, random image; in testing they raise an error.
        bits: Bits of the values in files of 16 bits a value, such as 12: 0 becomes 0, and
            2**bits - 1 becomes 255. None: 16; but a file without a value of 2**14 or more is an
            error, since it holds values of fewer bits, or is dark. Files of 8 bits do not change.
        **kwargs: The arguments of mmcv's ``LoadImageFromFile`` but ``ignore_empty``.

    Raises:
        ValueError: ``on_error`` or ``bits`` is out of its range; or the file is no complete image,
            has neither 8 nor 16 bits a value, has values that do not fit ``bits``, must be turned
            and the decoder does not turn its format, or is not of the annotation's size. The
            message names the file.
        FileNotFoundError: The file does not exist.
    """

    def __init__(self, on_error: str = "raise", bits: int | None = None, **kwargs) -> None:
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error must be "raise" or "skip", not {on_error!r}')
        if kwargs.pop("ignore_empty", False):
            raise ValueError('ignore_empty hides the name of the bad file; use on_error="skip"')
        super().__init__(**kwargs)
        if bits is not None and (type(bits) is not int or not 8 < bits <= 16):
            raise ValueError(f"bits must be a whole number from 9 to 16, or None, not {bits!r}")
        self.on_error = on_error
        self.bits = bits
        self.skipped: set[str] = set()

    def transform(self, results: dict) -> dict | None:
        path = str(results["img_path"])
        try:
            image = self._load(path, results.get("height"), results.get("width"))
        except (FileNotFoundError, ValueError) as error:
            if self.on_error == "raise":
                raise
            if path not in self.skipped:
                self.skipped.add(path)
                print_log(
                    f"skipped an image ({len(self.skipped)} so far): {error}",
                    logger="current",
                    level=logging.WARNING,
                )
            return None
        results["img"] = image.astype(np.float32) if self.to_float32 else image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def _load(self, path: str, height: int | None, width: int | None) -> np.ndarray:
        try:
            data = fileio.get(path, backend_args=self.backend_args)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(f"image file {path} does not exist") from error
        problem = image_file_problem(data)
        if problem:
            raise ValueError(f"image file {path} {problem}")
        try:
            image = mmcv.imfrombytes(data, flag=self.color_type, backend=self.imdecode_backend)
        except Exception as error:  # each decoder has its own exceptions
            raise ValueError(f"image file {path} cannot be decoded: {error}") from error
        if image is None:
            raise ValueError(f"image file {path} cannot be decoded")
        settings = {"color_type": self.color_type, "imdecode_backend": self.imdecode_backend}
        if read_header(bytes(data), settings, path).bits == 16:
            image = self._deep(data, path)
        actual, annotated = image.shape[:2], (height, width)
        if None not in annotated and actual != annotated:
            hint = ""
            if actual == (width, height):
                hint = '; if its EXIF data turns it, use color_type="color_ignore_orientation"'
            raise ValueError(
                f"image file {path} is {actual[1]} x {actual[0]} pixels (width x height), but its"
                f" annotation says {width} x {height}{hint}"
            )
        return image

    def _deep(self, data: bytes, path: str) -> np.ndarray:
        flag = mmcv.image.io.imread_flags[self.color_type] | cv2.IMREAD_ANYDEPTH
        image = cast("np.ndarray", cv2.imdecode(np.frombuffer(data, np.uint8), flag))
        return scale_deep(image, self.bits, path)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, on_error={self.on_error!r}, bits={self.bits})"
