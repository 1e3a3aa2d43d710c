"""One pass over the data: a source's scored batches go into the bounded heaps and the counts, and become a scan."""

from __future__ import annotations

import logging
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from cleaner.core.errors import CleanerError
from cleaner.core.records import ClassLosses, Sample, ScoredBatch, ScoredLabels, now
from cleaner.core.rounds import check_decisions_from, remember, take_over
from cleaner.core.scan import LazyRecords, Scan
from cleaner.core.scan_files import ScanFiles, writing
from cleaner.core.scan_guard import check_out, vocab_change
from cleaner.core.suffixes import as_text
from cleaner.core.tally import Tally
from cleaner.core.tasks import MULTI_LABEL, OTHER, SINGLE_LABEL, drawn_file
from cleaner.core.terminal import printable
from cleaner.core.topk import Kept, TopLosses
from cleaner.scoring import rescore
from cleaner.scoring.checkpoint import ChangedFiles, Keeper, Part, fingerprint, shape_of
from cleaner.scoring.fatal_files import FatalFiles
from cleaner.scoring.sources import Source, Spreadable

if TYPE_CHECKING:
    from cleaner.scoring.ray import Cluster

__all__ = ["check_k_and_splits", "run", "run_on"]

_log = logging.getLogger(__name__)
_LEFT_OUT = (
    "left out, as the suffix is not known to be that of an image: %s. If there are images among these files, give them "
    "the suffix of their format, such as .jpg"
)
_LIBRARIES = ("image-cleaner", "torch", "torchvision", "fastai", "numpy", "pillow")


def run_on(engine: str | Cluster, source: Spreadable, out: Path, **options: Any) -> Scan:
    """`run` in this process, with the engine `local`, or spread over a Ray cluster.

    Args:
        engine: see `scan`.
        source: what to score.
        out: the scan folder.
        options: `k`, `fast`, `resume`, `progress` and `decisions_from` of `run`.

    Raises:
        CleanerError: as `run`, or there is no such engine.
    """
    if engine == "local":
        return run(source, out, **options)
    from cleaner.scoring import ray

    if engine != "ray" and not isinstance(engine, ray.Cluster):
        raise CleanerError(f"engine is {engine!r}; 'local', 'ray' and a cleaner.Cluster are accepted")
    cluster = ray.Cluster() if isinstance(engine, str) else engine
    with _held(source, out, options.get("decisions_from")) as files, ray.session(cluster) as team:
        return _run(ray.Spread(source, team), files, **options, take_in=ray.take_in)


