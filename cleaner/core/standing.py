"""The decisions that are valid for the files of a scan as they are now.

A decision is about the bytes and the label that the reviewer saw. In a later round the path may hold another file, and
the file may have another path or label.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite
from pathlib import Path

from cleaner.core.carried_out import CarriedOut, carried_out, carried_out_note
from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.journal import decision_key
from cleaner.core.manifest import Manifest
from cleaner.core.manifest_rows import ManifestRows
from cleaner.core.records import Action, Decision, Sample, parse_time
from cleaner.core.scan import Scan
from cleaner.core.tasks import MULTI_LABEL, OTHER, join_labels, split_labels

__all__ = ["Standing", "Verdict", "has_bytes_of", "standing_of"]

# Maximum difference in seconds between the clocks of the file system and of the reviewer's process.
_CLOCK_TOLERANCE = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The valid decision about one file.

    Attributes:
        decision: the decision, in terms of the current label of the sample; None for undecided.
        note: why an earlier decision is not valid, or where the decision comes from; may be empty.
    """

    decision: Decision | None
    note: str = ""


class Standing(Mapping[str, Decision]):
    """The valid decisions about the samples of a scan, by path.

    Args:
        samples: one sample per path of the scan.
        task, label_delim: of the scan.
        root: the dataset's folder.
        folder: the scan folder, whose journals list the applied decisions.

    Attributes:
        trouble: why the journals could not be read; empty if they could.
    """

    def __init__(self, samples: Mapping[str, Sample], task: str, label_delim: str, root: Path, folder: Path) -> None:
        self._samples = samples
        self._task = task
        self._label_delim = label_delim
        self._root = root
        self._folder = folder
        self._rows = ManifestRows("")
        self._n_read = 0
        self._journals: tuple[tuple[str, int], ...] | None = None
        self._carried: dict[tuple[str, str, str, str], CarriedOut] = {}
        self._arrived: dict[str, CarriedOut] = {}
        self._decisions: dict[str, Decision] = {}
        self._notes: dict[str, str] = {}
        self.trouble = ""

    def __getitem__(self, path: str) -> Decision:
        return self._decisions[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decisions)

    def __len__(self) -> int:
        return len(self._decisions)

    def note(self, path: str) -> str:
        """Return why an earlier decision about a path is not valid, or where the valid one comes from."""
        return self._notes.get(path, "")

    @property
    def history(self) -> str:
        """The number of applied decisions, and when they were applied; empty for none."""
        return carried_out_note(each for key, each in self._carried.items() if self._is_latest(key))

    def update(self, rows: ManifestRows) -> None:
        """Read the new rows of the manifest, or all rows if the file or a journal changed."""
        if self._read_journals() or rows is not self._rows:
            self._rows, self._n_read = rows, rows.count
            self._decisions.clear()
            self._notes.clear()
            self.refresh(path for path in self._samples if rows.all_for(path) or path in self._arrived)
        else:
            self.refresh(dict.fromkeys(rows.row(number).path for number in range(self._n_read, rows.count)))
            self._n_read = rows.count

    def refresh(self, paths: Iterable[str]) -> None:
        """Compare the decisions about these paths with their files as they are now."""
        for path in paths:
            sample = self._samples.get(path)
            if sample is None:
                continue
            verdict = self._verdict(sample)
            self._decisions.pop(path, None)
            self._notes.pop(path, None)
            if verdict.decision:
                self._decisions[path] = verdict.decision
            if verdict.note:
                self._notes[path] = verdict.note

    def _read_journals(self) -> bool:
        """Read the journals again if one of them changed; true if so."""
        now = tuple(sorted(_versions(self._folder)))
        if now == self._journals:
            return False
        self._journals = now
        try:
            found = carried_out(self._folder, self._root)
            self.trouble = ""
        except CleanerError as error:
            found, self.trouble = [], f"Earlier applied decisions are unknown: {error}"
        self._carried = {change.decision: change for change in found}
        self._arrived = {change.target: change for change in found if change.new_label and change.sha256}
        return True

    def _is_latest(self, key: tuple[str, str, str, str]) -> bool:
        decision = self._rows.get(key[0])
        return decision is not None and decision_key(decision) == key

    def _verdict(self, sample: Sample) -> Verdict:
        decision = self._rows.get(sample.path)
        verdict = Verdict(None) if decision is None else self._of_own_path(decision, sample)
        arrived = self._arrived.get(sample.path)
        if verdict.decision is None and arrived and not self._is_decided_since(arrived):
            return self._of_arrived(arrived, sample)
        return verdict

    def _of_own_path(self, decision: Decision, sample: Sample) -> Verdict:
        """Return the verdict on a decision about the path of a sample."""
        carried = self._carried.get(decision_key(decision))
        same = has_bytes_of(decision, self._root, sample.path)
        if same is None:
            return Verdict(decision, f"carried out on {carried.at[:10]}" if carried else "")
        if not same:
            return Verdict(None, f"{_described(decision)} about another file that was here")
        if carried and carried.sha256:
            return Verdict(None, f"{_described(decision)}, carried out on {carried.at[:10]}; the file is here again")
        label = self._label_of(sample)
        if not decision.label or self._is_same(decision.label, label):
            return Verdict(decision, f"carried out on {carried.at[:10]}" if carried else "")
        if decision.action is Action.RELABEL and self._is_same(decision.new_label, label):
            return self._kept_as_relabelled(decision, sample)
        return Verdict(None, f"{_described(decision)} when its label was {decision.label!r}")

    def _of_arrived(self, arrived: CarriedOut, sample: Sample) -> Verdict:
        """Return the verdict on the decision that moved a file to the path of a sample."""
        rows = [row for row in self._rows.all_for(arrived.decision[0]) if decision_key(row) == arrived.decision]
        if not rows or not self._is_same(arrived.new_label, self._label_of(sample)):
            return Verdict(None)
        # An apply moves only the file that the decision is about, whose hash is in the journal.
        if has_bytes_of(replace(rows[-1], sha256=arrived.sha256), self._root, sample.path) is not True:
            return Verdict(None)
        return self._kept_as_relabelled(rows[-1], sample)

    def _kept_as_relabelled(self, decision: Decision, sample: Sample) -> Verdict:
        """Turn an applied relabel into a keep, unless the model disagrees with the new label even more."""
        note = f"relabelled from {decision.label!r}{_by(decision)}"
        worse = isfinite(sample.loss) and isfinite(decision.loss) and sample.loss > decision.loss
        if worse and self._task != MULTI_LABEL:
            losses = f"{sample.loss:.2f}, {decision.loss:.2f}"
            return Verdict(None, f"{note}; the model disagrees more than before ({losses})")
        kept = replace(decision, path=sample.path, action=Action.KEEP, label=self._label_of(sample), new_label="")
        return Verdict(kept, note)

    def _is_decided_since(self, arrived: CarriedOut) -> bool:
        rows = self._rows.all_for(arrived.target)
        return bool(rows) and _moment(rows[-1].decided_at) > _moment(arrived.at)

    def _label_of(self, sample: Sample) -> str:
        if self._task == MULTI_LABEL:
            return join_labels(sample.given, self._label_delim)
        return "" if self._task == OTHER else sample.label

    def _is_same(self, one: str, other: str) -> bool:
        if self._task != MULTI_LABEL:
            return one == other
        return set(split_labels(one, self._label_delim)) == set(split_labels(other, self._label_delim))


