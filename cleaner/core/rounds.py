"""Rounds of training, scanning, reviewing and applying: their history, and decisions of an earlier scan."""

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
"""File of a scan folder with a line for each scan that a later one replaced."""


@dataclass(frozen=True)
class Round:
    """One scan, and what came of it before the next one.

    Attributes:
        started, finished: of the scan, UTC, ISO 8601.
        generation: tells the scan from others; empty for one of version 0.1.
        scanned: number of samples scored.
        unreadable: number of files that could not be read.
        mean_loss: over all samples with a finite loss; NaN where the scan does not say.
        predicted_otherwise: share of the samples that the model gives another label, 0..1; NaN where it is not known.
        found: number of images decided to delete or relabel; None in a stored round whose decisions are in the folder.
        changed: number of decisions carried out and not taken back; None likewise.

    Raises:
        CleanerError: a field has a value that makes no sense.
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
            raise CleanerError(f"generation is {self.generation!r}; a text is expected")
        for name in ("scanned", "unreadable", "found", "changed"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 0) and not (value is None and name in ("found", "changed")):
                raise CleanerError(f"{name} is {value!r}; a number of images is expected")
        for name in ("mean_loss", "predicted_otherwise"):
            if not isinstance(getattr(self, name), float):
                raise CleanerError(f"{name} is {getattr(self, name)!r}; a number is expected")
        for name in ("started", "finished"):
            _moment(getattr(self, name))

    @property
    def key(self) -> str:
        """Identifies the scan; two may begin in the same second."""
        return self.generation or self.started


def history(scan: Scan) -> list[Round]:
    """Return the rounds of a scan folder, oldest first; the last one is the scan itself.

    Raises:
        CleanerError: the scan has no folder, or its history, manifest or journals make no sense.
    """
    now = _round_of(scan)
    rounds = [*(each for each in _stored(scan.manifest_path.parent) if each.key != now.key), now]
    rows = Manifest(scan.manifest_path).rows()
    changed = [each.at for each in carried_out(scan.manifest_path.parent, scan.root)]
    ends = [*(each.finished for each in rounds[1:]), ""]
    return [
        each if each.found is not None else _counted(each, end, rows, changed)
        for each, end in zip(rounds, ends, strict=True)
    ]


def remember(folder: Path) -> None:
    """Add the scan in a folder, if there is one, to its history, since another one will replace it.

    Raises:
        CleanerError: the scan or the history makes no sense.
        OSError: the history cannot be written.
    """
    if not (folder / "scan.json").exists():
        return
    now, stored = _round_of(load(folder)), _stored(folder)
    # It is there already where the other one did not come to its end.
    if now.key not in {each.key for each in stored}:
        _write(folder, [*stored, now])


def check_decisions_from(old: str | Path, out: Path, task: str) -> None:
    """Check that a new scan in `out` can take over the decisions of the scan in `old`; called before any work.

    Raises:
        CleanerError: `old` is no scan folder, or `out` itself, or its scan is of another task.
    """
    if Path(old).resolve() == out.resolve():
        raise CleanerError(f"decisions_from is {str(old)!r}, the scan folder itself, which keeps its decisions anyway")
    found = load(old)
    if found.task != task:
        raise CleanerError(f"the scan in {str(old)!r} is of the task {found.task!r}, and this one is {task!r}")
    history(found)  # reads its manifest and journals


def take_over(scan: Scan, old: str | Path) -> int:
    """Give a new scan the decisions and the history of an earlier one in another folder.

    Decisions that stand for the files as they are now become rows of the new manifest: a file that was relabelled
    stands as kept at its new place, another file under an old path is undecided. What was carried out is history.
    Decisions that the new manifest has already are left as they are.

    Returns:
        the number of decisions taken over.

    Raises:
        CleanerError: a manifest or journal makes no sense.
        OSError: the new scan folder cannot be written.
    """
    before, manifest = load(old), Manifest(scan.manifest_path)
    rows = Manifest(before.manifest_path).standing()
    samples = scan.by_path()
    standing = Standing(samples, scan.task, scan.label_delim, scan.root, before.manifest_path.parent)
    standing.update(rows)
    known = manifest.latest()
    found = list(standing.values())
    carried = carried_out(before.manifest_path.parent, scan.root)
    done = {each.decision for each in carried}
    found += [keep for each in carried if each.target not in samples and (keep := _kept(each, rows, scan))]
    for path, decision in rows.items():
        if path in samples or decision_key(decision) in done:
            continue
        if has_bytes_of(decision, scan.root, path):
            found.append(decision)
    found = [decision for decision in found if decision.path not in known]
    if found:
        manifest.append(*found)
    folder = scan.manifest_path.parent
    stored = _stored(folder)
    keys = {each.key for each in stored}
    earlier = [each for each in history(before) if each.key not in keys]
    if earlier:
        _write(folder, sorted([*stored, *earlier], key=lambda each: each.started))
    return len(found)


def _kept(carried: CarriedOut, rows: ManifestRows, scan: Scan) -> Decision | None:
    """The keep of a relabelled file that the new scan has not among its highest losses; None where it is another."""
    decision = next((row for row in rows.all_for(carried.decision[0]) if decision_key(row) == carried.decision), None)
    if decision is None or not carried.new_label or not carried.sha256:
        return None
    keep = replace(decision, path=carried.target, action=Action.KEEP, label=carried.new_label, new_label="")
    keep = replace(keep, sha256=carried.sha256)
    return keep if has_bytes_of(keep, scan.root, carried.target) else None


def _round_of(scan: Scan) -> Round:
    losses = [each for split in scan.splits for each in scan.of_classes(split)]
    finite = [(each.mean_loss, each.scored - each.not_finite) for each in losses if math.isfinite(each.mean_loss)]
    counted, scored = sum(n for _, n in finite), sum(each.scored for each in losses)
    return Round(
        started=scan.started,
        generation=scan.generation,
        finished=scan.finished,
        scanned=sum(scan.scored.values()),
        unreadable=len(scan.unreadable),
        mean_loss=sum(loss * n for loss, n in finite) / counted if counted else math.nan,
        predicted_otherwise=sum(each.predicted_otherwise for each in losses) / scored if scored else math.nan,
    )


def _counted(each: Round, end: str, rows: Iterable[Decision], changed: Iterable[str]) -> Round:
    """A round with what was found and changed from its scan on until `end`; empty for no end."""
    first, last = _moment(each.finished), _moment(end) if end else math.inf
    latest = {(row.path, row.sha256): row.action for row in rows if first <= _moment(row.decided_at) < last}
    found = sum(action in (Action.DELETE, Action.RELABEL) for action in latest.values())
    return replace(each, found=found, changed=sum(first <= _moment(time) < last for time in changed))


def _moment(text: str) -> float:
    if text == "":
        return 0.0
    try:
        return parse_time(text).timestamp()
    except (ValueError, AttributeError, TypeError) as error:
        raise CleanerError(f"the time is {text!r}; one such as 2026-01-31T12:00:00Z is expected") from error


def _write(folder: Path, rounds: Sequence[Round]) -> None:
    write_whole(folder / HISTORY, "".join(json.dumps(asdict(each)) + "\n" for each in rounds))


def _stored(folder: Path) -> list[Round]:
    path = folder / HISTORY
    try:
        return list(_parsed(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CleanerError(f"{str(path)!r} is no history of scans: {error}; delete it to begin a new one") from error


def _parsed(text: str) -> Iterator[Round]:
    names = {field.name for field in fields(Round)}
    for line in text.splitlines():
        entry: Any = json.loads(line)
        if not isinstance(entry, dict) or entry.keys() != names:
            raise CleanerError(f"{line[:80]!r} is not a round")
        yield Round(**entry)
