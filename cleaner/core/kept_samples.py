"""The samples of a split that a scan keeps: the highest losses, typical images, and a random sample of the rest."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.core.records import ScoredBatch, ScoredLabels
from cleaner.core.topk import TopK, by_hash, by_highest_loss, by_lowest_loss

__all__ = ["AUDITED", "TYPICAL", "KeptSamples"]

TYPICAL = 12
"""Number of typical samples of a class."""

AUDITED = 30
"""Number of samples of a class in the audit sample."""

# Samples that a second pass finds to be among the highest, seldom more than a few, are taken out of the audit sample.
_DRAWN = AUDITED + 10


class KeptSamples:
    """The samples of a split that are kept, in memory that does not grow with their number.

    A sample that is dropped from the highest losses cannot come back, so the audit sample is drawn from those that are
    dropped, in the same pass.

    Args:
        n_classes, k: as in `TopK`.
        key: of the audit sample; see `by_hash`.

    Attributes:
        key: as given.
        highest: the `k` samples of each class with the highest losses.
        typical: those with the lowest losses that are predicted as labelled.
        audit: a random sample of those that are not among the highest, from which the first `AUDITED` are taken.
    """

    def __init__(self, n_classes: int, k: int, key: int = 0) -> None:
        self.key = key
        self.highest = TopK(n_classes, k, by_highest_loss)
        self.typical = TopK(n_classes, TYPICAL, by_lowest_loss, once=True)
        self.audit = TopK(n_classes, _DRAWN, by_hash(key), once=True)

    def update(self, batch: ScoredBatch | ScoredLabels) -> None:
        """Add a batch."""
        ranked = batch.to_rank()
        self.add(ranked, ranked.select(batch.predicted_as_labelled()))

    def add(self, ranked: ScoredBatch, as_labelled: ScoredBatch) -> None:
        """Add the rows of a batch for the heaps, and those of labels that are predicted."""
        self._leave(self.highest.exchange(ranked))
        if as_labelled.paths:
            self.typical.update(as_labelled)

    def reached(self, batch: ScoredBatch | ScoredLabels) -> tuple[ScoredBatch, ScoredBatch]:
        """Return the rows of a batch that may be kept, for `add`."""
        ranked = batch.to_rank()
        as_labelled = ranked.select(batch.predicted_as_labelled())
        may_stay = np.union1d(self.highest.reached(ranked), self.audit.reached(ranked))
        return ranked.select(may_stay), as_labelled.select(self.typical.reached(as_labelled))

    def settle(self) -> None:
        """Move what is not among the highest losses, now that all samples were added, to the audit sample."""
        self._leave(self.highest.cut())

    def replace_highest(self, exact: TopK) -> None:
        """Take heaps of the same samples that were scored again; those that these do not keep are dropped."""
        exact.cut()
        kept = {(label, path) for label in range(exact.n_classes) for path in exact.paths_of(label)}
        before = self.highest.rows()
        pairs = zip(before.labels.tolist(), before.paths, strict=True)
        self.audit.update(before.select([at for at, pair in enumerate(pairs) if pair not in kept]))
        self.highest = exact

    def emptied(self) -> KeptSamples:
        """Return the same heaps without samples."""
        return KeptSamples(self.highest.n_classes, self.highest.k, self.key)

    def remove(self, paths: Container[str]) -> None:
        """Drop the samples of these files, to score them again; see `TopK.remove`."""
        dropped = self.highest.remove(paths)
        for heaps in (self.typical, self.audit):
            heaps.remove(paths)
        self._leave(dropped)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the heaps as plain arrays for a file; `restore` inverts this."""
        return {
            f"{name}.{part}": values
            for name, heaps in self._by_name().items()
            for part, values in heaps.to_arrays().items()
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> KeptSamples:
        """Take the content from the arrays of `to_arrays`; return these.

        Raises:
            CleanerError: the arrays do not fit.
        """
        for name, heaps in self._by_name().items():
            heaps.restore({key.removeprefix(f"{name}."): arrays[key] for key in arrays if key.startswith(f"{name}.")})
        return self

    def _leave(self, dropped: Iterable[ScoredBatch]) -> None:
        """Draw from samples that are dropped from the highest losses."""
        for batch in dropped:
            self.audit.update(batch)

    def _by_name(self) -> dict[str, TopK]:
        return {"highest": self.highest, "typical": self.typical, "audit": self.audit}
