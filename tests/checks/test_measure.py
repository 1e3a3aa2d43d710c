"""The measurements of one file: which files are measured, their digests, and that each figure moves the right way."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from cleaner.checks import measure as measuring
from cleaner.checks.measure import measure
from cleaner.checks.records import RECORD
from cleaner.core.files import RefusedFile
from tests.checks.test_run import SIZE, picture, save

Figures = dict[str, float]
FIGURES = ("dark", "bright", "brightness", "contrast", "sharpness", "uniform", "colour")
SEEDS = range(4)
_ORIENTATION = 0x0112


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[_ORIENTATION] = orientation
    return data.tobytes()


def figures(image: Image.Image, folder: Path) -> Figures:
    """Measure a picture as a PNG file, which keeps its pixels."""
    record = measure(str(save(image, folder / "figures.png")))
    return {name: float(record[name]) for name in FIGURES}


def ramp(dtype: type, high: float) -> np.ndarray[Any, Any]:
    return np.tile(np.linspace(0, high, 60), (40, 1)).astype(dtype)


def palette_png(path: Path) -> None:
    picture(0).convert("P", palette=Image.Palette.ADAPTIVE).save(path)


def transparent_png(path: Path) -> None:
    Image.new("RGBA", (40, 30), (0, 0, 0, 0)).save(path)


def animated_gif(path: Path) -> None:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("black", "white", "white")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def big_endian(path: Path) -> None:
    Image.fromarray(ramp(np.uint16, 65535).astype(">u2")).save(path)


# Name and writer of a file, its width and height, and some of its figures.
MEASURED: dict[str, tuple[str, Callable[[Path], Any], tuple[int, int], Figures]] = {
    "a photo": ("a.jpg", lambda path: picture(0).save(path), SIZE, {"rotated": 0, "wrong_suffix": 0}),
    "16 bits": (
        "a.png",
        lambda path: Image.fromarray(ramp(np.uint16, 65535)).save(path),
        (60, 40),
        {"brightness": 0.5, "contrast": 1, "colour": 0},
    ),
    "16 bits, big-endian": ("a.tif", big_endian, (60, 40), {"brightness": 0.5, "contrast": 1, "colour": 0}),
    "floats": (
        "a.tiff",
        lambda path: Image.fromarray(ramp(np.float32, 0.001)).save(path),
        (60, 40),
        {"brightness": 0.5, "contrast": 1, "wrong_suffix": 0},
    ),
    "CMYK": (
        "a.jpg",
        lambda path: Image.new("CMYK", (40, 30), (0, 255, 255, 0)).save(path),
        (40, 30),
        {"colour": 1, "uniform": 1},
    ),
    "a palette": ("a.png", palette_png, SIZE, {"wrong_suffix": 0}),
    "a transparent picture": ("a.png", transparent_png, (40, 30), {"brightness": 1, "bright": 1, "uniform": 1}),
    "an animated GIF": ("a.gif", animated_gif, (40, 30), {"brightness": 0, "dark": 0, "uniform": 1}),
    "a mirrored JPEG": ("a.jpg", lambda path: picture(0).save(path, exif=exif(2)), SIZE, {"rotated": 1}),
    "a turned JPEG": ("a.jpg", lambda path: picture(0).save(path, exif=exif(6)), (150, 200), {"rotated": 1}),
    "a large turned JPEG": (
        "a.jpg",
        lambda path: picture(0, (900, 600)).save(path, exif=exif(8)),
        (600, 900),
        {"rotated": 1},
    ),
    "a turned PNG": ("a.png", lambda path: picture(0).save(path, exif=exif(5)), (150, 200), {"rotated": 1}),
    "a turned TIFF": ("a.tif", lambda path: picture(0).save(path, exif=exif(6)), (150, 200), {"rotated": 1}),
    "an upright JPEG with EXIF": ("a.jpg", lambda path: picture(0).save(path, exif=exif(1)), SIZE, {"rotated": 0}),
    "EXIF of rubbish": ("a.jpg", lambda path: picture(0).save(path, exif=b"Exif\0\0rubbish"), SIZE, {"rotated": 0}),
    "one pixel": ("a.png", lambda path: Image.new("RGB", (1, 1), "red").save(path), (1, 1), {"uniform": 1}),
    "one column": ("a.png", lambda path: picture(0, (1, 500)).save(path), (1, 500), {"rotated": 0}),
    "one row": ("a.png", lambda path: picture(0, (500, 1)).save(path), (500, 1), {"rotated": 0}),
    "grey": ("a.png", lambda path: picture(0).convert("L").save(path), SIZE, {"colour": 0}),
    "black and white": ("a.png", lambda path: picture(0).convert("1").save(path), SIZE, {"colour": 0, "dark": 1}),
    "no suffix": ("a", lambda path: picture(0).save(path, "PNG"), SIZE, {"wrong_suffix": 0}),
    "a suffix of no image format": (
        "a.v2",
        lambda path: picture(0).save(path, "PNG"),
        SIZE,
        {"wrong_suffix": 0},
    ),
}


@pytest.mark.parametrize("case", MEASURED)
def test_unusual_files_are_measured(case: str, tmp_path: Path) -> None:
    name, write, size, expected = MEASURED[case]
    write(tmp_path / name)
    record = measure(str(tmp_path / name))
    assert (record.dtype, record.shape) == (RECORD, ())
    assert (record["width"], record["height"]) == size
    assert {key: float(record[key]) for key in expected} == pytest.approx(expected, abs=0.02)
    for figure in FIGURES:
        assert 0 <= record[figure] <= (2 if figure == "sharpness" else 1)


def torn(path: Path) -> None:
    save(picture(0), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Name and writer of a file, and what the error says about it.
REFUSED: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "a truncated JPEG": ("a.jpg", torn, "truncated"),
    "a truncated PNG": ("a.png", torn, "."),
    "an empty file": ("a.jpg", lambda path: path.write_bytes(b""), "cannot identify image file"),
    "a PostScript program": ("a.jpg", lambda path: path.write_bytes(b"%!PS\nshowpage\n"), "PostScript program"),
    "a text": ("a.png", lambda path: path.write_text("no image\n" * 100), "cannot identify image file"),
    "an icon": ("a.png", lambda path: picture(0, (16, 16)).save(path, "ICO"), "format ICO, which is not opened"),
    "a missing file": ("a.png", lambda path: None, "No such file"),
    "a folder": ("a.png", lambda path: path.mkdir(), "."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_are_no_pictures_are_refused(case: str, tmp_path: Path) -> None:
    name, write, message = REFUSED[case]
    write(tmp_path / name)
    with pytest.raises((OSError, SyntaxError, ValueError), match=message):
        measure(str(tmp_path / name))


def digests(path: Path) -> tuple[bytes, bytes]:
    record = measure(str(path))
    return record["bytes_sha256"].tobytes(), record["pixels_sha256"].tobytes()


def test_another_compression_has_other_bytes_and_the_same_pixels(tmp_path: Path) -> None:
    one = digests(save(picture(0), tmp_path / "1.png", compress_level=1))
    other = digests(save(picture(0), tmp_path / "9.png", compress_level=9))
    assert one[0] != other[0]
    assert one[1] == other[1]


def test_a_copied_file_has_the_same_digests(tmp_path: Path) -> None:
    path = save(picture(0), tmp_path / "a.jpg")
    assert digests(path) == digests(Path(shutil.copy(path, tmp_path / "b.png")))


@pytest.mark.parametrize("size", [SIZE, (900, 600)])
def test_exif_data_without_a_turn_leave_the_digest_of_the_pixels(size: tuple[int, int], tmp_path: Path) -> None:
    path = save(picture(0, size), tmp_path / "a.jpg")
    data = exif(1)
    segment = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
    other = tmp_path / "b.jpg"
    other.write_bytes(path.read_bytes()[:2] + segment + path.read_bytes()[2:])
    assert digests(path)[0] != digests(other)[0]
    assert digests(path)[1] == digests(other)[1]


def test_a_turn_by_exif_has_the_digest_of_the_turned_pixels(tmp_path: Path) -> None:
    turned = save(picture(0).transpose(Image.Transpose.ROTATE_90), tmp_path / "a.png", exif=exif(6))
    assert digests(turned)[1] == digests(save(picture(0), tmp_path / "b.png"))[1]


def test_one_other_pixel_or_another_shape_has_another_digest(tmp_path: Path) -> None:
    changed = picture(0)
    red, green, blue = changed.getpixel((199, 149))
    changed.putpixel((199, 149), (red ^ 1, green, blue))
    plain = [Image.new("RGB", size, "red") for size in ((40, 30), (30, 40), (20, 60))]
    found = [digests(save(image, tmp_path / f"{n}.png"))[1] for n, image in enumerate([picture(0), changed, *plain])]
    assert len(set(found)) == 5


def mpo(file: io.BytesIO) -> None:
    picture(0).save(file, "MPO", save_all=True, append_images=[picture(1)])


# A format, and the suffixes that its files have and have not.
SUFFIXES = {
    "JPEG": (".jpg .jpeg .jpe .jfif .JPG", ".png .gif .tif .webp"),
    "MPO": (".jpg .jpeg .mpo .MPO", ".png .tif"),
    "PNG": (".png .apng .PNG", ".jpg .jpeg .gif .bmp"),
    "GIF": (".gif", ".png .jpg"),
    "BMP": (".bmp .dib", ".png .jpg"),
    "WEBP": (".webp", ".jpg .png"),
    "TIFF": (".tif .tiff .Tiff", ".jpg .png"),
    "PPM": (".ppm .pnm", ".png"),
    "TGA": (".tga", ".png"),
    "PCX": (".pcx", ".png"),
}


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_suffix_is_wrong_where_it_is_that_of_another_format(kind: str, tmp_path: Path) -> None:
    content = io.BytesIO()
    if kind == "MPO":
        mpo(content)
    else:
        picture(0).save(content, kind)
    right, wrong = (suffixes.split() for suffixes in SUFFIXES[kind])
    found = {}
    for suffix in right + wrong:
        path = tmp_path / f"picture{suffix}"
        path.write_bytes(content.getvalue())
        found[suffix] = bool(measure(str(path))["wrong_suffix"])
    assert found == {**dict.fromkeys(right, False), **dict.fromkeys(wrong, True)}


# A change that gets stronger, the figure that it moves, and whether it grows.
CHANGES: dict[str, tuple[Callable[[Image.Image, int], Image.Image], str, bool]] = {
    "darker lowers `dark`": (lambda image, n: ImageEnhance.Brightness(image).enhance(1 / (n + 1)), "dark", False),
    "darker lowers the brightness": (
        lambda image, n: ImageEnhance.Brightness(image).enhance(1 / (n + 1)),
        "brightness",
        False,
    ),
    "nearer to white raises `bright`": (
        lambda image, n: Image.blend(image, Image.new("RGB", image.size, "white"), n / 4),
        "bright",
        True,
    ),
    "washed out lowers the contrast": (
        lambda image, n: Image.blend(image, Image.new("RGB", image.size, "grey"), n / 4),
        "contrast",
        False,
    ),
    "blurred lowers the sharpness": (
        lambda image, n: image.filter(ImageFilter.GaussianBlur(n)),
        "sharpness",
        False,
    ),
    "covered raises `uniform`": (
        lambda image, n: (image.paste((9, 99, 199), (0, 0, n and 90 + n * 30, image.height)), image)[1],
        "uniform",
        True,
    ),
    "paler lowers the colour": (lambda image, n: ImageEnhance.Color(image).enhance(1 - n / 3), "colour", False),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_figure_follows_the_picture(change: str, seed: int, tmp_path: Path) -> None:
    apply, figure, grows = CHANGES[change]
    values = [figures(apply(picture(seed), n), tmp_path)[figure] for n in range(4)]
    assert values == sorted(values, reverse=not grows)
    assert abs(values[0] - values[-1]) > 0.15


@pytest.mark.parametrize("seed", SEEDS)
def test_a_paler_copy_is_as_sharp(seed: int, tmp_path: Path) -> None:
    pale = Image.blend(picture(seed), Image.new("RGB", SIZE, "grey"), 0.6)
    assert figures(pale, tmp_path)["sharpness"] == pytest.approx(figures(picture(seed), tmp_path)["sharpness"], rel=0.1)


@given(grey=st.integers(0, 255), noise=st.integers(0, 2))
def test_a_plain_picture_has_its_own_brightness_and_no_contrast(
    grey: int, noise: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pixels = grey + np.random.default_rng(0).integers(-noise, noise + 1, (30, 40, 1))
    image = Image.fromarray(np.repeat(np.clip(pixels, 0, 255), 3, axis=2).astype(np.uint8))
    found = figures(image, tmp_path_factory.mktemp("plain"))
    expected = {"dark": grey / 255, "bright": grey / 255, "brightness": grey / 255, "contrast": 0, "colour": 0}
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=(noise * 2 + 0.1) / 255)


@pytest.mark.parametrize("step", [15, 25, 40, 60])
def test_a_drawing_of_thin_lines_is_sharp(step: int, tmp_path: Path) -> None:
    page = Image.new("RGB", SIZE, "white")
    for column in range(5, page.width, step):
        ImageDraw.Draw(page).line((column, 0, column, page.height), "black", 1)
    assert figures(page, tmp_path)["sharpness"] > 0.3


@pytest.mark.parametrize("size", [(1, 500), (2, 300), (300, 2)])
def test_a_picture_too_narrow_to_tell_is_not_blurred(size: tuple[int, int], tmp_path: Path) -> None:
    assert figures(picture(0, size), tmp_path)["sharpness"] == 1


# Percent of the pixels that are unlike the others, and the figures of a dark picture and of a bright one with them.
SPOTS = {"of 2 %": (2, 1, 1), "of half a percent": (0.5, 0, 1), "of 6 %": (6, 1, 0), "of 4 %": (4, 1, 1)}


@pytest.mark.parametrize("spot", SPOTS)
def test_a_spot_counts_from_its_share_on(spot: str, tmp_path: Path) -> None:
    percent, dark, bright = SPOTS[spot]
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels.reshape(-1, 3)[: int(percent * 100)] = 255
    assert figures(Image.fromarray(pixels), tmp_path)["dark"] == dark
    assert figures(Image.fromarray(255 - pixels), tmp_path)["bright"] == bright


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_large_picture_measures_like_the_same_at_half_the_size(suffix: str, seed: int, tmp_path: Path) -> None:
    large = picture(seed, (1280, 1024)).filter(ImageFilter.GaussianBlur(4))
    found = []
    for name, image in (("large", large), ("half", large.resize((640, 512), Image.Resampling.BOX))):
        record = measure(str(save(image, tmp_path / f"{name}.{suffix}", quality=92)))
        assert (record["width"], record["height"]) == image.size
        found.append(record)
    for figure in FIGURES:
        assert found[0][figure] == pytest.approx(found[1][figure], abs=0.05), figure
    assert (int(found[0]["hash"]) ^ int(found[1]["hash"])).bit_count() <= 4
    for field in ("descriptor", "grey"):
        assert np.abs(found[0][field].astype(int) - found[1][field]).max() <= 12
    assert found[0]["pixels_sha256"].tobytes() != found[1]["pixels_sha256"].tobytes()


def test_a_large_picture_is_measured_at_a_smaller_size(tmp_path: Path) -> None:
    large = picture(0, (1280, 1024)).filter(ImageFilter.GaussianBlur(4))
    found = figures(large, tmp_path)
    assert found["sharpness"] > 0.2
    assert found == pytest.approx(figures(large.reduce(8), tmp_path), abs=1e-6)


@pytest.mark.parametrize("grey", [15, 16, 127, 128, 240])
def test_a_plain_picture_with_noise_has_one_colour_whatever_the_colour(grey: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(grey).normal(grey, 6, (150, 200, 3))
    assert figures(Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)), tmp_path)["uniform"] > 0.99


FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "TGA", "PCX")


@pytest.mark.parametrize("kind", FORMATS)
def test_the_digest_of_the_bytes_is_that_of_the_whole_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    picture(0).save(path, kind)
    path.write_bytes(path.read_bytes() + b"trailing bytes")
    assert digests(path)[0] == hashlib.sha256(path.read_bytes()).digest()


def changed_while_decoded(path: Path, change: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Measure a file that changes after its header was read."""

    def upright_size_and_change(image: Image.Image) -> tuple[int, int]:
        change()
        return image.size

    monkeypatch.setattr(measuring, "upright_size", upright_size_and_change)
    return measure(str(path))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_a_file_that_is_written_to_while_it_is_read_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    picture(0).save(path, kind)
    os.utime(path, (0, 0))
    with pytest.raises(RefusedFile, match="it changed while it was read"):
        changed_while_decoded(path, lambda: path.write_bytes(path.read_bytes()), monkeypatch)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_is_replaced_while_it_is_read_is_measured_as_it_was(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    picture(0).save(path, kind)
    picture(1).save(other, kind)
    before = measure(str(path))
    after = changed_while_decoded(path, lambda: other.exists() and os.replace(other, path), monkeypatch)
    assert before.tobytes() == after.tobytes()
