"""Image files that may be made to do harm: what is refused before it is decoded, so that time and memory are bounded.

Whoever collects images from others gets what others put there. A small file can stand for a picture that fills the
memory, or keep a decoder busy for hours; some formats are programs.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from PIL import Image, ImageFile

from cleaner.core.files import MOST_BYTES, RefusedFile, regular_handle

__all__ = ["MOST_PIXELS", "check_image", "opened_image", "within_bounds"]

MOST_PIXELS = 2**28
"""Pixels of the largest image that is decoded, 16384 x 16384.

Photos have up to 200 million; Pillow by itself stops at 179. It takes 2 GiB to decode one as RGB, in some formats 4.
"""

# Pillow's own value of `MAX_IMAGE_PIXELS`; above it Pillow warns, above twice that it refuses.
_PILLOWS_OWN = 1024**3 // 4 // 3
# As many as libtiff lets pass. Encoders write about ten; each costs the decoder a walk over the whole image, and can
# be ten bytes of the file.
_MOST_SCANS = 100
_MOST_SEGMENTS = 10_000
# Holds the header of most files, also with a preview in it.
_HEAD = 1 << 16
_POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
_IPTC = b"\x1c"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG = b"\xff\xd8"
# A marker of a JPEG file but those that have no length, TEM and RST; FF 00 stands for a byte of the picture.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_SEQUENTIAL = (0xC0, 0xC1)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EOI, _SOS = 0xD9, 0xDA

_lock = Lock()
_inside = 0


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
    try:
        _check_content(handle, status.st_size)
    finally:
        os.close(handle)


@contextmanager
def opened_image(path: str | os.PathLike[str]) -> Iterator[ImageFile.ImageFile]:
    """An image, not decoded yet; also where its file is changed meanwhile, that ends in no more than an error.

    Raises:
        RefusedFile: as in `check_image`.
        Image.DecompressionBombError: it has more than `MOST_PIXELS` pixels.
        OSError: it cannot be opened, or is no image.
    """
    handle, status = regular_handle(path)
    with os.fdopen(handle, "rb") as file, within_bounds():
        head = _check_content(handle, status.st_size)
        # libtiff maps the file into memory, where the system ends the process if the file gets shorter. Pillow does so
        # itself where it is given a path.
        source = io.BytesIO(file.read()) if head.startswith(_TIFF) else file
        with Image.open(source) as image:
            yield image


@contextmanager
def within_bounds() -> Iterator[None]:
    """With Pillow refusing images above `MOST_PIXELS`, unless somebody set another bound for this process.

    The bound is one for the whole process, so that other threads, too, get ours meanwhile.
    """
    global _inside
    with _lock:
        if Image.MAX_IMAGE_PIXELS == _PILLOWS_OWN:
            Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and Image.MAX_IMAGE_PIXELS == MOST_PIXELS // 2:
                Image.MAX_IMAGE_PIXELS = _PILLOWS_OWN


def _forget_other_threads() -> None:
    """A new process has one thread, whatever the others were doing when it was forked."""
    global _lock, _inside
    _lock, _inside = Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


def _check_content(handle: int, size: int) -> bytes:
    """Refuse what is in a file; the first bytes of it, to whose beginning the handle is put back."""
    if size > MOST_BYTES:
        raise RefusedFile(f"it has {size} bytes; files of up to {MOST_BYTES} are read")
    head = os.read(handle, _HEAD)
    if head.startswith(_POSTSCRIPT):
        raise RefusedFile("it is a PostScript program; programs are not run")
    if head.startswith(_IPTC):
        raise RefusedFile("it is an IPTC file, which may hold a file of any other format")
    if head.startswith(_JPEG) and not _has_one_scan(head):
        with open(handle, "rb", closefd=False) as file:
            _check_scans(head + file.read())
    os.lseek(handle, 0, os.SEEK_SET)
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
