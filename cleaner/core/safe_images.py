"""Refuses malicious image files before they are decoded, to bound time and memory.

Images collected from others can be hostile. A small file can expand to fill the memory or keep a decoder busy for
hours; some formats are programs, others contain files of any format. Only the formats in `FORMATS` are opened, without
files that their decoder cannot handle safely.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import IO, Any

from PIL import Image, ImageFile, UnidentifiedImageError

from cleaner.core.files import MAX_BYTES, RefusedFile, regular_handle
from cleaner.core.heif_files import MISSING, check_items, heif_formats, is_heif, register_missing

__all__ = ["FORMATS", "MAX_PIXELS", "check_image", "formats", "opened_image", "within_bounds"]

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "PCX", "TGA")
"""The formats that are opened, by Pillow's names; JPEG includes MPO.

HEIF and AVIF are opened too where pi-heif is installed; see `heif_files`. Excluded are containers, whose content is not
checked here (BLP, DCX, EPS, FITS, ICNS, ICO, IPTC and others), and formats that are rare in datasets.
"""

MAX_PIXELS = 2**28
"""Maximum number of pixels of a decoded image, 16384 x 16384.

Photos have up to 200 million pixels; Pillow's own limit is 179 million. Decoding this many takes 2 to 4 GiB.
"""

# Pillow needs eight bytes per row, and some decoders eight per column.
_MAX_SIDE = 2**20
# Pixels per codec: OpenJPEG takes 24 bytes and up to a microsecond per pixel, and the others are written in Python.
_MAX_PIXELS_OF_CODEC = {"jpeg2k": 2**24, "bmp_rle": 2**23, "ppm": 2**22, "ppm_plain": 2**22}
# Each tile of a TIFF file can be a JPEG file of `_MAX_SCANS` scans, and all tiles can share its bytes.
_MAX_JPEG_TILES = 2**16
# Pillow's default of `MAX_IMAGE_PIXELS`; above it Pillow warns, above twice that it refuses.
_PILLOW_DEFAULT = 1024**3 // 4 // 3
# The limit of libtiff. Encoders write about ten scans; each can be ten bytes, and costs a pass over the whole image.
_MAX_SCANS = 100
_MAX_SEGMENTS = 10_000
# For pixels as text. Each comment in it costs Pillow a copy of 16 KB.
_MAX_TEXT, _MAX_COMMENTS = 2**25, 1000
# Exponents of two: shorter side of a precinct, in pixels of the whole picture, and area of a code block. OpenJPEG needs
# up to 1 KB for each of them.
_MIN_PRECINCT, _MIN_BLOCK = 6, 8
# Contains the header of most files, even with a preview in it.
_HEAD = 1 << 16
_POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
_IPTC = b"\x1c"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"
_GIF = (b"GIF87a", b"GIF89a")
_JP2, _J2K = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
_PLAIN_PPM = (b"P1", b"P2", b"P3")
# A marker of a JPEG file, except those without a length, TEM and RST; FF 00 is a byte of the picture.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_SEQUENTIAL = (0xC0, 0xC1)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EOI, _SOS = 0xD9, 0xDA
# Markers of JPEG 2000.
_SOT, _SOD, _COD, _COC = 0xFF90, 0xFF93, 0xFF52, 0xFF53
# Tags of TIFF.
_STRIP_OFFSETS, _TILE_OFFSETS = 273, 324

_Factory = Callable[..., Any]

_lock = Lock()
_inside = _guarding = 0
# Pillow's function and our guard in its place, per format.
_replaced: dict[str, tuple[Any, Any]] = {}


def formats() -> tuple[str, ...]:
    """Return the formats that are opened here, by Pillow's names."""
    return FORMATS + heif_formats()


def check_image(path: str) -> None:
    """Refuse a harmful image file; for most files this reads the header only.

    Files with other faults pass; their reader reports the error.

    Raises:
        RefusedFile: the file is not regular, too large, a program, or too costly for its decoder.
    """
    try:
        handle, status = regular_handle(path)
    except RefusedFile:
        raise
    except OSError:
        return
    with os.fdopen(handle, "rb") as file:
        _check_file(file, status.st_size)


