"""A HEIC image on its whole way: scanned, shown, decided, applied, undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

import cleaner
from cleaner.review.thumbnails import make_thumbnail
from tests.support.learners import make_folder, make_learner


def test_a_heic_image_is_scanned_shown_and_applied(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    learn = make_learner(data)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(data / "cat/phone.heic")
    scan = cleaner.scan_folder(learn, data, tmp_path / "scan", progress=False, workers=0)
    assert scan.unreadable == ()
    assert "cat/phone.heic" in scan.by_path()
    assert make_thumbnail(data / "cat/phone.heic", 32).size == "64 × 48 px"
    scan.decide("cat/phone.heic", "relabel", "dog")
    report = cleaner.apply(scan)
    assert [change.target for change in report.done] == ["dog/phone.heic"]
    cleaner.undo(report)
    assert (data / "cat/phone.heic").is_file()
