"""Which decisions about an image are valid, and their manifest rows: the same rules on the page and in Python."""

from __future__ import annotations

import getpass
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

from cleaner.core.arguments import described, unexpected
from cleaner.core.errors import CleanerError
from cleaner.core.files import check_path, sha256_of
from cleaner.core.labelled_files import split_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Sample, now, parse_action
from cleaner.core.scan import Scan
from cleaner.core.suffixes import IMAGE_SUFFIXES, suffix_of
from cleaner.core.tasks import MULTI_LABEL, OTHER, join_labels, split_labels
from cleaner.core.terminal import abbreviate

__all__ = ["Deciding", "DecisionRules", "check_reviewer", "decide", "default_reviewer"]

_MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """The decisions that one reviewer may take about the images of a scan.

    Attributes:
        scan: the scan under review.
        reviewer: name for the rows.
    """

    scan: Scan
    reviewer: str

    def row(self, sample: Sample, action: Action, new_label: str = "") -> Decision:
        """Return a manifest row with the time and the file's hash of now, without checking the action."""
        return Decision(
            path=sample.path,
            action=action,
            label=self.label_of(sample),
            new_label=new_label,
            split=sample.split,
            loss=sample.loss,
            predicted=sample.predicted,
            sha256=self._sha256(sample.path),
            reviewer=self.reviewer,
            decided_at=now(),
        )

    def checked_label(self, sample: Sample, new_label: str, is_unreadable: bool = False) -> str:
        """Return the new label of an image; a label set in the order of the vocabulary.

        Raises:
            CleanerError: the image cannot get this label.
        """
        self.check_has_labels()
        if is_unreadable:
            raise CleanerError(f"{sample.path!r} could not be read, so it gets no label; decide keep, delete or unsure")
        is_set = self.scan.task == MULTI_LABEL
        labels = split_labels(new_label, self.scan.label_delim) if is_set else (new_label,)
        unknown = [label for label in labels if label not in self.scan.vocab]
        if unknown or not new_label:
            wrong, vocab = unknown[0] if unknown else new_label, self.scan.vocab
            close = get_close_matches(wrong, vocab, 1)
            advice = f"did you mean {close[0]!r}?" if close else f"pick one of its {len(vocab)}: {abbreviate(vocab)}"
            raise CleanerError(f"there is no label {wrong!r} in this scan; {advice}")
        ordered = self.join(labels) if is_set else new_label
        if ordered == self.label_of(sample):
            raise CleanerError(f"{sample.path!r} has the label {ordered!r} already; decide 'keep' to confirm it")
        return ordered

    def check_has_labels(self) -> None:
        """Check that the images of the scan carry labels."""
        if self.scan.task == OTHER:
            raise CleanerError("the images of this scan carry no labels; decide keep, delete or unsure")

    def join(self, labels: Collection[str]) -> str:
        """Return a label set as text, in the order of the vocabulary."""
        return join_labels([label for label in self.scan.vocab if label in labels], self.scan.label_delim)

    def label_of(self, sample: Sample) -> str:
        """Return what a sample carries today, as the manifest writes it."""
        if self.scan.task == MULTI_LABEL:
            return self.join(sample.given)
        return "" if self.scan.task == OTHER else sample.label

    def _sha256(self, path: str) -> str:
        """Return the file's hash; empty for an unreadable file, which may be the reason to delete it."""
        try:
            return sha256_of(self.scan.root / path)
        except OSError:
            return ""


@dataclass(frozen=True)
class Deciding:
    """The parts that each decision in code needs again: the manifest, and the kept and audited samples by path."""

    manifest: Manifest
    samples: Mapping[str, Sample]

    @classmethod
    def about(cls, scan: Scan) -> Deciding:
        """Read them once."""
        return cls(Manifest(scan.manifest_path), {s.path: s for s in reversed([*scan.samples, *scan.audit])})


def decide(scan: Scan, known: Deciding, path: Any, action: Any, new_label: Any, reviewer: str | None) -> Decision:
    """Write a decision to the manifest; arguments and errors are those of `Scan.decide`."""
    rules = DecisionRules(scan, default_reviewer() if reviewer is None else check_reviewer(reviewer))
    manifest = known.manifest
    manifest.refresh()
    file = _path_in(scan, path.path if isinstance(path, Sample) else path, known.samples)
    kept = known.samples.get(file)
    sample = kept or _listed(scan, file) or _unlisted(scan, file)
    label, wanted = _label_text(scan, new_label), _checked_action(scan, action)
    if wanted is Action.RELABEL and not label:
        vocab = scan.vocab
        raise CleanerError(f"'relabel' needs new_label, one of the {len(vocab)} labels: {abbreviate(vocab)}")
    if wanted is Action.RELABEL:
        is_unreadable = kept is None and file in {each.path for each in scan.unreadable}
        label = rules.checked_label(sample, label, is_unreadable)
    elif label:
        raise CleanerError(f"new_label is {label!r}, and the action {wanted.value!r}; only 'relabel' has a new label")
    elif wanted is Action.UNDO and file not in manifest.standing():
        raise CleanerError(f"{file!r} is not decided, so there is nothing to undo")
    row = rules.row(sample, wanted, label)
    is_unknown = kept is None and scan.task == MULTI_LABEL and not sample.given
    decision = replace(row, label="") if is_unknown else row
    manifest.append(decision)
    return decision


