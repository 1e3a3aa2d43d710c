"""What one scan found: reads and writes the scan folder, the only thing that scoring hands to review."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from cleaner.core.errors import CleanerError
from cleaner.core.files import cell_from_csv, cell_to_csv, number_to_csv, path_from_csv, path_to_csv
from cleaner.core.records import LOSS_EDGES, ClassLosses, Sample, Unreadable
from cleaner.core.scan_files import DESCRIPTION, ReplacedScanError, ScanFiles, is_work_file, writing
from cleaner.core.tasks import (
    DELIMITERS,
    MULTI_LABEL,
    SINGLE_LABEL,
    TASKS,
    check_distinct,
    check_has_confusion,
    split_labels,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FORMAT", "LazyRecords", "Scan", "check_out", "load", "scan_at", "vocab_change"]

FORMAT = 1
_TOP_LOSSES = ("split", "label", "rank", "path", "loss", "predicted", "confidence")
_GIVEN = "given"  # the last column of a multi-label scan
_CONFUSION = ("split", "label", "predicted", "count")
_TOP_LOSSES_FILE = "top_losses.csv"
_UNREADABLE = ("split", "label", "path", "error")
_CLASSES = ("split", "label", "scored", "predicted_otherwise", "mean_loss", "not_finite", "histogram")
_CLASSES_FILE = "classes.csv"
# The columns with text that is guarded from spreadsheets, apart from paths, which have a form of their own.
_TEXTS = frozenset({"split", "label", "predicted", "given", "error"})
_OWN_FILES = frozenset(
    {
        DESCRIPTION,
        "top_losses.csv",
        "confusion.csv",
        "unreadable.csv",
        _CLASSES_FILE,
        "decisions.csv",
        "checkpoint",
        "drawn",
        "history.jsonl",
    }
)
# A bin of a histogram is named by its lower edge; the first reaches down to zero and below.
_BIN_NAMES = ("0", *(f"{edge:g}" for edge in LOSS_EDGES))
# Part of the name of a hidden folder; empty in scans of version 0.1.
_GENERATION = re.compile("[0-9a-f]{0,64}")
# How often a scan may be replaced while it is loaded.
_ATTEMPTS = 20
_Row = TypeVar("_Row")


class LazyRecords(Sequence[_Row]):
    """Records that are made each time they are iterated over, or once and for all when they are counted or indexed.

    A scan can have kept so many samples that to hold them all as objects takes more memory than scoring did.

    Args:
        make: gives all records, in order.
    """

    def __init__(self, make: Callable[[], Iterable[_Row]]) -> None:
        self._make = make
        self._made: list[_Row] | None = None

    def __iter__(self) -> Iterator[_Row]:
        return iter(self._make() if self._made is None else self._made)

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, index: int) -> _Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_Row]: ...
    def __getitem__(self, index: int | slice) -> _Row | Sequence[_Row]:
        return self._all()[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _all(self) -> list[_Row]:
        if self._made is None:
            self._made = list(self._make())
        return self._made


@dataclass(frozen=True)
class Scan:
    """What one scan of a dataset found.

    Attributes:
        root: the dataset's folder; every path is relative to it. Of a scan of an address there is no such folder until
            somebody says where a copy is; see `scan_at`.
        vocab: the labels, in the order of the model's outputs.
        splits: names of the splits that were scanned.
        k: how many samples were kept of each split and label, at most.
        scored: number of samples scored, per split.
        samples: the kept samples, by split, label (in the order of the vocabulary) and rank.
        cells: the confusion counts of each split: `(label, predicted) -> count`, non-zero ones only; those of tasks
            other than `single-label` are empty.
        unreadable: the files that could not be read.
        losses: what is said of all samples of a split and label; of none in a scan that was made before there was that.
        ranked_by: what the samples are ranked by and their `loss` is: `loss`, or another such as `margin`.
        settings: how the scan was run; for people and for comparison.
        versions: of the libraries that were used.
        started, finished: UTC, ISO 8601.
        folder: the scan folder that this was read from or written to.
        task: `single-label`, `multi-label` or `other`; see `cleaner.core.tasks`.
        label_delim: what joins the labels of an image in the files of a multi-label scan; else empty.
        left_out: number of files in the dataset's folder that were not scanned, as their suffix is not known to be that
            of an image, by suffix; the empty suffix is that of files without one.
        address: the fsspec address at which the images were scanned; empty where it was the folder `root`.
        generation: tells this scan from others that were written to the same folder; empty before it is written, and
            in folders of version 0.1.

    Raises:
        CleanerError: a field contradicts another.
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

    def __post_init__(self) -> None:
        _check_task(self.task, self.label_delim, self.vocab)
        _check_left_out(self.left_out)
        check_distinct(self.vocab, "the scan")
        if isinstance(self.samples, LazyRecords):
            return  # checked when they are read or made, and perhaps many
        labels, splits, predictions = set(self.vocab), set(self.splits), self._predictions
        for sample in self.samples:
            if sample.label not in labels or sample.predicted not in predictions:
                raise CleanerError(
                    f"{sample.path!r} has the label {sample.label!r} and the prediction {sample.predicted!r}; "
                    "both must be in the vocabulary"
                )
            if sample.split not in splits:
                raise CleanerError(f"{sample.path!r} is of split {sample.split!r}; the scan has {list(self.splits)}")

    def kept(self, split: str, label: str) -> tuple[Sample, ...]:
        """The kept samples of a split and label, highest loss first.

        Raises:
            CleanerError: the scan has no such split or label.
        """
        self._check_split(split)
        self._check_label(label)
        return self._by_class.get((split, label), ())

    def worst(self, n: int, split: str | None = None, label: str | None = None) -> list[Sample]:
        """The `n` kept samples with the highest loss, of one split and label or of all; not finite ones come first.

        Raises:
            CleanerError: `n` is below 1, or the scan has no such split or label.
        """
        if n < 1:
            raise CleanerError(f"n is {n}; at least 1 is accepted")
        if split is not None:
            self._check_split(split)
        if label is not None:
            self._check_label(label)
        wanted = [s for s in self.samples if split in (None, s.split) and label in (None, s.label)]
        return sorted(wanted, key=lambda s: (-s.loss if math.isfinite(s.loss) else -math.inf, s.path))[:n]

    def top(self, split: str, label: str | None = None) -> pd.DataFrame:
        """The kept samples of a split, or of one label of it, as a DataFrame with the columns of `top_losses.csv`.

        Raises:
            CleanerError: the scan has no such split or label.
        """
        import pandas as pd

        self._check_split(split)
        rows = self.kept(split, label) if label is not None else [s for s in self.samples if s.split == split]
        columns = self._columns
        cells = [[getattr(sample, name) for name in columns] for sample in rows]
        frame: pd.DataFrame = pd.DataFrame(cells, columns=list(columns))
        return frame

    def confusion(self, split: str) -> pd.DataFrame:
        """The non-zero confusion counts of a split, as a DataFrame with the columns `label`, `predicted`, `count`.

        Raises:
            CleanerError: the scan has no such split, or is not of one label an image.
        """
        import pandas as pd

        check_has_confusion(self.task)
        self._check_split(split)
        rows = [(label, predicted, count) for (label, predicted), count in self.cells[split].items()]
        frame: pd.DataFrame = pd.DataFrame(rows, columns=["label", "predicted", "count"])
        return frame

    def most_confused(self, split: str | None = None, min_val: int = 1) -> pd.DataFrame:
        """The wrong cells of the confusion matrix with at least `min_val` samples, highest count first.

        Args:
            split: one split, or None for all of them.
            min_val: lowest count to report.

        Raises:
            CleanerError: the scan has no such split, or is not of one label an image.
        """
        import pandas as pd

        splits = self.splits if split is None else (split,)
        frame = pd.concat([self.confusion(name).assign(split=name) for name in splits], ignore_index=True)
        wrong = frame[(frame["label"] != frame["predicted"]) & (frame["count"] >= min_val)]
        order = wrong.sort_values(["count", "split", "label", "predicted"], ascending=[False, True, True, True])
        ranked: pd.DataFrame = order[list(_CONFUSION)].reset_index(drop=True)
        return ranked

    def of_classes(self, split: str) -> list[ClassLosses]:
        """What the scan says of all samples of each label of a split, in the order of the vocabulary.

        A label is there if a sample of it was scored. Without `losses` it is told from the confusion counts.

        Raises:
            CleanerError: the scan has no such split.
        """
        self._check_split(split)
        known = {each.label: each for each in self.losses if each.split == split}
        counts: dict[str, list[int]] = {}
        for (label, predicted), count in self.cells[split].items():
            total = counts.setdefault(label, [0, 0])
            total[0] += count
            total[1] += count * (label != predicted)
        for label, (scored, otherwise) in counts.items():
            known.setdefault(label, ClassLosses(split, label, scored, otherwise))
        return [known[label] for label in self.vocab if label in known]

    def classes(self, split: str) -> pd.DataFrame:
        """What `of_classes` gives, as a DataFrame; `histogram` has a tuple of counts, for the bins of `LOSS_EDGES`.

        Raises:
            CleanerError: the scan has no such split.
        """
        import pandas as pd

        rows = [[getattr(each, name) for name in _CLASSES] for each in self.of_classes(split)]
        frame: pd.DataFrame = pd.DataFrame(rows, columns=list(_CLASSES))
        return frame

    def by_path(self) -> dict[str, Sample]:
        """One sample for each path: the first where the dataset names a file more than once.

        Files that could not be read are samples without prediction and with a loss and confidence of NaN.
        """
        found: dict[str, Sample] = {}
        for sample in (*self.samples, *self.unreadable_samples()):
            found.setdefault(sample.path, sample)
        return found

    def unreadable_samples(self) -> list[Sample]:
        """The files that could not be read as samples without prediction."""
        found = []
        for rank, each in enumerate(self.unreadable, start=1):
            given = split_labels(each.label, self.label_delim) if self.task == MULTI_LABEL else ()
            found.append(Sample(each.split, each.label, rank, each.path, math.nan, "", math.nan, given))
        return found

    @property
    def place(self) -> str:
        """Where the images were scanned, for people: a folder or an address."""
        return self.address or str(self.root)

    @property
    def manifest_path(self) -> Path:
        """Where the decisions about this scan stand.

        Raises:
            CleanerError: the scan was never written to a folder.
        """
        if self.folder is None:
            raise CleanerError("this scan has no folder yet; write it with scan.write(folder) or load it from one")
        return self.folder / "decisions.csv"

    @property
    def drawn_in(self) -> Path | None:
        """The folder in which the folder of drawings is, for `drawn_file`; None before the scan is written."""
        return ScanFiles(self.folder, self.generation).drawn_in if self.folder else None

    def write(self, folder: Path) -> Scan:
        """Write the scan folder; the scan that is there is replaced as a whole.

        Returns:
            this scan with `folder` and `generation` set.

        Raises:
            CleanerError: another process is writing a scan to the folder.
            OSError: it cannot be written; the folder holds the old scan or the new one.
        """
        with writing(folder) as files:
            return self.write_to(files)

    def write_to(self, files: ScanFiles) -> Scan:
        """`write` to a folder that is held already."""
        rows = map(partial(_sample_row, self.label_delim), self.samples)
        files.write(_TOP_LOSSES_FILE, _to_csv(self._columns, rows))
        files.write("confusion.csv", _to_csv(_CONFUSION, self._confusion_rows()))
        files.write("unreadable.csv", _to_csv(_UNREADABLE, map(_unreadable_row, self.unreadable)))
        files.write(_CLASSES_FILE, _to_csv(_CLASSES, map(_losses_row, self.losses)))
        description = {**self._description(), "generation": files.generation}
        files.commit(json.dumps(description, indent=2, ensure_ascii=False) + "\n")
        object.__setattr__(self, "folder", files.folder)
        object.__setattr__(self, "generation", files.generation)
        if isinstance(self.samples, LazyRecords):
            # What made them can go; they are read back when somebody asks.
            columns, read = self._columns, partial(_sample_from, self.label_delim)
            object.__setattr__(self, "samples", LazyRecords(lambda: _read_back(files, columns, read)))
        return self

    @property
    def _columns(self) -> tuple[str, ...]:
        """The columns of `top_losses.csv`."""
        return (*_TOP_LOSSES, _GIVEN) if self.task == MULTI_LABEL else _TOP_LOSSES

    @property
    def _predictions(self) -> set[str]:
        """What a model can say of a sample."""
        return {*self.vocab, ""} if self.task == MULTI_LABEL else set(self.vocab)

    @property
    def _by_class(self) -> dict[tuple[str, str], tuple[Sample, ...]]:
        index: dict[tuple[str, str], tuple[Sample, ...]] | None = self.__dict__.get("_index")
        if index is None:
            groups: dict[tuple[str, str], list[Sample]] = {}
            for sample in self.samples:
                groups.setdefault((sample.split, sample.label), []).append(sample)
            index = {key: tuple(sorted(group, key=lambda s: s.rank)) for key, group in groups.items()}
            self.__dict__["_index"] = index
        return index

    def _check_split(self, split: str) -> None:
        if split not in self.splits:
            raise CleanerError(f"there is no split {split!r}; the scan has {list(self.splits)}")

    def _check_label(self, label: str) -> None:
        if label not in self.vocab:
            raise CleanerError(f"there is no label {label!r}; the scan has {_few(self.vocab)}")

    def _confusion_rows(self) -> Iterable[tuple[object, ...]]:
        for split in self.splits:
            for (label, predicted), count in self.cells[split].items():
                yield split, label, predicted, count

    def _description(self) -> dict[str, Any]:
        unreadable = {split: sum(u.split == split for u in self.unreadable) for split in self.splits}
        return {
            "format": FORMAT,
            "root": self.address or self.root.as_posix(),
            "vocab": list(self.vocab),
            "splits": list(self.splits),
            "k": self.k,
            "scored": dict(self.scored),
            "unreadable": unreadable,
            "left_out": dict(self.left_out),
            "ranked_by": self.ranked_by,
            "task": self.task,
            "label_delim": self.label_delim,
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "started": self.started,
            "finished": self.finished,
        }


