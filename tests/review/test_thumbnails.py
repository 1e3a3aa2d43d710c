"""Thumbnails of ordinary, odd and harmful files, their cache and their order."""

from __future__ import annotations

import io
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from PIL import Image

from cleaner.core import images
from cleaner.review.thumbnails import Thumbnail, Thumbnails, make_thumbnail
from tests.support.hosts import wait_until
from tests.support.images import make_image
from tests.support.odd_images import HARMFUL, HARMLESS, KINDS, UNREADABLE, write_harmful_image, write_odd_image


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("kind", KINDS)
def test_odd_images_have_a_thumbnail_or_a_reason(kind: str, tmp_path: Path) -> None:
    path = write_odd_image(kind, tmp_path)
    thumbnail = make_thumbnail(path, 32)
    assert bool(thumbnail.error) == (kind in UNREADABLE)
    assert str(tmp_path) not in thumbnail.error
    if not thumbnail.error:
        image = opened(thumbnail.data)
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert image.size == ((19, 32) if kind == "rotated" else (32, 19))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_the_size_of_a_turned_image_is_that_which_is_shown(suffix: str, tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / f"a.{suffix}", exif=turned)
    thumbnail = make_thumbnail(tmp_path / f"a.{suffix}", 64)
    assert (thumbnail.size, opened(thumbnail.data).size) == ("20 × 30 px", (20, 30))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", [*HARMFUL, *HARMLESS])
def test_harmful_files_have_a_reason_and_no_thumbnail(name: str, tmp_path: Path) -> None:
    thumbnail = make_thumbnail(write_harmful_image(name, tmp_path), 32)
    assert HARMFUL.get(name, "") in thumbnail.error
    assert bool(thumbnail.data) == (not thumbnail.error) == (name in HARMLESS)
    assert str(tmp_path) not in thumbnail.error