def check_reviewer(name: object) -> str:
    """Return a reviewer's name without spaces around it.

    Raises:
        CleanerError: it is not a printable text of 1 to 80 characters, or a spreadsheet would take it for a formula.
    """
    text = name.strip() if isinstance(name, str) else ""
    if not text or len(text) > _MAX_NAME or not text.isprintable() or text[0] in "=+-@":
        raise CleanerError(
            f"the reviewer's name is {str(name)[:_MAX_NAME]!r}; expected a text of 1 to {_MAX_NAME} characters "
            "that does not begin with '=', '+', '-' or '@'"
        )
    return text


def default_reviewer() -> str:
    """Return the name of the user, on JupyterHub of who logged in; empty without one, as in some containers."""
    try:
        return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def _path_in(scan: Scan, path: Any, known: Collection[str]) -> str:
    """Return the path of an existing image, relative to the dataset's folder; `known` are the scan's own."""
    root = scan.root
    if not isinstance(path, (str, os.PathLike)):
        advice = 'of a row of scan.top() pass row["path"]'
        raise unexpected("a sample of the scan or the path of an image", path, advice)
    given = Path(path)
    if not root.is_dir():
        raise CleanerError(
            f"there is no folder {scan.place!r} with the images, and a decision is about a file's bytes; decide where "
            "the images are, or on the page: cleaner.Review(scan, root=DIR)"
        )
    beginning = os.path.join(os.path.abspath(root), "")
    for place in (os.path.join(beginning, given), os.path.abspath(given)):
        absolute = os.path.normpath(place)
        if absolute.startswith(beginning) and os.path.isfile(absolute):
            return _checked_image(check_path(PurePath(absolute[len(beginning) :]).as_posix()), known)
    example = next((sample.path for sample in scan.samples), "cat/1.jpg")
    raise CleanerError(
        f"there is no image {described(path)} below {str(root)!r}; pass a path relative to that folder, such as "
        f"{example!r}"
    )


def _checked_image(path: str, known: Collection[str]) -> str:
    """Return a path that can be an image's: an apply would move any file."""
    is_hidden = any(part.startswith(".") for part in path.split("/"))
    if path not in known and (is_hidden or suffix_of(path) not in IMAGE_SUFFIXES):
        raise CleanerError(f"{path!r} is not an image of the dataset, but hidden or a file of another kind")
    return path


def _listed(scan: Scan, path: str) -> Sample | None:
    """Return an image that could not be read, or has an issue, as a sample without prediction."""
    unreadable = ((each.path, each.split, each.label) for each in scan.unreadable)
    with_issue = ((each.path, each.split, each.label) for each in scan.issues)
    found = next((entry for entry in chain(unreadable, with_issue) if entry[0] == path), None)
    return _sample(scan, *found) if found else None


def _unlisted(scan: Scan, path: str) -> Sample:
    """Return an image that is in no table of the scan; its label is the name of its folder, if that is a label."""
    folder = Path(path).parent.name
    split = split_of(os.path.join(scan.root, path), scan.root)
    only = scan.splits[0] if len(scan.splits) == 1 else ""
    label = folder if folder in scan.vocab and scan.task != MULTI_LABEL else ""
    return _sample(scan, path, split if split in scan.splits else only, label)


def _sample(scan: Scan, path: str, split: str, label: str) -> Sample:
    given = split_labels(label, scan.label_delim) if scan.task == MULTI_LABEL else ()
    return Sample(split, label, 1, path, math.nan, "", math.nan, given)


def _label_text(scan: Scan, new_label: Any) -> str:
    """Return a new label as the manifest writes it; a list is a label set."""
    if isinstance(new_label, (list, tuple, set, frozenset)) and scan.task == MULTI_LABEL:
        return join_labels(map(str, new_label), scan.label_delim)
    if new_label is not None and not isinstance(new_label, str):
        accepted = "text, or a list of labels," if scan.task == MULTI_LABEL else "text"
        raise CleanerError(f"new_label is {new_label!r}; expected {accepted} such as {scan.vocab[0]!r}")
    return new_label or ""


def _checked_action(scan: Scan, action: Any) -> Action:
    if isinstance(action, str) and action in scan.vocab and action not in set(Action):
        raise CleanerError(f"action is {action!r}, which is a label; pass 'relabel', {action!r}")
    return parse_action(action)
