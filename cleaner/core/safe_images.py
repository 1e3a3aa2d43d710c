"""Image files that may be made to do harm: what is refused before it is decoded, so that time and memory are bounded.

Whoever collects images from others gets what others put there. A small file can stand for a picture that fills the
memory, or keep a decoder busy for hours; some formats are programs, some hold files of other formats. So only the
formats in `FORMATS` are opened, and of each what its decoder cannot bear is refused.
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

__all__ = ["FORMATS", "MAX_PIXELS", "check_image", "opened_image", "within_bounds"]

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "PCX", "TGA")
"""The formats that are opened, as Pillow calls them; JPEG includes MPO.

Left out are containers, whose content no check here sees (BLP, DCX, EPS, FITS, ICNS, ICO, IPTC and others), AVIF, of
which 46 bytes can cost another decoding of the whole picture, and what is hardly found in datasets.
"""

MAX_PIXELS = 2**28
"""Pixels of the largest image that is decoded, 16384 x 16384.

Photos have up to 200 million; Pillow by itself stops at 179. It takes 2 GiB to decode one as RGB, in some formats 4.
"""

# Pillow keeps eight bytes for each row and some decoders as much for each column.
_MOST_SIDE = 2**20
# Pixels, by codec: OpenJPEG takes 24 bytes and up to a microsecond for each, and the others are written in Python.
_MOST_OF_CODEC = {"jpeg2k": 2**24, "bmp_rle": 2**23, "ppm": 2**22, "ppm_plain": 2**22}
# In a TIFF file each tile can be a JPEG file of `_MOST_SCANS` scans, and all tiles the same one.
_MOST_JPEG_TILES = 2**16
# Pillow's own value of `MAX_IMAGE_PIXELS`; above it Pillow warns, above twice that it refuses.
_PILLOWS_OWN = 1024**3 // 4 // 3
# As many as libtiff lets pass. Encoders write about ten; each costs the decoder a walk over the whole image, and can
# be ten bytes of the file.
_MOST_SCANS = 100
_MOST_SEGMENTS = 10_000
# Text with pixels as numbers, of which each comment costs Pillow a copy of 16 KB.
_MOST_TEXT, _MOST_COMMENTS = 2**25, 1000
# Exponents of two: of the shorter side of a precinct, in pixels of the whole picture, and of the area of a code block.
# OpenJPEG keeps up to 1 KB about each of them.
_LEAST_PRECINCT, _LEAST_BLOCK = 6, 8
# Holds the header of most files, also with a preview in it.
_HEAD = 1 << 16
_POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
_IPTC = b"\x1c"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"
_GIF = (b"GIF87a", b"GIF89a")
_JP2, _J2K = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
_PLAIN_PPM = (b"P1", b"P2", b"P3")
# A marker of a JPEG file but those that have no length, TEM and RST; FF 00 stands for a byte of the picture.
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
# Of each format what Pillow opens it by, and what stands in its place meanwhile.
_replaced: dict[str, tuple[Any, Any]] = {}


def check_image(path: str) -> None:
    """Refuse a file that would do harm to whoever reads it; looks at no more than its header, in most cases.

    What is wrong in other ways is left to whoever opens it: they say what.

    Raises:
        RefusedFile: it is no regular file, too large, a program, or holds more than a decoder should go through.
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
    """An image, not decoded yet; also where its file is changed meanwhile, that ends in no more than an error.

    Raises:
        RefusedFile: as in `check_image`, or its format is none of `FORMATS`, or it is too much for the decoder.
        Image.DecompressionBombError: it has more than `MAX_PIXELS` pixels.
        OSError: it cannot be opened, or is no image.
    """
    handle, status = regular_handle(path)
    with os.fdopen(handle, "rb") as file, _bounded_pixels():
        head = _check_file(file, status.st_size)
        # libtiff maps the file into memory, where the system ends the process if the file gets shorter. Pillow does so
        # itself where it is given a path.
        source = io.BytesIO(file.read()) if head.startswith(_TIFF) else file
        try:
            image = Image.open(source, formats=FORMATS)
        except UnidentifiedImageError:
            _check_format(head)
            raise
        with image:
            _check_opened(image)
            yield image


@contextmanager
def within_bounds() -> Iterator[None]:
    """With Pillow opening nothing but `FORMATS`, whoever calls it, and refusing what `opened_image` refuses.

    For code of others, which opens files by itself. It holds for the whole process, so that other threads, too, cannot
    open other formats meanwhile. A bound on pixels that somebody set for this process stays.
    """
    with _bounded_pixels(), _guarded_formats():
        yield