def load(folder: str | Path) -> Scan:
    """Read a scan folder.

    Args:
        folder: the folder that a scan wrote.

    Raises:
        CleanerError: there is no finished scan, or one of its files makes no sense.
    """
    folder = Path(folder)
    for _ in range(_ATTEMPTS):
        try:
            return _loaded(folder, _read_description(folder))
        except ReplacedScanError:
            continue
    raise CleanerError(f"{str(folder)!r} is being written to again and again; load it when that has ended")


def _loaded(folder: Path, description: dict[str, Any]) -> Scan:
    """The scan that `scan.json` describes.

    Raises:
        ReplacedScanError: another one took its place meanwhile.
        CleanerError: one of its files makes no sense.
    """
    files = ScanFiles(folder, description["generation"])
    check = partial(_check_known, set(description["splits"]), set(description["vocab"]))
    task, label_delim = description["task"], description["label_delim"]
    columns = (*_TOP_LOSSES, _GIVEN) if task == MULTI_LABEL else _TOP_LOSSES
    read = partial(_known_sample, check, label_delim)
    with files.reading():
        # A scan that was made before there was this file has none.
        told = files.has(_CLASSES_FILE)
        counted = _from_csv(files, "confusion.csv", _CONFUSION, partial(_known_cell, check))
        samples = tuple(_from_csv(files, _TOP_LOSSES_FILE, columns, read))
        unreadable = tuple(_from_csv(files, "unreadable.csv", _UNREADABLE, _unreadable_from))
        losses = tuple(_from_csv(files, _CLASSES_FILE, _CLASSES, partial(_known_losses, check))) if told else ()
    cells: dict[str, dict[tuple[str, str], int]] = {split: {} for split in description["splits"]}
    for split, label, predicted, count in counted:
        cells[split][label, predicted] = count
    return Scan(
        root=Path(description["root"]),
        vocab=tuple(description["vocab"]),
        splits=tuple(description["splits"]),
        k=description["k"],
        scored=description["scored"],
        samples=samples,
        cells=cells,
        unreadable=unreadable,
        losses=losses,
        ranked_by=description["ranked_by"],
        settings=description["settings"],
        versions=description["versions"],
        started=description["started"],
        finished=description["finished"],
        folder=folder,
        task=task,
        label_delim=label_delim,
        left_out=description["left_out"],
        address=description["root"] if "://" in description["root"] else "",
        generation=description["generation"],
    )


