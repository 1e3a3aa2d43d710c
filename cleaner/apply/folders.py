"""Labels in folder names: the label of an image is the name of its folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cleaner.apply.dataset_paths import numbered
from cleaner.apply.plan import Refusal
from cleaner.core.records import Decision

__all__ = ["FolderLabels"]


@dataclass(frozen=True)
class FolderLabels:
    """A dataset in which the label of an image is the name of its folder.

    Attributes:
        root: the dataset's folder.
        known: labels that may get a new folder; None if only existing folders are classes.
    """

    root: Path
    known: frozenset[str] | None = None

    @classmethod
    def from_vocab(cls, root: Path, vocab: Iterable[str] | None) -> FolderLabels:
        """Return the labels of a dataset whose scan has the labels `vocab`; None without a scan."""
        return cls(root, None if vocab is None else frozenset(vocab))

    def relabelled(self, decision: Decision) -> Iterator[str]:
        """See `cleaner.apply.file_moves.PathLabels`."""
        path = PurePosixPath(decision.path)
        if decision.label and path.parent.name != decision.label:
            raise Refusal(
                f"its folder is {path.parent.name!r}, not its label {decision.label!r}: folder names are not the "
                "labels here. If file names contain the label, give --name-pattern (name_pattern=); if a table has "
                "it, give --labels (labels=); else train on the items that cleaner.cleaned returns"
            )
        if path.parent.name == decision.new_label:
            raise Refusal(f"it has the label {decision.new_label!r} already")
        if len(path.parts) < 2:
            raise Refusal("it lies in the dataset's folder itself, which is no class")
        self._check_class(path, decision.new_label)
        return numbered((path.parent.parent / decision.new_label / path.name).as_posix())

    def _check_class(self, path: PurePosixPath, label: str) -> None:
        # A hidden folder, such as the trash, is no class: its images are not listed.
        if not label or label.startswith(".") or any(c in label for c in "/\\\0"):
            raise Refusal(f"no folder can be called {label!r}")
        folder = self.root / path.parent.parent / label
        if os.path.isdir(folder):
            return
        if self.known is None or label not in self.known:
            raise Refusal(f"there is no class {label!r} beside it: {os.fspath(folder)!r} does not exist")
        if path.parent.name not in self.known:
            raise Refusal(f"its folder is {path.parent.name!r}, which is no class; nor is there {os.fspath(folder)!r}")
