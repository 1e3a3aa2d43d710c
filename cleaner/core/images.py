"""Image files as they are shown: upright, in RGB, on white."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

__all__ = ["read_image"]


def read_image(path: Path, size: int | None = None) -> Image.Image:
    """The image in a file, upright, in RGB, on white.

    Args:
        path: the file.
        size: longest side in pixels that it may have; larger ones are made smaller. None for its own size.

    Raises:
        Exception: the file is not there or cannot be decoded; what a broken file makes a decoder raise can be anything.
    """
    with Image.open(path) as image:
        if size is None:
            return _as_rgb(ImageOps.exif_transpose(image))
        # For JPEG this decodes at 1/2, 1/4 or 1/8 of the size, which is most of the time that a photo takes.
        image.draft("RGB", (size, size))
        small = _as_rgb(ImageOps.exif_transpose(image))
    small.thumbnail((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return small


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
