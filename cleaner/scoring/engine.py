"""One pass over the data: a source's scored batches go into the bounded heaps and the counts, and become a scan."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from cleaner.core.errors import CleanerError
from cleaner.core.records import Sample, ScoredBatch, Unreadable
from cleaner.core.scan import Scan, check_out
from cleaner.core.tally import Tally
from cleaner.core.topk import TopLosses
from cleaner.scoring.sources import Source

if TYPE_CHECKING:
    from fastai.learner import Learner

__all__ = ["run", "scan", "scan_folder"]

_LIBRARIES = ("image-cleaner", "torch", "torchvision", "fastai", "numpy", "pillow")


def scan(
    learn: Learner,
    out: str | Path,
    *,
    k: int = 100,
    splits: Sequence[str] = ("train", "valid"),
    root: str | Path | None = None,
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
        progress: show a progress bar.

    Raises:
        CleanerError: an argument or the dataset cannot be used; nothing was written.
    """
    from cleaner.scoring.sources.fastai import FastaiSource

    _check(k, splits)
    return run(FastaiSource.of_learner(learn, splits, root), Path(out), k=k, progress=progress)


def scan_folder(
    learn: Learner,
    data: str | Path,
    out: str | Path,
    *,
    k: int = 100,
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
        progress: show a progress bar.
        workers: processes that read images; by default as many as the learner's own data loader has.
        batch_size: images scored at once; by default that of the learner's own data loader.

    Raises:
        CleanerError: an argument or the dataset cannot be used; nothing was written.
    """
    from cleaner.scoring.sources.fastai import FastaiSource

    _check(k, ("all",))
    source = FastaiSource.of_folder(learn, Path(data), workers=workers, batch_size=batch_size)
    return run(source, Path(out), k=k, progress=progress)


def run(source: Source, out: Path, *, k: int, progress: bool) -> Scan:
    """Score every split of `source` and write the scan folder `out`.

    Raises:
        CleanerError: `out` holds something else, or no image could be read; nothing was written.
    """
    check_out(out, source.root, source.vocab)
    started = _now()
    parts = [_pass(source, split, k, progress) for split in source.splits]
    result = Scan(
        root=source.root,
        vocab=source.vocab,
        splits=source.splits,
        k=k,
        scored={part.split: part.tally.scored for part in parts},
        samples=tuple(sample for part in parts for sample in _samples(part, source.vocab)),
        cells={part.split: _cells(part.tally, source.vocab) for part in parts},
        unreadable=tuple(item for part in parts for item in sorted(part.unreadable, key=lambda u: u.path)),
        settings=source.settings,
        versions=_versions(),
        started=started,
        finished=_now(),
    )
    _check_result(result)
    return result.write(out)


@dataclass(frozen=True)
class _Part:
    """What the pass over one split left."""

    split: str
    heaps: TopLosses
    tally: Tally
    unreadable: list[Unreadable]


def _pass(source: Source, split: str, k: int, progress: bool) -> _Part:
    n_classes = len(source.vocab)
    part = _Part(split, TopLosses(n_classes, k), Tally(n_classes), [])
    with tqdm(total=source.count(split), unit="img", desc=f"scan {split}", disable=not progress) as bar:

        def consume(batch: ScoredBatch) -> None:
            part.heaps.update(batch)
            part.tally.update(batch)
            part.unreadable.extend(batch.unreadable)
            bar.update(len(batch.paths) + len(batch.unreadable))

        source.score(split, consume)
    return part


def _samples(part: _Part, vocab: tuple[str, ...]) -> list[Sample]:
    return [
        Sample(part.split, label, rank, kept.path, kept.loss, vocab[kept.predicted], kept.confidence)
        for label, ranked in zip(vocab, part.heaps.result(), strict=True)
        for rank, kept in enumerate(ranked, start=1)
    ]


def _cells(tally: Tally, vocab: tuple[str, ...]) -> dict[tuple[str, str], int]:
    return {(vocab[cell.label], vocab[cell.predicted]): cell.n for cell in tally.result()}


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


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "platform": sys.platform}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # scored without it
    return versions
