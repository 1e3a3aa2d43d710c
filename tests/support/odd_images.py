"""Images that are unusual in practice, and malicious files."""

from __future__ import annotations

import gzip
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

# Part of the message with which each malicious file is refused; those in `HARMLESS` are read.
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
    "container.jpg": "in the format BLP",
    "stars.png": "in the format FITS",
    "icon.png": "in the format ICO",
    "chunks.png": "more than 10",
    "late chunks.png": "more than 10",
    "wide.png": "sides of up to 1048576",
    "comments.gif": "more than 10000 blocks",
    "lines.bmp": "slow to decode (bmp_rle)",
    "numbers.ppm": "slow to decode (ppm)",
    "comments.pgm": "1000 comments are read",
    "precincts.jp2": "small code blocks or precincts",
    "blocks.j2k": "small code blocks or precincts",
    "tile blocks.j2k": "small code blocks or precincts",
    "large.j2k": "slow to decode (jpeg2k)",
    "tiles.tif": "66049 JPEG tiles",
    "sparse.tif": "it has 3221225472 bytes",
    "pipe.png": "a named pipe",
    "socket.png": "a socket",
    "zero.png": "a device",
    "circle.png": "Too many levels of symbolic links",
}
HARMLESS = ("frames.gif", "frames.png", "webp.png", "endless.tif", "garbage.gif", "trailer.jpg", "targa.png")


_SCAN = b"\x01\x01\0\0\0\0"  # a scan of the first colour component, DC only


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
        exif[0x0112] = 6  # rotated by 90 degrees
        image.save(path := folder / "rotated.jpg", exif=exif)
    elif kind == "animated":
        image.save(path := folder / "animated.gif", save_all=True, append_images=[image.rotate(90), image.rotate(180)])
    else:
        raise ValueError(kind)
    return path


def write_harmful_image(name: str, folder: Path) -> Path:
    """Write one of `HARMFUL` or `HARMLESS` and return its path; each takes at most a megabyte of disk space."""
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
    """Return a JPEG file of `count` empty scans: each has ten bytes, and costs the decoder a pass over the image."""
    frame, start = (0xC2, b"\0\0\0") if progressive else (0xC0, b"\0\x3f\0")
    header = []
    for marker, content in _jpeg_header(_saved("JPEG", progressive=progressive)):
        is_frame = marker == frame
        header.append((marker, content[:1] + struct.pack(">HH", side, side) + content[5:] if is_frame else content))
    return _jpeg([*header, *[(0xDA, b"\x01\x01\0" + start)] * count])


def jpeg_segments(content: bytes, count: int) -> bytes:
    """Return a complete progressive JPEG file with `count` comments before its picture."""
    whole = _saved("JPEG", progressive=True)
    return whole[:2] + _segment(0xFE, content) * count + whole[2:]


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file with extra chunks after its header, and a truncated picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pieces = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in pieces
    )


def j2k(
    side: int, levels: int = 5, block: int = 4, precinct: int = 0xFF, tile_coding: bytes = b"", data: bytes = bytes(10)
) -> bytes:
    """Return a JPEG 2000 codestream of three colours in one tile, with invalid data.

    `block` and `precinct` have sides as exponents of two.
    """
    size = struct.pack(">HIIIIIIIIH", 0, side, side, 0, 0, side, side, 0, 0, 3) + b"\x07\x01\x01" * 3
    coding = b"\x01\0\0\x01\0" + bytes([levels, block, block, 0, 1]) + bytes([precinct] * (levels + 1))
    steps = b"\x40" + bytes([64] * (3 * levels + 1))
    header = _segment(0x51, size) + _segment(0x52, coding) + _segment(0x5C, steps)
    start = _segment(0x90, struct.pack(">HIBB", 0, 14 + len(tile_coding) + len(data), 0, 1))
    return b"\xff\x4f" + header + start + tile_coding + b"\xff\x93" + data + b"\xff\xd9"


def bmp_lines(side: int) -> bytes:
    """Return a run-length coded BMP file with one stored pixel per line; the decoder fills in the others."""
    palette, data = bytes(1024), b"\1\1\0\0" * side
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(data), 0, 0, 0, 0)
    at = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at) + header + palette + data


def gif_header(width: int, height: int) -> bytes:
    """Return the beginning of a GIF file with a palette of two colours."""
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
    """Return a GIF file with one complete frame of 40 x 24 pixels, followed by the bytes `after`."""
    return gif_header(40, 24) + _gif_frame() + after


def _gif_frame() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (40, 24)).save(buffer, "GIF")
    data = buffer.getvalue()
    return data[data.index(b"," + struct.pack("<HHHH", 0, 0, 40, 24)) : -1]


def _endless_tiff() -> bytes:
    """Return a TIFF file whose only page names itself as the next page."""
    data = bytearray(_saved("TIFF"))
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * entries, at)
    return bytes(data)


def _jpeg_header(data: bytes) -> list[tuple[int, bytes]]:
    """Return the segments of a JPEG file before its first scan."""
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


