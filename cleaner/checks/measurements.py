"""The measurements of all images, appended to files, so that memory stays flat and a killed check resumes."""

from __future__ import annotations

import json
import os
import shutil
from array import array
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.checks.listing import Listed
from cleaner.checks.pool import Outcome
from cleaner.checks.records import RECORD
from cleaner.core.errors import CleanerError
from cleaner.core.files import relative_path, write_whole
from cleaner.core.records import Unreadable

__all__ = ["Finished", "Measurements"]

_ROW = np.dtype(
    [
        ("id", "<u8"),
        ("name_at", "<u8"),  # where the line with its name begins
        ("split", "<u4"),
        ("label", "<u4"),
        ("record", RECORD),
    ]
)
_IDENTITY, _ROWS, _NAMES, _UNREADABLE = "identity.json", "rows.bin", "names.jsonl", "unreadable.jsonl"
_BUFFERED = 512
# Rows that are copied at once.
_BLOCK = 1 << 14


class Measurements:
    """The measurements of a dataset in a folder; what an earlier, killed process measured is kept.

    A file counts as measured while its size and time of change stay the same.

    Args:
        folder: a folder for these files alone.
        identity: what must be equal for a check to be resumed.
        root: the dataset's folder.
        resume: False to drop what is there.

    Attributes:
        labels, splits: names, by their index.

    Raises:
        CleanerError: the folder holds measurements with another identity.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], root: Path, resume: bool = True) -> None:
        self.folder, self._root = folder, root
        self.labels: dict[str, int] = {}
        self.splits: dict[str, int] = {}
        self._listed = array("Q")
        if not resume:
            self.remove()
        self._begin(identity)
        self._known = self._recover()
        self._names, self._rows, self._unreadable = (
            open(folder / name, "ab")  # noqa: SIM115 - closed in `__exit__`
            for name in (_NAMES, _ROWS, _UNREADABLE)
        )
        self._buffer: list[bytes] = []

    def __enter__(self) -> Measurements:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        for file in (self._names, self._rows, self._unreadable):
            file.close()

    def unmeasured(self, listing: Iterable[Listed]) -> Iterator[tuple[Listed, int]]:
        """Yield the images that are not measured yet, each with its id; `listing` is all images."""
        for listed in listing:
            identity = _id_of(listed)
            self._listed.append(identity)
            if not _is_among(self._known, np.array([identity], np.uint64))[0]:
                yield listed, identity

    @property
    def n_listed(self) -> int:
        """Number of images that were listed so far."""
        return len(self._listed)

    def append(self, listed: Listed, identity: int, outcome: Outcome) -> None:
        """Add the outcome of `measure` for an image; `identity` is from `unmeasured`."""
        path, error = _relative(listed.file, self._root)
        name = [path, listed.split, listed.label]
        if error or outcome.error:
            self._unreadable.write(_line([identity, *name, error or outcome.error]))
            return
        row = np.zeros((), _ROW)
        row["id"], row["name_at"], row["record"] = identity, self._names.tell(), outcome.value
        row["split"] = self.splits.setdefault(listed.split, len(self.splits))
        row["label"] = self.labels.setdefault(listed.label, len(self.labels))
        self._names.write(_line(name))
        self._buffer.append(row.tobytes())
        if len(self._buffer) >= _BUFFERED:
            self._flush()

    def finish(self) -> Finished:
        """Return what was measured of the images that were listed."""
        self._flush()
        listed = np.sort(np.frombuffer(self._listed, np.uint64))
        _drop_others(self.folder / _ROWS, listed)
        return Finished(self.folder, listed)

    def remove(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self, identity: Mapping[str, Any]) -> None:
        path = self.folder / _IDENTITY
        wanted = json.loads(json.dumps(identity))
        try:
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(wanted))
            return
        except (OSError, ValueError) as error:
            raise CleanerError(f"{str(path)!r} cannot be read ({error}); remove {str(self.folder)!r}") from error
        changed = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
        if changed:
            raise CleanerError(
                f"{str(self.folder)!r} holds an unfinished check with another {changed[0]}; start over with "
                "resume=False, or give another folder"
            )

    def _recover(self) -> npt.NDArray[np.uint64]:
        """Cut what a killed process left half-written, and return the sorted ids of measured files."""
        rows, names, unreadable = (self.folder / name for name in (_ROWS, _NAMES, _UNREADABLE))
        for path in (rows, names, unreadable):
            path.touch()
        n = rows.stat().st_size // _ROW.itemsize
        end = n_named = 0
        for line in _whole_lines(names):
            if n_named == n:
                break
            _, split, label = json.loads(line)
            self.splits.setdefault(split, len(self.splits))
            self.labels.setdefault(label, len(self.labels))
            n_named, end = n_named + 1, end + len(line)
        os.truncate(names, end)
        os.truncate(rows, n_named * _ROW.itemsize)
        os.truncate(unreadable, sum(map(len, _whole_lines(unreadable))))
        failed = [json.loads(line)[0] for line in _whole_lines(unreadable)]
        return np.sort(np.concatenate([_mapped(rows)["id"], np.array(failed, np.uint64)]))

    def _flush(self) -> None:
        """Write names first: of an unfinished write, a row without a name and a name without a row are cut off."""
        self._unreadable.flush()
        self._names.flush()
        self._rows.write(b"".join(self._buffer))
        self._rows.flush()
        self._buffer.clear()


class Finished:
    """The measurements of the listed images.

    Attributes:
        records: RECORD [n], of the images that could be read, on the disk.
        classes, splits: uint32 [n], index of the label and of the split of each.
    """

    def __init__(self, folder: Path, listed: npt.NDArray[np.uint64]) -> None:
        self._folder, self._listed = folder, listed
        self._rows = _mapped(folder / _ROWS)
        self.records: npt.NDArray[Any] = self._rows["record"]
        self.classes, self.splits = self._rows["label"], self._rows["split"]

    def name(self, at: int) -> tuple[str, str, str]:
        """Return path relative to the root, split and label of the image at a position."""
        with open(self._folder / _NAMES, "rb") as file:
            file.seek(int(self._rows["name_at"][at]))
            path, split, label = json.loads(file.readline())
        return path, split, label

    def paths(self) -> Iterator[str]:
        """Yield the path of each record, in their order."""
        with open(self._folder / _NAMES, "rb") as file:
            for block in _blocks(self._rows):
                for begin in block["name_at"].tolist():
                    file.seek(begin)
                    yield json.loads(file.readline())[0]

    def unreadable(self) -> Iterator[Unreadable]:
        """Yield the images that could not be read."""
        for line in _whole_lines(self._folder / _UNREADABLE):
            identity, path, split, label, error = json.loads(line)
            if _is_among(self._listed, np.array([identity], np.uint64))[0]:
                yield Unreadable(split, label, path, error)


def _drop_others(rows: Path, listed: npt.NDArray[np.uint64]) -> None:
    """Drop the rows of files that changed or vanished since they were measured."""
    stored = _mapped(rows)
    if all(_is_among(listed, block["id"]).all() for block in _blocks(stored)):
        return
    kept = rows.with_suffix(".kept")
    with open(kept, "wb") as file:
        for block in _blocks(stored):
            file.write(block[_is_among(listed, block["id"])].tobytes())
    os.replace(kept, rows)


def _is_among(listed: npt.NDArray[np.uint64], ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return which ids are in a sorted array."""
    if not len(listed):
        return np.zeros(len(ids), bool)
    found: npt.NDArray[np.bool_] = listed[np.minimum(np.searchsorted(listed, ids), len(listed) - 1)] == ids
    return found


def _blocks(rows: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, without a last one that was cut off."""
    with open(path, "rb") as file:
        yield from (line for line in file if line.endswith(b"\n"))


def _line(values: list[Any]) -> bytes:
    return json.dumps(values).encode("ascii") + b"\n"


def _relative(file: str, root: Path) -> tuple[str, str]:
    """Return the path of a file for a scan; or, of a name that cannot be written there, a stand-in and the reason."""
    try:
        return relative_path(file, root), ""
    except CleanerError as error:
        return os.path.relpath(file, root).encode("utf-8", "backslashreplace").decode(), str(error)


def _mapped(path: Path) -> npt.NDArray[Any]:
    """Return rows on the disk; numpy cannot map an empty file."""
    return np.memmap(path, _ROW, "r") if path.stat().st_size else np.empty(0, _ROW)


def _id_of(listed: Listed) -> int:
    """Return a number for an image as it is now: its path, size and time of change."""
    try:
        status = os.stat(listed.file)
        version = f"{status.st_size}\0{status.st_mtime_ns}"
    except OSError:
        version = ""  # its reader says why
    text = f"{listed.file}\0{listed.split}\0{listed.label}\0{version}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
