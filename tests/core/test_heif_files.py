"""HEIC and AVIF files: opened where pi-heif is installed, refused with its name where it is not, and bounded."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, features

import cleaner
from cleaner.checks.measure import measure
from cleaner.core import heif_files, safe_images
from cleaner.core.files import RefusedFile
from cleaner.core.heif_files import heif_formats
from cleaner.core.images import read_image
from cleaner.core.safe_images import check_image, opened_image, within_bounds
from tests.support.learners import make_folder, make_learner

SIZE = (64, 48)
KINDS = {"HEIF": "heic", **({"AVIF": "avif"} if features.check("avif") else {})}


def picture() -> Image.Image:
    ramp = np.linspace(0, 255, SIZE[0] * SIZE[1]).reshape(SIZE[1], SIZE[0])
    return Image.fromarray(np.stack([ramp, ramp[::-1], ramp * 0 + 90], axis=2).astype(np.uint8))


def write(kind: str, path: Path) -> Path:
    if kind == "HEIF":
        pillow_heif.from_pillow(picture()).save(path, quality=90)
    else:
        picture().save(path, kind)
    return path


@pytest.fixture(params=KINDS)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(request.param, tmp_path / f"a.{KINDS[request.param]}")


@pytest.fixture
def without_decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(safe_images, "heif_formats", tuple)
    Image.init()
    before = {name: Image.OPEN.pop(name) for name in ["HEIF"] if name in Image.OPEN}
    yield
    Image.OPEN.pop("HEIF", None)
    Image.OPEN.update(before)


def test_both_are_opened_by_both_ways(image: Path) -> None:
    assert read_image(image).size == SIZE
    with within_bounds(), Image.open(image) as opened:
        found = np.asarray(opened.convert("RGB"), np.int64)
    assert np.abs(found - np.asarray(picture(), np.int64)).mean() < 12


def test_a_check_measures_them(image: Path) -> None:
    record = measure(str(image))
    assert (record["width"], record["height"], bool(record["wrong_suffix"])) == (*SIZE, False)


@pytest.mark.usefixtures("without_decoder")
def test_without_the_package_the_reason_names_it(image: Path) -> None:
    reason = "which needs the package pi-heif: pip install 'image-label-cleaner"
    with pytest.raises(RefusedFile, match=reason), opened_image(image):
        pass
    with pytest.raises(RefusedFile, match=reason), within_bounds():
        Image.open(image)
    check_image(str(image))  # whoever reads it with another library may


@pytest.mark.parametrize("workers", [0, 1])
def test_a_scan_reads_them_also_in_worker_processes(workers: int, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    for kind, suffix in KINDS.items():
        write(kind, data / "cat" / f"other.{suffix}")
    learn = make_learner(make_folder(tmp_path / "trained"))
    scan = cleaner.scan_folder(learn, data, tmp_path / "scan", workers=workers, progress=False)
    assert scan.unreadable == ()
    assert scan.scored == {"all": 21 + len(KINDS)}


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def file_with_references(n: int, boxes: int = 1) -> bytes:
    """A file of 1 item that refers `n` times to another, in some boxes."""
    each = box(b"dimg", struct.pack(">HH", 1, n // boxes) + struct.pack(">H", 2) * (n // boxes))
    meta = box(b"meta", bytes(4) + box(b"hdlr", bytes(20)) + box(b"iref", bytes(4) + each * boxes))
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"free", bytes(30)) + meta


@pytest.mark.parametrize(("n", "boxes"), [(1025, 1), (60_000, 1), (2048, 8)])
def test_too_many_references_are_refused_before_anything_is_decoded(n: int, boxes: int, tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(file_with_references(n, boxes))
    with pytest.raises(RefusedFile, match=f"refer {n} times to others; 1024 are decoded"):
        check_image(str(tmp_path / "a.heic"))


@pytest.mark.parametrize(
    "content",
    [
        file_with_references(300),
        box(b"ftyp", b"heic\0\0\0\0"),
        box(b"ftyp", b"heic\0\0\0\0") + b"\0\0\0\x03meta",
        box(b"ftyp", b"heic\0\0\0\0") + struct.pack(">I4sQ", 1, b"meta", 20) + bytes(4),
        box(b"ftyp", b"heic\0\0\0\0") + box(b"meta", b""),
        box(b"ftyp", b"heic\0\0\0\0") + box(b"meta", bytes(4) + box(b"iref", b"\1")),
    ],
)
def test_few_references_and_torn_boxes_are_left_to_the_decoder(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(content)
    check_image(str(tmp_path / "a.heic"))
    with pytest.raises(OSError, match=r"."), opened_image(tmp_path / "a.heic") as opened:
        opened.load()


@pytest.mark.parametrize("n", [heif_files._MAX_BOXES + 5])
def test_too_many_boxes_are_refused(n: int, tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(box(b"ftyp", b"heic\0\0\0\0") + box(b"free", b"") * n)
    with pytest.raises(RefusedFile, match="more than 1000 boxes"):
        check_image(str(tmp_path / "a.heic"))


def test_the_formats_are_known_once_the_package_is_there() -> None:
    assert heif_formats()[0] == "HEIF"


SPAWNED = """
import multiprocessing
from pathlib import Path

import cleaner
from tests.support.learners import make_folder, make_learner

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    learn = make_learner(make_folder(Path("trained")))
    scan = cleaner.scan_folder(learn, "data", "scan", workers=1, progress=False)
    print(scan.scored, [item.error for item in scan.unreadable])
"""


def test_processes_that_are_not_forked_read_them_too(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    for kind, suffix in KINDS.items():
        write(kind, data / "dog" / f"other.{suffix}")
    (tmp_path / "script.py").write_text(SPAWNED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert f"{{'all': {21 + len(KINDS)}}} []" in done.stdout
