"""The second pass of a fast scan: it scores again, exactly, what may be among the highest losses.

The fast pass keeps more candidates of a class than `k`. The best `k` of them are scored again exactly, which shows the
error of the fast pass. With `e` that error times a safety factor, only a sample whose fast loss is within `e` of the
exact k-th loss can still belong to the best `k`: such candidates are scored again too, until none is left. A class
whose dropped samples could belong there is scored again as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cleaner.core.records import ScoredBatch, ScoredLabels
from cleaner.core.topk import Kept, TopK, by_highest_loss
from cleaner.scoring.progress import SplitProgress

if TYPE_CHECKING:
    from cleaner.scoring.data.reader import SampleFilter
    from cleaner.scoring.engine import Engine

__all__ = [
    "SEEN_BEFORE_CHECK",
    "NotFasterError",
    "among",
    "candidates_per_class",
    "check_pays",
    "may_pay",
    "rescore",
]

SEEN_BEFORE_CHECK = 0.2
"""The share of a split after which a fast pass is checked."""

# A fast scan that scores a larger share twice takes longer than an exact one.
_MAX_SHARE = 0.5
# How many samples are scored twice for each that is kept, at best.
_TWICE_PER_KEPT = 1.3
# The error of a sample that was not scored twice may be larger than any that was seen.
_SAFETY_FACTOR = 1.5


class NotFasterError(Exception):
    """A fast pass would take longer than an exact one."""


def candidates_per_class(k: int) -> int:
    """Return how many candidates of each class a fast pass keeps; most cost memory only and are not scored again."""
    return k + max(16, 2 * k)


def rescore(engine: Engine, progress: SplitProgress, k: int) -> dict[str, Any]:
    """Replace the heaps of a fast pass by the exact ones.

    Returns:
        statistics for `scan.json`: the largest error of a loss, the most candidates beyond `k` that were scored again
        in a class, the share of samples that were scored twice, and the classes that were scored twice as a whole.
    """
    if progress.exact:
        # No backend of lower precision was quicker: the pass was an exact one.
        exact = TopK(progress.tally.n_classes, min(k, progress.kept.highest.k), by_highest_loss)
        exact.update(progress.kept.highest.rows())
        progress.kept.replace_highest(exact)
        return {"error": 0.0, "margin": 0, "scored_twice": 0.0, "classes_scored_twice": []}
    second = _SecondPass(engine, progress, k)
    fast, vocab = second.fast, engine.job.info.vocab
    margin = _SAFETY_FACTOR * engine.job.scorer.selector.error  # that of the trial, which is seldom the largest
    wanted = {kept.path for label in range(fast.n_classes) for kept in _best(fast.of_class(label), k, margin)}
    while wanted:
        engine.job.scorer.selector.images_left = len(wanted)
        second.score_paths(wanted)
        wanted = {
            kept.path
            for label in range(fast.n_classes)
            for kept in fast.of_class(label)
            if kept.path not in second.done and second.may_belong(label, kept.loss)
        }
    doubtful = {vocab[label] for label in range(fast.n_classes) if second.may_belong(label, fast.cut_at(label))}
    beyond_k = max(second.rescored(label) for label in range(fast.n_classes)) - k
    if doubtful:
        engine.job.scorer.selector.images_left = progress.scored
        second.score_classes(doubtful)
    progress.kept.replace_highest(second.exact)
    return {
        "error": second.error,
        "margin": max(0, beyond_k),
        "scored_twice": round(len(second.done) / max(1, progress.tally.scored), 4),
        "classes_scored_twice": sorted(doubtful),
    }


def may_pay(k: int, progress: SplitProgress, count: int) -> bool:
    """Return whether a fast pass can pay: the second pass scores more than `k` samples of each class again."""
    return _TWICE_PER_KEPT * k * progress.tally.n_classes <= _MAX_SHARE * count


def check_pays(progress: SplitProgress, k: int, count: int, error: float) -> None:
    """Check a fast pass after its first part.

    Args:
        progress: the part that was seen.
        k: samples to keep of each class.
        count: number of samples of the whole split.
        error: largest error of a fast loss so far.

    Raises:
        NotFasterError: too many samples would be scored twice.
    """
    share = _estimated_share(progress, k, count, error)
    if share > _MAX_SHARE:
        raise NotFasterError(
            f"a fast scan would score {share:.0%} of {progress.split!r} twice, as the losses lie close together; it "
            "goes on as an exact scan"
        )


def _estimated_share(progress: SplitProgress, k: int, count: int, error: float) -> float:
    tallies = [tally for tally in progress.tally.classes() if tally.scored]
    # Folders are read class by class: the classes that were seen are then complete.
    part = min(1.0, progress.seen / count * progress.tally.n_classes / max(1, len(tallies)))
    n_twice = 0
    for tally in tallies:
        kept = progress.kept.highest.of_class(tally.label)
        n_near = len(_best(kept, math.ceil(k * part), 2 * _SAFETY_FACTOR * error))
        n_twice += tally.scored if n_near == progress.kept.highest.k else n_near
    return n_twice / max(1, progress.seen)


def _best(kept: Sequence[Kept], k: int, margin: float) -> list[Kept]:
    """Return the samples with the `k` highest losses of a class, and others whose loss is within a margin of these."""
    return [*kept[:k], *(sample for sample in kept[k:] if not sample.loss < kept[k - 1].loss - margin)]


def among(paths: set[str]) -> SampleFilter:
    """Return the filter that accepts samples with one of some paths."""
    return lambda path, _label: path in paths


class _SecondPass:
    """The samples that were scored twice so far, and the largest error that this showed."""

    def __init__(self, engine: Engine, progress: SplitProgress, k: int) -> None:
        progress.kept.settle()
        self.fast = progress.kept.highest
        self.exact = TopK(self.fast.n_classes, min(k, self.fast.k), by_highest_loss)
        self.error = 0.0
        self.done: set[str] = set()
        self._lowest = self.exact.lowest()
        self._dataset, self._progress, self._engine = engine.job.datasets[progress.split], progress, engine
        classes = map(self.fast.of_class, range(self.fast.n_classes))
        self._fast_losses = {kept.path: kept.loss for of_class in classes for kept in of_class}

    def score_paths(self, paths: set[str]) -> None:
        self._engine.score_paths(self._dataset, paths, self._update)
        self._lowest = self.exact.lowest()

    def score_classes(self, labels: set[str]) -> None:
        """Score what is left of some classes."""
        wanted = self._dataset.filtered_keys(lambda path, label: path not in self.done and label() in labels)
        self._engine.score_keys(self._dataset, wanted, self._update)

    def may_belong(self, label: int, fast_loss: float) -> bool:
        """Return whether a sample with this fast loss could be one of the best `k` of its class."""
        if fast_loss == -math.inf:
            return False
        # It is minus infinity in a class of fewer than `k`, and infinity where the k-th loss is not finite.
        lowest = self._lowest[label]
        return not (math.isfinite(lowest) and fast_loss + _SAFETY_FACTOR * self.error < lowest)

    def rescored(self, label: int) -> int:
        """Return the number of candidates of a class that were scored twice."""
        return sum(kept.path in self.done for kept in self.fast.of_class(label))

    def _update(self, scored: ScoredBatch | ScoredLabels) -> None:
        batch = scored.to_rank()
        self.exact.update(batch)
        self.done.update(batch.paths)
        # A file that became unreadable since the fast pass is not asked for again.
        self.done.update(item.path for item in batch.unreadable)
        if batch.unreadable:
            listed = {item.path for item in self._progress.unreadable}
            self._progress.unreadable += [item for item in batch.unreadable if item.path not in listed]
        fast_losses = np.array([self._fast_losses.get(path, np.nan) for path in batch.paths])
        errors = np.abs(fast_losses - batch.losses)
        self.error = max(self.error, float(errors[np.isfinite(errors)].max(initial=0.0)))
