"""The CSV files of a scan folder, each described once for writing and for reading."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from cleaner.core.errors import CleanerError
from cleaner.core.files import cell_from_csv, cell_to_csv, number_to_csv, path_from_csv, path_to_csv, write_whole
from cleaner.core.records import LOSS_EDGES, ClassLosses, Sample, Typical, Unreadable
from cleaner.core.scan_files import ScanFiles
from cleaner.core.tasks import split_labels

__all__ = [
    "CLASSES",
    "CONFUSION",
    "TYPICAL",
    "UNREADABLE",
    "ConfusionRow",
    "Table",
    "alternatives_to_json",
    "audit",
    "label_to_json",
    "top_losses",
]

Row = TypeVar("Row")
ConfusionRow = tuple[str, str, str, int]
"""Split, label, predicted label and number of samples."""

# The columns whose text is escaped for spreadsheets; paths are escaped in a way of their own.
_TEXT_COLUMNS = frozenset({"split", "label", "predicted", "given", "error", "detail"})
_ROWS_AT_ONCE = 500
# The form in which `alternatives_to_json` writes labels without backslashes.
_AS_WRITTEN = re.compile(r'\[(?:\["[^"\\]*", (?:0\.\d+|0|1|\d(?:\.\d+)?e-\d+)\](?:, (?!\])|(?=\])))*\]')
# A bin of a histogram is named by its lower edge; the first one also counts losses below zero.
_BIN_NAMES = ("0", *(f"{edge:g}" for edge in LOSS_EDGES))


def _accept(_row: object) -> None:
    """Accept every row."""


@dataclass(frozen=True)
class Table(Generic[Row]):
    """One CSV file of a scan folder.

    Attributes:
        name: name of the file.
        columns: names of its columns.
        to_cells: turns a row into cells.
        from_cells: turns cells into a row; raises `ValueError` for invalid ones.
        lacks: names of columns that files of earlier versions lack, the last ones.
    """

    name: str
    columns: tuple[str, ...]
    to_cells: Callable[[Row], tuple[object, ...]]
    from_cells: Callable[[list[str]], Row]
    lacks: tuple[str, ...] = ()

    def write(self, files: ScanFiles, rows: Iterable[Row]) -> None:
        """Write the file of a scan that is not committed yet.

        Raises:
            OSError: it cannot be written.
        """
        files.write(self.name, self._blocks(rows))

    def write_beside(self, folder: Path, rows: Iterable[Row]) -> None:
        """Write or replace the file in a scan folder, whichever scan is there.

        Raises:
            OSError: it cannot be written.
        """
        write_whole(folder / self.name, self._blocks(rows))

    def read(self, files: ScanFiles, check: Callable[[Row], None] = _accept) -> list[Row]:
        """Read the file.

        Args:
            files: the scan's files.
            check: raises `ValueError` for a row that contradicts `scan.json`.

        Raises:
            CleanerError: the file cannot be read or a row is invalid; the message names file and line.
        """
        path, line = files.folder / self.name, 1
        # Version 0.1 escaped paths only.
        escaped = [at for at, column in enumerate(self.columns) if column in _TEXT_COLUMNS and files.generation]
        rows: list[Row] = []
        unescaped = cache(cell_from_csv)  # so a label that stands in many rows is one object
        try:
            with files.open(self.name) as file:
                reader = csv.reader(file, strict=True)
                header, columns = next(reader, []), list(self.columns)
                if header not in (columns, columns[: len(columns) - len(self.lacks)]):
                    raise CleanerError(f"the header is {header}; expected {columns}")
                for cells in reader:
                    line = reader.line_num
                    if len(cells) != len(header):
                        raise CleanerError(f"expected {len(header)} cells, found {len(cells)}")
                    for at in escaped:
                        cells[at] = unescaped(cells[at])
                    row = self.from_cells(cells)
                    check(row)
                    rows.append(row)
        except OSError as error:
            raise CleanerError(f"{str(path)!r} cannot be read: {error}") from error
        except (ValueError, csv.Error) as error:
            raise CleanerError(f"{str(path)!r}, line {line}: {error}") from error
        return rows

    def _blocks(self, rows: Iterable[Row]) -> Iterator[str]:
        """Yield the text of the file, some hundred rows at a time."""
        is_text = [column in _TEXT_COLUMNS for column in self.columns]
        cells = map(self.to_cells, rows)
        block: list[Iterable[object]] = [self.columns]
        while block:
            text = io.StringIO()
            csv.writer(text).writerows(block)
            yield text.getvalue()
            block = [
                [cell_to_csv(str(cell)) if escape else cell for cell, escape in zip(row, is_text, strict=True)]
                for row in islice(cells, _ROWS_AT_ONCE)
            ]


def top_losses(label_delim: str) -> Table[Sample]:
    """Return `top_losses.csv`; with a `label_delim`, that of a multi-label scan, it has a column `given`."""

    def to_cells(sample: Sample) -> tuple[object, ...]:
        scores = (number_to_csv(sample.loss), sample.predicted, number_to_csv(sample.confidence))
        given = (label_delim.join(sample.given),) if label_delim else ()
        place = (sample.split, sample.label, sample.rank, path_to_csv(sample.path))
        return (*place, *scores, *given, sample.alternatives_json)

    def from_cells(cells: list[str]) -> Sample:
        split, label, rank, path, loss, predicted, confidence, *rest = cells
        given = split_labels(rest.pop(0), label_delim) if label_delim else ()
        scores = (float(loss), predicted, float(confidence))
        return Sample(split, label, int(rank), path_from_csv(path), *scores, given, _alternatives(*rest))

    given = ("given",) if label_delim else ()
    columns = ("split", "label", "rank", "path", "loss", "predicted", "confidence", *given, "alternatives")
    return Table("top_losses.csv", columns, to_cells, from_cells, lacks=("alternatives",))


def audit(label_delim: str) -> Table[Sample]:
    """Return `audit.csv`: the columns of `top_losses.csv` without the rank, which is read from the random order."""
    ranked, at = top_losses(label_delim), 2
    ranks = Counter[tuple[str, str]]()

    def to_cells(sample: Sample) -> tuple[object, ...]:
        cells = ranked.to_cells(sample)
        return (*cells[:at], *cells[at + 1 :])

    def from_cells(cells: list[str]) -> Sample:
        ranks[cells[0], cells[1]] += 1
        return ranked.from_cells([*cells[:at], str(ranks[cells[0], cells[1]]), *cells[at:]])

    return Table("audit.csv", (*ranked.columns[:at], *ranked.columns[at + 1 :]), to_cells, from_cells)


def alternatives_to_json(names: Sequence[str], alternatives: Iterable[tuple[int, float]]) -> str:
    """Return `Sample.alternatives_json` of indices into `names` with their probabilities, without unknown ones.

    Args:
        names: the labels, each from `label_to_json`.
        alternatives: index of a label and its probability.
    """
    pairs = [f"[{names[at]}, {probability:.4g}]" for at, probability in alternatives if probability >= 0]  # no NaN
    return f"[{', '.join(pairs)}]"


def label_to_json(label: str) -> str:
    """Return a label as JSON text."""
    return json.dumps(label, ensure_ascii=False)


def _alternatives(text: str = "[]") -> str:
    """Check a cell of `alternatives`, and return it."""
    if _AS_WRITTEN.fullmatch(text):  # three times as quick as to parse it
        return text
    try:
        pairs = json.loads(text)
        is_valid = all(isinstance(label, str) and 0 <= probability <= 1.00001 for label, probability in pairs)
    except (ValueError, TypeError, RecursionError):
        is_valid = False
    if not is_valid:
        raise CleanerError(f"alternatives are {text[:80]!r}; expected a JSON list of [label, probability]")
    return text


def _typical_to_cells(typical: Typical) -> tuple[object, ...]:
    place = (typical.split, typical.label, typical.rank, path_to_csv(typical.path))
    return (*place, number_to_csv(typical.loss))


def _typical_from_cells(cells: list[str]) -> Typical:
    split, label, rank, path, loss = cells
    return Typical(split, label, int(rank), path_from_csv(path), float(loss))


def _confusion_from_cells(cells: list[str]) -> ConfusionRow:
    split, label, predicted, text = cells
    count = int(text)
    if count < 1:
        raise CleanerError(f"the count is {count}; expected at least 1")
    return split, label, predicted, count


def _unreadable_to_cells(unreadable: Unreadable) -> tuple[object, ...]:
    return unreadable.split, unreadable.label, path_to_csv(unreadable.path), unreadable.error


def _unreadable_from_cells(cells: list[str]) -> Unreadable:
    split, label, path, error = cells
    return Unreadable(split, label, path_from_csv(path), error)


def _classes_to_cells(losses: ClassLosses) -> tuple[object, ...]:
    counts = (losses.scored, losses.predicted_otherwise, number_to_csv(losses.mean_loss), losses.not_finite)
    bins = zip(_BIN_NAMES, losses.histogram, strict=False)
    return losses.split, losses.label, *counts, " ".join(f"{name}:{count}" for name, count in bins if count)


def _classes_from_cells(cells: list[str]) -> ClassLosses:
    split, label, scored, otherwise, mean_loss, not_finite, text = cells
    counts = dict.fromkeys(_BIN_NAMES, 0)
    for part in text.split():
        name, _, count = part.partition(":")
        if name not in counts:
            raise CleanerError(f"the histogram has a bin {name!r}; expected one of {', '.join(_BIN_NAMES)}")
        counts[name] = int(count)
    # All bins are empty where no loss was finite; without such losses the histogram is unknown.
    histogram = tuple(counts.values()) if text or int(not_finite) > 0 else ()
    return ClassLosses(split, label, int(scored), int(otherwise), float(mean_loss), int(not_finite), histogram)


CONFUSION: Table[ConfusionRow] = Table(
    "confusion.csv", ("split", "label", "predicted", "count"), tuple, _confusion_from_cells
)
UNREADABLE: Table[Unreadable] = Table(
    "unreadable.csv", ("split", "label", "path", "error"), _unreadable_to_cells, _unreadable_from_cells
)
TYPICAL: Table[Typical] = Table(
    "typical.csv", ("split", "label", "rank", "path", "loss"), _typical_to_cells, _typical_from_cells
)
CLASSES: Table[ClassLosses] = Table(
    "classes.csv",
    ("split", "label", "scored", "predicted_otherwise", "mean_loss", "not_finite", "histogram"),
    _classes_to_cells,
    _classes_from_cells,
)
