"""Rounds of scanning, reviewing and applying: their history, and decisions taken over from an earlier scan."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from cleaner.core.carried_out import CarriedOut, carried_out
from cleaner.core.errors import CleanerError
from cleaner.core.files import write_whole
from cleaner.core.journal import decision_key
from cleaner.core.manifest import Manifest
from cleaner.core.manifest_rows import ManifestRows
from cleaner.core.records import Action, Decision, parse_time
from cleaner.core.scan import Scan, load
from cleaner.core.standing import Standing, has_bytes_of

__all__ = ["HISTORY", "Round", "check_decisions_from", "history", "remember", "take_over"]

HISTORY = "history.jsonl"
"""File of a scan folder with one line per replaced scan."""


@dataclass(frozen=True)
class Round:
    """One scan, with the decisions and changes before the next one.

    Attributes:
        started, finished: of the scan, UTC, ISO 8601.
        generation: identifies the scan; empty in version 0.1.
        scanned: number of samples scored.
        unreadable: number of files that could not be read.
        mean_loss: mean over all samples with a finite loss; NaN if unknown.
        predicted_otherwise: share of the samples with another predicted label, 0..1; NaN if unknown.
        found: number of images decided to delete or relabel; None if it is still to be counted from the manifest.
        changed: number of decisions applied and not undone; None if it is still to be counted from the journals.

    Raises:
        CleanerError: a field has an invalid value.
    """

    started: str
    finished: str
    scanned: int
    unreadable: int
    mean_loss: float
    predicted_otherwise: float
    generation: str = ""
    found: int | None = None
    changed: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.generation, str):
            raise CleanerError(f"generation is {self.generation!r}; expected text")
        for name in ("scanned", "unreadable", "found", "changed"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 0) and not (value is None and name in ("found", "changed")):
                raise CleanerError(f"{name} is {value!r}; expected a number of images")
        for name in ("mean_loss", "predicted_otherwise"):
            if not isinstance(getattr(self, name), float):
                raise CleanerError(f"{name} is {getattr(self, name)!r}; expected a number")
        for name in ("started", "finished"):
            _moment(getattr(self, name))

    @property
    def key(self) -> str:
        """Identifies the scan; its start alone is not unique."""
        return self.generation or self.started


def history(scan: Scan) -> list[Round]:
    """Return the rounds of a scan folder, oldest first; the last one is the scan itself.

    Raises:
        CleanerError: the scan has no folder, or its history, manifest or journals are invalid.
    """
    folder, now = scan.manifest_path.parent, _round_of(scan)
    rounds = [*(old for old in _stored(folder) if old.key != now.key), now]
    rows = Manifest(scan.manifest_path).rows()
    times = [change.at for change in carried_out(folder, scan.root)]
    ends = [*(later.finished for later in rounds[1:]), ""]
    both = zip(rounds, ends, strict=True)
    return [item if item.found is not None else _counted(item, end, rows, times) for item, end in both]


def remember(folder: Path) -> None:
    """Add the scan in a folder, if any, to the history, before another one replaces it.

    Raises:
        CleanerError: the scan or the history is invalid.
        OSError: the history cannot be written.
    """
    if not (folder / "scan.json").exists():
        return
    scan = load(folder)
    if scan.settings.get("source") == "check":
        return  # no scan yet: `cleaner check` made the folder
    now, stored = _round_of(scan), _stored(folder)
    # An interrupted scan may have added it already.
    if now.key not in {old.key for old in stored}:
        _write(folder, [*stored, now])


def check_decisions_from(old: str | Path, out: Path, task: str) -> None:
    """Check that a new scan in `out` can take over the decisions of the scan in `old`.

    Raises:
        CleanerError: `old` is no scan folder, or `out` itself, or its scan is of another task.
    """
    if Path(old).resolve() == out.resolve():
        raise CleanerError(f"decisions_from is {str(old)!r}, the scan folder itself, which keeps its decisions anyway")
    scan = load(old)
    if scan.task != task:
        raise CleanerError(f"the scan in {str(old)!r} is of the task {scan.task!r}; expected {task!r}")
    history(scan)  # reads its manifest and journals


def take_over(scan: Scan, old: str | Path) -> int:
    """Copy the decisions and the history of an earlier scan in another folder to a new scan.

    Only decisions that are valid for the files as they are now become rows of the new manifest. An applied relabel
    becomes a keep at the file's new path. Paths that the new manifest knows are skipped.

    Returns:
        the number of decisions copied.

    Raises:
        CleanerError: a manifest or journal is invalid.
        OSError: the new scan folder cannot be written.
    """
    before, manifest = load(old), Manifest(scan.manifest_path)
    known = manifest.latest()
    decisions = [decision for decision in _still_valid(before, scan) if decision.path not in known]
    if decisions:
        manifest.append(*decisions)
    folder = scan.manifest_path.parent
    stored = _stored(folder)
    keys = {item.key for item in stored}
    earlier = [item for item in history(before) if item.key not in keys]
    if earlier:
        _write(folder, sorted([*stored, *earlier], key=lambda item: item.started))
    return len(decisions)


def _still_valid(before: Scan, scan: Scan) -> Iterator[Decision]:
    """Yield the decisions about an earlier scan that are valid for the files of a new one."""
    folder, samples = before.manifest_path.parent, scan.by_path()
    rows = Manifest(before.manifest_path).standing()
    standing = Standing(samples, scan.task, scan.label_delim, scan.root, folder)
    standing.update(rows)
    yield from standing.values()
    carried = carried_out(folder, scan.root)
    for change in carried:
        if change.target not in samples and (keep := _kept(change, rows, scan)):
            yield keep
    applied = {change.decision for change in carried}
    for path, decision in rows.items():
        is_open = path not in samples and decision_key(decision) not in applied
        if is_open and has_bytes_of(decision, scan.root, path):
            yield decision


def _kept(carried: CarriedOut, rows: ManifestRows, scan: Scan) -> Decision | None:
    """Return the keep of a relabelled file that the new scan did not keep; None if another file is there."""
    decision = next((row for row in rows.all_for(carried.decision[0]) if decision_key(row) == carried.decision), None)
    if decision is None or not carried.new_label or not carried.sha256:
        return None
    keep = replace(decision, path=carried.target, action=Action.KEEP, label=carried.new_label, new_label="")
    keep = replace(keep, sha256=carried.sha256)
    return keep if has_bytes_of(keep, scan.root, carried.target) else None


def _round_of(scan: Scan) -> Round:
    losses = [row for split in scan.splits for row in scan.of_classes(split)]
    finite = [(row.mean_loss, row.scored - row.not_finite) for row in losses if math.isfinite(row.mean_loss)]
    counted, scored = sum(n for _, n in finite), sum(row.scored for row in losses)
    return Round(
        started=scan.started,
        generation=scan.generation,
        finished=scan.finished,
        scanned=sum(scan.scored.values()),
        unreadable=len(scan.unreadable),
        mean_loss=sum(loss * n for loss, n in finite) / counted if counted else math.nan,
        predicted_otherwise=sum(row.predicted_otherwise for row in losses) / scored if scored else math.nan,
    )


def _counted(item: Round, end: str, rows: Iterable[Decision], changes: Iterable[str]) -> Round:
    """Count the decisions, and the times of changes, from the end of a scan up to `end`; an empty `end` is open."""
    first, last = _moment(item.finished), _moment(end) if end else math.inf
    latest = {(row.path, row.sha256): row.action for row in rows if first <= _moment(row.decided_at) < last}
    found = sum(action in (Action.DELETE, Action.RELABEL) for action in latest.values())
    return replace(item, found=found, changed=sum(first <= _moment(time) < last for time in changes))


def _moment(text: str) -> float:
    if text == "":
        return 0.0
    try:
        return parse_time(text).timestamp()
    except (ValueError, AttributeError, TypeError) as error:
        raise CleanerError(f"the time is {text!r}; expected one such as 2026-01-31T12:00:00Z") from error


def _write(folder: Path, rounds: Sequence[Round]) -> None:
    write_whole(folder / HISTORY, "".join(json.dumps(asdict(item)) + "\n" for item in rounds))


def _stored(folder: Path) -> list[Round]:
    path = folder / HISTORY
    try:
        return list(_parsed(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CleanerError(f"{str(path)!r} is not a history of scans: {error}; delete it to start a new one") from error


def _parsed(text: str) -> Iterator[Round]:
    names = {field.name for field in fields(Round)}
    for line in text.splitlines():
        entry: Any = json.loads(line)
        if not isinstance(entry, dict) or entry.keys() != names:
            raise CleanerError(f"{line[:80]!r} is not a round")
        yield Round(**entry)
