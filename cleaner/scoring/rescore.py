"""The second half of a fast scan: what may be among the highest losses of a pass in lower precision is scored again.

The fast pass keeps more candidates of a class than `k`. The best `k` of them are scored again exactly, which shows the
error of the fast pass. With `e` that error and some caution, only a sample whose fast loss is within `e` of the exact
k-th loss can still belong to the best `k`: the candidates of that kind are scored again too, until there are no more.
Where even samples that were no candidates could be of that kind, the whole class is scored again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cleaner.core.records import ScoredBatch, ScoredLabels
from cleaner.core.topk import TopLosses
from cleaner.scoring.checkpoint import Part
from cleaner.scoring.sources import Source, Wanted

__all__ = ["Candidates", "rescore", "room"]

# The error of a sample that was not scored twice may be larger than any that was seen.
_CAUTION = 1.5


def room(k: int) -> int:
    """How many candidates of each class a fast pass keeps. Most are never looked at again; they cost memory only."""
    return k + max(16, 2 * k)


class Candidates:
    """What a fast pass has put into its heaps, of which much will be scored again."""

    def __init__(self, heaps: TopLosses) -> None:
        self._heaps = heaps

    def among(self, batch: ScoredBatch) -> set[str]:
        """The paths of a batch that the heaps have just taken."""
        return {batch.paths[i] for i in self._heaps.reached(batch).tolist()}

    def so_far(self) -> set[str]:
        """The paths of all candidates."""
        return {kept.path for label in range(self._heaps.n_classes) for kept in self._heaps.of_class(label)}


def rescore(source: Source, part: Part, k: int) -> dict[str, Any]:
    """Replace the heaps of a fast pass by the exact ones.

    Returns:
        what was seen, for `scan.json`: the largest error of a loss, the most candidates beyond `k` that were scored
        again in a class, the share of the samples that were scored twice, and the classes of which every sample was.
    """
    from cleaner.scoring import precision  # which loads torch

    if source.ways.get("fast") not in precision.FAST:
        # Nothing in lower precision is quicker here: the pass was an exact one.
        part.heaps = part.heaps.truncated(min(k, part.heaps.k))
        return {"error": 0.0, "margin": 0, "scored_twice": 0.0, "classes_scored_twice": []}
    second = _SecondLook(source, part, k)
    rough = second.rough
    wanted = {kept.path for label in range(rough.n_classes) for kept in rough.of_class(label)[:k]}
    while wanted:
        second.score(_among(wanted))
        wanted = {
            kept.path
            for label in range(rough.n_classes)
            for kept in rough.of_class(label)
            if kept.path not in second.done and second.may_belong(label, kept.loss)
        }
    doubtful = {source.vocab[n] for n in range(rough.n_classes) if second.may_belong(n, rough.cut_at(n))}
    margin = max(second.looked_at(label) for label in range(rough.n_classes)) - k
    if doubtful:
        second.score(lambda path, label: path not in second.done and label() in doubtful)
    part.heaps = second.exact
    return {
        "error": second.error,
        "margin": max(0, margin),
        "scored_twice": round(len(second.done) / max(1, part.tally.scored), 4),
        "classes_scored_twice": sorted(doubtful),
    }


def _among(wanted: set[str]) -> Wanted:
    return lambda path, _label: path in wanted


class _SecondLook:
    """The samples that were scored twice so far, and what that showed."""

    def __init__(self, source: Source, part: Part, k: int) -> None:
        self.rough = part.heaps
        self.exact = TopLosses(self.rough.n_classes, min(k, self.rough.k))
        self.error = 0.0
        self.done: set[str] = set()
        self._source, self._part = source, part
        self._fast = {kept.path: kept.loss for n in range(self.rough.n_classes) for kept in self.rough.of_class(n)}

    def score(self, only: Wanted) -> None:
        self._source.score(self._part.split, self._take, only=only)

    def may_belong(self, label: int, fast_loss: float) -> bool:
        """Whether a sample with this loss in the fast pass could be one of the best `k`."""
        best = self.exact.of_class(label)
        if fast_loss == -math.inf:
            return False
        return len(best) < self.exact.k or not fast_loss + _CAUTION * self.error < best[-1].loss

    def looked_at(self, label: int) -> int:
        """Number of the candidates of a class that were scored twice."""
        return sum(kept.path in self.done for kept in self.rough.of_class(label))

    def _take(self, scored: ScoredBatch | ScoredLabels) -> None:
        batch = scored.to_rank()
        self.exact.update(batch)
        self.done.update(batch.paths)
        # A file that could be read before and no more is not asked for again.
        self.done.update(item.path for item in batch.unreadable)
        if batch.unreadable:
            listed = {item.path for item in self._part.unreadable}
            self._part.unreadable += [item for item in batch.unreadable if item.path not in listed]
        found = np.array([self._fast.get(path, np.nan) for path in batch.paths])
        errors = np.abs(found - batch.losses)
        self.error = max(self.error, float(errors[np.isfinite(errors)].max(initial=0.0)))
