"""Image files as they are shown: upright, in RGB, on white."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageOps

from cleaner.core.safe_images import opened_image

__all__ = ["read_image"]

# Images of more pixels than this are decoded one at a time, whatever the number of threads.
_LARGE = 2**26
_one_large = Lock()


def read_image(path: Path, size: int | None = None) -> Image.Image:
    """The image in a file, upright, in RGB, on white.

    Args:
        path: the file.
        size: longest side in pixels that it may have; larger ones are made smaller. None for its own size.

    Raises:
        RefusedFile: the file would do harm to whoever reads it; see `safe_images`.
        Exception: the file is not there or cannot be decoded; what a broken file makes a decoder raise can be anything.
    """
    with opened_image(path) as image, _one_large if _pixels(image) > _LARGE else nullcontext():
        if size is None:
            ImageOps.exif_transpose(image, in_place=True)
            return _as_rgb(image)
        # For JPEG this decodes at 1/2, 1/4 or 1/8 of the size, which is most of the time that a photo takes.
        image.draft("RGB", (size, size))
        ImageOps.exif_transpose(image, in_place=True)
        small = _as_rgb(_thinned(image))
    small.thumbnail((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return small


def _pixels(image: Image.Image) -> int:
    return image.width * image.height


def _thinned(image: Image.Image) -> Image.Image:
    """A large image with fewer pixels, as each step that follows makes a copy of what there is."""
    if _pixels(image) <= _LARGE:
        return image
    factor = math.isqrt(_pixels(image) * 4 // _LARGE)
    size = max(1, image.width // factor), max(1, image.height // factor)
    return image.resize(size, Image.Resampling.NEAREST)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        # Pillow's own conversion clips what is above 255 to white.
        values = np.asarray(image, dtype=np.float32)
        low, high = float(values.min()), float(values.max())
        return Image.fromarray(np.uint8((values - low) * (255 / ((high - low) or 1)))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