def _blp(data: bytes, side: int) -> bytes:
    """Return a BLP file that contains a JPEG file."""
    header = b"BLP1" + struct.pack("<iIIIii", 0, 0, side, side, 0, 0)
    at = len(header) + 2 * 64 + 4
    return header + struct.pack("<32I", at, *[0] * 15, len(data), *[0] * 15) + bytes(4) + data


def _fits(side: int) -> bytes:
    """Return a FITS file with a compressed picture of zeros."""

    def unit(**cards: object) -> bytes:
        lines = [f"{name:<8}= {value!s:<70}" for name, value in cards.items()]
        return "".join([*lines, f"{'END':<80}"]).ljust(2880).encode()

    first = unit(SIMPLE="T", BITPIX=8, NAXIS=0)
    cards = {"BITPIX": 8, "NAXIS": 2, "NAXIS1": 8, "NAXIS2": 1, "ZIMAGE": "T", "ZCMPTYPE": "'GZIP_1  '"}
    second = unit(XTENSION="'BINTABLE'", **cards, ZBITPIX=8, ZNAXIS=2, ZNAXIS1=side, ZNAXIS2=side)
    return first + second + bytes(8) + gzip.compress(bytes(side * side * 4))


def _icon() -> bytes:
    return _saved("ICO", sizes=[(16, 16)])


def _chunks(at: bytes) -> bytes:
    """Return a PNG file with many empty chunks before its chunk `at`."""
    whole = _saved("PNG")
    place = whole.index(at) - 4
    return whole[:place] + (bytes(4) + b"prVt" + struct.pack(">I", zlib.crc32(b"prVt"))) * 20_000 + whole[place:]


def _tiles() -> bytes:
    """Return a TIFF file of 257 x 257 tiles, which are all the same JPEG file."""
    data, side, count = _saved("JPEG"), 16 * 257, 257 * 257
    entries = [(256, side), (257, side), (258, 8), (259, 7), (262, 1), (277, 1), (284, 1), (322, 16), (323, 16)]
    at = 8 + 2 + 12 * (len(entries) + 2) + 4
    header = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries) + 2)
    header += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    header += struct.pack("<HHII", 324, 4, count, at) + struct.pack("<HHII", 325, 3, count, at + 4 * count)
    sizes = struct.pack("<H", len(data)) * count
    return header + bytes(4) + struct.pack("<I", at + 6 * count) * count + sizes + data


def _jp2(codestream: bytes, side: int) -> bytes:
    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", len(content) + 8, kind) + content

    header = box(b"ihdr", struct.pack(">IIHBBBB", side, side, 3, 7, 7, 0, 0)) + box(b"colr", b"\1\0\0\0\0\0\x10")
    first = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return first + box(b"jp2h", header) + box(b"jp2c", codestream)


_HARMFUL_BYTES = {
    "bomb.png": lambda: png(65_500, 65_500),
    "one row too many.gif": lambda: gif_header(16_384, 16_385) + _gif_frame() + b";",
    "text.png": lambda: png(40, 24, (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10**8)))),
    "scans.jpg": lambda: jpeg_of_scans(10_000),
    "progressive scans.jpg": lambda: jpeg_of_scans(10_000, progressive=True),
    # The first scan has all colours; the decoder of a sequential file would stop after it.
    "picture and scans.jpg": lambda: _saved("JPEG", progressive=True)[:-2] + _segment(0xDA, _SCAN) * 200 + b"\xff\xd9",
    "segments.jpg": lambda: jpeg_segments(b"", 100_000),
    "program.jpg": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 24\n{} loop\n",
    "container.png": lambda: b"\x1c\x03\x3c\0\x02\x01\0",
    "container.jpg": lambda: _blp(jpeg_of_scans(1000), 8000),
    "stars.png": lambda: _fits(4000),
    "icon.png": _icon,
    "chunks.png": lambda: _chunks(b"IDAT"),
    "late chunks.png": lambda: _chunks(b"IEND"),
    "wide.png": lambda: png(2**28, 1),
    "comments.gif": lambda: gif_header(40, 24) + b"!\xfe\1a\0" * 10_000 + _gif_frame() + b";",
    "lines.bmp": lambda: bmp_lines(16_384),
    "numbers.ppm": lambda: b"P6 4096 4096 1000\n",
    "comments.pgm": lambda: b"P2 40 24 255\n" + b"#\n" * 100_000,
    "precincts.jp2": lambda: _jp2(j2k(4000, precinct=0x11), 4000),
    "blocks.j2k": lambda: j2k(4000, block=0),
    "tile blocks.j2k": lambda: j2k(4000, tile_coding=_segment(0x53, b"\0\0\5\0\0\0\1")),
    "large.j2k": lambda: j2k(4097),
    "tiles.tif": _tiles,
    "frames.gif": lambda: _gif(_gif_frame() * 20_000 + b";"),
    "garbage.gif": lambda: _gif(b",\0\0\0\0" + bytes(1000)),
    "frames.png": lambda: _frames("PNG"),
    "webp.png": lambda: _frames("WEBP"),
    "endless.tif": _endless_tiff,
    "targa.png": lambda: _saved("TGA"),  # it begins like a cursor file
    # Like a photo of a phone that ends with a video.
    "trailer.jpg": lambda: _saved("JPEG", progressive=True) + _segment(0xDA, bytes(6)) * 20_000,
}
