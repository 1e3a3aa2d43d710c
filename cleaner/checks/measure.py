"""Measures one image file: its bytes, its size, how much its picture shows, and what it looks like."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

from cleaner.checks.descriptors import dct_hash, descriptor, grey_thumbnail, without_border
from cleaner.checks.records import RECORD
from cleaner.core.files import sha256_of
from cleaner.core.images import as_rgb, upright_size
from cleaner.core.safe_images import opened_image
from cleaner.core.suffixes import suffix_of

__all__ = ["measure"]

# A JPEG is decoded at the smallest of its sizes that has this side at least.
_SIDE = 128
_ORIENTATION = 0x0112
_SUFFIXES = {
    "JPEG": ".jpg .jpeg .jpe .jfif .jif .jpg2 .mpo .jps",
    "MPO": ".jpg .jpeg .jpe .jfif .mpo .jps",
    "PNG": ".png .apng",
    "GIF": ".gif",
    "BMP": ".bmp .dib .rle",
    "DIB": ".bmp .dib",
    "WEBP": ".webp",
    "TIFF": ".tif .tiff",
    "PPM": ".ppm .pgm .pbm .pnm .pfm .pam",
    "JPEG2000": ".jp2 .j2k .jpc .jpf .jpx .j2c .jp2k",
    "PCX": ".pcx",
    "TGA": ".tga .icb .vda .vst .targa",
}
# Side of the grid of blocks whose most frequent colour is counted, and the width of a colour's bin in 256.
_GRID, _BIN = 32, 16
# Strength of edges, 128 for none.
_LAPLACIAN = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), 1, 128)


def measure(path: str) -> npt.NDArray[Any]:
    """Return the measurements of an image file, a RECORD.

    The file is opened once, and a JPEG is decoded at half its size or less where that leaves 128 pixels: so
    `pixels_sha256` is that of these pixels, upright and in RGB, and of the full size.

    Raises:
        RefusedFile: the file is not read; see `safe_images`.
        Exception: it is missing or cannot be decoded; decoders raise anything for broken files.
    """
    record = np.zeros((), RECORD)
    record["bytes_sha256"] = np.frombuffer(bytes.fromhex(sha256_of(Path(path))), np.uint8)
    with opened_image(path) as image:
        size, upright = image.size, upright_size(image)
        record["rotated"] = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
        suffixes = _SUFFIXES.get(image.format or "", "").split()
        record["wrong_suffix"] = bool(suffixes) and suffix_of(path) not in suffixes
        image.draft("RGB", (_SIDE, _SIDE))
        is_drafted = image.size != size
        ImageOps.exif_transpose(image, in_place=True)
        # Pillow turns a TIFF file by itself, so that `upright_size` would turn it back.
        record["width"], record["height"] = upright if is_drafted else image.size
        rgb = as_rgb(image)
    digest = hashlib.sha256(f"{record['width']} {record['height']}".encode())
    digest.update(rgb.tobytes())
    record["pixels_sha256"] = np.frombuffer(digest.digest(), np.uint8)
    small = _small(rgb)
    _measure_quality(record, small)
    bare = without_border(small)
    record["hash"], record["descriptor"], record["grey"] = dct_hash(bare), descriptor(bare), grey_thumbnail(bare)
    return record


def _small(rgb: Image.Image) -> Image.Image:
    """Return the picture with a shorter side below twice `_SIDE` pixels; a larger one costs time and shows no more."""
    factor = min(rgb.size) // _SIDE
    return rgb.reduce(factor) if factor > 1 else rgb


def _measure_quality(record: npt.NDArray[Any], rgb: Image.Image) -> None:
    grey = rgb.convert("L")
    counts = np.array(grey.histogram())
    low, high, darkest, brightest = (_percentile(counts, share) for share in (0.05, 0.95, 0.01, 0.99))
    record["dark"], record["bright"] = brightest, low
    record["brightness"] = float(counts @ np.arange(256)) / counts.sum() / 255
    record["contrast"] = brightest - darkest
    # Both percentiles are white where a few thin lines are on white paper.
    record["sharpness"] = _sharpness(grey, (high - low) or (brightest - darkest))
    blocks = np.asarray(rgb.resize((_GRID, _GRID), Image.Resampling.BOX), np.int32)
    record["uniform"] = _uniform(blocks)
    record["colour"] = float(np.percentile(np.ptp(blocks, axis=2), 99)) / 255


def _percentile(counts: npt.NDArray[np.int64], share: float) -> float:
    """Return the value, 0 to 1, below or at which this share of the counted bytes is."""
    return float(np.searchsorted(np.cumsum(counts), share * counts.sum())) / 255


def _sharpness(grey: Image.Image, contrast: float) -> float:
    """Return the strength that one in a hundred edges exceeds, as a share of the contrast; 0 without contrast.

    A picture that is too narrow for the filter counts as sharp.
    """
    if contrast <= 0:
        return 0.0
    if min(grey.size) < 3:
        return 1.0
    inner = (1, 1, grey.width - 1, grey.height - 1)  # the filter leaves the outermost pixels as they are
    edges = np.array(grey.filter(_LAPLACIAN).crop(inner).histogram())
    strengths = edges[128:] + edges[128:0:-1]  # of both signs; none is counted twice, which changes little
    return _percentile(strengths, 0.99) / contrast


def _uniform(blocks: npt.NDArray[np.int32]) -> float:
    """Return the share of blocks, int32 [n, n, 3], in about the most frequent colour."""
    binned = blocks // _BIN
    codes = (binned[..., 0] * 256 + binned[..., 1] * 16 + binned[..., 2]).reshape(-1)
    return float(np.bincount(codes).max()) / codes.size
