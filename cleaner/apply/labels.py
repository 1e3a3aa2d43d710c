"""Where labels live, and what changing one means: in the name of the image's folder, or in that of the file itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Protocol

from cleaner.core.errors import CleanerError
from cleaner.core.files import image_files
from cleaner.core.records import Action, Decision

__all__ = ["FolderLabels", "Labels", "NameLabels", "Refusal"]

# Numbers that are tried for one file; enough for any folder, and an end for a pattern that fits no name.
_TRIED = 10_000


class Refusal(Exception):  # noqa: N818 - not an error of the program, but the reason why one decision is left alone
    """Why a decision cannot be carried out; its message is for people."""


class Labels(Protocol):
    """A dataset of files whose paths say their labels."""

    @property
    def root(self) -> Path:
        """The dataset's folder."""

    def targets(self, decision: Decision, trash: str) -> Iterator[str]:
        """The paths, relative to the root, that a decision may give to its file: all in one folder, best first.

        Args:
            decision: one that moves a file.
            trash: the folder of deleted files.

        Raises:
            Refusal: the decision makes no sense for the labels as they are; also while the paths are taken.
        """


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

    def targets(self, decision: Decision, trash: str) -> Iterator[str]:
        """See `Labels`."""
        path = PurePosixPath(decision.path)
        if decision.action is Action.DELETE:
            return _numbered(f"{trash}/{path}")
        if decision.label and path.parent.name != decision.label:
            raise Refusal(
                f"its folder is {path.parent.name!r}, not its label {decision.label!r}: that is no label of a folder. "
                "If the label stands in the file's name, say how with --name-pattern (name_pattern=); if in a "
                "table, name that with --labels (labels=); else train on what cleaner.cleaned makes of your items"
            )
        if path.parent.name == decision.new_label:
            raise Refusal(f"it has the label {decision.new_label!r} already")
        if len(path.parts) < 2:
            raise Refusal("it lies in the dataset's folder itself, which is no class")
        self._check_class(path, decision.new_label)
        return _numbered((path.parent.parent / decision.new_label / path.name).as_posix())

    def _check_class(self, path: PurePosixPath, label: str) -> None:
        # A hidden folder is no class: its images are not listed. That of deleted files is one.
        if not label or label.startswith(".") or any(c in label for c in "/\\\0"):
            raise Refusal(f"no folder can be called {label!r}")
        folder = self.root / path.parent.parent / label
        if os.path.isdir(folder):
            return
        if self.known is None or label not in self.known:
            raise Refusal(f"there is no class {label!r} beside it: {os.fspath(folder)!r} does not exist")
        if path.parent.name not in self.known:
            raise Refusal(f"its folder is {path.parent.name!r}, which is no class; nor is there {os.fspath(folder)!r}")


