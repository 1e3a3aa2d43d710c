"""Images of random colour blocks, and where the real ones lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"


def make_image(path: Path, seed: int = 0, size: tuple[int, int] = (48, 32)) -> Path:
    """Write an image of random colour blocks; each seed gives other bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(path)
    return path
