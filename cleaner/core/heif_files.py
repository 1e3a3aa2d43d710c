"""HEIC and AVIF files: whether they can be decoded here, and bounds for their decoders.

Both are ISO base media files: a `meta` box lists items and references between them. A picture may be put together from
many items (a grid of tiles), each of which may be decoded as often as it is referred to.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import IO

from PIL import Image, features

from cleaner.core.files import RefusedFile

__all__ = ["MISSING", "check_items", "heif_formats", "is_heif", "register_missing"]

MISSING = "which needs the package pi-heif: pip install 'image-label-cleaner[heif]', or convert it to JPEG"

_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2", b"avif", b"avis"}
# A photo of 48 megapixels by a phone has 192 tiles, a panorama 256.
_MAX_REFERENCES = 1024
_MAX_BOXES, _MAX_META = 1000, 1 << 24


@cache
def heif_formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that can be opened here: none unless pi-heif is installed, which is enough.

    Pillow decodes AVIF by itself, but both are opened only where somebody asked for them: their decoders are large, and
    less is known about how they can be made busy.
    """
    try:
        from pi_heif import register_heif_opener
    except ImportError:
        return ()
    register_heif_opener()
    return ("HEIF", *(["AVIF"] if features.check("avif") else []))


def register_missing() -> None:
    """Make Pillow recognise HEIC files without their decoder, so that they can be refused with the reason."""
    if "HEIF" not in Image.OPEN:
        Image.register_open("HEIF", _no_decoder, is_heif)  # type: ignore[arg-type]


def _no_decoder(_file: object, _name: object = "") -> None:
    raise SyntaxError("the decoder is not installed")  # tells Pillow to try the next format


def is_heif(head: bytes) -> bool:
    """Return whether a file begins like a HEIC or AVIF file."""
    if head[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return head[8:12] in _BRANDS or any(head[at : at + 4] in _BRANDS for at in range(16, end, 4))


def check_items(file: IO[bytes]) -> None:
    """Refuse a file in which too many references keep the decoder busy.

    Raises:
        RefusedFile: with the reason.
    """
    references = sum(_count(content, version) for content, version in _reference_boxes(_meta(file)))
    if references > _MAX_REFERENCES:
        raise RefusedFile(
            f"it is a HEIC or AVIF file whose parts refer {references} times to others; {_MAX_REFERENCES} are decoded"
        )


def _meta(file: IO[bytes]) -> bytes:
    """Return the content of the `meta` box; empty if there is none, which the decoder will say."""
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            return b""
        length, kind = struct.unpack(">I4s", header[:8])
        size_of_header = 16 if length == 1 else 8
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if 0 < length < size_of_header:
            return b""
        if kind == b"meta":
            if length > _MAX_META:
                raise RefusedFile(f"it is a HEIC or AVIF file with {length} bytes about its parts")
            file.seek(at + size_of_header)
            return file.read(length - size_of_header if length else _MAX_META)
        if not length:  # up to the end
            return b""
        at += length
    raise RefusedFile(f"it is a HEIC or AVIF file of more than {_MAX_BOXES} boxes, which would keep the decoder busy")


def _reference_boxes(meta: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the content of each box with references of one item, and the version of their format."""
    for kind, content in _boxes(meta[4:]):  # after version and flags
        if kind == b"iref":
            for _, references in _boxes(content[4:]):
                yield references, content[0] if content else 0


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = len(data) if length == 0 else at + length
        if end <= at:
            return
        yield kind, data[at + 8 : end]
        at = end


def _count(references: bytes, version: int) -> int:
    """Return the number of references in a box: after the item's number of two or four bytes stands their count."""
    at = 4 if version else 2
    return int.from_bytes(references[at : at + 2], "big")
