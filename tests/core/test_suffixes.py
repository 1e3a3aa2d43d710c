"""Which files are images by their names, and what is counted of the others."""

from __future__ import annotations

import mimetypes
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cleaner.core.files import image_files
from cleaner.core.safe_images import FORMATS
from cleaner.core.suffixes import IMAGE_SUFFIXES, OTHER_SUFFIXES, SuffixCounts, as_text

# Files that Pillow has a suffix for and that are no images, or no images that it can decode.
NO_IMAGES = {".h5", ".hdf", ".bufr", ".grib", ".mpg", ".mpeg", ".ps", ".eps", ".iim", ".pdf"}


def test_the_suffixes_do_not_depend_on_mimetypes_init(tmp_path: Path) -> None:
    """Python's table of types is short until somebody calls mimetypes.init(), as fastai does."""
    for name in ("a.webp", "b.jfif", "c.JP2", "d.png"):
        (tmp_path / name).touch()
    code = f"import cleaner.core.files as f, pathlib; print(len(list(f.image_files(pathlib.Path({str(tmp_path)!r})))))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "4\n"


def test_suffixes_of_pillow_and_of_the_system_count_as_images() -> None:
    Image.init()
    opened = {suffix for suffix, name in Image.EXTENSION.items() if name in Image.OPEN}
    assert opened - NO_IMAGES - {""} <= IMAGE_SUFFIXES
    assert {suffix for suffix, name in Image.EXTENSION.items() if name in FORMATS} <= IMAGE_SUFFIXES
    table = mimetypes.MimeTypes(tuple(file for file in mimetypes.knownfiles if Path(file).is_file()))
    listed = {suffix.lower() for suffix, kind in table.types_map[True].items() if kind.startswith("image/")}
    assert len(listed) > 20
    assert listed <= IMAGE_SUFFIXES
    assert not IMAGE_SUFFIXES & OTHER_SUFFIXES


def test_files_left_out_are_counted_by_suffix(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    names = ("a.png", "sub/b.heix", "c.HEIX", "cat", "cat.jpg~", "notes.txt", "Thumbs.db", "labels.CSV", ".hidden")
    for name in names:
        (tmp_path / name).touch()
    counts = SuffixCounts()
    assert len(list(image_files(tmp_path, counts.add))) == 1
    assert counts == {".heix": 2, "": 1, ".jpg~": 1}
    assert as_text(counts) == "2 .heix, 1 without a suffix, 1 .jpg~"


@pytest.mark.parametrize("name", ["a.{}", "a.\udcff{}", "a.\n{}", "a." + "x" * 30 + "{}"])
def test_at_most_a_hundred_suffixes_are_counted_alone(name: str) -> None:
    counts = SuffixCounts()
    for n in range(1000):
        counts.add(name.format(n))
    assert sum(counts.values()) == 1000
    assert len(counts) <= 101
    assert all(suffix.isprintable() for suffix in counts)
