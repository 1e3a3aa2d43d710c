"""Measures one image file: its bytes, its size, how much its picture shows, and what it looks like."""

from __future__ import annotations

import hashlib
import io
import os
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps

from cleaner.checks.descriptors import dct_hash, descriptor, grey_thumbnail, without_border
from cleaner.checks.records import RECORD
from cleaner.core.files import RefusedFile
from cleaner.core.images import as_rgb, upright_size
from cleaner.core.safe_images import opened_image
from cleaner.core.suffixes import IMAGE_SUFFIXES, suffix_of

__all__ = ["measure"]

# A JPEG is decoded at the smallest of its sizes that has this side at least.
_SIDE = 128
_ORIENTATION = 0x0112
_SUFFIXES = {
    "JPEG": ".jpg .jpeg .jpe .jfif .jif .mpo .jps",
    "MPO": ".jpg .jpeg .jpe .jfif .mpo .jps",
    "PNG": ".png .apng",
    "GIF": ".gif",
    "BMP": ".bmp .dib .rle",
    "DIB": ".bmp .dib",
    "WEBP": ".webp",
    "TIFF": ".tif .tiff .btf .btif .cr2 .dng .nef",
    "PPM": ".ppm .pgm .pbm .pnm .pfm .pam",
    "JPEG2000": ".jp2 .j2k .jpc .jpf .jpx .j2c .jp2k .jpg2 .jpm",
    "PCX": ".pcx",
    "HEIF": ".heic .heics .heif .heifs .hif",
    "AVIF": ".avif .avifs",
    "TGA": ".tga .icb .vda .vst .targa",
}
# Blocks at least, in each direction, whose colours are counted; and how far, of 255, those of about the median colour
# are from it in red, green and blue at most. With 12, half of the photos with a tenth of their contrast had one colour,
# with 6 one in thirty.
_GRID, _SAME_COLOUR = 32, 6


def measure(path: str) -> npt.NDArray[Any]:
    """Return the measurements of an image file, a RECORD.

    The file is opened once, and a JPEG is decoded at half its size or less where that leaves 128 pixels: so
    `pixels_sha256` is that of these pixels, upright and in RGB, and of the full size.

    Raises:
        RefusedFile: the file is not read, see `safe_images`; or it changed meanwhile, by its size and its time.
        Exception: it is missing or cannot be decoded; decoders raise anything for broken files.
    """
    record = np.zeros((), RECORD)
    before = os.stat(path)
    with opened_image(path) as image:
        file = image.fp
        if file is None:
            raise RefusedFile("its decoder closed it")
        record["bytes_sha256"] = _digest_of_bytes(file, before.st_size)
        rgb = _decode(record, image)
        suffix, suffixes = suffix_of(path), _SUFFIXES.get(image.format or "", "").split()
        record["wrong_suffix"] = bool(suffixes) and suffix in IMAGE_SUFFIXES and suffix not in suffixes
        if not isinstance(file, io.BytesIO) and _version(os.fstat(file.fileno())) != _version(before):
            raise RefusedFile("it changed while it was read")
    digest = hashlib.sha256(f"{record['width']} {record['height']}".encode())
    digest.update(rgb.tobytes())
    record["pixels_sha256"] = np.frombuffer(digest.digest(), np.uint8)
    small = _small(rgb)
    _measure_quality(record, small)
    bare = without_border(small)
    record["hash"], record["descriptor"], record["grey"] = dct_hash(bare), descriptor(bare), grey_thumbnail(bare)
    return record


def _decode(record: npt.NDArray[Any], image: ImageFile.ImageFile) -> Image.Image:
    """Return the picture upright, in RGB, at the smallest size that serves; note its full size and its turn."""
    record["width"], record["height"] = upright_size(image)
    record["rotated"] = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    image.draft("RGB", (_SIDE, _SIDE))
    ImageOps.exif_transpose(image, in_place=True)
    return as_rgb(image)


def _digest_of_bytes(file: IO[bytes], size: int) -> npt.NDArray[np.uint8]:
    """Return the SHA-256 of a file; its position stays. Beyond its size, another process is writing to it."""
    digest, at = hashlib.sha256(), file.tell()
    file.seek(0)
    while size >= 0 and (block := file.read(1 << 20)):
        digest.update(block)
        size -= len(block)
    file.seek(at)
    return np.frombuffer(digest.digest(), np.uint8)


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _small(rgb: Image.Image) -> Image.Image:
    """Return the picture with a shorter side below twice `_SIDE` pixels; a larger one costs time and shows no more."""
    factor = min(rgb.size) // _SIDE
    return rgb.reduce(factor) if factor > 1 else rgb


def _measure_quality(record: npt.NDArray[Any], rgb: Image.Image) -> None:
    grey = rgb.convert("L")
    counts = np.array(grey.histogram())
    darkest, low, brightest = _percentiles(counts, 0.01, 0.05, 0.99)
    record["dark"], record["bright"] = brightest, low
    record["brightness"] = float(counts @ np.arange(256)) / counts.sum() / 255
    record["contrast"] = brightest - darkest
    record["sharpness"] = _sharpness(np.asarray(grey), brightest - darkest)
    # In whole pixels, which takes a quarter of the time of a resize.
    factors = max(1, rgb.width // _GRID), max(1, rgb.height // _GRID)
    blocks = np.asarray(rgb.reduce(factors)).reshape(-1, 3)
    record["uniform"] = _uniform(blocks)
    record["colour"] = _colour(blocks)


def _percentiles(counts: npt.NDArray[np.int64], *shares: float) -> list[float]:
    """Return the values, 0 to 1, below or at which these shares of the counted bytes are."""
    below = np.cumsum(counts)
    found: list[float] = (np.searchsorted(below, np.array(shares) * below[-1]) / 255).tolist()
    return found


def _sharpness(grey: npt.NDArray[np.uint8], contrast: float) -> float:
    """Return the strength that one in a hundred edges exceeds, as a share of the contrast; 0 without contrast.

    An edge is a pixel's distance from its four neighbours. A picture that is too narrow for that counts as sharp.
    """
    if contrast <= 0:
        return 0.0
    if min(grey.shape) < 3:
        return 1.0
    values = grey.astype(np.int16)
    edges = values[:-2, 1:-1] + values[2:, 1:-1]
    edges += values[1:-1, :-2]
    edges += values[1:-1, 2:]
    edges -= 4 * values[1:-1, 1:-1]
    strengths = np.minimum(np.abs(edges, out=edges), 255, out=edges).astype(np.uint8)
    # Pillow counts bytes faster than numpy.
    return _percentiles(np.array(Image.fromarray(strengths).histogram()), 0.99)[0] / contrast


def _uniform(blocks: npt.NDArray[np.uint8]) -> float:
    """Return the share of blocks, uint8 [n, 3], that have about the median colour.

    A colour that most blocks have is near to the median of each channel.
    """
    middle = np.partition(blocks, len(blocks) // 2, axis=0)[len(blocks) // 2].astype(np.int16)
    is_same = (np.abs(blocks - middle) <= _SAME_COLOUR).all(axis=1)
    return float(np.count_nonzero(is_same)) / len(blocks)


def _colour(blocks: npt.NDArray[np.uint8]) -> float:
    """Return the difference of the strongest and the weakest channel that one in a hundred blocks exceeds, 0 to 1."""
    red, green, blue = blocks.T
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    at = int(0.99 * (len(spread) - 1))
    return float(np.partition(spread, at)[at]) / 255
