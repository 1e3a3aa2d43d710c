"""How far a scan has come, on the disk, so that it can go on after it was killed."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError
from cleaner.core.files import write_whole
from cleaner.core.records import ScoredBatch, ScoredLabels, Unreadable
from cleaner.core.tally import Tally
from cleaner.core.tasks import MULTI_LABEL
from cleaner.core.topk import TopLosses
from cleaner.scoring.sources import Source

__all__ = ["ChangedFiles", "Found", "Keeper", "Part", "fingerprint", "shape_of"]

_FORMAT = 1
_LONGEST = 30.0
# A save may cost at most this share of the time between two of them.
_SHARE = 0.007
_NAMES = 2**63


@dataclass(frozen=True)
class Found:
    """What was found in a shard of a split.

    Attributes:
        number: of the shard, from 0.
        n: number of samples, readable or not.
        survivors: the samples that may be among the highest losses, and all that could not be read.
        counts: of all samples, as `Tally.to_arrays` gives them.
        names: fingerprint of the paths.
        ways: how the model was run, by `"exact"` and `"fast"`.
        error: what forbids to go on, for people; empty where nothing does.
    """

    number: int
    n: int
    survivors: ScoredBatch
    counts: Mapping[str, npt.NDArray[np.int64]]
    names: int
    ways: Mapping[str, str]
    error: str = ""


@dataclass
class Part:
    """What the pass over one split has found so far.

    Attributes:
        split: the split.
        heaps: the highest losses.
        tally: the counts.
        unreadable: the files that could not be read.
        names: fingerprint of the paths taken in, whatever their order.
        done: the pass has come to its end.
        rows: in how many classes each sample counts: in one, or with several labels an image in that of each label.
    """

    split: str
    heaps: TopLosses
    tally: Tally
    unreadable: list[Unreadable] = field(default_factory=list)
    names: int = 0
    done: bool = False
    rows: int = 1

    @property
    def scored(self) -> int:
        """Number of samples scored."""
        return self.tally.scored // self.rows

    @property
    def seen(self) -> int:
        """Number of samples taken in."""
        return self.scored + self.tally.unreadable

    def update(self, batch: ScoredBatch | ScoredLabels) -> None:
        """Take in a batch."""
        self.heaps.update(batch.to_rank())
        self.tally.update(batch.to_count())
        self.unreadable.extend(batch.unreadable)
        self.names = fingerprint([*batch.paths, *(item.path for item in batch.unreadable)], self.names)

    def forget(self, paths: set[str]) -> Counter[str]:
        """Drop what was found of some files, to be scored again.

        What was counted of those that were scored stays, since it is not known any more of most of them.

        Returns:
            for each file that could not be read how many rows of the counts it has; they are counted no more.
        """
        unread = Counter(item.path for item in self.unreadable if item.path in paths)
        self.heaps.remove(paths)
        self.unreadable = [item for item in self.unreadable if item.path not in paths]
        self.tally.unreadable -= sum(unread.values())
        return Counter({path: n * self.rows for path, n in unread.items()})

    def update_again(self, batch: ScoredBatch | ScoredLabels, left: Counter[str]) -> None:
        """Take in files that were forgotten.

        Args:
            batch: what they are now.
            left: what `forget` returned. These rows are counted, and taken off here, so that `seen` ends as it was.
        """
        rows = batch.to_count()
        counted = [at for at, path in enumerate(rows.paths) if _taken(left, path, 1)]
        unread = [item for item in batch.unreadable if _taken(left, item.path, self.rows)]
        self.heaps.update(batch.to_rank())
        self.tally.update(replace(rows.select(counted), unreadable=unread))
        self.unreadable.extend(batch.unreadable)

    def merge(self, found: Found) -> None:
        """Take in what was found in a shard, scored elsewhere."""
        self.heaps.update(found.survivors)
        self.tally.merge(Tally.from_arrays(self.tally.n_classes, found.counts))
        self.unreadable.extend(found.survivors.unreadable)
        self.names = (self.names + found.names) % _NAMES


def _taken(left: Counter[str], path: str, rows: int) -> bool:
    """Whether so many rows of a file are left; takes them off."""
    if left[path] < rows:
        return False
    left[path] -= rows
    return True


class ChangedFiles:
    """Tells which files changed since a moment, by what the file system says of them.

    A file counts as changed also where it may be another one: its name or its permissions changed, or those of a folder
    on the way to it.

    Args:
        root: the dataset's folder.
        since: nanoseconds since the epoch.
    """

    def __init__(self, root: Path, since: int) -> None:
        self._root = root
        self._since = since
        self._moved: dict[str, bool] = {}

    def has(self, path: str) -> bool:
        """Whether the file changed; false where there is none, as in datasets whose samples are no files."""
        file = os.path.join(self._root, path)
        try:
            status = os.lstat(file)
            new = self._is_new(status) or (stat.S_ISLNK(status.st_mode) and self._is_new(os.stat(file)))
        except OSError:
            return False
        return new or self._was_moved(os.path.dirname(path))

    def _is_new(self, status: os.stat_result) -> bool:
        # The time of the last change of the inode is new also for a file that was copied or moved with its old times.
        return max(status.st_mtime_ns, status.st_ctime_ns) > self._since

    def _was_moved(self, folder: str) -> bool:
        """Whether a folder came to its place, with all that is in it, since then."""
        if folder not in self._moved:
            status = os.stat(os.path.join(self._root, folder))
            # A folder in which a name was added or removed has a new time of modification as well.
            own = status.st_ctime_ns > self._since >= status.st_mtime_ns
            self._moved[folder] = own or (folder != "" and self._was_moved(os.path.dirname(folder)))
        return self._moved[folder]


def shape_of(source: Source) -> tuple[int, int]:
    """Of how many classes heaps and counts are, and in how many of them each sample counts.

    With several labels an image that is one class for each label, and one that stands for whatever is not the label.
    """
    c = len(source.vocab)
    return (c + 1, c) if source.task == MULTI_LABEL else (c, 1)


def fingerprint(paths: Iterable[str], before: int = 0) -> int:
    """A number that tells one set of paths from another; of sets taken together it is the one of their union."""
    return (before + sum(zlib.crc32(path.encode("utf-8")) for path in paths)) % _NAMES


class Keeper:
    """Keeps the checkpoint of a scan: `checkpoint/` in its folder, which exists only while the scan is unfinished.

    Args:
        out: the scan folder.
        identity: what must be the same for the scan to go on.
        n_classes: number of classes.
        k: samples in a heap.
        every: longest time between two saves, in seconds.
        rows: as in `Part`.

    Attributes:
        begun: when the scan began, in nanoseconds since the epoch; of one that goes on, when it was first started.
    """

    def __init__(
        self, out: Path, identity: Mapping[str, Any], n_classes: int, k: int, every: float = _LONGEST, rows: int = 1
    ) -> None:
        self._out = out
        self._path = out / "checkpoint" / "progress.npz"
        # As it comes back from the file: tuples are lists there.
        self._identity = json.loads(json.dumps(identity))
        self._n_classes, self._k, self._every, self._rows = n_classes, k, every, rows
        self._due = time.monotonic() + min(every, 5.0)
        self.begun = time.time_ns()

    @property
    def folder(self) -> Path:
        """The folder of the checkpoint."""
        return self._path.parent

    def load(self) -> tuple[list[Part], dict[str, str], str] | None:
        """The parts, the ways and the time of the start of an unfinished scan, or None where there is none.

        Raises:
            CleanerError: the checkpoint is that of another learner, dataset or `k`, or is damaged.
        """
        if not self._path.exists():
            return None
        advice = "start over with resume=False (--no-resume), or give another folder"
        try:
            with np.load(self._path, allow_pickle=False) as arrays:
                state = json.loads(arrays["state"].tobytes().decode("utf-8"))
                if state["format"] != _FORMAT:
                    raise CleanerError(f"its format is {state['format']}, this version reads {_FORMAT}")
                self._check(state["identity"], advice)
                parts = [self._part(number, entry, arrays) for number, entry in enumerate(state["parts"])]
                self.begun = int(state["begun"]) if "begun" in state else _nanoseconds(state["started"])
        except CleanerError:
            raise
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise CleanerError(f"{str(self._path)!r} cannot be read ({error}); {advice}") from error
        return parts, state["ways"], state["started"]

    def save_if_due(self, parts: list[Part], ways: Mapping[str, str], started: str) -> None:
        """Save if it is time to."""
        if time.monotonic() < self._due:
            return
        begin = time.monotonic()
        self.save(parts, ways, started)
        cost = time.monotonic() - begin
        self._due = time.monotonic() + min(self._every, max(cost / _SHARE, 1.0))

    def save(self, parts: list[Part], ways: Mapping[str, str], started: str) -> None:
        """Write the checkpoint, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        arrays: dict[str, Any] = {}
        entries = []
        for number, part in enumerate(parts):
            for name, values in {**part.heaps.to_arrays(), **part.tally.to_arrays()}.items():
                arrays[f"{number}.{name}"] = values
            unreadable = [asdict(item) for item in part.unreadable]
            entries.append({"split": part.split, "names": part.names, "done": part.done, "unreadable": unreadable})
        state = {
            "format": _FORMAT,
            "identity": self._identity,
            "parts": entries,
            "ways": dict(ways),
            "started": started,
            "begun": self.begun,
        }
        arrays["state"] = np.frombuffer(json.dumps(state).encode("utf-8"), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, buffer.getvalue())

    def restart(self) -> None:
        """Forget how far the scan has come, but not which files ended it."""
        self._path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the checkpoint."""
        if self._path.parent.is_dir():
            shutil.rmtree(self._path.parent)

    def _check(self, found: Mapping[str, Any], advice: str) -> None:
        for name, wanted in self._identity.items():
            if found.get(name) != wanted:
                raise CleanerError(
                    f"{str(self._out)!r} holds an unfinished scan with another {name} ({_short(found.get(name))}, "
                    f"this one has {_short(wanted)}): {advice}"
                )

    def _part(self, number: int, entry: Mapping[str, Any], arrays: Any) -> Part:
        own = {name.split(".", 1)[1]: arrays[name] for name in arrays if name.startswith(f"{number}.")}
        return Part(
            entry["split"],
            TopLosses.from_arrays(self._n_classes, self._k, own),
            Tally.from_arrays(self._n_classes, own),
            [Unreadable(**item) for item in entry["unreadable"]],
            entry["names"],
            entry["done"],
            self._rows,
        )


def _nanoseconds(started: str) -> int:
    """The moment that a checkpoint of version 0.1 names, to the second."""
    return int(datetime.fromisoformat(started.replace("Z", "+00:00")).timestamp()) * 10**9


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
