"""A dataset with a label table."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from cleaner.apply import apply
from cleaner.apply.execute import Report
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Decision
from tests.support.folders import delete, make, make_scan, relabel, tree

CSV = (
    b"\xef\xbb\xbfid,fname,label,note\r\n"
    b'1,train/1.png,cat,"a, ""b"""\r\n'
    b'2,"train/2.png","dog",\n'
    b"3,train/3.png,cat,two \xc3\xa9\r\n"
    b"\r\n"
    b"4,valid/1.png,fox,\r\n"
    b"5,./=5.png,dog,"
)


class Place:
    """A dataset with a label table in it, and a manifest beside it."""

    def __init__(self, folder: Path, content: bytes = CSV, table: str = "data/labels.csv") -> None:
        self.root = folder / "data"
        self.table = folder / table
        self.manifest = folder / "scan" / "decisions.csv"
        for path in ("train/1.png", "train/2.png", "train/3.png", "valid/1.png", "=5.png"):
            make(self.root / path)
        self.table.write_bytes(content)
        self.table.chmod(0o640)
        os.utime(self.table, ns=(10**18, 10**18 + 7))
        self.before = tree(self.root)

    def decide(self, *decisions: Decision) -> None:
        """Add decisions with the hash of the file, as the app does."""
        for decision in decisions:
            file = self.root / decision.path
            sha256 = decision.sha256 or (sha256_of(file) if file.is_file() else "")
            Manifest(self.manifest).append(replace(decision, sha256=sha256))

    def decide_all(self) -> None:
        make_scan(self.root, "cat", "dog", "fox", "a, b")
        self.decide(
            delete("train/1.png", label="cat"),
            relabel("train/2.png", "fox", label="dog"),
            relabel("train/3.png", "dog"),
            delete("=5.png"),
            relabel("valid/1.png", "bird"),
        )

    def apply(self, **columns: Any) -> Report:
        return apply(self.manifest, self.root, labels=self.table, **columns)

    def reasons(self) -> dict[str, str]:
        planned = apply(self.manifest, self.root, labels=self.table, dry_run=True)
        assert tree(self.root) == self.before
        assert planned.planned == ()
        return {conflict.path: conflict.reason for conflict in planned.conflicts}
