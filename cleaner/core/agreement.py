"""Agreement of reviewers, and rules for images that several decided differently.

Cohen, "A Coefficient of Agreement for Nominal Scales" (1960), for two reviewers; Krippendorff, "Computing
Krippendorff's Alpha-Reliability" (2011), nominal data, for any number who need not have seen the same images.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from cleaner.core.errors import CleanerError
from cleaner.core.manifest_rows import ManifestRows
from cleaner.core.markup import lines, table
from cleaner.core.opinions import last_by_reviewer
from cleaner.core.records import Action, Decision

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RULES", "Agreement", "agreement", "cohen_kappa", "krippendorff_alpha", "ruled"]

RULES = {
    "last": "the last decision stands",
    "majority": "what more than half of the reviewers of an image decided stands, else nothing does",
    "unanimous": "a decision stands where all reviewers of an image agree",
}
"""Rules for images that several reviewers decided, with what they mean."""


@dataclass(frozen=True)
class Agreement:
    """The agreement of the reviewers of a scan. An image is compared where at least two decided about the same bytes.

    `keep`, `delete`, `unsure` and each new label are different judgements.

    Attributes:
        images: number of images that each reviewer decided, by reviewer.
        overlap: number of images that at least two reviewers decided.
        raw: share of the pairs of judgements about an image that are equal, 0 to 1; NaN without an overlap.
        kappa: Cohen's kappa, at most 1, 0 by chance; NaN unless there are two reviewers who overlap.
        alpha: Krippendorff's alpha, at most 1, 0 by chance; NaN without an overlap, or if all judgements are equal.
        differing: the images on which reviewers differ, each with the judgements by reviewer, in words.
    """

    images: Mapping[str, int]
    overlap: int
    raw: float
    kappa: float
    alpha: float
    differing: Mapping[str, Mapping[str, str]]

    def __repr__(self) -> str:
        return f"<Agreement: {self.summary()}>"

    def _repr_html_(self) -> str:
        rows = [(path, *(found.get(name, "") for name in self.images)) for path, found in self.differing.items()]
        return lines([self.summary()]) + table(("image", *map(_named, self.images)), rows[:50])

    def summary(self) -> str:
        """Return the figures in a sentence."""
        counts = ", ".join(f"{_named(name)} {count:,}" for name, count in self.images.items())
        if not self.overlap:
            return f"no image was decided by two reviewers ({counts or 'nobody decided anything'})"
        kappa = f", Cohen's kappa {self.kappa:.3f}" if not math.isnan(self.kappa) else ""
        alpha = f", Krippendorff's alpha {self.alpha:.3f}" if not math.isnan(self.alpha) else ""
        return (
            f"images decided: {counts}; {self.overlap:,} by at least two, who agree in {self.raw:.1%} of the pairs"
            f"{kappa}{alpha}; they differ on {len(self.differing):,}"
        )

    def frame(self) -> pd.DataFrame:
        """Return the images on which reviewers differ, with a column of judgements per reviewer."""
        import pandas as pd

        rows = [{"path": path, **found} for path, found in self.differing.items()]
        frame: pd.DataFrame = pd.DataFrame(rows, columns=["path", *self.images]).fillna("")
        return frame


def agreement(rows: ManifestRows) -> Agreement:
    """Return how far the reviewers agree whose decisions are in a manifest."""
    judged = {path: _judgements(rows.all_for(path)) for path in rows.latest()}
    images = Counter(name for found in judged.values() for name in found)
    units = {path: found for path, found in judged.items() if len(found) > 1}
    pairs = [pair for found in units.values() for pair in combinations(found.values(), 2)]
    names = sorted(images)
    of_two = [(found[names[0]], found[names[1]]) for found in units.values()] if len(names) == 2 else []
    return Agreement(
        images={name: images[name] for name in names},
        overlap=len(units),
        raw=sum(one == other for one, other in pairs) / len(pairs) if pairs else math.nan,
        kappa=cohen_kappa(of_two),
        alpha=krippendorff_alpha([list(found.values()) for found in units.values()]),
        differing={path: found for path, found in units.items() if len(set(found.values())) > 1},
    )


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Return Cohen's kappa of the judgements of two reviewers; NaN for none, or if both always say the same one."""
    if not pairs:
        return math.nan
    n = len(pairs)
    observed = sum(one == other for one, other in pairs) / n
    first, second = (Counter(side) for side in zip(*pairs, strict=True))
    expected = sum(count * second[judgement] for judgement, count in first.items()) / n**2
    return math.nan if expected == 1 else (observed - expected) / (1 - expected)


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float:
    """Return Krippendorff's alpha of nominal data.

    Args:
        units: for each image the judgements of those who decided; images with one judgement are left out.

    Returns:
        at most 1; NaN if nothing can be compared, or all judgements are equal.
    """
    totals, disagreement = Counter[str](), 0.0
    for judgements in units:
        m = len(judgements)
        if m < 2:
            continue
        counts = Counter(judgements)
        totals.update(counts)
        disagreement += sum(count * (m - count) for count in counts.values()) / (m - 1)
    n = totals.total()
    expected = sum(count * (n - count) for count in totals.values())
    return 1 - (n - 1) * disagreement / expected if expected else math.nan


def ruled(rows: ManifestRows, rule: str) -> tuple[dict[str, Decision], dict[str, str]]:
    """Return the last row of each path as a rule sees it, and where it lets no decision stand, who decided what.

    These are undecided then, as if their last row were `undo`.

    Args:
        rows: the decisions.
        rule: a key of `RULES`.

    Raises:
        CleanerError: there is no such rule.
    """
    if rule not in RULES:
        raise CleanerError(f"rule is {rule!r}; pass one of {', '.join(map(repr, RULES))}")
    latest = rows.latest()
    if rule == "last":
        return latest, {}
    left_out = {}
    for path in list(rows.repeated()):
        last = last_by_reviewer(rows.all_for(path))
        if len(last) < 2 or path not in rows:
            continue
        standing = _winner(list(last.values()), rule)
        if standing is None:
            latest[path] = replace(latest[path], action=Action.UNDO, new_label="")
            left_out[path] = ", ".join(f"{_named(name)} {_judgement(each)}" for name, each in last.items())
        else:
            latest[path] = standing
    return latest, left_out


def _winner(decisions: Sequence[Decision], rule: str) -> Decision | None:
    """Return the last decision with the judgement that wins, None if none does."""
    counts = Counter(map(_judgement, decisions))
    judgement, count = counts.most_common(1)[0]
    wins = len(counts) == 1 if rule == "unanimous" else 2 * count > len(decisions)
    return next(each for each in reversed(decisions) if _judgement(each) == judgement) if wins else None


def _judgements(rows: Sequence[Decision]) -> dict[str, str]:
    """Return what each reviewer decided about the bytes and label that the last one saw."""
    last = last_by_reviewer(rows)
    if not last:
        return {}
    seen = list(last.values())[-1]
    return {
        name: _judgement(decision)
        for name, decision in last.items()
        if (decision.sha256, decision.label) == (seen.sha256, seen.label)
    }


def _judgement(decision: Decision) -> str:
    return f"{decision.action.value} to {decision.new_label}" if decision.new_label else decision.action.value


def _named(reviewer: str) -> str:
    return reviewer or "somebody"