def scan_at(scan: Scan | str | Path, root: str | Path | None = None) -> Scan:
    """The scan, or the one in a scan folder, with its dataset in the folder `root` where that was moved.

    Raises:
        CleanerError: the folder holds no scan.
    """
    found = scan if isinstance(scan, Scan) else load(scan)
    return found if root is None else replace(found, root=Path(root).absolute())


_Check = Callable[..., None]
"""Refuses a split, and labels, that the scan does not name."""


def _check_known(splits: set[str], labels: set[str], split: str, *names: str) -> None:
    if split not in splits or not labels.issuperset(names):
        raise CleanerError(f"split {split!r} and labels {list(names)} came; {DESCRIPTION} must name them")


def _check_task(task: str, label_delim: str, vocab: Iterable[str]) -> None:
    """Check that a task and its delimiter make sense together.

    Raises:
        CleanerError: they do not, or a label contains the delimiter.
    """
    if task not in TASKS:
        raise CleanerError(f"the task is {task!r}; accepted are {', '.join(TASKS)}")
    accepted = DELIMITERS if task == MULTI_LABEL else ("",)
    if label_delim not in accepted:
        raise CleanerError(f"label_delim is {label_delim!r} for the task {task!r}; accepted are {list(accepted)}")
    bad = [label for label in vocab if label_delim and (label == "" or label_delim in label)]
    if bad:
        raise CleanerError(f"the label {bad[0]!r} is empty or contains {label_delim!r}, which joins labels")


