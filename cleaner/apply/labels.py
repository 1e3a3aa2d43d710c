"""Where labels live, and what changing one means. Here: the label of an image is the name of its folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cleaner.core.records import Action, Decision

__all__ = ["FolderLabels", "Refusal"]


class Refusal(Exception):  # noqa: N818 - not an error of the program, but the reason why one decision is left alone
    """Why a decision cannot be carried out; its message is for people."""


@dataclass(frozen=True)
class FolderLabels:
    """A dataset in which the label of an image is the name of the folder that holds it.

    Attributes:
        root: the dataset's folder.
        known: labels that may get a new folder; None where only the folders that there are count as classes.
    """

    root: Path
    known: frozenset[str] | None = None

    @classmethod
    def of(cls, root: Path, vocab: Iterable[str] | None) -> FolderLabels:
        """For a dataset whose scan names the labels in `vocab`, or None where there is no scan."""
        return cls(root, None if vocab is None else frozenset(vocab))

    def target(self, decision: Decision, trash: str) -> str:
        """The path, relative to the root, that the decision gives to its file; `trash` is the folder of deleted files.

        Raises:
            Refusal: the decision makes no sense for the folders as they are.
        """
        path = PurePosixPath(decision.path)
        if decision.action is Action.DELETE:
            return f"{trash}/{path}"
        if decision.label and path.parent.name != decision.label:
            raise Refusal(f"its folder is {path.parent.name!r}, not its label {decision.label!r}; no label of a folder")
        if path.parent.name == decision.new_label:
            raise Refusal(f"it has the label {decision.new_label!r} already")
        if len(path.parts) < 2:
            raise Refusal("it lies in the dataset's folder itself, which is no class")
        self._check_class(path, decision.new_label)
        return (path.parent.parent / decision.new_label / path.name).as_posix()

    def _check_class(self, path: PurePosixPath, label: str) -> None:
        # A hidden folder is no class: its images are not listed. That of deleted files is one.
        if not label or label.startswith(".") or any(c in label for c in "/\\\0"):
            raise Refusal(f"no folder can be called {label!r}")
        folder = self.root / path.parent.parent / label
        if not os.path.isdir(folder) and (self.known is None or label not in self.known):
            raise Refusal(f"there is no class {label!r} beside it: {os.fspath(folder)!r} does not exist")
