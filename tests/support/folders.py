"""Datasets in class folders with a manifest, and decisions about their files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from cleaner.apply import apply
from cleaner.apply.execute import Report
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan

TIME = "2026-01-31T12:00:00Z"
Tree = dict[str, object]


def delete(path: str, **changes: Any) -> Decision:
    return Decision(**{"path": path, "action": Action.DELETE, "decided_at": TIME, **changes})


def relabel(path: str, new_label: str, **changes: Any) -> Decision:
    return Decision(**{"path": path, "action": Action.RELABEL, "new_label": new_label, "decided_at": TIME, **changes})


def make(path: Path, content: str = "") -> None:
    """Write a file with unique bytes and an old modification time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((content or str(path)).encode())
    os.utime(path, ns=(10**18, 10**18 + len(str(path))))


def make_scan(root: Path, *vocab: str) -> Path:
    """Write an empty scan with these labels and return the path of its manifest."""
    scan = Scan(root, vocab, ("train",), 1, {"train": 0}, (), {"train": {}})
    return scan.write(root.parent / "scan").manifest_path


def tree(root: Path) -> Tree:
    """Return bytes and modification time by path below `root`, None for folders; each journal's trash is `journal`."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        name = "/".join(["journal" if part.startswith("journal-") else part for part in parts])
        found[name] = None if path.is_dir() else (path.read_bytes(), path.stat().st_mtime_ns)
    return found


class Place:
    """A dataset with a manifest beside it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "data"
        self.manifest = folder / "scan" / "decisions.csv"
        for name in ("cat/1", "cat/2", "cat/3", "dog/1", "dog/4", "fox/5"):
            make(self.root / f"{name}.png")
        self.before = tree(self.root)

    def decide(self, *decisions: Decision) -> None:
        """Add decisions with the hash of the file, as the app does."""
        Manifest(self.manifest).append(*(self.with_hash(decision) for decision in decisions))

    def with_hash(self, decision: Decision) -> Decision:
        file = self.root / decision.path
        return replace(decision, sha256=decision.sha256 or sha256_of(file)) if file.is_file() else decision

    def decide_all(self) -> None:
        """Add deletes, a relabel to a taken name, one to a class without a folder, and one to an unknown class."""
        make_scan(self.root, "cat", "dog", "fox", "cow")
        self.decide(
            delete("cat/1.png"),
            relabel("dog/1.png", "cat"),
            relabel("cat/2.png", "cow"),
            relabel("fox/5.png", "dog"),
            delete("dog/4.png"),
            relabel("cat/3.png", "bird"),
        )

    def apply(self) -> Report:
        return apply(self.manifest, self.root)

    def journals(self) -> list[Path]:
        return sorted(self.manifest.parent.glob("journal-*"))