def _check_left_out(left_out: Mapping[str, int]) -> None:
    """Check that each suffix has a count.

    Raises:
        CleanerError: one has another value.
    """
    for suffix, n in left_out.items():
        if not isinstance(suffix, str) or isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise CleanerError(f"left_out has {n!r} for {suffix!r}; a whole number of at least 1 is accepted")


def _known_sample(check: _Check, label_delim: str, row: list[str]) -> Sample:
    sample = _sample_from(label_delim, row)
    # Only with several labels an image there is the prediction that none of them is there.
    said = [sample.predicted] if sample.predicted or not label_delim else []
    check(sample.split, sample.label, *said, *sample.given)
    return sample


def _known_cell(check: _Check, row: list[str]) -> tuple[str, str, str, int]:
    split, label, predicted, count = row
    check(split, label, predicted)
    if int(count) < 1:
        raise CleanerError(f"the count is {count}; at least 1 is accepted")
    return split, label, predicted, int(count)


def _known_losses(check: _Check, row: list[str]) -> ClassLosses:
    losses = _losses_from(row)
    check(losses.split, losses.label)
    return losses


def check_out(folder: Path, root: str | Path, vocab: Iterable[str], task: str = SINGLE_LABEL) -> None:
    """Check that a scan of the dataset at `root`, a folder or an address, may be written to `folder`.

    It is called before any work is done.

    Raises:
        CleanerError: the folder holds another dataset's scan, or things that are not a scan.
    """
    if folder.exists() and not folder.is_dir():
        raise CleanerError(f"{str(folder)!r} is a file; the scan needs a folder of its own")
    if not folder.exists():
        _check_can_be_made(folder)
        return
    if not os.access(folder, os.W_OK):
        raise CleanerError(f"{str(folder)!r} cannot be written to; give a folder that can")
    if not (folder / DESCRIPTION).exists():
        strangers = sorted(entry.name for entry in folder.iterdir() if not _is_own(entry.name))
        if strangers:
            raise CleanerError(
                f"{str(folder)!r} is not a scan folder: it holds {strangers[:3]}; give a new or empty folder"
            )
        return
    description = _read_description(folder)
    if Path(description["root"]) != Path(root):
        raise CleanerError(
            f"{str(folder)!r} holds the scan of another dataset, {description['root']!r}, and its decisions; "
            f"this one is {str(root)!r}. Give another folder"
        )
    if not set(description["vocab"]) & set(vocab):
        raise CleanerError(
            f"{str(folder)!r} holds a scan with other labels ({_few(description['vocab'])}); "
            f"this one has {_few(vocab)}. Give another folder"
        )
    if description["task"] != task:
        raise CleanerError(
            f"{str(folder)!r} holds a scan of the task {description['task']!r}, and this one is {task!r}; "
            "give another folder"
        )