def standing_of(scan: Scan) -> Standing:
    """Return the decisions that stand for the kept, audited and unreadable files of a scan.

    Raises:
        CleanerError: the scan has no folder, or its manifest is invalid.
    """
    standing = Standing(scan.by_path(), scan.task, scan.label_delim, scan.root, scan.manifest_path.parent)
    standing.update(Manifest(scan.manifest_path).standing())
    return standing


def has_bytes_of(decision: Decision, root: Path, path: str) -> bool | None:
    """Return whether the file at a path has the bytes that a decision is about; None if there is no file.

    A file is read only if it, or a folder above it, changed since the decision. A row without hash and time, which a
    person added, matches any file. A decision about an unreadable file matches until the file can be read.
    """
    file = root / path
    try:
        status = os.stat(file)
        if not decision.sha256 and not decision.decided_at:
            return True
        if decision.decided_at and _last_change(root, path) + _CLOCK_TOLERANCE < _moment(decision.decided_at):
            return True
        return _sha256(file, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns) == decision.sha256
    except FileNotFoundError:
        return None
    except OSError:
        return not decision.sha256  # still unreadable


def _last_change(root: Path, path: str) -> float:
    """Return when a file, or a folder or link on the way to it, was last changed or moved."""
    places = [root, *(root / "/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 2))]
    statuses = [status for place in places for status in (os.stat(place), os.lstat(place))]
    return max(max(status.st_mtime, status.st_ctime) for status in statuses)


def _versions(folder: Path) -> Iterator[tuple[str, int]]:
    for file in folder.glob("journal-*.jsonl"):
        with suppress(FileNotFoundError):  # removed meanwhile
            yield file.name, file.stat().st_mtime_ns


@lru_cache(maxsize=1 << 16)
def _sha256(file: Path, *_version: int) -> str:
    """Return the hash of a file, cached per version since a page asks every few seconds."""
    return sha256_of(file)


def _moment(text: str) -> float:
    return parse_time(text).timestamp() if text else 0.0


def _by(decision: Decision) -> str:
    who = f" by {decision.reviewer}" if decision.reviewer else ""
    return who + (f" on {decision.decided_at[:10]}" if decision.decided_at else "")


def _described(decision: Decision) -> str:
    what = f"{decision.action} {decision.new_label}".strip()
    return f"decided {what!r}{_by(decision)}"
