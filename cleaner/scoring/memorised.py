"""Notices a split whose labels the model has memorised, right or wrong: its losses then show few wrong labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cleaner.core.tasks import SINGLE_LABEL

if TYPE_CHECKING:
    from cleaner.scoring.progress import SplitProgress

__all__ = ["memorised_advice"]

# A split of which this share is predicted as labelled, with a mean loss of at most this share of the validation's.
_PREDICTED_AS_LABELLED, _LOSS_SHARE = 0.98, 0.2
# Of fewer samples the shares say little.
_MIN_SAMPLES = 50


def memorised_advice(splits: Sequence[SplitProgress], task: str, views: int) -> str:
    """Return a warning if the split `train` looks memorised beside `valid`; else an empty text."""
    found = {split.split: _loss_and_agreement(split) for split in splits if split.scored >= _MIN_SAMPLES}
    if task != SINGLE_LABEL or not {"train", "valid"} <= found.keys():
        return ""
    (loss, agreement), (valid_loss, _) = found["train"], found["valid"]
    if agreement < _PREDICTED_AS_LABELLED or not loss < _LOSS_SHARE * valid_loss:
        return ""
    now = "" if views > 1 else "views=4 ranks many of them high now; "
    return (
        f"'train' looks memorised: its mean loss is {loss:.2g}, that of 'valid' is {valid_loss:.2g}, and "
        f"{agreement:.1%} of its images are predicted as labelled. Wrong labels that were memorised have low losses. "
        f"{now}cleaner.ScanCallback ranks by the losses of the training, if the model is trained again"
    )


def _loss_and_agreement(split: SplitProgress) -> tuple[float, float]:
    """Return the mean of the finite losses of a split, and the share of its samples that are predicted as labelled."""
    classes = split.tally.classes()
    n, finite = sum(c.scored for c in classes), sum(c.scored - c.not_finite for c in classes)
    loss = sum(c.mean_loss * (c.scored - c.not_finite) for c in classes if c.scored > c.not_finite)
    return loss / finite if finite else math.inf, 1 - sum(c.predicted_otherwise for c in classes) / n