@contextmanager
def _bounded_pixels() -> Iterator[None]:
    """With Pillow refusing images above `MAX_PIXELS`, unless somebody set another bound for this process."""
    global _inside
    with _lock:
        if Image.MAX_IMAGE_PIXELS == _PILLOWS_OWN:
            Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and Image.MAX_IMAGE_PIXELS == MAX_PIXELS // 2:
                Image.MAX_IMAGE_PIXELS = _PILLOWS_OWN


@contextmanager
def _guarded_formats() -> Iterator[None]:
    """With guards in place of all that Pillow opens files by."""
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
    Image.init()  # else Pillow adds formats when it meets a file of none that it knows yet
    # Ours come first: a TGA file can begin as a CUR file does.
    Image.ID = [*FORMATS, *(name for name in Image.ID if name not in FORMATS)]
    for name, (factory, accept) in list(Image.OPEN.items()):
        guard: _Factory = partial(_open, factory) if name in FORMATS else partial(_refuse, name, accept)
        _replaced[name] = factory, guard
        Image.OPEN[name] = guard, accept


def _take_guards_away() -> None:
    for name, (factory, guard) in _replaced.items():
        found, accept = Image.OPEN[name]
        if found is guard:
            Image.OPEN[name] = factory, accept
    _replaced.clear()


def _open(factory: _Factory, file: IO[bytes], name: str | bytes = "") -> Any:
    """Open a file in one of `FORMATS` by Pillow's own function, with the checks of `opened_image`."""
    _check_content(file)
    image = factory(file, name)
    _check_opened(image)
    return image


def _refuse(name: str, accept: Callable[[bytes], Any] | None, _file: IO[bytes], _name: str | bytes = "") -> Any:
    """Refuse a file that Pillow takes for one in a format that is none of `FORMATS`."""
    if accept is None:
        raise SyntaxError("not tried")  # it may be any file; this is how Pillow's own functions say that it is not
    raise RefusedFile(_not_opened(name))


def _check_format(head: bytes) -> None:
    """Refuse a file that begins as those of a format of Pillow's that is none of `FORMATS`."""
    Image.init()
    for name, (_, accept) in list(Image.OPEN.items()):
        if name not in FORMATS and accept is not None and accept(head[:16]) is True:
            raise RefusedFile(_not_opened(name))


def _not_opened(name: str) -> str:
    accepted = ", ".join(FORMATS)
    return f"it is a file in the format {name}, which is not opened; {accepted} are. Convert it, to PNG for example"


def _forget_other_threads() -> None:
    """A new process has one thread, whatever the others were doing when it was forked."""
    global _lock, _inside, _guarding
    _lock, _inside, _guarding = Lock(), 0, 0
    _take_guards_away()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


def _check_opened(image: Image.Image) -> None:
    """Refuse an image that takes its decoder much more than others of as many pixels."""
    pixels = image.width * image.height
    if max(image.size) > _MOST_SIDE:
        raise RefusedFile(f"it is {image.width} x {image.height} pixels; sides of up to {_MOST_SIDE} are decoded")
    codec = image.tile[0][0] if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    most = _MOST_OF_CODEC.get(codec, pixels)  # of the others Pillow has the bound
    if pixels > most:
        raise RefusedFile(
            f"it has {pixels} pixels, coded in a way that is slow to decode ({codec}); up to {most} are decoded so. "
            "Convert it, to PNG for example"
        )
    if codec == "libtiff" and "jpeg" in str(image.info.get("compression")):
        tags: Any = getattr(image, "tag_v2", {})
        parts = len(tags.get(_TILE_OFFSETS, ()) or tags.get(_STRIP_OFFSETS, ()))
        if parts > _MOST_JPEG_TILES:
            raise RefusedFile(f"it is a TIFF file of {parts} JPEG tiles; up to {_MOST_JPEG_TILES} are decoded")


def _check_file(file: IO[bytes], size: int) -> bytes:
    """`_check_content` of a file of so many bytes."""
    if size > MAX_BYTES:
        raise RefusedFile(f"it has {size} bytes; files of up to {MAX_BYTES} are read")
    return _check_content(file)


def _check_content(file: IO[bytes]) -> bytes:
    """Refuse what is in a file; the first bytes of it, to whose beginning the file is put back."""
    file.seek(0)
    head = file.read(_HEAD)
    if head.startswith(_POSTSCRIPT):
        raise RefusedFile("it is a PostScript program; programs are not run")
    if head.startswith(_IPTC):
        raise RefusedFile("it is an IPTC file, which may hold a file of any other format")
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
    file.seek(0)
    return head


