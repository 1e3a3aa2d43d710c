"""What is refused before it is decoded, and that everything else is not."""

from __future__ import annotations

import io
import os
import signal
from contextlib import suppress
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from cleaner.core import safe_images
from cleaner.core.files import RefusedFile
from cleaner.core.safe_images import FORMATS, MAX_PIXELS, check_image, opened_image, within_bounds
from tests.support.hosts import wait_until
from tests.support.odd_images import (
    HARMFUL,
    HARMLESS,
    KINDS,
    jpeg_of_scans,
    jpeg_segments,
    png,
    write_harmful_image,
    write_odd_image,
)

PILLOWS_OWN = Image.MAX_IMAGE_PIXELS


def check(data: bytes, folder: Path) -> None:
    (folder / "image").write_bytes(data)
    check_image(str(folder / "image"))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_file_is_refused_before_it_is_decoded(name: str, tmp_path: Path) -> None:
    path = write_harmful_image(name, tmp_path)
    with pytest.raises((OSError, ValueError, Image.DecompressionBombError)) as caught, opened_image(path):
        pass
    assert HARMFUL[name] in str(caught.value)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "name", sorted(HARMFUL.keys() - {"pipe.png", "socket.png", "zero.png", "sparse.tif", "container.png"})
)
def test_harmful_files_are_refused_when_a_dataset_opens_them_itself(name: str, tmp_path: Path) -> None:
    """As datasets and transforms do that call Pillow themselves, for masks for example."""
    path = write_harmful_image(name, tmp_path)
    with pytest.raises((OSError, ValueError, Image.DecompressionBombError)) as caught, within_bounds():
        Image.open(path)
    assert HARMFUL[name] in str(caught.value)


@pytest.mark.parametrize("name", ["BLP", "FITS", "ICO", "PSD"])
def test_other_formats_are_refused_with_a_list_of_accepted_ones(name: str, tmp_path: Path) -> None:
    prefix = {"BLP": b"BLP1", "FITS": b"SIMPLE", "ICO": b"\0\0\1\0", "PSD": b"8BPS"}
    (tmp_path / "a.jpg").write_bytes(prefix[name] + bytes(100))
    said = f"in the format {name}, which is not opened; convert it to one of JPEG, PNG, GIF"
    with pytest.raises(RefusedFile, match=said), opened_image(tmp_path / "a.jpg"):
        pass
    with pytest.raises(RefusedFile, match=said), within_bounds():
        Image.open(tmp_path / "a.jpg")
    check_image(str(tmp_path / "a.jpg"))  # whoever reads it with another library may


@pytest.mark.parametrize("name", FORMATS)
def test_images_of_all_formats_are_read_by_both_ways(name: str, tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))
    picture.save(tmp_path / "a", name)
    with opened_image(tmp_path / "a") as image:
        one = np.asarray(image.convert("RGB"))
    with within_bounds(), Image.open(tmp_path / "a") as image:
        other = np.asarray(image.convert("RGB"))
        assert image.format == name
    assert np.array_equal(one, other)