@contextmanager
def opened_image(path: str | os.PathLike[str]) -> Iterator[ImageFile.ImageFile]:
    """Open an image without decoding it; a change of the file meanwhile causes at most an error.

    Raises:
        RefusedFile: as in `check_image`, or the format is not in `formats()`, or decoding is too costly.
        Image.DecompressionBombError: the image has more than `MAX_PIXELS` pixels.
        OSError: the file cannot be opened or is not an image.
    """
    handle, status = regular_handle(path)
    with os.fdopen(handle, "rb") as file, _bounded_pixels():
        head = _check_file(file, status.st_size)
        # libtiff maps the file into memory; if the file gets shorter, the system kills the process. Pillow maps files
        # too, if it is given a path.
        source = io.BytesIO(file.read()) if head.startswith(_TIFF) else file
        try:
            image = Image.open(source, formats=formats())
        except UnidentifiedImageError:
            _check_format(head)
            raise
        with image:
            _check_opened(image)
            yield image


@contextmanager
def within_bounds() -> Iterator[None]:
    """Make Pillow open only `formats()`, and refuse files as `opened_image` does, for code that opens files itself.

    This affects all threads of the process. A limit of pixels that the process has set is left unchanged.
    """
    with _bounded_pixels(), _guarded_formats():
        yield


@contextmanager
def _bounded_pixels() -> Iterator[None]:
    """Set Pillow's limit of pixels to `MAX_PIXELS`, unless the process has set another limit."""
    global _inside
    with _lock:
        if Image.MAX_IMAGE_PIXELS == _PILLOW_DEFAULT:
            Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and Image.MAX_IMAGE_PIXELS == MAX_PIXELS // 2:
                Image.MAX_IMAGE_PIXELS = _PILLOW_DEFAULT


@contextmanager
def _guarded_formats() -> Iterator[None]:
    """Put guards in place of Pillow's functions that open files."""
    global _guarding
    with _lock:
        if not _guarding:
            _put_guards()
        _guarding += 1
    try:
        yield
    finally:
        with _lock:
            _guarding -= 1
            if not _guarding:
                _take_guards_away()


def _put_guards() -> None:
    Image.init()  # otherwise Pillow adds formats later, when it meets an unknown file
    # Ours come first: a TGA file can begin like a CUR file.
    opened = formats()
    register_missing()
    Image.ID = [*opened, *(name for name in Image.ID if name not in opened)]
    for name, (factory, accept) in list(Image.OPEN.items()):
        guard: _Factory = partial(_open, factory) if name in opened else partial(_refuse, name, accept)
        _replaced[name] = factory, guard
        Image.OPEN[name] = guard, accept


def _take_guards_away() -> None:
    for name, (factory, guard) in _replaced.items():
        found, accept = Image.OPEN[name]
        if found is guard:
            Image.OPEN[name] = factory, accept
    _replaced.clear()


def _open(factory: _Factory, file: IO[bytes], name: str | bytes = "") -> Any:
    """Open a file in one of the formats with Pillow's own function and the checks of `opened_image`."""
    _check_content(file)
    image = factory(file, name)
    _check_opened(image)
    return image


def _refuse(name: str, accept: Callable[[bytes], Any] | None, _file: IO[bytes], _name: str | bytes = "") -> Any:
    """Refuse a file that Pillow would open in a format that is not opened."""
    if accept is None:
        raise SyntaxError("not tried")  # any file can get here; this tells Pillow to try the next format
    raise RefusedFile(_not_opened(name))


def _check_format(head: bytes) -> None:
    """Refuse a file that begins like one in a format that is not opened."""
    Image.init()
    register_missing()
    for name, (_, accept) in list(Image.OPEN.items()):
        if name not in formats() and accept is not None and accept(head[:16]) is True:
            raise RefusedFile(_not_opened(name))


def _not_opened(name: str) -> str:
    if name in ("HEIF", "AVIF"):
        return f"it is in the format {name}, {MISSING}"
    accepted = ", ".join(formats())
    return f"it is in the format {name}, which is not opened; convert it to one of {accepted}"


