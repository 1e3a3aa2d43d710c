"""One pass over the data: a source's scored batches go into the bounded heaps and the counts, and become a scan."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from cleaner.core.errors import CleanerError
from cleaner.core.label_table import label_rows
from cleaner.core.records import ClassLosses, Sample, ScoredBatch
from cleaner.core.scan import Rows, Scan, check_out
from cleaner.core.tally import Tally
from cleaner.core.topk import Kept, TopLosses
from cleaner.scoring import rescore
from cleaner.scoring.checkpoint import Keeper, Part, fingerprint
from cleaner.scoring.sources import Source

if TYPE_CHECKING:
    from fastai.learner import Learner

__all__ = ["run", "scan", "scan_folder", "scan_table"]

_LIBRARIES = ("image-cleaner", "torch", "torchvision", "fastai", "numpy", "pillow")


def scan(
    learn: Learner,
    out: str | Path,
    *,
    k: int = 100,
    splits: Sequence[str] = ("train", "valid"),
    root: str | Path | None = None,
    fast: bool = False,
    reduced: bool = False,
    resume: bool = True,
    progress: bool = True,
) -> Scan:
    """Score the images of a fastai `Learner` and write the scan folder.

    Every split is scored with the validation transforms and the learner's own, unreduced loss, through the learner's
    own callbacks; the learner is left as it was found. The losses are those of
    `learn.get_preds(dl=learn.dls.test_dl(items, with_labels=True), with_loss=True)`.

    Args:
        learn: a learner that classifies images with one label each.
        out: the scan folder; created, or that of an earlier scan of the same dataset, whose decisions are kept.
        k: how many samples to keep of each split and label.
        splits: which of the learner's splits to scan, `train` and `valid`.
        root: the dataset's folder, to which paths are relative; by default the learner's `dls.path` if the images are
            below it and it is not the current folder, else the folder that all images have in common.
        fast: score in lower precision first, then what may be among the highest losses again in full. What is kept
            and its losses are the same; the counts of the confusion matrix are those of the first pass.
        reduced: decode JPEG files at 1/2, 1/4 or 1/8 of their size where that leaves the pixels that the learner needs.
            Quicker for large photos, but the pixels, and with them losses and ranks, are not quite the same.
        resume: go on with a scan in `out` that did not come to its end; False to start over.
        progress: show a progress bar.

    Raises:
        CleanerError: an argument or the dataset cannot be used; nothing was written.
    """
    from cleaner.scoring.sources.fastai import FastaiSource

    _check(k, splits)
    source = FastaiSource.of_learner(learn, splits, root, reduced)
    return run(source, Path(out), k=k, fast=fast, resume=resume, progress=progress)


def scan_folder(
    learn: Learner,
    data: str | Path,
    out: str | Path,
    *,
    k: int = 100,
    fast: bool = False,
    reduced: bool = False,
    resume: bool = True,
    progress: bool = True,
    workers: int | None = None,
    batch_size: int | None = None,
) -> Scan:
    """Score the images of a folder with a fastai `Learner`, an exported one for example, and write the scan folder.

    The labels are those that the learner itself reads from a file's path, such as the name of its folder. Images below
    `train`, `valid` or `test` are of the split of that name, all others of the split `all`.

    Args:
        learn: a learner that classifies images with one label each.
        data: the dataset's folder.
        out: the scan folder; created, or that of an earlier scan of the same dataset, whose decisions are kept.
        k: how many samples to keep of each split and label.
        fast, reduced, resume: as in `scan`.
        progress: show a progress bar.
        workers: processes that read images, 0 for none beside this one; by default chosen by what the scan waits for.
        batch_size: images scored at once; by default that of the learner's own data loader.

    Raises:
        CleanerError: an argument or the dataset cannot be used; nothing was written.
    """
    from cleaner.scoring.sources.fastai import FastaiSource

    _check(k, ("all",))
    source = FastaiSource.of_folder(learn, Path(data), workers=workers, batch_size=batch_size, reduced=reduced)
    return run(source, Path(out), k=k, fast=fast, resume=resume, progress=progress)


def scan_table(
    learn: Learner,
    data: str | Path,
    labels: str | Path,
    out: str | Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    k: int = 100,
    fast: bool = False,
    reduced: bool = False,
    resume: bool = True,
    progress: bool = True,
    workers: int | None = None,
    batch_size: int | None = None,
) -> Scan:
    """Score the images that a label table names, with a fastai `Learner`, an exported one for example.

    The labels are those in the table, whatever the learner was trained from; they are compared with its vocabulary as
    text, so that the `1` of the table is the number 1 of the learner. Splits are told by folders as in `scan_folder`.
    A row whose file is gone costs an entry in `unreadable`.

    Args:
        learn: a learner that classifies images with one label each, and opens them from files.
        data: the dataset's folder.
        labels: a `.csv`, `.tsv` or `.parquet` file with a row for each image. Its paths are relative to the dataset's
            folder, or, where there is no such file, to that of the table.
        out: the scan folder; created, or that of an earlier scan of the same dataset, whose decisions are kept.
        path_column, label_column: the table's columns with the paths and the labels; by default those with usual names.
        k: how many samples to keep of each split and label.
        fast, reduced, resume: as in `scan`.
        progress, workers, batch_size: as in `scan_folder`.

    Raises:
        CleanerError: an argument, the table or the dataset cannot be used; nothing was written.
    """
    from cleaner.scoring.sources.fastai import FastaiSource

    _check(k, ("all",))
    rows = label_rows(Path(labels), path_column, label_column)
    source = FastaiSource.of_table(learn, Path(data), rows, workers=workers, batch_size=batch_size, reduced=reduced)
    return run(source, Path(out), k=k, fast=fast, resume=resume, progress=progress)


def run(
    source: Source,
    out: Path,
    *,
    k: int,
    fast: bool,
    resume: bool,
    progress: bool,
    save_every: float = 30.0,
    ranked_by: str = "loss",
) -> Scan:
    """Score every split of `source` and write the scan folder `out`.

    Args:
        source: what to score.
        out: the scan folder.
        k: samples to keep of each split and label.
        fast: see `scan`.
        resume: see `scan`.
        progress: show a progress bar.
        save_every: longest time in seconds between two saves of how far the scan has come.
        ranked_by: what the source gives as the losses.

    Raises:
        CleanerError: `out` holds something else, or an unfinished scan of something else, or no image could be read.
    """
    check_out(out, source.root, source.vocab)
    # More than there are samples is room for nothing.
    room = min(rescore.room(k) if fast else k, max(1, *map(source.count, source.splits)))
    identity = {"k": k, "dataset": source.root.as_posix(), "fast": fast, "splits": source.splits, **source.identity()}
    keeper = Keeper(out, identity, len(source.vocab), room, save_every)
    parts, started = _begun(source, keeper, resume)
    for split in source.splits:
        if split not in {part.split for part in parts}:
            parts.append(Part(split, TopLosses(len(source.vocab), room), Tally(len(source.vocab))))
        if not parts[-1].done:
            _pass(source, parts, partial(keeper.save_if_due, parts, source.ways, started), fast, progress)
    settings = {**source.settings, "ways": source.ways}
    if fast:
        settings["fast"] = {part.split: rescore.rescore(source, part, k) for part in parts}
    result = replace(_result(source, parts, k, settings, started), ranked_by=ranked_by)
    _check_result(result)
    written = result.write(out)
    keeper.remove()
    return written


def _begun(source: Source, keeper: Keeper, resume: bool) -> tuple[list[Part], str]:
    """The parts of an unfinished scan and when it was started, or none and now."""
    if not resume:
        keeper.remove()
    found = keeper.load()
    if found is None:
        return [], now()
    parts, ways, started = found
    source.ways.update(ways)
    for part in parts:
        if fingerprint(islice(source.paths(part.split), part.seen)) != part.names:
            raise CleanerError(
                f"the files of {part.split!r} are not those that the unfinished scan began with; "
                "start over with resume=False (--no-resume)"
            )
    return parts, started


def _pass(source: Source, parts: list[Part], save: Callable[[], None], fast: bool, progress: bool) -> None:
    """Score what is left of the last of the parts."""
    part = parts[-1]
    total, begun = source.count(part.split), part.seen
    known = None if total == sys.maxsize else total
    with tqdm(total=known, initial=begun, unit="img", desc=f"scan {part.split}", disable=not progress) as bar:

        def consume(batch: ScoredBatch) -> None:
            part.update(batch)
            bar.update(len(batch.paths) + len(batch.unreadable))
            save()

        if begun < total:
            candidates = rescore.Candidates(part.heaps) if fast else None
            source.score(part.split, consume, skip=begun, fast=fast, candidates=candidates)
    part.done = True


def _result(source: Source, parts: list[Part], k: int, settings: dict[str, Any], started: str) -> Scan:
    return Scan(
        root=source.root,
        vocab=source.vocab,
        splits=source.splits,
        k=k,
        scored={part.split: part.tally.scored for part in parts},
        samples=Rows(lambda: (sample for part in parts for sample in _samples(part, source.vocab))),
        cells={part.split: _cells(part.tally, source.vocab) for part in parts},
        unreadable=tuple(item for part in parts for item in sorted(part.unreadable, key=lambda u: u.path)),
        losses=tuple(losses for part in parts for losses in _losses(part, source.vocab)),
        settings=settings,
        versions=_versions(),
        started=started,
        finished=now(),
    )


def _samples(part: Part, vocab: tuple[str, ...]) -> Iterator[Sample]:
    for index, label in enumerate(vocab):
        # A file that comes more than once with one label, as where rare classes are repeated, is one to look at.
        once: dict[str, Kept] = {}
        for kept in part.heaps.of_class(index):
            once.setdefault(kept.path, kept)
        for rank, kept in enumerate(once.values(), start=1):
            yield Sample(part.split, label, rank, kept.path, kept.loss, vocab[kept.predicted], kept.confidence)


def _cells(tally: Tally, vocab: tuple[str, ...]) -> dict[tuple[str, str], int]:
    return {(vocab[cell.label], vocab[cell.predicted]): cell.n for cell in tally.result()}


def _losses(part: Part, vocab: tuple[str, ...]) -> Iterator[ClassLosses]:
    for found in part.tally.classes():
        counts = (found.scored, found.predicted_otherwise, found.mean_loss, found.not_finite, found.histogram)
        yield ClassLosses(part.split, vocab[found.label], *counts)


def _check(k: int, splits: Sequence[str]) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise CleanerError(f"k is {k!r}; a whole number of at least 1 is accepted")
    if isinstance(splits, str) or not splits or len(set(splits)) != len(splits):
        raise CleanerError(
            f"splits is {splits!r}; a sequence of different names such as ('train', 'valid') is accepted"
        )


def _check_result(result: Scan) -> None:
    if sum(result.scored.values()) == 0:
        first = result.unreadable[0]
        raise CleanerError(
            f"none of the {len(result.unreadable)} images could be read; the first, {first.path!r}, gave: {first.error}"
        )


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "platform": sys.platform}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # scored without it
    return versions
