"""Images that make trouble in practice."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

UNREADABLE = ("truncated", "empty", "text")
KINDS = (*UNREADABLE, "cmyk", "16 bit", "palette", "rotated", "animated")


def write_odd_image(kind: str, folder: Path) -> Path:
    """Write an image of one of `KINDS`, 40 x 24 pixels, and return its path."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    if kind in ("truncated", "empty", "text"):
        image.save(buffer, "JPEG")
        whole = buffer.getvalue()
        data = {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"not an image\n"}[kind]
        path = folder / f"{kind}.jpg"
        path.write_bytes(data)
        return path
    if kind == "cmyk":
        image.convert("CMYK").save(path := folder / "cmyk.jpg")
    elif kind == "16 bit":
        Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 256).save(path := folder / "16bit.png")
    elif kind == "palette":
        image.convert("P").save(path := folder / "palette.png", transparency=0)
    elif kind == "rotated":
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by 90 degrees
        image.save(path := folder / "rotated.jpg", exif=exif)
    elif kind == "animated":
        image.save(path := folder / "animated.gif", save_all=True, append_images=[image.rotate(90), image.rotate(180)])
    else:
        raise ValueError(kind)
    return path
