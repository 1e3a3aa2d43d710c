"""What an apply does, written before it is done: a file of JSON lines from which everything can be put back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cleaner.core.errors import CleanerError
from cleaner.core.files import check_path, write_whole

__all__ = ["Journal", "Operation", "journals_beside", "new_name", "read"]

_FORMAT = 1
_PREFIX = "journal-"


@dataclass(frozen=True, slots=True)
class Operation:
    """One file's move, with the decision that asked for it. Paths are relative to the dataset's folder.

    Raises:
        CleanerError: a path is not one inside the dataset.
    """

    source: str
    target: str
    action: str
    decided_at: str

    def __post_init__(self) -> None:
        check_path(self.source)
        check_path(self.target)

    @property
    def decision(self) -> tuple[str, str, str]:
        """What tells one decision about a path from a later one."""
        return self.source, self.action, self.decided_at


@dataclass(frozen=True)
class Journal:
    """The operations of one apply, and how far it has come.

    Attributes:
        path: the journal's file.
        data: the dataset's folder.
        operations: in the order in which they are done; without those that failed.
        folders: folders that did not exist before, deepest last; taken away again by undo.
        finished: every operation is done.
        undone: every operation is taken back.
    """

    path: Path
    data: Path
    operations: tuple[Operation, ...]
    folders: tuple[str, ...]
    finished: bool = False
    undone: bool = False

    @property
    def interrupted(self) -> bool:
        """Neither came to its end nor was taken back."""
        return not self.finished and not self.undone

    def write(self) -> None:
        """Write the journal before anything is moved."""
        header = {"format": _FORMAT, "data": self.data.as_posix(), "folders": self.folders, "written": _now()}
        lines = [header, *map(asdict, self.operations)]
        write_whole(self.path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def mark(self, state: str, failed: Iterable[Operation] = ()) -> None:
        """Add the line that says that all is `finished`, but for the `failed` operations, or all is `undone`."""
        line = {"state": state, "failed": [operation.source for operation in failed], "at": _now()}
        whole = self.path.read_bytes()
        # The end of a line that was torn goes away with it; see `read`.
        whole = whole[: whole.rfind(b"\n") + 1]
        write_whole(self.path, whole + (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8"))


def new_name(folder: Path) -> Path:
    """A free name for a journal in `folder`, by the time of day."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    names = (f"{_PREFIX}{stamp}{suffix}.jsonl" for suffix in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(folder / name for name in names if not (folder / name).exists())


def journals_beside(manifest: Path, data: Path) -> Iterator[Journal]:
    """The journals of earlier applies of a manifest to a dataset, oldest first."""
    for path in sorted(manifest.parent.glob(f"{_PREFIX}*.jsonl"), key=lambda p: (p.stat().st_mtime_ns, p.name)):
        journal = read(path)
        if journal.data == data:
            yield journal


def read(path: str | Path) -> Journal:
    """Read a journal.

    Raises:
        CleanerError: it is not one, or cannot be read.
    """
    path = Path(path)
    try:
        # A torn last line can only be a state that was not reached: operations are written whole before they are done.
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        header, *rest = [_parsed(line) for line in lines]
        states = {entry["state"] for entry in rest if "state" in entry}
        failed = {source for entry in rest if "state" in entry for source in entry["failed"]}
        operations = tuple(Operation(**e) for e in rest if "state" not in e and e["source"] not in failed)
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r}; this version reads format {_FORMAT}")
        for folder in header["folders"]:
            check_path(folder)
        folders = tuple(header["folders"])
        return Journal(path, Path(header["data"]), operations, folders, "finished" in states, "undone" in states)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CleanerError(f"{str(path)!r} is not a journal of `cleaner apply`: {error}") from error


def _parsed(line: str) -> dict[str, Any]:
    entry = json.loads(line)
    if not isinstance(entry, dict):
        raise ValueError(f"{line[:80]!r} is not a JSON object")
    return entry


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
