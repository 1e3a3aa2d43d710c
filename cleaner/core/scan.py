"""Scan: the result of one scan, its queries, and the scan folder that it is written to and read from."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cleaner.core.arguments import check_scan_folder
from cleaner.core.errors import CleanerError
from cleaner.core.features import FEATURE_FILES, Features
from cleaner.core.issues import ISSUES, Issue
from cleaner.core.records import ClassLosses, Sample, Typical, Unreadable
from cleaner.core.scan_files import ReplacedScanError, ScanFiles, writing
from cleaner.core.scan_json import FORMAT, read_description
from cleaner.core.scan_tables import CLASSES, CONFUSION, TYPICAL, UNREADABLE, Table, audit, top_losses
from cleaner.core.suffixes import check_counts
from cleaner.core.tasks import MULTI_LABEL, SINGLE_LABEL, check_distinct, check_has_confusion, check_task, split_labels
from cleaner.core.terminal import abbreviate

if TYPE_CHECKING:
    import pandas as pd

    from cleaner.core.agreement import Agreement
    from cleaner.core.decision_rules import Deciding
    from cleaner.core.estimate import Estimate
    from cleaner.core.records import Decision

__all__ = ["LazyRecords", "Scan", "load", "scan_at"]

# How often a scan may be replaced while it is loaded.
_MAX_ATTEMPTS = 20
# The fields that stand in `scan.json` as they are.
_STORED_AS_IS = (
    "left_out",
    "ranked_by",
    "task",
    "label_delim",
    "settings",
    "versions",
    "started",
    "finished",
)
_Row = TypeVar("_Row")


class LazyRecords(Sequence[_Row]):
    """Records that are made on each iteration, and kept only once they are counted or indexed.

    The kept samples of a scan can take more memory as objects than scoring took.

    Args:
        make: returns all records, in order.
    """

    def __init__(self, make: Callable[[], Iterable[_Row]]) -> None:
        self._make = make
        self._records: list[_Row] | None = None

    def __iter__(self) -> Iterator[_Row]:
        return iter(self._make() if self._records is None else self._records)

    def __len__(self) -> int:
        return len(self._all())

    def __getitem__(self, index: Any) -> Any:
        return self._all()[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _all(self) -> list[_Row]:
        if self._records is None:
            self._records = list(self._make())
        return self._records


@dataclass(frozen=True)
class Scan:
    """The result of one scan of a dataset.

    Attributes:
        root: the dataset's folder; every path is relative to it. For a scan of an address, `scan_at` sets the folder
            of a copy.
        vocab: the labels, in the order of the model's outputs.
        splits: names of the scanned splits.
        k: maximum number of samples kept per split and label.
        scored: number of samples scored, per split.
        samples: the kept samples, by split, label (in the order of the vocabulary) and rank.
        cells: the non-zero confusion counts of each split, `(label, predicted) -> count`; empty for tasks other than
            `single-label`.
        unreadable: the files that could not be read.
        losses: the losses of all samples per split and label; empty in scans of early versions.
        typical: samples with the lowest losses that are predicted as labelled, by split, label and rank; empty in scans
            of early versions.
        audit: a random sample of the samples that were not kept, in a random order within split and label; the rank is
            the position in it. Empty in scans of early versions.
        ranked_by: name of the score in the `loss` of the samples, such as `loss` or `margin`.
        settings: how the scan was run; for people and for comparison.
        versions: versions of the libraries used.
        started, finished: UTC, ISO 8601.
        folder: the scan folder that this was read from or written to.
        task: `single-label`, `multi-label` or `other`; see `cleaner.core.tasks`.
        label_delim: joins the labels of an image in the files of a multi-label scan; else empty.
        left_out: number of files skipped because their suffix is not that of an image, by suffix; the empty suffix
            counts files without one.
        address: the fsspec address of the scanned images; empty for images in the folder `root`.
        generation: identifies this scan among those written to the same folder; empty before it is written, and in
            folders of version 0.1.
        issues: what `cleaner check` found last, in the order of `issues.csv`; a scan that replaces this one keeps them.

    Raises:
        CleanerError: fields contradict each other.

    Examples:
        >>> scan = cleaner.load("scan")
        >>> scan.splits, scan.vocab
        (('train', 'valid'), ('bear', 'cat', 'dog'))
        >>> worst = scan.worst(3)
        >>> [sample.loss for sample in worst] == sorted((sample.loss for sample in worst), reverse=True)
        True
        >>> scan.top().columns.tolist()[:3]
        ['split', 'label', 'rank']
        >>> scan.decide(worst[0], "keep", reviewer="anna").path == worst[0].path
        True
        >>> scan.decide("cat/cat_2.png", "relabel", "dog", reviewer="anna").new_label
        'dog'
        >>> scan.decisions()["action"].tolist()[-2:]
        ['keep', 'relabel']
    """

    root: Path
    vocab: tuple[str, ...]
    splits: tuple[str, ...]
    k: int
    scored: Mapping[str, int]
    samples: Sequence[Sample]
    cells: Mapping[str, Mapping[tuple[str, str], int]]
    unreadable: tuple[Unreadable, ...] = ()
    losses: tuple[ClassLosses, ...] = ()
    ranked_by: str = "loss"
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    started: str = ""
    finished: str = ""
    folder: Path | None = None
    task: str = SINGLE_LABEL
    label_delim: str = ""
    address: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    generation: str = field(default="", compare=False)
    typical: Sequence[Typical] = ()
    audit: Sequence[Sample] = ()
    issues: tuple[Issue, ...] = ()

    def __post_init__(self) -> None:
        check_task(self.task, self.label_delim, self.vocab)
        check_counts(self.left_out, "left_out")
        check_distinct(self.vocab, "the scan")
        if isinstance(self.samples, LazyRecords):
            return  # to check them would make them all; `load` checks them
        names = _Names.from_lists(self.splits, self.vocab, self.label_delim)
        for sample in self.samples:
            try:
                names.check_sample(sample)
            except CleanerError as error:
                raise CleanerError(f"{sample.path!r}: {error}") from error

    def kept(self, split: str, label: str) -> tuple[Sample, ...]:
        """Return the kept samples of a split and label, highest loss first.

        Raises:
            CleanerError: the scan has no such split or label.

        Examples:
            >>> [sample.rank for sample in scan.kept("train", "cat")]
            [1, 2, 3, 4, 5]
        """
        self._check_split(split)
        self._check_label(label)
        return self._by_class.get((split, label), ())

    def worst(self, n: int | None = None, split: str | None = None, label: str | None = None) -> list[Sample]:
        """Return the `n` kept samples with the highest loss; NaN and infinite losses come first.

        Args:
            n: maximum number of samples, at least 1; all by default.
            split: only this split.
            label: only this label.

        Raises:
            CleanerError: `n` is below 1, or the scan has no such split or label.

        Examples:
            >>> worst = scan.worst(2, label="cat")
            >>> [sample.label for sample in worst]
            ['cat', 'cat']
            >>> worst[0].loss >= worst[1].loss
            True
        """
        if n is not None and (not isinstance(n, Integral) or n < 1):
            raise CleanerError(f"n is {n!r}; expected a whole number of at least 1")
        if split is not None:
            self._check_split(split)
        if label is not None:
            self._check_label(label)
        samples = [s for s in self.samples if split in (None, s.split) and label in (None, s.label)]
        return sorted(samples, key=lambda s: (-s.loss if math.isfinite(s.loss) else -math.inf, s.path))[:n]

    def top(self, split: str | None = None, label: str | None = None) -> pd.DataFrame:
        """Return all kept samples as `worst` does, with the columns of `top_losses.csv`.

        Args:
            split: only this split.
            label: only this label.

        Raises:
            CleanerError: the scan has no such split or label.

        Examples:
            >>> scan.top(label="cat")["label"].unique().tolist()
            ['cat']
            >>> scan.top()["loss"].is_monotonic_decreasing
            True
        """
        return _frame(self._table.columns, self.worst(None, split, label))

    def confusion(self, split: str) -> pd.DataFrame:
        """Return the non-zero confusion counts of a split, with the columns `label`, `predicted` and `count`.

        Raises:
            CleanerError: the scan has no such split, or its task is not `single-label`.

        Examples:
            >>> int(scan.confusion("valid")["count"].sum()) == scan.scored["valid"]
            True
        """
        import pandas as pd

        check_has_confusion(self.task)
        self._check_split(split)
        rows = [(label, predicted, count) for (label, predicted), count in self.cells[split].items()]
        frame: pd.DataFrame = pd.DataFrame(rows, columns=list(CONFUSION.columns[1:]))
        return frame

    def most_confused(self, split: str | None = None, min_val: int = 1) -> pd.DataFrame:
        """Return the wrong cells of the confusion matrix with at least `min_val` samples, highest count first.

        Args:
            split: one split; all by default.
            min_val: lowest count to report.

        Raises:
            CleanerError: the scan has no such split, or its task is not `single-label`.

        Examples:
            >>> scan.most_confused(min_val=2).columns.tolist()
            ['split', 'label', 'predicted', 'count']
        """
        import pandas as pd

        splits = self.splits if split is None else (split,)
        frame = pd.concat([self.confusion(name).assign(split=name) for name in splits], ignore_index=True)
        wrong = frame[(frame["label"] != frame["predicted"]) & (frame["count"] >= min_val)]
        order = wrong.sort_values(["count", "split", "label", "predicted"], ascending=[False, True, True, True])
        ranked: pd.DataFrame = order[list(CONFUSION.columns)].reset_index(drop=True)
        return ranked

    def of_classes(self, split: str) -> list[ClassLosses]:
        """Return the losses of all samples of each scored label of a split, in the order of the vocabulary.

        For scans without `losses` the numbers of samples come from the confusion counts.

        Raises:
            CleanerError: the scan has no such split.

        Examples:
            >>> [losses.label for losses in scan.of_classes("train")]
            ['bear', 'cat', 'dog']
        """
        self._check_split(split)
        known = {losses.label: losses for losses in self.losses if losses.split == split}
        counts: dict[str, list[int]] = {}
        for (label, predicted), count in self.cells[split].items():
            total = counts.setdefault(label, [0, 0])
            total[0] += count
            total[1] += count * (label != predicted)
        for label, (scored, otherwise) in counts.items():
            known.setdefault(label, ClassLosses(split, label, scored, otherwise))
        return [known[label] for label in self.vocab if label in known]

    def classes(self, split: str | None = None) -> pd.DataFrame:
        """Return `of_classes` with the columns of `classes.csv`; `histogram` holds a tuple with a count per bin.

        Args:
            split: only this split.

        Raises:
            CleanerError: the scan has no such split.

        Examples:
            >>> scan.classes("train")[["label", "scored"]].values.tolist()
            [['bear', 5], ['cat', 5], ['dog', 5]]
        """
        splits = self.splits if split is None else (split,)
        return _frame(CLASSES.columns, [losses for name in splits for losses in self.of_classes(name)])

    def by_path(self) -> dict[str, Sample]:
        """Return one sample per path: the first, where the dataset lists a file more than once.

        The audit sample is included, and unreadable files as `unreadable_samples` returns them.

        Examples:
            >>> scan.by_path()["cat/cat_0.png"].label
            'cat'
        """
        samples: dict[str, Sample] = {}
        for sample in (*self.samples, *self.audit, *self.unreadable_samples()):
            samples.setdefault(sample.path, sample)
        return samples

    def unreadable_samples(self) -> list[Sample]:
        """Return the unreadable files as samples without prediction, with a loss and confidence of NaN.

        Examples:
            >>> scan.unreadable_samples()
            []
        """
        samples = []
        for rank, file in enumerate(self.unreadable, start=1):
            given = split_labels(file.label, self.label_delim) if self.task == MULTI_LABEL else ()
            samples.append(Sample(file.split, file.label, rank, file.path, math.nan, "", math.nan, given))
        return samples

    def estimate(self) -> Estimate:
        """Return how many errors were found and how many are left, from the decisions and the audit sample.

        Raises:
            CleanerError: the scan has no folder, or its manifest is invalid.

        Examples:
            >>> scan.estimate().found
            2
        """
        from cleaner.core.estimate import estimate

        return estimate(self)

    def agreement(self) -> Agreement:
        """Return how far the reviewers of this scan agree.

        Raises:
            CleanerError: the scan has no folder, or its manifest is invalid.

        Examples:
            >>> _ = scan.decide("cat/cat_2.png", "keep", reviewer="ann")
            >>> _ = scan.decide("cat/cat_2.png", "delete", reviewer="ben")
            >>> scan.agreement().differing
            {'cat/cat_2.png': {'ann': 'keep', 'ben': 'delete'}}
        """
        from cleaner.core.agreement import agreement
        from cleaner.core.manifest import Manifest

        return agreement(Manifest(self.manifest_path).standing())

    def decide(
        self,
        path: Sample | str | Path,
        action: str,
        new_label: str | Sequence[str] | None = None,
        *,
        reviewer: str | None = None,
    ) -> Decision:
        """Write a decision about an image to the manifest, as the page does; on return it is on the disk.

        A later decision about the same image replaces it. `cleaner.apply` carries the decisions out.

        Args:
            path: a sample of this scan, or an image of the dataset, also one that the scan did not keep: relative to
                the dataset's folder, or an existing file below it.
            action: `keep`, `delete`, `relabel`, `unsure`, or `undo` for back to undecided.
            new_label: with `relabel` a label of the vocabulary; in a multi-label scan all labels of the image.
            reviewer: who decides; by default the name of the user.

        Returns:
            the row that was added.

        Raises:
            CleanerError: there is no such image, action or label, or the scan has no folder; nothing was written.
            OSError: the manifest cannot be written.

        Examples:
            >>> scan.decide("cat/cat_2.png", "relabel", "dog").action.value
            'relabel'
            >>> scan.decide(scan.worst(1)[0], "unsure", reviewer="anna").reviewer
            'anna'
        """
        from cleaner.core.decision_rules import decide

        return decide(self, self._deciding, path, action, new_label, reviewer)

    def decisions(self) -> pd.DataFrame:
        """Return the latest decision of each path, with the columns of `decisions.csv`, as the file is now.

        Raises:
            CleanerError: the scan has no folder, or its manifest is invalid.

        Examples:
            >>> scan.decisions()[["path", "action"]].values.tolist()
            [['cat/cat_0.png', 'delete'], ['dog/dog_1.png', 'relabel']]
        """
        from cleaner.core.manifest import Manifest

        return Manifest(self.manifest_path).decisions()

    @cached_property
    def _deciding(self) -> Deciding:
        from cleaner.core.decision_rules import Deciding

        return Deciding.about(self)

    def __repr__(self) -> str:
        from cleaner.core.scan_markup import scan_text

        return scan_text(self)

    def _repr_html_(self) -> str:
        from cleaner.core.scan_markup import scan_html

        return scan_html(self)

    @property
    def place(self) -> str:
        """The folder or address of the scanned images, for people."""
        return self.address or str(self.root)

    @property
    def manifest_path(self) -> Path:
        """Path of the decisions about this scan.

        Raises:
            CleanerError: the scan was never written to a folder.
        """
        if self.folder is None:
            raise CleanerError("this scan has no folder yet; write it with scan.write(folder) or load it from one")
        return self.folder / "decisions.csv"

    @property
    def drawn_in(self) -> Path | None:
        """The folder to pass to `drawn_file`; None before the scan is written."""
        return ScanFiles(self.folder, self.generation).drawn_in if self.folder else None

    def write(self, folder: Path) -> Scan:
        """Write the scan folder; an earlier scan in it is replaced as a whole.

        Returns:
            this scan with `folder` and `generation` set.

        Raises:
            CleanerError: another process is writing a scan to the folder.
            OSError: the folder cannot be written; it holds the old scan or the new one.

        Examples:
            >>> scan.write(Path("copy")).folder.name
            'copy'
        """
        with writing(folder) as files:
            return self.write_to(files)

    def write_to(self, files: ScanFiles) -> Scan:
        """Write to a folder that is locked already; otherwise like `write`."""
        top, audited = self._table, audit(self.label_delim)
        top.write(files, self.samples)
        audited.write(files, self.audit)
        TYPICAL.write(files, self.typical)
        rows = ((split, *pair, count) for split in self.splits for pair, count in self.cells[split].items())
        CONFUSION.write(files, rows)
        UNREADABLE.write(files, self.unreadable)
        CLASSES.write(files, self.losses)
        files.commit(json.dumps(self._description(files.generation), indent=2, ensure_ascii=False) + "\n")
        object.__setattr__(self, "folder", files.folder)
        object.__setattr__(self, "generation", files.generation)
        if isinstance(self.samples, LazyRecords):
            # Frees what made the records; they are read from the folder when needed.
            object.__setattr__(self, "samples", LazyRecords(lambda: _read_whole(top, files)))
            object.__setattr__(self, "audit", LazyRecords(lambda: _read_whole(audit(self.label_delim), files)))
            object.__setattr__(self, "typical", LazyRecords(lambda: _read_whole(TYPICAL, files)))
        return self

    @cached_property
    def features(self) -> Features | None:
        """The features of all samples, if the scan kept them.

        Raises:
            CleanerError: their files are damaged.
        """
        if self.folder is None or not self.settings.get("features"):
            return None
        files = ScanFiles(self.folder, self.generation)
        return Features([files.path(name) for name in FEATURE_FILES])

    @property
    def _table(self) -> Table[Sample]:
        """`top_losses.csv` of this scan's task."""
        return top_losses(self.label_delim)

    @cached_property
    def _by_class(self) -> dict[tuple[str, str], tuple[Sample, ...]]:
        groups: dict[tuple[str, str], list[Sample]] = {}
        for sample in self.samples:
            groups.setdefault((sample.split, sample.label), []).append(sample)
        return {key: tuple(sorted(group, key=lambda s: s.rank)) for key, group in groups.items()}

    def _check_split(self, split: str) -> None:
        if split not in self.splits:
            raise CleanerError(f"there is no split {split!r}; the scan has {list(self.splits)}")

    def _check_label(self, label: str) -> None:
        if label not in self.vocab:
            raise CleanerError(f"there is no label {label!r}; the scan has {abbreviate(self.vocab)}")

    def _description(self, generation: str) -> dict[str, Any]:
        unreadable = Counter(file.split for file in self.unreadable)
        values = {name: getattr(self, name) for name in _STORED_AS_IS}
        return {
            "format": FORMAT,
            "root": self.address or self.root.as_posix(),
            "vocab": list(self.vocab),
            "splits": list(self.splits),
            "k": self.k,
            "scored": dict(self.scored),
            "unreadable": {split: unreadable[split] for split in self.splits},
            **{name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()},
            "generation": generation,
        }