@pytest.mark.parametrize("kind", sorted({*KINDS} - {*UNREADABLE}))
def test_a_large_image_is_decoded_reduced_and_alone(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_odd_image(kind, tmp_path)
    whole = opened(make_thumbnail(path, 8).data)
    as_rgb, seen = images.as_rgb, []

    def look(image: Image.Image) -> Image.Image:
        seen.append((image.size, images._large_image_lock.locked()))
        return as_rgb(image)

    monkeypatch.setattr(images, "as_rgb", look)
    monkeypatch.setattr(images, "_LARGE", 16)
    make_thumbnail(path, 8)
    assert [(width * height <= 16, alone) for (width, height), alone in seen] == [(True, True)]
    assert not images._large_image_lock.locked()
    monkeypatch.setattr(images, "_LARGE", 40 * 24 // 4)
    assert opened(make_thumbnail(path, 8).data).size == whole.size


def test_a_reduced_large_image_looks_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.linear_gradient("L").save(tmp_path / "a.png")
    whole = np.asarray(opened(make_thumbnail(tmp_path / "a.png", 16).data), dtype=float)
    monkeypatch.setattr(images, "_LARGE", 2**14)
    thin = np.asarray(opened(make_thumbnail(tmp_path / "a.png", 16).data), dtype=float)
    assert np.abs(whole - thin).max() < 8


def test_sixteen_bits_are_not_clipped_to_white(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    shown = np.asarray(opened(make_thumbnail(tmp_path / "ramp.png", 64).data).convert("L"))
    assert shown[0].mean() < 10
    assert 118 < shown[32].mean() < 138
    assert shown[-1].mean() > 245


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.asarray(opened(make_thumbnail(tmp_path / "clear.png", 8).data)).min() > 250


def test_a_small_image_is_not_enlarged(tmp_path: Path) -> None:
    assert opened(make_thumbnail(make_image(tmp_path / "a.png", size=(8, 8)), 192).data).size == (8, 8)


def test_a_large_jpeg_is_decoded_at_reduced_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_rgb, seen = images.as_rgb, []
    monkeypatch.setattr(images, "as_rgb", lambda image: (seen.append(image.size), as_rgb(image))[1])
    make_thumbnail(make_image(tmp_path / "a.jpg", size=(1600, 800)), 64)
    assert seen == [(200, 100)]


def test_missing_files_and_folders_have_a_reason(tmp_path: Path) -> None:
    assert make_thumbnail(tmp_path / "no.png", 32).error == "The file is not there any more"
    assert make_thumbnail(tmp_path, 32).error
    path = write_odd_image("text", tmp_path)
    assert make_thumbnail(path, 32).error == "UnidentifiedImageError: cannot identify image file 'text.jpg'"


def test_each_path_gets_its_own_image(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(20)]
    for n, name in enumerate(names):
        Image.new("L", (4, 4), n * 12).save(tmp_path / name)
    thumbnails = Thumbnails(tmp_path)
    for order in (names, names[::-1], names[5:] + names[:5]):
        found = thumbnails.get(order)
        assert {name: round(np.asarray(opened(t.data)).mean() / 12) for name, t in found.items()} == {
            name: n for n, name in enumerate(names)
        }


def test_the_cache_keeps_to_its_limit_and_drops_the_oldest(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(10)]
    for n, name in enumerate(names):
        make_image(tmp_path / name, seed=n)
    size = len(make_thumbnail(tmp_path / names[0], 192).data)
    thumbnails = Thumbnails(tmp_path, limit=3 * size)
    for name in names:
        thumbnails.get([name])
    assert thumbnails._bytes <= thumbnails.limit
    assert names[-1] in thumbnails._cache
    assert names[0] not in thumbnails._cache


def test_a_cached_thumbnail_needs_no_file_and_a_repaired_file_is_read_again(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    thumbnails = Thumbnails(tmp_path)
    first = thumbnails.get(["a.png", "b.png"])
    assert first["b.png"].error
    (tmp_path / "a.png").unlink()
    make_image(tmp_path / "b.png")
    second = thumbnails.get(["a.png", "b.png"])
    assert second["a.png"] is first["a.png"]
    assert second["b.png"].data


def test_a_prefetched_image_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_image(tmp_path / "a.png")
    decoded: list[Path] = []
    real = make_thumbnail
    monkeypatch.setattr(
        "cleaner.review.thumbnails.make_thumbnail", lambda path, size: (decoded.append(path), real(path, size))[1]
    )
    thumbnails = Thumbnails(tmp_path)
    thumbnails.prefetch(["a.png"])
    assert thumbnails.get(["a.png"])["a.png"].data
    assert decoded == [tmp_path / "a.png"]


class Gate:
    """Replace decoding: note each file, and wait until the gate is open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_open = Event()
        self.begun: list[str] = []
        monkeypatch.setattr("cleaner.review.thumbnails.make_thumbnail", self.make)

    def make(self, path: Path, _size: int) -> Thumbnail:
        self.begun.append(path.name)
        assert self.is_open.wait(20)
        return Thumbnail(path.name.encode())


def test_requested_images_are_decoded_before_prefetched_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    thumbnails = Thumbnails(tmp_path, threads=1)
    thumbnails.prefetch(["a", "b", "c", "d"])
    wait_until(lambda: gate.begun == ["a"])
    found: list[dict[str, Thumbnail]] = []
    waiting = Thread(target=lambda: found.append(thumbnails.get(["new", "c"])))
    waiting.start()
    wait_until(lambda: len(thumbnails._requested) == 2)
    gate.is_open.set()
    waiting.join(20)
    assert {path: thumbnail.data for path, thumbnail in found[0].items()} == {"new": b"new", "c": b"c"}
    wait_until(lambda: not thumbnails._pending)
    assert gate.begun == ["a", "new", "c", "b", "d"]


def test_a_later_prefetch_replaces_an_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    thumbnails = Thumbnails(tmp_path, threads=1)
    thumbnails.prefetch(["a", "b", "c"])
    wait_until(lambda: gate.begun == ["a"])
    thumbnails.prefetch(["c", "d"])
    gate.is_open.set()
    wait_until(lambda: not thumbnails._pending)
    assert gate.begun == ["a", "c", "d"]


def test_a_delayed_prefetch_can_be_replaced_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    gate.is_open.set()
    thumbnails = Thumbnails(tmp_path, threads=1)
    thumbnails.prefetch(["a"], after=0.2)
    replaced = thumbnails._timer
    thumbnails.prefetch(["b"], after=0.01)
    wait_until(lambda: "b" in thumbnails._cache)
    replaced.join(20)  # it ends when it is cancelled or has started
    wait_until(lambda: not thumbnails._pending)
    assert gate.begun == ["b"]