def _has_one_scan(head: bytes) -> bool:
    """Whether the decoder of a JPEG file stops after one scan, as far as its header is there to see."""
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
        if scans > _MOST_SCANS or number > _MOST_SEGMENTS:
            what = f"{_MOST_SCANS} scans" if scans > _MOST_SCANS else f"{_MOST_SEGMENTS} segments"
            raise RefusedFile(f"it is a JPEG file of more than {what}, which would keep the decoder busy")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """The markers of a JPEG file up to its end, each with the place of what follows it, first two bytes of length."""
    at = len(_JPEG)
    while (found := _MARKER.search(data, at)) is not None:
        at = found.end()
        marker = data[at - 1]
        if marker == _EOI:
            return
        yield marker, at
        at += max(2, int.from_bytes(data[at : at + 2], "big"))


def _check_chunks(file: IO[bytes]) -> None:
    """Refuse a PNG file with more chunks than Pillow, which goes from one to the next, gets through in a second."""
    most = _MOST_SEGMENTS + file.seek(0, os.SEEK_END) // 1024
    at = len(_PNG)
    for _ in range(most):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8 or header.endswith(b"IEND"):
            return
        at += 12 + int.from_bytes(header[:4], "big")
    raise RefusedFile(f"it is a PNG file of more than {most} chunks, which would keep the decoder busy")


def _check_blocks(file: IO[bytes]) -> None:
    """Refuse a GIF file with more blocks before its first picture than Pillow, which keeps them, should meet."""
    file.seek(10)
    flags = (file.read(1) or b"\0")[0]
    file.seek(13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
    in_extension = False
    for _ in range(_MOST_SEGMENTS):
        byte = file.read(1)
        if not byte or (not in_extension and byte in b",;"):
            return
        if in_extension:
            file.seek(byte[0], os.SEEK_CUR)
            in_extension = byte != b"\0"
        elif byte == b"!":
            file.seek(1, os.SEEK_CUR)
            in_extension = True
    raise RefusedFile(
        f"it is a GIF file of more than {_MOST_SEGMENTS} blocks before its picture, which would keep the decoder busy"
    )


def _check_plain(head: bytes, file: IO[bytes]) -> None:
    """Refuse a PPM file with its pixels as text that takes Pillow long to read."""
    text = head + file.read(_MOST_TEXT)
    if len(text) > _MOST_TEXT or text.count(b"#") > _MOST_COMMENTS:
        raise RefusedFile(
            f"it is a PPM file with its pixels as text; up to {_MOST_TEXT} bytes and {_MOST_COMMENTS} comments are read"
        )


def _check_codestream(file: IO[bytes]) -> None:
    """Refuse a JPEG 2000 file that cuts its picture into pieces so small that they fill the memory."""
    for number, (marker, content) in enumerate(_codestream_markers(file, _codestream_start(file)), start=1):
        if number > _MOST_SEGMENTS:
            raise RefusedFile(
                f"it is a JPEG 2000 file of more than {_MOST_SEGMENTS} segments, which would keep the decoder busy"
            )
        # Five bytes about all components are not there where it is about one, whose number comes first instead.
        if marker in (_COD, _COC) and _is_in_small_pieces(content[:1] + content[5:] if marker == _COD else content[1:]):
            raise RefusedFile("it is a JPEG 2000 file of very small code blocks or precincts, which fill the memory")


def _is_in_small_pieces(coding: bytes) -> bool:
    """Whether code blocks or precincts are small; the bytes are style, levels, sides of blocks, ..., precincts."""
    style, levels, width, height = coding[:4].ljust(4, b"\0")
    # Each level halves the picture, beginning with the smallest.
    precincts = enumerate(coding[6 : 7 + levels] if style & 1 else b"")
    sides = (min(each & 15, each >> 4) + levels - level for level, each in precincts)
    return (width & 15) + (height & 15) + 4 < _LEAST_BLOCK or any(side < _LEAST_PRECINCT for side in sides)


def _codestream_start(file: IO[bytes]) -> int:
    """Where the codestream of a JPEG 2000 file begins; at 0 where it stands alone."""
    at = 0
    for _ in range(_MOST_SEGMENTS):
        file.seek(at)
        header = file.read(16)
        if header.startswith(_J2K) or len(header) < 16:
            return at
        length, kind, long = struct.unpack(">I4sQ", header)
        if kind == b"jp2c":
            return at + (16 if length == 1 else 8)
        at += max(8, long if length == 1 else length)
    raise RefusedFile(f"it is a JPEG 2000 file of more than {_MOST_SEGMENTS} boxes")


def _codestream_markers(file: IO[bytes], at: int) -> Iterator[tuple[int, bytes]]:
    """The markers of the headers in a JPEG 2000 codestream, of the whole and of its tiles, each with what it says."""
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
            # A length of 0 is that of the last one.
            tile = at + int.from_bytes(content[2:6], "big")
        yield marker, content
        at += 2 + max(2, length)
