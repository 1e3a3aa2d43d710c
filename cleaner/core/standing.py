"""Which decisions stand for the files of a scan as they are now.

A decision is about the bytes and the label that the reviewer saw. In a later round another file may lie at the same
path, and the same file at another path or with another label.
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
from cleaner.core.manifest_rows import ManifestRows
from cleaner.core.records import Action, Decision, Sample, parse_time
from cleaner.core.tasks import MULTI_LABEL, OTHER, join_labels, split_labels

__all__ = ["Standing", "Verdict", "has_bytes_of"]

# Seconds by which the clocks of the file system and of the reviewer's process may differ.
_CLOCKS = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stands for one file.

    Attributes:
        decision: the decision, in terms of the label that the sample carries now; None for undecided.
        note: why an earlier decision does not stand, or where it comes from; empty where there is nothing to say.
    """

    decision: Decision | None
    note: str = ""


class Standing(Mapping[str, Decision]):
    """The decisions that stand for the samples of a scan, by path.

    Args:
        samples: one sample for each path of the scan.
        task, label_delim: of the scan.
        root: the dataset's folder.
        folder: the scan folder, whose journals say what was carried out.

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
        self._taken = 0
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
        """Why an earlier decision about a path does not stand, or where the one that stands comes from."""
        return self._notes.get(path, "")

    @property
    def history(self) -> str:
        """Say how many of the decisions were carried out, and when; empty for none."""
        return carried_out_note(each for key, each in self._carried.items() if self._is_latest(key))

    def update(self, rows: ManifestRows) -> None:
        """Take in the rows of the manifest that came since, or all of them where the file or a journal changed."""
        if self._read_journals() or rows is not self._rows:
            self._rows, self._taken = rows, rows.count
            self._decisions.clear()
            self._notes.clear()
            self.refresh(path for path in self._samples if rows.all_for(path) or path in self._arrived)
        else:
            self.refresh(dict.fromkeys(rows.row(number).path for number in range(self._taken, rows.count)))
            self._taken = rows.count

    def refresh(self, paths: Iterable[str]) -> None:
        """Hold the decisions about some paths against their files as they are now."""
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
            found, self.trouble = [], f"What was carried out before is not known: {error}"
        self._carried = {each.decision: each for each in found}
        self._arrived = {each.target: each for each in found if each.new_label and each.sha256}
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
        """Judge a decision about the path of a sample."""
        carried = self._carried.get(decision_key(decision))
        same = has_bytes_of(decision, self._root, sample.path)
        if same is None:
            return Verdict(decision, f"carried out on {carried.at[:10]}" if carried else "")
        if not same:
            return Verdict(None, f"{_said(decision)} about another file, which lay here then")
        if carried and carried.sha256:
            return Verdict(None, f"{_said(decision)}, which was carried out on {carried.at[:10]}; it is here again")
        label = self._label_of(sample)
        if not decision.label or self._is_same(decision.label, label):
            return Verdict(decision, f"carried out on {carried.at[:10]}" if carried else "")
        if decision.action is Action.RELABEL and self._is_same(decision.new_label, label):
            return self._kept_as_relabelled(decision, sample)
        return Verdict(None, f"{_said(decision)} when its label was {decision.label!r}")

    def _of_arrived(self, arrived: CarriedOut, sample: Sample) -> Verdict:
        """Judge the decision that had a file moved to the path of a sample."""
        rows = [row for row in self._rows.all_for(arrived.decision[0]) if decision_key(row) == arrived.decision]
        if not rows or not self._is_same(arrived.new_label, self._label_of(sample)):
            return Verdict(None)
        # An apply moves only the file decided about, so its hash is the one in its journal.
        if has_bytes_of(replace(rows[-1], sha256=arrived.sha256), self._root, sample.path) is not True:
            return Verdict(None)
        return self._kept_as_relabelled(rows[-1], sample)

    def _kept_as_relabelled(self, decision: Decision, sample: Sample) -> Verdict:
        """Let a relabel stand as a keep of its new label, unless the model disagrees more with that one."""
        note = f"relabelled from {decision.label!r}{_by(decision)}"
        worse = isfinite(sample.loss) and isfinite(decision.loss) and sample.loss > decision.loss
        if worse and self._task != MULTI_LABEL:
            return Verdict(
                None, f"{note}; the model disagrees more than before ({sample.loss:.2f}, {decision.loss:.2f})"
            )
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


def has_bytes_of(decision: Decision, root: Path, path: str) -> bool | None:
    """Whether the file at a path has the bytes that a decision was about; None where there is no file.

    Where neither the file nor a folder above it changed since the decision, it is not read. One that was decided
    without a hash by hand counts as the same file; one that the page could not read does not once it can be read.
    """
    file = root / path
    try:
        status = os.stat(file)
        if not decision.sha256 and not decision.decided_at:
            return True
        if decision.decided_at and _last_change(root, path) + _CLOCKS < _moment(decision.decided_at):
            return True
        return _sha256(file, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns) == decision.sha256
    except FileNotFoundError:
        return None
    except OSError:
        return not decision.sha256  # unreadable then, and now


def _last_change(root: Path, path: str) -> float:
    """When a file, or a folder or link on the way to it, was last changed, moved or put there."""
    places = [root, *(root / "/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 2))]
    found = [status for place in places for status in (os.stat(place), os.lstat(place))]
    return max(max(status.st_mtime, status.st_ctime) for status in found)


def _versions(folder: Path) -> Iterator[tuple[str, int]]:
    for file in folder.glob("journal-*.jsonl"):
        with suppress(FileNotFoundError):  # removed just now
            yield file.name, file.stat().st_mtime_ns


@lru_cache(maxsize=1 << 16)
def _sha256(file: Path, *_version: int) -> str:
    """Hash a file once for each of its versions: a page asks again every few seconds."""
    return sha256_of(file)


def _moment(text: str) -> float:
    return parse_time(text).timestamp() if text else 0.0


def _by(decision: Decision) -> str:
    who = f" by {decision.reviewer}" if decision.reviewer else ""
    return who + (f" on {decision.decided_at[:10]}" if decision.decided_at else "")


def _said(decision: Decision) -> str:
    what = f"{decision.action} {decision.new_label}".strip()
    return f"decided {what!r}{_by(decision)}"