def run(
    source: Source,
    out: Path,
    *,
    k: int,
    fast: bool,
    resume: bool,
    progress: bool,
    save_every: float = 30.0,
    take_in: TakeIn | None = None,
    ranked_by: str = "loss",
    decisions_from: str | Path | None = None,
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
        take_in: scores what is left of a split into a part; by default here and now.
        ranked_by: what the source gives as the losses.
        decisions_from: another scan folder whose decisions are taken over.

    Raises:
        CleanerError: `out` holds something else, or an unfinished scan of something else, or another process is
            writing a scan to it, or no image could be read.
    """
    options: dict[str, Any] = {"k": k, "fast": fast, "resume": resume, "progress": progress, "save_every": save_every}
    with _held(source, out, decisions_from) as files:
        return _run(source, files, **options, take_in=take_in, ranked_by=ranked_by, decisions_from=decisions_from)


@contextmanager
def _held(source: Source, out: Path, decisions_from: str | Path | None) -> Iterator[ScanFiles]:
    """Hold the scan folder for as long as the scan takes.

    Raises:
        CleanerError: it holds something else, or another process is writing a scan to it.
    """
    about = (out, source.address or source.root, source.vocab, source.task)
    check_out(*about)  # nothing is written to a folder of something else, not even a lock
    if decisions_from is not None:
        check_decisions_from(decisions_from, out, source.task)
    with writing(out) as files:
        check_out(*about)  # another scan may have ended between the check and the lock
        if change := vocab_change(out, source.vocab):
            _log.warning("%s", printable(change))
        _remember(out)
        yield files


def _remember(out: Path) -> None:
    try:
        remember(out)
    except CleanerError as error:
        _log.warning("%s", printable(f"the scan that this one replaces will not be in the history: {error}"))


def _run(
    source: Source,
    files: ScanFiles,
    *,
    k: int,
    fast: bool,
    resume: bool,
    progress: bool,
    save_every: float = 30.0,
    take_in: TakeIn | None = None,
    ranked_by: str = "loss",
    decisions_from: str | Path | None = None,
) -> Scan:
    """`run` with the scan folder held."""
    _check_fast(fast, source.task)
    # More than there are samples is room for nothing.
    room = min(rescore.room(k) if fast else k, max(1, *map(source.count, source.splits)))
    dataset = source.address or source.root.as_posix()
    identity = {"k": k, "dataset": dataset, "fast": fast, "splits": source.splits, **source.identity()}
    n_classes, rows = shape_of(source)
    keeper = Keeper(files.folder, identity, n_classes, room, save_every, rows)
    fatal_files = FatalFiles(keeper.folder, source.readers)
    if progress and source.left_out:
        _log.warning(_LEFT_OUT, as_text(source.left_out))
    changed: dict[str, set[str]] = {}

    def attempt(resume: bool) -> tuple[list[Part], str, dict[str, Any]]:
        parts, started, changed_now = _begun(source, keeper, resume)
        changed.update(changed_now)
        fatal_files.find(resume)
        save = partial(keeper.save_if_due, parts, source.ways, started)
        with fatal_files.noting():
            for part in parts:
                _score_again(source, part, changed[part.split], fast)
            for split in source.splits:
                if split not in {part.split for part in parts}:
                    parts.append(Part(split, TopLosses(n_classes, room), Tally(n_classes), rows=rows))
                if not parts[-1].done:
                    _pass(source, parts, save, fast, progress, take_in or _take_in)
            return parts, started, {part.split: rescore.rescore(source, part, k) for part in parts} if fast else {}

    parts, started, rescored = fatal_files.score_past(attempt, resume)
    settings = _settings(source, changed, rescored)
    if source.task == OTHER:
        settings["drawn"] = _draw(source, parts, files, progress)
    result = replace(_result(source, parts, k, settings, started), ranked_by=ranked_by)
    _check_result(result)
    written = result.write_to(files)
    keeper.remove()
    if decisions_from is not None:
        take_over(written, decisions_from)
    return written


def _check_fast(fast: bool, task: str) -> None:
    if fast and task != SINGLE_LABEL:
        raise CleanerError(f"a fast scan is for one label an image, and the task is {task!r}; leave out fast")


def _settings(source: Source, changed: dict[str, set[str]], rescored: dict[str, Any]) -> dict[str, Any]:
    settings = {**source.settings, "ways": source.ways}
    if any(changed.values()):
        # Their losses are right; the counts of all samples have what was found of them first.
        settings["changed_before_resume"] = {split: len(paths) for split, paths in changed.items() if paths}
    if rescored:
        settings["fast"] = rescored
    return settings


def _begun(source: Source, keeper: Keeper, resume: bool) -> tuple[list[Part], str, dict[str, set[str]]]:
    """The parts of an unfinished scan, when it was started, and the files of each part that changed since.

    Where there is no such scan there are no parts, and it starts now.
    """
    if not resume:
        keeper.restart()
    found = keeper.load()
    if found is None:
        return [], now(), {}
    parts, ways, started = found
    source.ways.update(ways)
    changed: dict[str, set[str]] = {}
    for part in parts:
        seen = islice(source.paths(part.split), part.seen)
        names, changed[part.split] = _survey(seen, source, keeper.begun)
        if names != part.names:
            raise CleanerError(
                f"the files of {part.split!r} are not those that the unfinished scan began with; "
                "start over with resume=False (--no-resume)"
            )
    return parts, started, changed


def _survey(paths: Iterator[str], source: Source, since: int) -> tuple[int, set[str]]:
    """The fingerprint of some paths, and those of them whose files changed since a moment.

    Of images at an address that is not known.
    """
    files, changed = ChangedFiles(source.root, since), set[str]()

    def noted() -> Iterator[str]:
        for path in paths:
            if not source.address and files.has(path):
                changed.add(path)
            yield path

    return fingerprint(noted()), changed


def _score_again(source: Source, part: Part, changed: set[str], fast: bool) -> None:
    """Score files again that changed after they were scored, as far as is known; what was found before is dropped."""
    if not changed:
        return
    left = part.forget(changed)
    take = partial(part.update_again, left=left)
    source.score(part.split, take, fast=fast, only=lambda path, _label: path in changed)


TakeIn = Callable[[Any, Part, bool, Callable[[int], None]], None]
"""Scores what is left of a split of a source into a part, and says of how many samples it is each time."""


def _pass(
    source: Source, parts: list[Part], save: Callable[[], None], fast: bool, progress: bool, take_in: TakeIn
) -> None:
    """Score what is left of the last of the parts."""
    part = parts[-1]
    total, begun = source.count(part.split), part.seen
    known = None if total == sys.maxsize else total
    name = f"scan {printable(part.split)}"
    with tqdm(total=known, initial=begun, unit="img", desc=name, disable=not progress) as bar:

        def arrived(n: int) -> None:
            bar.update(n)
            save()

        if begun < total:
            take_in(source, part, fast, arrived)
    part.done = True


def _draw(source: Source, parts: list[Part], files: ScanFiles, progress: bool) -> int:
    """Draw the kept samples with their targets for the scan folder, one at a time; gives how many could be."""
    files.make("drawn")
    count = 0
    for part in parts:
        wanted = {kept.path for kept in part.heaps.of_class(0)}
        with tqdm(total=len(wanted), unit="img", desc=f"draw {printable(part.split)}", disable=not progress) as bar:
            for path, data in source.drawn(part.split, wanted):
                if data:
                    files.write(f"drawn/{drawn_file(files.folder, path).name}", data)
                count += bool(data)
                bar.update()
    return count


def _take_in(source: Source, part: Part, fast: bool, arrived: Callable[[int], None]) -> None:
    def consume(batch: ScoredBatch | ScoredLabels) -> None:
        part.update(batch)
        arrived(len(batch.paths) + len(batch.unreadable))

    candidates = rescore.Candidates(part.heaps) if fast else None
    source.score(part.split, consume, skip=part.seen, fast=fast, candidates=candidates)


def _result(source: Source, parts: list[Part], k: int, settings: dict[str, Any], started: str) -> Scan:
    return Scan(
        root=source.root,
        address=source.address,
        vocab=source.vocab,
        splits=source.splits,
        k=k,
        scored={part.split: part.scored for part in parts},
        samples=LazyRecords(lambda: (sample for part in parts for sample in _samples(part, source))),
        cells={part.split: _cells(part.tally, source) for part in parts},
        unreadable=tuple(item for part in parts for item in sorted(part.unreadable, key=lambda u: u.path)),
        left_out=dict(source.left_out),
        losses=tuple(losses for part in parts for losses in _losses(part, source.vocab)),
        settings=settings,
        versions=_versions(),
        started=started,
        finished=now(),
        task=source.task,
        label_delim=source.label_delim,
    )


def _samples(part: Part, source: Source) -> Iterator[Sample]:
    # What is not the label, which only comes with several labels an image, is nothing that is predicted.
    vocab, given = (*source.vocab, ""), dict[str, tuple[str, ...]]()
    if source.task == MULTI_LABEL:
        kept_of = map(part.heaps.of_class, range(len(source.vocab)))
        given = source.given(part.split, {kept.path for some in kept_of for kept in some})
    for index, label in enumerate(source.vocab):
        # A file that comes more than once with one label, as where rare classes are repeated, is one to look at.
        once: dict[str, Kept] = {}
        for kept in part.heaps.of_class(index):
            once.setdefault(kept.path, kept)
        for rank, kept in enumerate(once.values(), start=1):
            about = (kept.path, kept.loss, vocab[kept.predicted], kept.confidence)
            yield Sample(part.split, label, rank, *about, given.get(kept.path, ()))


def _cells(tally: Tally, source: Source) -> dict[tuple[str, str], int]:
    """The confusion counts; only where each sample has one label there is one that another is taken for."""
    if source.task != SINGLE_LABEL:
        return {}
    return {(source.vocab[cell.label], source.vocab[cell.predicted]): cell.n for cell in tally.result()}


def _losses(part: Part, vocab: tuple[str, ...]) -> Iterator[ClassLosses]:
    for found in part.tally.classes():
        counts = (found.scored, found.predicted_otherwise, found.mean_loss, found.not_finite, found.histogram)
        yield ClassLosses(part.split, vocab[found.label], *counts)


def check_k_and_splits(k: int, splits: Sequence[str]) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise CleanerError(f"k is {k!r}; a whole number of at least 1 is accepted")
    if isinstance(splits, str) or not splits or not all(splits) or len(set(splits)) != len(splits):
        raise CleanerError(
            f"splits is {splits!r}; a sequence of different names such as ('train', 'valid') is accepted"
        )


def _check_result(result: Scan) -> None:
    if sum(result.scored.values()) == 0:
        first = result.unreadable[0]
        raise CleanerError(
            f"none of the {len(result.unreadable)} images could be read; the first, {first.path!r}, gave: {first.error}"
        )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "platform": sys.platform}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # scored without it
    return versions