def load(folder: str | Path) -> Scan:
    """Read a scan folder.

    Args:
        folder: the folder that a scan wrote.

    Raises:
        CleanerError: the folder holds no finished scan, or one of its files is invalid.

    Examples:
        >>> sum(cleaner.load("scan").scored.values())
        21
    """
    folder = check_scan_folder(folder)
    for _ in range(_MAX_ATTEMPTS):
        try:
            return _load(folder, read_description(folder))
        except ReplacedScanError:
            continue
    raise CleanerError(f"{str(folder)!r} is being rewritten again and again; load it when the scans have ended")


def _load(folder: Path, description: dict[str, Any]) -> Scan:
    """Read the scan that `scan.json` describes; raises `ReplacedScanError` where another one replaced it meanwhile."""
    files = ScanFiles(folder, description["generation"])
    names = _Names.from_lists(description["splits"], description["vocab"], description["label_delim"])
    with files.reading():
        confusion = CONFUSION.read(files, lambda row: names.check(*row[:3]))
        samples = top_losses(description["label_delim"]).read(files, names.check_sample)
        unreadable = UNREADABLE.read(files)
        # Scans of early versions lack these files.
        has_losses, audited = files.has(CLASSES.name), audit(description["label_delim"])
        losses = CLASSES.read(files, lambda row: names.check(row.split, row.label)) if has_losses else []
        audit_sample = audited.read(files, names.check_sample) if files.has(audited.name) else []
        has_typical = files.has(TYPICAL.name)
        typical = TYPICAL.read(files, lambda row: names.check(row.split, row.label)) if has_typical else []
        issues = ISSUES.read(files) if files.has(ISSUES.name) else []
    cells: dict[str, dict[tuple[str, str], int]] = {split: {} for split in description["splits"]}
    for split, label, predicted, count in confusion:
        cells[split][label, predicted] = count
    stored = ("k", "scored", "generation", *_STORED_AS_IS)
    return Scan(
        root=Path(description["root"]),
        address=description["root"] if "://" in description["root"] else "",
        vocab=tuple(description["vocab"]),
        splits=tuple(description["splits"]),
        samples=tuple(samples),
        cells=cells,
        unreadable=tuple(unreadable),
        losses=tuple(losses),
        audit=tuple(audit_sample),
        typical=tuple(typical),
        issues=tuple(issues),
        folder=folder,
        **{name: description[name] for name in stored},
    )


