"""Images that make trouble in practice, and files that were made to make trouble."""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

UNREADABLE = ("truncated", "empty", "text")
KINDS = (*UNREADABLE, "cmyk", "16 bit", "palette", "rotated", "animated")

# What whoever made it wanted to happen, and what is said of it instead; of the last ones nothing, as they are read.
HARMFUL = {
    "bomb.png": "exceeds limit of 268435456 pixels",
    "one row too many.gif": "exceeds limit of 268435456 pixels",
    "text.png": "Decompressed data too large",
    "scans.jpg": "more than 100 scans",
    "progressive scans.jpg": "more than 100 scans",
    "picture and scans.jpg": "more than 100 scans",
    "segments.jpg": "more than 10000 segments",
    "program.jpg": "PostScript",
    "container.png": "IPTC",
    "sparse.tif": "it has 3221225472 bytes",
    "pipe.png": "a named pipe",
    "socket.png": "a socket",
    "zero.png": "a device",
    "circle.png": "Too many levels of symbolic links",
}
HARMLESS = ("frames.gif", "frames.png", "webp.png", "endless.tif", "garbage.gif", "trailer.jpg")


_SCAN = b"\x01\x01\0\0\0\0"  # of the first colour, coarsely


def write_odd_image(kind: str, folder: Path) -> Path:
    """Write an image of one of `KINDS`, 40 x 24 pixels, and return its path."""
    image = _picture()
    buffer = io.BytesIO()
    if kind in ("truncated", "empty", "text"):
        image.save(buffer, "JPEG")
        whole = buffer.getvalue()
        data = {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"not an image\n"}[kind]
        path = folder / f"{kind}.jpg"
        path.write_bytes(data)
        return path
    if kind == "cmyk":
        image.convert("CMYK").save(path := folder / "cmyk.jpg")
    elif kind == "16 bit":
        pixels = np.asarray(image)
        Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 256).save(path := folder / "16bit.png")
    elif kind == "palette":
        image.convert("P").save(path := folder / "palette.png", transparency=0)
    elif kind == "rotated":
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by 90 degrees
        image.save(path := folder / "rotated.jpg", exif=exif)
    elif kind == "animated":
        image.save(path := folder / "animated.gif", save_all=True, append_images=[image.rotate(90), image.rotate(180)])
    else:
        raise ValueError(kind)
    return path


def write_harmful_image(name: str, folder: Path) -> Path:
    """Write one of `HARMFUL` or `HARMLESS` and return its path; none takes more than a megabyte of the disk."""
    path = folder / name
    if name == "pipe.png":
        os.mkfifo(path)
    elif name == "socket.png":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif name == "zero.png":
        path.symlink_to("/dev/zero")
    elif name == "circle.png":
        path.symlink_to(name)
    elif name == "sparse.tif":
        path.write_bytes(b"II*\0\x08\0\0\0")
        os.truncate(path, 3 << 30)
    else:
        path.write_bytes(_HARMFUL_BYTES[name]())
    return path


def jpeg_of_scans(count: int, side: int = 8000, progressive: bool = False) -> bytes:
    """A JPEG file of `count` scans without a pixel in them: ten bytes each, and a walk over the image."""
    frame, start = (0xC2, b"\0\0\0") if progressive else (0xC0, b"\0\x3f\0")
    header = []
    for marker, content in _jpeg_header(_saved("JPEG", progressive=progressive)):
        is_frame = marker == frame
        header.append((marker, content[:1] + struct.pack(">HH", side, side) + content[5:] if is_frame else content))
    return _jpeg([*header, *[(0xDA, b"\x01\x01\0" + start)] * count])


def jpeg_segments(content: bytes, count: int) -> bytes:
    """A whole progressive JPEG file with `count` comments before its picture."""
    whole = _saved("JPEG", progressive=True)
    return whole[:2] + _segment(0xFE, content) * count + whole[2:]


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file with some chunks after its header, and a picture that is too short."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pieces = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in pieces
    )


def gif_header(width: int, height: int) -> bytes:
    """The beginning of a GIF file with a palette of two colours."""
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"


def _picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))


def _saved(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    _picture().save(buffer, kind, **options)
    return buffer.getvalue()


def _frames(kind: str) -> bytes:
    return _saved(kind, save_all=True, append_images=[_picture().rotate(n) for n in range(1, 60)])


def _gif(after: bytes) -> bytes:
    """A GIF file with one whole frame of 40 x 24 pixels, and what comes after that."""
    return gif_header(40, 24) + _gif_frame() + after


def _gif_frame() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (40, 24)).save(buffer, "GIF")
    data = buffer.getvalue()
    return data[data.index(b"," + struct.pack("<HHHH", 0, 0, 40, 24)) : -1]


def _endless_tiff() -> bytes:
    """A TIFF file whose only page says that it is also the next one."""
    data = bytearray(_saved("TIFF"))
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * entries, at)
    return bytes(data)


def _jpeg_header(data: bytes) -> list[tuple[int, bytes]]:
    """The segments of a JPEG file before its first scan."""
    found, at = [], 2
    while data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def _jpeg(segments: list[tuple[int, bytes]]) -> bytes:
    return b"\xff\xd8" + b"".join(_segment(*segment) for segment in segments) + b"\xff\xd9"


_HARMFUL_BYTES = {
    "bomb.png": lambda: png(65_500, 65_500),
    "one row too many.gif": lambda: gif_header(16_384, 16_385) + _gif_frame() + b";",
    "text.png": lambda: png(40, 24, (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10**8)))),
    "scans.jpg": lambda: jpeg_of_scans(10_000),
    "progressive scans.jpg": lambda: jpeg_of_scans(10_000, progressive=True),
    # What comes first is a scan of all colours, after which the decoder of another file would stop.
    "picture and scans.jpg": lambda: _saved("JPEG", progressive=True)[:-2] + _segment(0xDA, _SCAN) * 200 + b"\xff\xd9",
    "segments.jpg": lambda: jpeg_segments(b"", 100_000),
    "program.jpg": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 24\n{} loop\n",
    "container.png": lambda: b"\x1c\x03\x3c\0\x02\x01\0",
    "frames.gif": lambda: _gif(_gif_frame() * 20_000 + b";"),
    "garbage.gif": lambda: _gif(b",\0\0\0\0" + bytes(1000)),
    "frames.png": lambda: _frames("PNG"),
    "webp.png": lambda: _frames("WEBP"),
    "endless.tif": _endless_tiff,
    # As phones put a film behind a photo.
    "trailer.jpg": lambda: _saved("JPEG", progressive=True) + _segment(0xDA, bytes(6)) * 20_000,
}