@dataclass(frozen=True)
class NameLabels:
    """A dataset in which the label of an image stands in the name of its file, such as `Bengal_12.jpg`.

    Attributes:
        root: the dataset's folder.
        pattern: finds the label, its first group, as the one that was given to fastai's `from_name_re`, or, where that
            finds nothing in a name, to `from_path_re`.
        known: the labels.
    """

    root: Path
    pattern: re.Pattern[str]
    known: frozenset[str]

    @classmethod
    def of(cls, root: Path, pattern: str, vocab: Iterable[str] | None) -> NameLabels:
        """For a dataset whose scan names the labels in `vocab`; without a scan, None, those of its files are known.

        Raises:
            CleanerError: the pattern is no regular expression with a group.
        """
        try:
            compiled = re.compile(pattern)
        except (re.error, TypeError) as error:
            raise CleanerError(f"the name pattern {pattern!r} is no regular expression: {error}") from error
        if not compiled.groups:
            raise CleanerError(f"the name pattern {pattern!r} has no group; put the label in one, as in '(.+)_'")
        if vocab is not None:
            return cls(root, compiled, frozenset(vocab))
        labels = cls(root, compiled, frozenset())
        paths = (os.path.relpath(file, root).replace(os.sep, "/") for file in image_files(root))
        return cls(root, compiled, frozenset(label for path in paths if (label := labels._read(path)) is not None))

    def targets(self, decision: Decision, trash: str) -> Iterator[str]:
        """See `Labels`."""
        if decision.action is Action.DELETE:
            return _numbered(f"{trash}/{decision.path}")
        begin, end = self._span(decision)
        if decision.new_label not in self.known:
            raise Refusal(f"there is no class {decision.new_label!r}")
        renamed = f"{decision.path[:begin]}{decision.new_label}{decision.path[end:]}"
        name = renamed.rpartition("/")[2]
        if any(c in decision.new_label for c in "/\\\0") or name.startswith("."):
            raise Refusal(f"no file can be called {name!r}")
        found = self._read(renamed)
        if found != decision.new_label:
            what = "no label" if found is None else f"the label {found!r}"
            raise Refusal(f"it would be called {name!r}, in which the name pattern finds {what}")
        return self._readable(renamed, decision.new_label)

    def _span(self, decision: Decision) -> tuple[int, int]:
        """Where in the path of a decision the label begins and ends."""
        match, before = self._match(decision.path)
        if match is None or match[1] is None:
            raise Refusal(f"the name pattern {self.pattern.pattern!r} finds no label in its name")
        if decision.label and match[1] != decision.label:
            raise Refusal(
                f"the name pattern finds {match[1]!r} in its name, not its label {decision.label!r}; a label that is "
                "not written in the name cannot be changed there: train on what cleaner.cleaned makes of your items"
            )
        if match[1] == decision.new_label:
            raise Refusal(f"it has the label {match[1]!r} already")
        begin, end = match.start(1) - before, match.end(1) - before
        if begin < decision.path.rfind("/") + 1:
            raise Refusal("the name pattern finds the label in the name of a folder; only names of files are changed")
        return begin, end

    def _match(self, path: str) -> tuple[re.Match[str] | None, int]:
        """What the pattern finds, and where the path begins in the text in which that was found."""
        folder, slash, name = path.rpartition("/")
        match = self.pattern.search(name)
        if match is not None:
            return match, -len(folder + slash)
        beginning = os.path.join(self.root, "").replace(os.sep, "/")
        return self.pattern.search(beginning + path), len(beginning)

    def _read(self, path: str) -> str | None:
        match, _ = self._match(path)
        return None if match is None else match[1]

    def _readable(self, path: str, label: str) -> Iterator[str]:
        """The path and others with a number, in all of which the pattern finds the label."""
        for candidate in chain((path,), _other_names(path)):
            if self._read(candidate) == label:
                yield candidate
        raise Refusal(f"the name {path.rpartition('/')[2]!r} is taken, and no other with this label was found")


def _numbered(path: str) -> Iterator[str]:
    """`name.jpg`, `name_1.jpg`, `name_2.jpg`, and so on without an end."""
    yield path
    stem, suffix = _parts(path)
    for n in count(1):
        yield f"{stem}_{n}{suffix}"


def _other_names(path: str) -> Iterator[str]:
    """Of `cat_07.jpg`: `cat_07_1.jpg`, `cat_071.jpg`, `1cat_07.jpg`, `cat_08.jpg`, `cat_07_2.jpg`, and so on."""
    stem, suffix = _parts(path)
    folder, slash, name = path.rpartition("/")
    head = stem.rstrip("0123456789")
    digits = stem[len(head) :]
    for n in range(1, _TRIED):
        yield f"{stem}_{n}{suffix}"
        yield f"{stem}{n}{suffix}"
        yield f"{folder}{slash}{n}{name}"
        if digits:
            # As many digits as there are: a pattern may count them.
            yield f"{head}{(int(digits) + n) % 10 ** len(digits):0{len(digits)}d}{suffix}"


def _parts(path: str) -> tuple[str, str]:
    suffix = PurePosixPath(path).suffix
    return path[: len(path) - len(suffix)], suffix
