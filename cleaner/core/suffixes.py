"""Suffixes of file names: those of images, those of other known kinds, and counts of unknown ones."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cleaner.core.errors import CleanerError

__all__ = ["IMAGE_SUFFIXES", "OTHER_SUFFIXES", "SuffixCounts", "as_text", "check_counts", "suffix_of"]

# Fixed here because Python's own table depends on the system and on earlier calls of mimetypes.init(). The list has all
# suffixes that Pillow opens and that fastai's `get_image_files` can list. A file in a refused format is listed in
# unreadable.csv, with the reason.
_IMAGES = """
    apng avci avcs avif avifs azv b16 blp bmp btf btif bw cdr cdt cgm cpt cr2 crw cur dcx dds dib djv djvu dpx drle dwg
    dxf emf erf exr fbs fit fits flc fli fpx fst ftc fts ftu gbr gif hdr heic heics heif heifs hej2 hif hsj2 icb icns
    ico ief im j2c j2k jfif jhc jls jng jp2 jpc jpe jpeg jpf jpg jpg2 jpgm jph jphc jpm jpx jxl jxr jxra jxrs jxs jxsc
    jxsi jxss ktx ktx2 mdi mmr mpo msp nef orf pat pbm pcd pct pcx pfm pgb pgm pic pict png pnm ppm psd pti pxr qoi ras
    rgb rgba rgbe rlc s1g s1j s1n sgi sgif sjp sjpg spn spng sun svg svgz t38 tap tfx tga tif tiff uvg uvi uvvg uvvi vda
    vst vtf wbmp webp wmf xbm xcf xif xpm xwd xyze
"""
# Text, tables and annotations; code and models; archives and checksums; sound and films.
_OTHERS = """
    bib cfg cls conf csv data db doc docx dtd eml feather geojson htm html ini json jsonl lock log md names ndjson odt
    ods orc parquet pdf properties readme rst rtf sqlite sqlite3 srt sub tex toml tsv txt url vtt xls xlsx xml xsd yaml
    yml
    bash bat c cc cpp css cu cuh dll exe go h hpp ipynb java jl js lua m onnx pb pkl pickle ps1 pt pth py pyc r rb rs
    safetensors sh so sql swift tflite ts whl
    7z bz2 crc gz lmdb lz4 md5 mdb rar sha1 sha256 tar tfrecord tfrecords tgz xz zip zst
    3gp aac avi flac m4a m4v mid mkv mov mp3 mp4 mpeg mpg ogg ogv opus wav webm wma wmv
"""

IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _IMAGES.split())
"""Suffixes of image files, in lower case."""

OTHER_SUFFIXES = frozenset(f".{suffix}" for suffix in _OTHERS.split())
"""Suffixes of other kinds of files, in lower case."""

_MAX_SUFFIXES = 100
_MAX_LENGTH = 20
_OTHER = "other suffixes"


class SuffixCounts(dict[str, int]):
    """Number of files per suffix, for at most `_MAX_SUFFIXES` suffixes; the empty suffix counts files without one."""

    def add(self, path: str) -> None:
        """Count a file."""
        suffix = suffix_of(path)
        is_new = suffix not in self
        if is_new and (len(self) >= _MAX_SUFFIXES or len(suffix) > _MAX_LENGTH or not suffix.isprintable()):
            suffix = _OTHER
        self[suffix] = self.get(suffix, 0) + 1


def check_counts(counts: Mapping[str, int], field: str) -> None:
    """Check that each suffix has a count; `field` names the counts in the error.

    Raises:
        CleanerError: a count is not a whole number of at least 1.
    """
    for suffix, count in counts.items():
        if not isinstance(suffix, str) or isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise CleanerError(f"{field} has {count!r} for {suffix!r}; expected a whole number of at least 1")


def suffix_of(path: str) -> str:
    """Return the suffix of a file name in lower case, with its dot; empty if there is none."""
    return os.path.splitext(path)[1].lower()


def as_text(counts: Mapping[str, int]) -> str:
    """Return counts as text, most frequent suffix first, such as `3 .heix, 1 without a suffix`."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n} {suffix or 'without a suffix'}" for suffix, n in ordered)
