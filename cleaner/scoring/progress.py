"""Progress of a scan: what was found in each split, and checkpoints for resuming an interrupted scan."""

from __future__ import annotations

import io
import json
import shutil
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleaner.core.changed_files import ChangedFiles
from cleaner.core.errors import CleanerError
from cleaner.core.features import FeatureWriter
from cleaner.core.files import write_whole
from cleaner.core.kept_samples import KeptSamples
from cleaner.core.records import ScoredBatch, ScoredLabels, Unreadable, now
from cleaner.core.tally import Tally
from cleaner.core.tasks import MULTI_LABEL, SINGLE_LABEL

if TYPE_CHECKING:
    from cleaner.scoring.data.reader import Dataset
    from cleaner.scoring.engine import DatasetInfo, ScanJob

__all__ = [
    "CHECKPOINT",
    "TRAINING",
    "Checkpoint",
    "ScanProgress",
    "SplitProgress",
    "class_shape",
    "fingerprint",
    "resume_from",
]

CHECKPOINT = "checkpoint"
"""Name of the folder of an unfinished scan, in its scan folder."""

TRAINING = "training"
"""Name of the folder beside a checkpoint that holds the losses of a training."""

_FORMAT = 2  # 1 had no typical samples and no audit sample
# A save may cost at most this share of the time between two of them.
_MAX_SAVE_SHARE = 0.007
_FINGERPRINTS = 2**63
# What a part of the identity is where it is absent; checkpoints of earlier versions have others than this one.
_IF_ABSENT = {
    "task": SINGLE_LABEL,
    "label table": "",
    "reduced decoding": False,
    "number of views": 1,
    "features": False,
}


@dataclass
class SplitProgress:
    """Findings in one split so far.

    Attributes:
        kept: the samples with the highest losses, typical ones and the audit sample.
        tally: counts over all samples.
        rows: rows of heaps and counts per sample: 1, or with several labels per image one for each label.
        names: fingerprint of the paths that were seen, whatever their order.
        done: whether the split is complete.
        exact: whether all losses are those of exact backends.
    """

    split: str
    kept: KeptSamples
    tally: Tally
    rows: int = 1
    unreadable: list[Unreadable] = field(default_factory=list)
    names: int = 0
    done: bool = False
    exact: bool = True

    @classmethod
    def empty(cls, split: str, info: DatasetInfo, k: int, key: int = 0) -> SplitProgress:
        """Return the progress of a split before its first sample; `k` and `key` as in `KeptSamples`."""
        n_classes, rows = class_shape(info)
        return cls(split, KeptSamples(n_classes, k, key), Tally(n_classes), rows)

    @property
    def scored(self) -> int:
        """Number of samples scored."""
        return self.tally.scored // self.rows

    @property
    def seen(self) -> int:
        """Number of samples scored or found unreadable."""
        return self.scored + self.tally.unreadable

    def update(self, batch: ScoredBatch | ScoredLabels) -> None:
        """Add a batch."""
        self.kept.update(batch)
        self.tally.update(batch.to_count())
        self.unreadable.extend(batch.unreadable)
        self.names = fingerprint([*batch.paths, *(item.path for item in batch.unreadable)], self.names)

    def start_over(self) -> None:
        """Drop all that was found."""
        self.kept, self.tally = self.kept.emptied(), Tally(self.tally.n_classes)
        self.unreadable, self.names, self.exact = [], 0, True

    def forget(self, paths: set[str]) -> Counter[str]:
        """Drop the results of some files, to score them again; return the rows that each is missing in the counts.

        The counts of files that were scored stay: they are no longer known one by one.
        """
        unread = Counter(item.path for item in self.unreadable if item.path in paths)
        self.kept.remove(paths)
        self.unreadable = [item for item in self.unreadable if item.path not in paths]
        self.tally.unreadable -= sum(unread.values())
        return Counter({path: n * self.rows for path, n in unread.items()})

    def update_again(self, batch: ScoredBatch | ScoredLabels, uncounted: Counter[str]) -> None:
        """Add files that were forgotten; the rows that `forget` returned are counted and taken off."""
        rows = batch.to_count()
        counted = [at for at, path in enumerate(rows.paths) if _take(uncounted, path, 1)]
        unread = [item for item in batch.unreadable if _take(uncounted, item.path, self.rows)]
        self.kept.update(batch)
        self.tally.update(replace(rows.select(counted), unreadable=unread))
        self.unreadable.extend(batch.unreadable)

    def merge(self, survivors: ScoredBatch, as_labelled: ScoredBatch, tally: Tally, names: int, exact: bool) -> None:
        """Add a shard that was scored elsewhere; see `ShardResult`."""
        self.exact = self.exact and exact
        self.kept.add(survivors, as_labelled)
        self.tally.merge(tally)
        self.unreadable.extend(survivors.unreadable)
        self.names = (self.names + names) % _FINGERPRINTS


