"""Labels in file names: a pattern finds the label of an image in the name of its file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cleaner.apply.dataset_paths import split_suffix
from cleaner.apply.plan import Refusal
from cleaner.core.errors import CleanerError
from cleaner.core.files import image_files
from cleaner.core.records import Decision

__all__ = ["NameLabels"]

# Numbers tried for one file: enough for any folder, and a limit for a pattern that fits no name.
_MAX_NUMBER = 10_000


@dataclass(frozen=True)
class NameLabels:
    """A dataset in which the label of an image is part of its file's name, such as `Bengal_12.jpg`.

    Attributes:
        root: the dataset's folder.
        pattern: its first group is the label, searched in the name as by fastai's `from_name_re`, else in the whole
            path as by `from_path_re`.
        known: the labels.
    """

    root: Path
    pattern: re.Pattern[str]
    known: frozenset[str]

    @classmethod
    def from_vocab(cls, root: Path, pattern: str, vocab: Iterable[str] | None) -> NameLabels:
        """Return the labels of a dataset whose scan has the labels `vocab`; None takes those of file names."""
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

    def relabelled(self, decision: Decision) -> Iterator[str]:
        """Yield paths with the new label of a decision, relative to the root: all in one folder, best first."""
        begin, end = self._span(decision)
        if decision.new_label not in self.known:
            raise Refusal(f"there is no class {decision.new_label!r}")
        renamed = f"{decision.path[:begin]}{decision.new_label}{decision.path[end:]}"
        name = renamed.rpartition("/")[2]
        if any(c in decision.new_label for c in "/\\\0") or name.startswith("."):
            raise Refusal(f"no file can be called {name!r}")
        label = self._read(renamed)
        if label != decision.new_label:
            what = "no label" if label is None else f"the label {label!r}"
            raise Refusal(f"it would be called {name!r}, in which the name pattern finds {what}")
        return self._readable(renamed, decision.new_label)

    def _span(self, decision: Decision) -> tuple[int, int]:
        """Return where the label begins and ends in the path of a decision."""
        match, offset = self._match(decision.path)
        if match is None or match[1] is None:
            raise Refusal(f"the name pattern {self.pattern.pattern!r} finds no label in its name")
        if decision.label and match[1] != decision.label:
            raise Refusal(
                f"the name pattern finds {match[1]!r} in its name, not its label {decision.label!r}; a label that is "
                "not part of the name cannot be changed there. Train on the items that cleaner.cleaned returns"
            )
        if match[1] == decision.new_label:
            raise Refusal(f"it has the label {match[1]!r} already")
        begin, end = match.start(1) - offset, match.end(1) - offset
        if begin < decision.path.rfind("/") + 1:
            raise Refusal("the name pattern finds the label in the name of a folder; only names of files are changed")
        return begin, end

    def _match(self, path: str) -> tuple[re.Match[str] | None, int]:
        """Return the match, and the position of the path in the text that was searched."""
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
        """Yield the path and numbered variants in which the pattern finds the label."""
        for candidate in chain((path,), _variants(path)):
            if self._read(candidate) == label:
                yield candidate
        raise Refusal(f"the name {path.rpartition('/')[2]!r} is taken, and no other with this label was found")


def _variants(path: str) -> Iterator[str]:
    """Yield for `cat_07.jpg`: `cat_07_1.jpg`, `cat_071.jpg`, `1cat_07.jpg`, `cat_08.jpg`, `cat_07_2.jpg`, …"""
    stem, suffix = split_suffix(path)
    folder, slash, name = path.rpartition("/")
    head = stem.rstrip("0123456789")
    digits = stem[len(head) :]
    for n in range(1, _MAX_NUMBER):
        yield f"{stem}_{n}{suffix}"
        yield f"{stem}{n}{suffix}"
        yield f"{folder}{slash}{n}{name}"
        if digits:
            # A pattern may count the digits.
            yield f"{head}{(int(digits) + n) % 10 ** len(digits):0{len(digits)}d}{suffix}"
