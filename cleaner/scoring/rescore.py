"""The second half of a fast scan: the candidates of a pass in lower precision are scored again exactly.

A class keeps more candidates than `k`. With `e` the largest error seen, a sample that is no candidate has at most the
loss at which the candidates were cut, plus `e`. If that is below the exact k-th loss of the candidates, the best `k` of
them are the best `k` of the class. Where it is not, the whole class is scored again exactly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cleaner.core.records import ScoredBatch
from cleaner.core.topk import TopLosses
from cleaner.scoring import precision
from cleaner.scoring.checkpoint import Part
from cleaner.scoring.sources import Source

__all__ = ["rescore"]

# The error of a sample that was not scored twice may be larger than any that was seen.
_CAUTION = 2.0


def rescore(source: Source, part: Part, k: int) -> dict[str, Any]:
    """Replace the heaps of a fast pass by the exact ones.

    Returns:
        what was seen, for `scan.json`: the largest error of a loss, the candidates beyond `k`, the share of the samples
        that were scored twice, and the labels of which every sample was.
    """
    if source.ways.get("fast") not in precision.FAST:
        # Nothing in lower precision is quicker here: the pass was an exact one.
        part.heaps = part.heaps.truncated(min(k, part.heaps.k))
        return {"error": 0.0, "margin": 0, "scored_twice": 0.0, "classes_scored_twice": []}
    rough = part.heaps
    n_classes = rough.n_classes
    candidates = {kept.path: kept.loss for label in range(n_classes) for kept in rough.of_class(label)}
    exact = TopLosses(n_classes, min(k, rough.k))
    errors = [0.0]
    scored = [0]

    def take(batch: ScoredBatch) -> None:
        exact.update(batch)
        scored.append(len(batch.paths))
        found = np.array([candidates.get(path, np.nan) for path in batch.paths])
        difference = np.abs(found - batch.losses)
        errors.append(float(difference[np.isfinite(difference)].max(initial=0.0)))

    source.score(part.split, take, only=lambda path, _label: path in candidates)
    doubtful = {label for label in range(n_classes) if _is_doubtful(rough, exact, label, _CAUTION * max(errors))}
    if doubtful:
        names = {source.vocab[label] for label in doubtful}
        source.score(part.split, take, only=lambda path, label: path not in candidates and label() in names)
    part.heaps = exact
    return {
        "error": max(errors),
        "margin": max(0, rough.k - k),
        "scored_twice": round(sum(scored) / max(1, part.tally.scored), 4),
        "classes_scored_twice": sorted(source.vocab[label] for label in doubtful),
    }


def _is_doubtful(rough: TopLosses, exact: TopLosses, label: int, error: float) -> bool:
    """Whether a sample that is no candidate could be one of the best `k`."""
    cut = rough.cut_at(label)
    best = exact.of_class(label)
    if cut == -math.inf:
        return False
    return len(best) < exact.k or not cut + error < best[-1].loss
