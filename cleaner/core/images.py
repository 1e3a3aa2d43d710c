"""Reads images for display: upright, in RGB, on white."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageOps

from cleaner.core.safe_images import opened_image

__all__ = ["as_rgb", "read_image", "upright_size"]

# The EXIF tag, and its values that swap width and height.
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)
# Images with more pixels are decoded one at a time, to bound the memory of several threads.
_LARGE = 2**26
_large_image_lock = Lock()


def read_image(path: Path, size: int | None = None) -> Image.Image:
    """Return the image in a file, upright, in RGB, on white.

    Args:
        path: the file.
        size: maximum of the longer side in pixels; larger images are scaled down. None keeps the size.

    Raises:
        RefusedFile: decoding the file could exhaust time or memory; see `safe_images`.
        Exception: the file is missing or cannot be decoded; decoders raise anything for broken files.
    """
    with opened_image(path) as image, _large_image_lock if _pixels(image) > _LARGE else nullcontext():
        if size is None:
            ImageOps.exif_transpose(image, in_place=True)
            return as_rgb(image)
        # Decodes a JPEG at 1/2, 1/4 or 1/8 of its size, which saves most of the time for a photo.
        image.draft("RGB", (size, size))
        ImageOps.exif_transpose(image, in_place=True)
        small = as_rgb(_thinned(image))
    small.thumbnail((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return small


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an opened image as it is shown; nothing is decoded."""
    # Pillow turns a TIFF file when it opens it.
    turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION, 1) in _TURNED
    return (image.height, image.width) if turned else image.size


def _pixels(image: Image.Image) -> int:
    return image.width * image.height


def _thinned(image: Image.Image) -> Image.Image:
    """Reduce a large image, since each of the following steps copies it."""
    if _pixels(image) <= _LARGE:
        return image
    factor = math.isqrt(_pixels(image) * 4 // _LARGE)
    size = max(1, image.width // factor), max(1, image.height // factor)
    return image.resize(size, Image.Resampling.NEAREST)


def as_rgb(image: Image.Image) -> Image.Image:
    """Return an image in RGB, on white; 16 bits and floats are stretched to the values between black and white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        # Pillow's own conversion clips values above 255 to white.
        values = np.asarray(image, dtype=np.float32)
        low, high = float(values.min()), float(values.max())
        return Image.fromarray(np.uint8((values - low) * (255 / ((high - low) or 1)))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