def _take(uncounted: Counter[str], path: str, rows: int) -> bool:
    """Take off that many rows of a file, if they are left."""
    if uncounted[path] < rows:
        return False
    uncounted[path] -= rows
    return True


@dataclass
class ScanProgress:
    """Progress of a whole scan.

    Attributes:
        splits: progress of the splits that were begun, in order.
        backends: name of the backend that runs the model, by `"exact"` and `"fast"`.
        device: type of the device that runs it.
        started: when the scan was first started; UTC, ISO 8601.
        changed: files of each split that changed after they were scored.
        rescored: statistics of the second pass over each split of a fast scan.
    """

    splits: list[SplitProgress] = field(default_factory=list)
    backends: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    started: str = field(default_factory=now)
    changed: dict[str, set[str]] = field(default_factory=dict)
    rescored: dict[str, dict[str, Any]] = field(default_factory=dict)

    def begin(self, new: SplitProgress) -> SplitProgress:
        """Return the progress of the split of `new`, which is taken if the split was not begun yet."""
        for split in self.splits:
            if split.split == new.split:
                return split
        self.splits.append(new)
        return new


def class_shape(info: DatasetInfo) -> tuple[int, int]:
    """Return (number of classes, rows per sample) of heaps and counts.

    With several labels per image each label is a class, and one class stands for "not this label".
    """
    c = len(info.vocab)
    return (c + 1, c) if info.task == MULTI_LABEL else (c, 1)


def fingerprint(paths: Iterable[str], before: int = 0) -> int:
    """Return a number that identifies a set of paths; `before` is that of paths to which these are added."""
    return (before + sum(zlib.crc32(path.encode("utf-8")) for path in paths)) % _FINGERPRINTS


def resume_from(checkpoint: Checkpoint, job: ScanJob, resume: bool) -> ScanProgress:
    """Return the progress of the unfinished scan, or that of a new one."""
    if not resume:
        checkpoint.restart()
    progress, selector, device = checkpoint.load(), job.scorer.selector, job.scorer.device.type
    if progress is None:
        return ScanProgress(backends=selector.names, device=device)
    if progress.device in ("", device):  # those of another device may not exist on this one
        selector.names.update(progress.backends)
    progress.backends, progress.device = selector.names, device
    for split in progress.splits:
        names, progress.changed[split.split] = _survey(job.datasets[split.split], split.seen, job.info, checkpoint)
        if names != split.names:
            raise CleanerError(
                f"the files of {split.split!r} are not those with which the unfinished scan began; "
                "start over with resume=False"
            )
    return progress


def _survey(dataset: Dataset, n: int, info: DatasetInfo, checkpoint: Checkpoint) -> tuple[int, set[str]]:
    """Return the fingerprint of the first `n` paths, and those of them whose files changed; unknown for an address."""
    files, changed = ChangedFiles(info.root, checkpoint.begun), set[str]()

    def names() -> Iterator[str]:
        for name in map(dataset.name, islice(dataset.keys(), n)):
            if not info.address and files.has(name):
                changed.add(name)
            yield name

    return fingerprint(names()), changed