def _forget_other_threads() -> None:
    """Reset the state in a forked process, which has only one thread."""
    global _lock, _inside, _guarding
    _lock, _inside, _guarding = Lock(), 0, 0
    _take_guards_away()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


def _check_opened(image: Image.Image) -> None:
    """Refuse an image that is too costly for its decoder."""
    pixels = image.width * image.height
    if max(image.size) > _MAX_SIDE:
        raise RefusedFile(f"it has {image.width} x {image.height} pixels; sides of up to {_MAX_SIDE} are decoded")
    codec = image.tile[0][0] if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    max_pixels = _MAX_PIXELS_OF_CODEC.get(codec, pixels)  # Pillow limits the others
    if pixels > max_pixels:
        raise RefusedFile(
            f"it has {pixels} pixels in a coding that is slow to decode ({codec}); up to {max_pixels} are decoded. "
            "Convert the file, for example to PNG"
        )
    if codec == "libtiff" and "jpeg" in str(image.info.get("compression")):
        tags: Any = getattr(image, "tag_v2", {})
        tiles = len(tags.get(_TILE_OFFSETS, ()) or tags.get(_STRIP_OFFSETS, ()))
        if tiles > _MAX_JPEG_TILES:
            raise RefusedFile(f"it is a TIFF file of {tiles} JPEG tiles; up to {_MAX_JPEG_TILES} are decoded")


def _check_file(file: IO[bytes], size: int) -> bytes:
    """Check a file of `size` bytes and return its head, as `_check_content` does."""
    if size > MAX_BYTES:
        raise RefusedFile(f"it has {size} bytes; files of up to {MAX_BYTES} are read")
    return _check_content(file)


def _check_content(file: IO[bytes]) -> bytes:
    """Check the content of a file, rewind it and return its first bytes."""
    file.seek(0)
    head = file.read(_HEAD)
    if head.startswith(_POSTSCRIPT):
        raise RefusedFile("it is a PostScript program; programs are not run")
    if head.startswith(_IPTC):
        raise RefusedFile("it is an IPTC file, which can contain a file of any format")
    if head.startswith(_JPEG) and not _has_one_scan(head):
        _check_scans(head + file.read())
    elif head.startswith(_PNG):
        _check_chunks(file)
    elif head.startswith(_GIF):
        _check_blocks(file)
    elif head.startswith((_JP2, _J2K)):
        _check_codestream(file)
    elif head.startswith(_PLAIN_PPM):
        _check_plain(head, file)
    elif is_heif(head):
        check_items(file)
    file.seek(0)
    return head


def _has_one_scan(head: bytes) -> bool:
    """Return whether the head of a JPEG file shows that its decoder stops after one scan."""
    frame, components = 0, b""
    for marker, at in _segments(head):
        if marker in _FRAMES:
            frame, components = marker, head[at + 7 : at + 8]
        elif marker == _SOS:
            return frame in _SEQUENTIAL and head[at + 2 : at + 3] == components != b""
    return False


def _check_scans(data: bytes) -> None:
    scans = 0
    for number, (marker, _) in enumerate(_segments(data), start=1):
        scans += marker == _SOS
        if scans > _MAX_SCANS:
            raise _too_many("JPEG", f"{_MAX_SCANS} scans")
        if number > _MAX_SEGMENTS:
            raise _too_many("JPEG", f"{_MAX_SEGMENTS} segments")