def scan_at(scan: Scan | str | Path, root: str | Path | None = None) -> Scan:
    """Return a scan, or the one in a scan folder, with `root` as its dataset's folder if given.

    Raises:
        CleanerError: the folder holds no scan.
    """
    loaded = scan if isinstance(scan, Scan) else load(scan)
    return loaded if root is None else replace(loaded, root=Path(root).absolute())


@dataclass(frozen=True)
class _Names:
    """The splits and labels that the rows of a scan may name."""

    splits: frozenset[str]
    labels: frozenset[str]
    predictions: frozenset[str]
    known: set[tuple[str, str, str]] = field(default_factory=set)  # combinations that were checked already

    @classmethod
    def from_lists(cls, splits: Iterable[str], vocab: Iterable[str], label_delim: str) -> _Names:
        labels = frozenset(vocab)
        # In a multi-label scan an empty prediction says that the label is absent.
        return cls(frozenset(splits), labels, labels | {""} if label_delim else labels)

    def check(self, split: str, *labels: str) -> None:
        """Check that a row names a split and labels of the scan."""
        if split not in self.splits or not self.labels.issuperset(labels):
            raise CleanerError(f"the scan lacks the split {split!r} or one of the labels {list(labels)}")

    def check_sample(self, sample: Sample) -> None:
        """Check that a sample names a split, labels and a prediction of the scan."""
        combination = (sample.split, sample.label, sample.predicted)
        if combination in self.known and not sample.given:
            return
        self.check(sample.split, sample.label, *sample.given)
        if sample.predicted not in self.predictions:
            raise CleanerError(f"the scan lacks the predicted label {sample.predicted!r}")
        self.known.add(combination)


def _read_whole(table: Table[_Row], files: ScanFiles) -> list[_Row]:
    """Read a table of a written scan; raises `ReplacedScanError` where a later one replaced it."""
    with files.reading():
        return table.read(files)


def _frame(columns: Sequence[str], records: Iterable[object]) -> pd.DataFrame:
    """Return a DataFrame of these attributes of the records."""
    import pandas as pd

    rows = [[getattr(record, name) for name in columns] for record in records]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(columns))
    return frame