class Checkpoint:
    """The checkpoint of a scan: `checkpoint/` in its folder, which exists only while the scan is unfinished.

    Args:
        out: the scan folder.
        identity: what must be equal for the scan to be resumed.
        info: the dataset.
        k, key: as in `KeptSamples`.
        save_every: longest time between two saves, in seconds.
        features: what a resumed scan cuts to the samples of the checkpoint; None without features.
    """

    def __init__(
        self,
        out: Path,
        identity: Mapping[str, Any],
        info: DatasetInfo,
        k: int,
        key: int = 0,
        save_every: float = 30.0,
        features: FeatureWriter | None = None,
    ) -> None:
        self._out = out
        self._path = out / CHECKPOINT / "progress.npz"
        self._identity = json.loads(json.dumps(identity))  # as it will come back from the file: tuples become lists
        self._info, self._k, self._key, self._save_every = info, k, key, save_every
        self._features = features
        self._due = time.monotonic() + min(save_every, 5.0)
        self.begun = time.time_ns()
        """When the scan was first started, in nanoseconds since the epoch."""

    @property
    def folder(self) -> Path:
        """The folder of the checkpoint."""
        return self._path.parent

    def load(self) -> ScanProgress | None:
        """Read the progress of an unfinished scan; None if there is none."""
        if not self._path.exists():
            if self._features:
                self._features.resume((0, 0))
            return None
        advice = "start over with resume=False, or give another folder"
        try:
            with np.load(self._path, allow_pickle=False) as arrays:
                state = json.loads(arrays["state"].tobytes().decode("utf-8"))
                if state["format"] != _FORMAT:
                    raise CleanerError(
                        f"{str(self._path)!r} is of another version (format {state['format']}, this one reads "
                        f"{_FORMAT}); {advice}"
                    )
                self._check_identity(state["identity"], advice)
                splits = [self._split(number, entry, arrays) for number, entry in enumerate(state["parts"])]
                self.begun = int(state["begun"]) if "begun" in state else _nanoseconds(state["started"])
        except CleanerError:
            raise
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise CleanerError(f"{str(self._path)!r} cannot be read ({error}); {advice}") from error
        if self._features:
            self._features.resume(tuple(state["features"]))
        return ScanProgress(splits, state["ways"], state.get("device", ""), state["started"])

    def save_if_due(self, progress: ScanProgress) -> None:
        """Save if enough time has passed."""
        if time.monotonic() < self._due:
            return
        begin = time.monotonic()
        self.save(progress)
        cost = time.monotonic() - begin
        self._due = time.monotonic() + min(self._save_every, max(cost / _MAX_SAVE_SHARE, 1.0))

    def save(self, progress: ScanProgress) -> None:
        """Write the checkpoint, whole or not at all."""
        arrays: dict[str, Any] = {}
        entries = []
        for number, split in enumerate(progress.splits):
            for name, values in {**split.kept.to_arrays(), **split.tally.to_arrays()}.items():
                arrays[f"{number}.{name}"] = values
            unreadable = [asdict(item) for item in split.unreadable]
            own = {name: getattr(split, name) for name in ("split", "names", "done", "exact")}
            entries.append({**own, "unreadable": unreadable})
        state = {
            "format": _FORMAT,
            "identity": self._identity,
            "parts": entries,
            "ways": dict(progress.backends),
            "device": progress.device,
            "started": progress.started,
            "features": self._features.shape if self._features else None,
            "begun": self.begun,
        }
        arrays["state"] = np.frombuffer(json.dumps(state).encode("utf-8"), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, buffer.getvalue())

    def restart(self) -> None:
        """Drop the progress, but not the list of fatal files."""
        self._path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the checkpoint, but not the losses of a training, which later ones add to."""
        for path in self._path.parent.iterdir() if self._path.parent.is_dir() else ():
            if path.name == TRAINING:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        if self._path.parent.is_dir() and not any(self._path.parent.iterdir()):
            self._path.parent.rmdir()

    def _check_identity(self, saved: Mapping[str, Any], advice: str) -> None:
        for name in {**self._identity, **saved}:
            if name == "batch size":  # which version 0.1 saved
                continue
            found, expected = (identity.get(name, _IF_ABSENT.get(name)) for identity in (saved, self._identity))
            if found != expected:
                raise CleanerError(
                    f"{str(self._out)!r} holds an unfinished scan with another {name} ({_short(found)}, "
                    f"this one has {_short(expected)}): {advice}"
                )

    def _split(self, number: int, entry: Mapping[str, Any], arrays: Any) -> SplitProgress:
        n_classes, rows = class_shape(self._info)
        own = {name.split(".", 1)[1]: arrays[name] for name in arrays if name.startswith(f"{number}.")}
        return SplitProgress(
            entry["split"],
            KeptSamples(n_classes, self._k, self._key).restore(own),
            Tally.from_arrays(n_classes, own),
            rows,
            [Unreadable(**item) for item in entry["unreadable"]],
            entry["names"],
            entry["done"],
            entry.get("exact", False),  # a checkpoint of version 0.1 does not say
        )


def _nanoseconds(started: str) -> int:
    """Convert the time in a checkpoint of version 0.1, which is exact to the second."""
    return int(datetime.fromisoformat(started.replace("Z", "+00:00")).timestamp()) * 10**9


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