def _too_many(kind: str, parts: str) -> RefusedFile:
    return RefusedFile(f"it is a {kind} file of more than {parts}, which would keep the decoder busy")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the markers of a JPEG file, each with the position behind it, where two bytes give the length."""
    at = len(_JPEG)
    while (found := _MARKER.search(data, at)) is not None:
        at = found.end()
        marker = data[at - 1]
        if marker == _EOI:
            return
        yield marker, at
        at += max(2, int.from_bytes(data[at : at + 2], "big"))


def _check_chunks(file: IO[bytes]) -> None:
    """Refuse a PNG file with more chunks than Pillow can walk through in a second."""
    max_chunks = _MAX_SEGMENTS + file.seek(0, os.SEEK_END) // 1024
    at = len(_PNG)
    for _ in range(max_chunks):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8 or header.endswith(b"IEND"):
            return
        at += 12 + int.from_bytes(header[:4], "big")
    raise _too_many("PNG", f"{max_chunks} chunks")


def _check_blocks(file: IO[bytes]) -> None:
    """Refuse a GIF file with too many blocks before its first picture, which Pillow would keep."""
    file.seek(10)
    flags = (file.read(1) or b"\0")[0]
    file.seek(13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
    in_extension = False
    for _ in range(_MAX_SEGMENTS):
        byte = file.read(1)
        if not byte or (not in_extension and byte in b",;"):
            return
        if in_extension:
            file.seek(byte[0], os.SEEK_CUR)
            in_extension = byte != b"\0"
        elif byte == b"!":
            file.seek(1, os.SEEK_CUR)
            in_extension = True
    raise _too_many("GIF", f"{_MAX_SEGMENTS} blocks before its picture")


def _check_plain(head: bytes, file: IO[bytes]) -> None:
    """Refuse a PPM file whose pixels are too much text."""
    text = head + file.read(_MAX_TEXT)
    if len(text) > _MAX_TEXT or text.count(b"#") > _MAX_COMMENTS:
        raise RefusedFile(
            f"it is a PPM file with its pixels as text; up to {_MAX_TEXT} bytes and {_MAX_COMMENTS} comments are read"
        )


def _check_codestream(file: IO[bytes]) -> None:
    """Refuse a JPEG 2000 file whose picture is cut into so many pieces that they fill the memory."""
    for number, (marker, content) in enumerate(_codestream_markers(file, _codestream_start(file)), start=1):
        if number > _MAX_SEGMENTS:
            raise _too_many("JPEG 2000", f"{_MAX_SEGMENTS} segments")
        # COD has a style and four bytes about all components; COC has the number of one component and a style.
        if marker in (_COD, _COC) and _is_in_small_pieces(content[:1] + content[5:] if marker == _COD else content[1:]):
            raise RefusedFile("it is a JPEG 2000 file of very small code blocks or precincts, which fill the memory")


def _is_in_small_pieces(coding: bytes) -> bool:
    """Return whether code blocks or precincts are small; `coding` is style, levels, sides of blocks, ..., precincts."""
    style, levels, width, height = coding[:4].ljust(4, b"\0")
    # Each level halves the picture, beginning with the smallest.
    precincts = enumerate(coding[6 : 7 + levels] if style & 1 else b"")
    sides = (min(each & 15, each >> 4) + levels - level for level, each in precincts)
    return (width & 15) + (height & 15) + 4 < _MIN_BLOCK or any(side < _MIN_PRECINCT for side in sides)


def _codestream_start(file: IO[bytes]) -> int:
    """Return the position of the codestream in a JPEG 2000 file; 0 for a bare codestream."""
    at = 0
    for _ in range(_MAX_SEGMENTS):
        file.seek(at)
        header = file.read(16)
        if header.startswith(_J2K) or len(header) < 16:
            return at
        length, kind, long = struct.unpack(">I4sQ", header)
        if kind == b"jp2c":
            return at + (16 if length == 1 else 8)
        at += max(8, long if length == 1 else length)
    raise _too_many("JPEG 2000", f"{_MAX_SEGMENTS} boxes")


def _codestream_markers(file: IO[bytes], at: int) -> Iterator[tuple[int, bytes]]:
    """Yield the markers in the headers of a JPEG 2000 codestream and its tiles, each with its content."""
    at += 2
    tile = 0
    while True:
        file.seek(at)
        header = file.read(4)
        if len(header) < 4:
            return
        marker, length = struct.unpack(">HH", header)
        if marker == _SOD:
            if tile <= at:
                return
            at = tile
            continue
        content = file.read(max(0, length - 2))
        if marker == _SOT:
            # The last tile has the length 0.
            tile = at + int.from_bytes(content[2:6], "big")
        yield marker, content
        at += 2 + max(2, length)
