"""Images of random colour blocks, and the folder of real images."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"


def make_image(path: Path, seed: int = 0, size: tuple[int, int] = (48, 32)) -> Path:
    """Write an image of random colour blocks; each seed gives different bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(path.suffix, seed, size))
    return path


@lru_cache(maxsize=2000)
def _encoded(suffix: str, seed: int, size: tuple[int, int]) -> bytes:
    """Return the bytes of an image, which is encoded once for all tests."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    image = Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)
    image.save(file, Image.registered_extensions()[suffix.lower()])
    return file.getvalue()