def vocab_change(folder: Path, vocab: Iterable[str]) -> str:
    """Say which labels a new scan in `folder` has more or less than the one that is there; empty for the same."""
    if not (folder / DESCRIPTION).exists():
        return ""
    before, now = set(_read_description(folder)["vocab"]), set(vocab)
    parts = [
        f"{what} {_few(map(repr, sorted(labels)))}"
        for what, labels in (("lost", before - now), ("gained", now - before))
        if labels
    ]
    return f"since the last scan in {str(folder)!r} the vocabulary {' and '.join(parts)}" if parts else ""


def _check_can_be_made(folder: Path) -> None:
    parent = next(parent for parent in folder.absolute().parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise CleanerError(f"{str(folder)!r} cannot be made: {str(parent)!r} is no folder that can be written to")


def _is_own(name: str) -> bool:
    own = name in _OWN_FILES or is_work_file(name)
    return own or name.endswith((".part", ".lock")) or name.startswith(("journal-", "decisions.csv"))


def _few(labels: Iterable[str]) -> str:
    names = list(labels)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


_FIELDS: dict[str, type] = {
    "root": str,
    "vocab": list,
    "splits": list,
    "k": int,
    "scored": dict,
    "unreadable": dict,
    "left_out": dict,
    "ranked_by": str,
    "task": str,
    "label_delim": str,
    "settings": dict,
    "versions": dict,
    "started": str,
    "finished": str,
    "generation": str,
}


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CleanerError(f"{str(folder)!r} is not the folder of a finished scan: there is no {path.name}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else type(description).__name__
        raise CleanerError(f"{str(path)!r} has format {found!r}; this version reads format {FORMAT}")
    # Scans of earlier versions say nothing of these.
    description = {"task": SINGLE_LABEL, "label_delim": "", "left_out": {}, "generation": "", **description}
    _check_fields(path, description)
    try:
        _check_task(description["task"], description["label_delim"], description["vocab"])
        _check_left_out(description["left_out"])
    except CleanerError as error:
        raise CleanerError(f"{str(path)!r}: {error}") from error
    return description


def _check_fields(path: Path, description: Mapping[str, Any]) -> None:
    """Check the fields of `scan.json`, each by itself.

    Raises:
        CleanerError: one makes no sense.
    """
    for name, kind in _FIELDS.items():
        if not isinstance(description.get(name), kind):
            raise CleanerError(f"{str(path)!r}: {name} is {description.get(name)!r}; a {kind.__name__} is expected")
    if not _can_be_path(description["root"]):
        raise CleanerError(f"{str(path)!r}: root is {description['root']!r}; a path or an address is expected")
    for name in ("vocab", "splits"):
        texts = description[name]
        if not all(isinstance(text, str) for text in texts) or len(set(texts)) != len(texts):
            raise CleanerError(f"{str(path)!r}: {name} is {texts!r}; a list of different texts is expected")
    if not _GENERATION.fullmatch(description["generation"]):
        found = description["generation"]
        raise CleanerError(f"{str(path)!r}: generation is {found!r}; hexadecimal digits are expected")
    if not all(isinstance(description["scored"].get(split), int) for split in description["splits"]):
        raise CleanerError(f"{str(path)!r}: scored is {description['scored']!r}; a number for each split is expected")


def _can_be_path(text: str) -> bool:
    """Return whether a system can have a path of this text; of another system it may be."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _to_csv(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    """The lines of the file, some hundred rows at a time."""
    rows = iter(rows)
    is_text = [name in _TEXTS for name in header]
    block: list[Iterable[object]] = [header]
    while block:
        text = io.StringIO()
        csv.writer(text).writerows(block)
        yield text.getvalue()
        block = [
            [cell_to_csv(str(cell)) if guarded else cell for cell, guarded in zip(row, is_text, strict=True)]
            for row in islice(rows, 500)
        ]


def _read_back(files: ScanFiles, columns: tuple[str, ...], read: Callable[[list[str]], Sample]) -> list[Sample]:
    """The samples of a scan that was written.

    Raises:
        ReplacedScanError: a later one took its place.
    """
    with files.reading():
        return _from_csv(files, _TOP_LOSSES_FILE, columns, read)


def _from_csv(files: ScanFiles, name: str, header: tuple[str, ...], parse: Callable[[list[str]], _Row]) -> list[_Row]:
    path = files.folder / name
    # Version 0.1 guarded paths alone.
    texts = [number for number, column in enumerate(header) if column in _TEXTS and files.generation]
    rows: list[_Row] = []
    line = 1
    try:
        with files.open(name) as file:
            reader = csv.reader(file, strict=True)
            found = next(reader, [])
            if found != list(header):
                raise CleanerError(f"the header is {found}; {list(header)} is expected")
            for row in reader:
                line = reader.line_num
                if len(row) != len(header):
                    raise CleanerError(f"there are {len(row)} cells; {len(header)} are expected")
                for number in texts:
                    row[number] = cell_from_csv(row[number])
                rows.append(parse(row))
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {error}") from error
    except (ValueError, csv.Error) as error:
        raise CleanerError(f"{str(path)!r}, line {line}: {error}") from error
    return rows


def _sample_row(label_delim: str, sample: Sample) -> tuple[object, ...]:
    given = (label_delim.join(sample.given),) if label_delim else ()
    return (
        sample.split,
        sample.label,
        sample.rank,
        path_to_csv(sample.path),
        number_to_csv(sample.loss),
        sample.predicted,
        number_to_csv(sample.confidence),
        *given,
    )


def _sample_from(label_delim: str, row: list[str]) -> Sample:
    split, label, rank, path, loss, predicted, confidence, *rest = row
    given = split_labels(rest[0], label_delim) if rest else ()
    return Sample(split, label, int(rank), path_from_csv(path), float(loss), predicted, float(confidence), given)


def _unreadable_row(unreadable: Unreadable) -> tuple[object, ...]:
    return unreadable.split, unreadable.label, path_to_csv(unreadable.path), unreadable.error


def _unreadable_from(row: list[str]) -> Unreadable:
    split, label, path, error = row
    return Unreadable(split, label, path_from_csv(path), error)


def _losses_row(losses: ClassLosses) -> tuple[object, ...]:
    bins = zip(_BIN_NAMES, losses.histogram, strict=False)
    return (
        losses.split,
        losses.label,
        losses.scored,
        losses.predicted_otherwise,
        number_to_csv(losses.mean_loss),
        losses.not_finite,
        " ".join(f"{name}:{count}" for name, count in bins if count),
    )


def _losses_from(row: list[str]) -> ClassLosses:
    split, label, scored, otherwise, mean_loss, not_finite, text = row
    counts = dict.fromkeys(_BIN_NAMES, 0)
    for part in text.split():
        name, _, count = part.partition(":")
        if name not in counts:
            raise CleanerError(f"the histogram has a bin from {name!r}; accepted are {', '.join(_BIN_NAMES)}")
        counts[name] = int(count)
    # Where no loss was finite all bins are empty, which is not to know nothing of them.
    known = bool(text) or int(not_finite) > 0
    histogram = tuple(counts.values()) if known else ()
    return ClassLosses(split, label, int(scored), int(otherwise), float(mean_loss), int(not_finite), histogram)