def test_usual_jpeg_2000_files_pass(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    ways: list[dict[str, Any]] = [
        {"tile_size": (64, 64)},
        {"codeblock_size": (32, 32), "num_resolutions": 3},
        {"precinct_size": (128, 128)},
        {"quality_layers": [20, 10, 5], "irreversible": True},
    ]
    for options in ways:
        picture.save(tmp_path / "a.jp2", **options)
        with opened_image(tmp_path / "a.jp2") as image:
            image.load()
            assert image.size == (400, 300)


def test_the_formats_of_pillow_are_restored() -> None:
    Image.init()
    before, names = dict(Image.OPEN), set(Image.ID)
    with within_bounds(), within_bounds():
        assert not any(Image.OPEN[name] == entry for name, entry in before.items())
    assert (before, names) == (Image.OPEN, set(Image.ID))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_process_forked_during_the_check_opens_all_formats() -> None:
    Image.init()
    before = dict(Image.OPEN)
    with within_bounds():
        child = os.fork()
        if not child:
            os._exit(0 if before == Image.OPEN else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("name", HARMLESS)
def test_the_first_of_many_pictures_in_a_file_is_read(name: str, tmp_path: Path) -> None:
    path = write_harmful_image(name, tmp_path)
    check_image(str(path))
    with opened_image(path) as image:
        image.load()
        assert image.size == (40, 24)


@pytest.mark.parametrize("kind", KINDS)
def test_odd_but_harmless_files_pass_the_check(kind: str, tmp_path: Path) -> None:
    check_image(str(write_odd_image(kind, tmp_path)))


@pytest.mark.parametrize("name", ["nowhere.png", "", "."])
def test_files_that_cannot_be_opened_pass_the_check(name: str, tmp_path: Path) -> None:
    check_image(str(tmp_path / name))


@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff\xc2", b"II*\0", b"%!"]))
def test_any_bytes_pass_the_check_or_are_refused(data: bytes, start: bytes, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + data)
    with suppress(RefusedFile):
        check_image(str(path))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_of_a_hundred_scans_passes(progressive: bool, tmp_path: Path) -> None:
    check(jpeg_of_scans(100, progressive=progressive), tmp_path)
    with pytest.raises(RefusedFile, match="more than 100 scans"):
        check(jpeg_of_scans(101, progressive=progressive), tmp_path)


@pytest.mark.parametrize("between", [b"\xff\xff", b"\xff\x00\xff\xd0\xff\x01", b"garbage"])
def test_jpeg_scans_are_counted_as_decoders_find_them(between: bytes, tmp_path: Path) -> None:
    first, marker, others = jpeg_of_scans(101, side=64).partition(b"\xff\xda")
    data = first + marker + others.replace(marker, between + marker)
    Image.open(io.BytesIO(data)).load()
    with pytest.raises(RefusedFile, match="scans"):
        check(data, tmp_path)


def test_jpeg_scans_are_counted_to_the_end_of_a_long_file(tmp_path: Path) -> None:
    data = jpeg_segments(bytes(60_000), 3)[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00" * 101
    with pytest.raises(RefusedFile, match="scans"):
        check(data, tmp_path)


def test_scan_markers_inside_of_jpeg_segments_do_not_count(tmp_path: Path) -> None:
    check(jpeg_segments(b"\xff\xda\x00\x02" * 16_000, 1), tmp_path)  # longer than what is looked at first
    check(jpeg_segments(b"\xff\xda\x00\x02" * 16_000, 3), tmp_path)


def test_the_largest_accepted_image_has_the_documented_pixels(tmp_path: Path) -> None:
    assert MAX_PIXELS == 16_384 * 16_384 > 16_384 * 12_288  # that of a photo of 200 megapixels
    for size, is_accepted in (((16_384, 16_384), True), ((16_320, 12_240), True), ((16_384, 16_385), False)):
        (tmp_path / "a.png").write_bytes(png(*size))
        if is_accepted:
            with opened_image(tmp_path / "a.png") as image:
                assert image.size == size
        else:
            with pytest.raises(Image.DecompressionBombError), opened_image(tmp_path / "a.png"):
                pass


def test_the_settings_of_pillow_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError), within_bounds(), within_bounds():
        assert Image.MAX_IMAGE_PIXELS == MAX_PIXELS // 2
        raise KeyError
    assert Image.MAX_IMAGE_PIXELS == PILLOWS_OWN
    for own in (None, 1000, 2**40):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", own)
        with within_bounds():
            found = Image.MAX_IMAGE_PIXELS
        assert (found, Image.MAX_IMAGE_PIXELS) == (own, own)


def test_the_pixel_limit_holds_until_the_last_thread_is_done() -> None:
    found: list[int | None] = []
    inside, first_left = Barrier(2, timeout=20), Barrier(2, timeout=20)

    def second() -> None:
        with within_bounds():
            inside.wait()
            first_left.wait()
            found.append(Image.MAX_IMAGE_PIXELS)

    thread = Thread(target=second)
    thread.start()
    with within_bounds():
        inside.wait()
    first_left.wait()
    thread.join(20)
    assert found == [MAX_PIXELS // 2]
    assert Image.MAX_IMAGE_PIXELS == PILLOWS_OWN


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_process_forked_during_the_check_does_not_wait_forever() -> None:
    with safe_images._lock:
        child = os.fork()
        if not child:
            with within_bounds():
                os._exit(0)
    try:
        wait_until(lambda: os.waitpid(child, os.WNOHANG)[0] == child)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise


def save(path: Path, mode: str, **options: Any) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


FILES = {
    "a.png": ("RGB", {}),
    "a.jpg": ("RGB", {}),
    "a.gif": ("P", {}),
    "a.bmp": ("L", {}),  # these two are such as Pillow maps into memory by itself
    "raw.tif": ("L", {}),
    "lzw.tif": ("L", {"compression": "tiff_lzw"}),  # and this one libtiff
}
SNAPSHOTS = ("raw.tif", "lzw.tif")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["shrinks", "is replaced", "is removed"])
def test_a_file_that_changes_while_it_is_read_is_an_error_at_most(name: str, change: str, tmp_path: Path) -> None:
    mode, options = FILES[name]
    path = save(tmp_path / name, mode, **options)
    with opened_image(path) as image:
        assert isinstance(image, ImageFile.ImageFile)
        if change == "shrinks":
            os.truncate(path, 300)
        elif change == "is replaced":
            (tmp_path / "other").write_bytes(b"something else")
            os.replace(tmp_path / "other", path)
        else:
            path.unlink()
        if change == "shrinks" and name not in SNAPSHOTS:
            with pytest.raises(OSError, match="truncated"):
                image.load()
        else:
            image.load()
            assert len(image.tobytes()) == 400 * 400 * len(image.getbands())
