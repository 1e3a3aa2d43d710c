"""Estimates of the errors that a review has found and of those that are left, from decisions and the audit sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import chain

from cleaner.core.kept_samples import AUDITED
from cleaner.core.markup import lines, table
from cleaner.core.records import Action, Decision, Sample, parse_time
from cleaner.core.scan import Scan
from cleaner.core.standing import standing_of
from cleaner.core.tasks import ALL_IMAGES, MULTI_LABEL, split_labels

__all__ = [
    "FEW",
    "PAGE",
    "RECENT",
    "ClassEstimate",
    "Estimate",
    "Rate",
    "estimate",
    "stratified_wilson",
    "wilson",
]

RECENT = 30
"""Number of decided samples, the last ones by rank, whose share of changes is shown."""

PAGE = 30
"""Number of samples on a page, for which the next errors are estimated."""

FEW = 10
"""With fewer decisions, a share of them says nothing about the next samples."""

_Z = 1.959964
# The means of Poisson distributions of which 95 % of draws are below 1, 2, 3 …, the first one for 0.
_LOWEST = (0.0, 0.0513, 0.3554, 0.8177, 1.3663, 1.9701, 2.6130, 3.2853, 3.9808, 4.6952)
_ITERATIONS = 20
# Classes that a notebook shows, those with the most changes.
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of samples, 0..1, with its 95 % interval."""

    rate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_percent(self.rate)} ({_percent(self.low).removesuffix(' %')}–{_percent(self.high)})"


@dataclass(frozen=True)
class ClassEstimate:
    """The errors of one split and label: counts of the decisions, and the estimate from the audit sample.

    Deleted and relabelled samples count as errors, and `unsure` ones on neither side. In a multi-label scan, the error
    is about this label: carried and should not be, or the other way round.

    Attributes:
        split, label: name the class.
        scored: number of samples.
        kept: number of those with the highest losses.
        decided: number of kept samples that are decided, apart from `unsure`.
        changed: number of those decided to be wrong.
        unsure: number of kept and audited samples decided as `unsure`.
        recent: for the last `RECENT` of the decided samples by rank, whether each was changed. Only decisions since the
            scan count, no deleted image that `cleaner check` lists (a bad image or a copy is no error of a label), and
            none of a part of the ranking in which most are undecided: those were not picked by their rank.
        audit_sample: number of samples in the audit sample.
        audited: number of those that are decided, apart from `unsure`. Only decisions count that were taken since the
            scan and without its prediction and loss: others are about samples that were not chosen at random.
        audited_wrong: number of those decided to be wrong.
    """

    split: str
    label: str
    scored: int
    kept: int
    decided: int
    changed: int
    unsure: int
    recent: tuple[bool, ...]
    audit_sample: int
    audited: int
    audited_wrong: int

    @property
    def rest(self) -> int:
        """Number of samples that were not kept, from which the audit sample was drawn.

        A sample that the dataset lists more than once counts as often, unless the audit sample is all of the rest.
        """
        return self.scored - self.kept if self.audit_sample >= AUDITED else self.audit_sample

    @property
    def found(self) -> int:
        """Number of errors found so far."""
        return self.changed + self.audited_wrong

    @property
    def wrong(self) -> Rate | None:
        """The share of errors in the rest; None if nobody audited."""
        return wilson(self.audited_wrong, self.audited, self.rest) if self.audited else None

    @property
    def left(self) -> float | None:
        """The number of errors that are left in the rest; None if nobody audited."""
        return None if self.wrong is None else self.wrong.rate * (self.rest - self.audited)

    @property
    def left_text(self) -> str:
        """The number of errors that are left with its 95 % interval, such as `12 (3–31)`; empty if nobody audited."""
        if self.wrong is None:
            return ""
        rates = (self.wrong.rate, self.wrong.low, self.wrong.high)
        left, low, high = (f"{rate * (self.rest - self.audited):.0f}" for rate in rates)
        return f"{left} ({low}–{high})"

    def on_next_page(self, page_size: int) -> float:
        """Return how many errors the next undecided samples by rank are likely to have.

        NaN if fewer than `FEW` decisions tell.
        """
        return _expected_errors(self.recent, min(page_size, max(0, self.kept - self.decided)))


@dataclass(frozen=True, repr=False)
class Estimate:
    """The errors of a scan.

    Attributes:
        classes: each split and label with a scored sample, in the order of the scan.
        recent: as in `ClassEstimate`, over all classes in the order of their losses.
        has_audit: whether the scan has an audit sample; early versions drew none.
        unit: what is counted, `image`, or `label` where images carry several.
    """

    classes: tuple[ClassEstimate, ...]
    recent: tuple[bool, ...]
    has_audit: bool
    unit: str = "image"

    def __repr__(self) -> str:
        return f"<Estimate: {self.summary()}>"

    def _repr_html_(self) -> str:
        header, *rows = self.table()
        shown = sorted(rows, key=lambda row: -int(str(row[3])))[:_SHOWN]
        more = [f"and {len(rows) - len(shown):,} more classes: estimate.table()"] if len(rows) > len(shown) else []
        return lines([self.summary()]) + table(list(map(str, header)), shown) + lines(more)

    @property
    def found(self) -> int:
        """Number of errors found so far; with several labels per image, of labels."""
        return sum(each.found for each in self.classes)

    @property
    def unsure(self) -> int:
        """Number of samples decided as `unsure`."""
        return sum(each.unsure for each in self.classes)

    @cached_property
    def audited(self) -> tuple[ClassEstimate, ...]:
        """The classes of which at least one sample of the audit sample is decided."""
        return tuple(each for each in self.classes if each.audited)

    @cached_property
    def not_audited(self) -> tuple[ClassEstimate, ...]:
        """The classes that have a rest, of which nobody audited a sample."""
        return tuple(each for each in self.classes if not each.audited and each.rest)

    @property
    def wrong(self) -> Rate | None:
        """The share of errors in the rest of the audited classes; None if nobody audited."""
        strata = [(each.audited_wrong, each.audited, each.rest) for each in self.audited]
        return stratified_wilson(strata) if strata else None

    @property
    def left(self) -> float | None:
        """The number of errors that are left in the rest of the audited classes; None if nobody audited."""
        return sum(each.left or 0.0 for each in self.audited) if self.audited else None

    def on_next_page(self, page_size: int) -> float:
        """Return how many errors the next undecided samples by loss are likely to have.

        NaN if fewer than `FEW` decisions tell.
        """
        undecided = sum(each.kept - each.decided for each in self.classes)
        return _expected_errors(self.recent, min(page_size, max(0, undecided)))

    def summary(self) -> str:
        """Return the estimate in a few sentences."""
        unsure = f", {self.unsure:,} unsure" if self.unsure else ""
        parts = [f"{self.found:,} changed{unsure}."]
        if len(self.recent) >= FEW:
            parts.append(f"Of the last {len(self.recent)} by rank {sum(self.recent)} were wrong.")
        if (likely := self.on_next_page(PAGE)) >= 0:
            parts.append(f"The next {PAGE} by rank are likely to have about {likely:.0f} more.")
        return " ".join([*parts, *self._about_the_rest()])

    def table(self, split: str | None = None, label: str | None = None) -> list[tuple[object, ...]]:
        """Return a header, and a row for each class, of one split or label if given."""
        header = ("split", "label", "decided", "changed", "unsure", "last changed", f"next {PAGE}")
        rows: list[tuple[object, ...]] = [(*header, "audit wrong", "rest wrong", "left")]
        for each in self.classes:
            if split in (None, each.split) and label in (None, each.label):
                likely = each.on_next_page(PAGE)
                recent = f"{sum(each.recent)} of {len(each.recent)}" if each.recent else ""
                audited = f"{each.audited_wrong} of {each.audited}"
                counts = each.decided, each.changed, each.unsure, recent, "" if math.isnan(likely) else f"{likely:.0f}"
                rows.append((each.split, each.label, *counts, audited, each.wrong or "not audited", each.left_text))
        return rows

    def _about_the_rest(self) -> Iterator[str]:
        if not self.has_audit:
            if all(each.label == ALL_IMAGES for each in self.classes):
                yield "Images without labels have no audit sample."
            elif all(each.kept >= each.scored for each in self.classes):
                yield "The lists have every sample, so there is no audit sample of others; a smaller k leaves some."
            else:
                yield "The scan is of an early version, so there is no audit sample of others."
        elif self.wrong is None or self.left is None:
            yield "Nobody decided about the audit sample, so there is no estimate of the errors that are left."
        else:
            where = f"the rest of {_counted(len(self.audited), 'audited class')}" if self.not_audited else "the rest"
            yield f"About {self.wrong} of {where} are wrong, some {_rounded(self.left)} {self.unit}s."
            if self.not_audited:
                yield f"Nobody audited {_counted(len(self.not_audited), 'other class')}: no estimate of them."


def estimate(scan: Scan) -> Estimate:
    """Return how many errors were found and how many are left, from the decisions that stand.

    Raises:
        CleanerError: the scan has no folder, or its manifest is invalid.
    """
    standing = standing_of(scan)
    audit: dict[tuple[str, str], list[Sample]] = {}
    for sample in scan.audit:
        audit.setdefault((sample.split, sample.label), []).append(sample)
    classes = []
    for split in scan.splits:
        for losses in scan.of_classes(split):
            place = (split, losses.label)
            classes.append(_of_class(scan, losses.scored, place, audit.get(place, []), standing))
    unit = "label" if scan.task == MULTI_LABEL else "image"
    return Estimate(tuple(classes), _recent(scan, scan.worst(), standing), bool(audit), unit)


def wilson(wrong: int, n: int, population: int) -> Rate:
    """Return the share of a population, and its interval by the score test of Wilson (1927).

    The lower bound for few errors is that of Brown, Cai and DasGupta (2001, Interval Estimation for a Binomial
    Proportion), from the Poisson distribution: Wilson's own would cover some small shares in 84 % of samples only.

    Args:
        wrong: number of errors in a random sample.
        n: size of the sample, at least 1.
        population: size of the population; a sample of most of it says more than one of a part.
    """
    size = _effective(n, population)
    centre, half = _wilson(wrong / n, size, _Z)
    low = min(centre - half, _LOWEST[wrong] / size) if wrong < len(_LOWEST) and size < math.inf else centre - half
    return _rate(wrong / n, low, centre + half)


def stratified_wilson(strata: Iterable[tuple[int, int, int]]) -> Rate:
    """Return the share of a population of several strata, and its interval by Yan and Su (2010).

    The bounds are the means of the strata's Wilson bounds, weighted by size, for a smaller `z`: the one for which
    their half widths add up as the standard errors of independent samples do (Stratified Wilson and Newcombe Confidence
    Intervals for Multiple Binomial Proportions, Statistics in Biopharmaceutical Research 2). The lower bound for few
    errors is from the Poisson distribution, as in `wilson`, for weighted counts (Dobson et al. 1991, Confidence
    Intervals for Weighted Sums of Poisson Parameters).

    Args:
        strata: `wrong`, `n` and `population` of each, as in `wilson`.
    """
    listed = list(strata)
    if len(listed) == 1:
        return wilson(*listed[0])
    total = sum(population for _, _, population in listed)
    shares = [(wrong / n, _effective(n, population), population / total) for wrong, n, population in listed]
    rate, z = sum(share * weight for share, _, weight in shares), _Z
    for _ in range(_ITERATIONS):
        halves = [(_wilson(share, n, z)[1], weight) for share, n, weight in shares]
        width = sum(half * weight for half, weight in halves)
        if width == 0:
            return Rate(rate, rate, rate)
        z = _Z * math.sqrt(sum((half * weight) ** 2 for half, weight in halves)) / width
    bounds = [(*_wilson(share, n, z), weight) for share, n, weight in shares]
    centre = sum(middle * weight for middle, _, weight in bounds)
    half = sum(each * weight for _, each, weight in bounds)
    low, count = centre - half, sum(wrong for wrong, _, _ in listed)
    if 0 < count < len(_LOWEST):
        of_one = [(wrong, weight / n) for (wrong, _, _), (_, n, weight) in zip(listed, shares, strict=True)]
        spread = math.sqrt(sum(wrong * each**2 for wrong, each in of_one) / count)
        low = min(low, sum(wrong * each for wrong, each in of_one) + spread * (_LOWEST[count] - count))
    return _rate(rate, low, centre + half)


def _rate(rate: float, low: float, high: float) -> Rate:
    """Return a rate with bounds that rounding put outside of 0..1, or beyond the rate, at their place."""
    return Rate(rate, min(max(0.0, low), rate), max(min(1.0, high), rate))


def _effective(n: int, population: int) -> float:
    """Return the size of a sample with replacement that says as much."""
    return math.inf if n >= population else n * (population - 1) / (population - n)


def _wilson(share: float, n: float, z: float) -> tuple[float, float]:
    """Return the centre and half the width of the Wilson interval."""
    if n == math.inf:
        return share, 0.0
    scale = 1 + z * z / n
    return (share + z * z / (2 * n)) / scale, z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale


def _of_class(
    scan: Scan, scored: int, place: tuple[str, str], audit: Sequence[Sample], standing: Mapping[str, Decision]
) -> ClassEstimate:
    kept = scan.kept(*place)
    changes = list(_verdicts(scan, kept, standing))
    started = parse_time(scan.started) if scan.started else None
    blind = [sample for sample in audit if _is_blind(standing.get(sample.path), started)]
    audited = list(_verdicts(scan, blind, standing))
    unsure = sum(
        decision is not None and decision.action is Action.UNSURE
        for decision in (standing.get(sample.path) for sample in chain(kept, audit))
    )
    return ClassEstimate(
        *place,
        scored=scored,
        kept=len(kept),
        decided=len(changes),
        changed=sum(changes),
        unsure=unsure,
        recent=_recent(scan, kept, standing),
        audit_sample=len(audit),
        audited=len(audited),
        audited_wrong=sum(audited),
    )


def _verdicts(scan: Scan, samples: Iterable[Sample], standing: Mapping[str, Decision]) -> Iterable[bool]:
    """Yield for each decided sample, in their order, whether its label is wrong; `unsure` says neither."""
    for sample in samples:
        decision = standing.get(sample.path)
        if decision is not None and decision.action is not Action.UNSURE:
            yield _is_wrong(scan, sample, decision)


def _is_blind(decision: Decision | None, started: datetime | None) -> bool:
    """Return whether a decision was taken since the scan, without its prediction and loss."""
    if decision is None or decision.predicted or not math.isnan(decision.loss):
        return False
    return _is_since(decision, started)


def _is_since(decision: Decision, started: datetime | None) -> bool:
    return started is None or not decision.decided_at or parse_time(decision.decided_at) >= started


def _recent(scan: Scan, ranked: Iterable[Sample], standing: Mapping[str, Decision]) -> tuple[bool, ...]:
    """Return of the last decided samples by rank whether they are wrong, as `ClassEstimate.recent`."""
    started = parse_time(scan.started) if scan.started else None
    listed = {issue.path for issue in scan.issues}
    verdicts: list[bool] = []
    n_seen = n_reviewed = 0
    for sample in ranked:
        decision = standing.get(sample.path)
        if decision is not None and not _tells(decision, started, sample.path in listed):
            continue
        n_seen += 1
        if decision is not None:
            verdicts.append(_is_wrong(scan, sample, decision))
            if len(verdicts) >= n_seen / 2:
                n_reviewed = len(verdicts)
    return tuple(verdicts[:n_reviewed][-RECENT:])


def _tells(decision: Decision, started: datetime | None, is_listed: bool) -> bool:
    """Return whether a decision tells about the labels of the samples that follow by rank."""
    is_of_image = decision.action is Action.UNSURE or (decision.action is Action.DELETE and is_listed)
    return not is_of_image and _is_since(decision, started)


def _is_wrong(scan: Scan, sample: Sample, decision: Decision) -> bool:
    if scan.task == MULTI_LABEL and decision.action is Action.RELABEL:
        return (sample.label in sample.given) != (sample.label in split_labels(decision.new_label, scan.label_delim))
    return decision.action in (Action.DELETE, Action.RELABEL)


def _expected_errors(recent: Sequence[bool], n: int) -> float:
    """Return how many of the next `n` samples are likely to be wrong; NaN if too little is known."""
    return n * sum(recent) / len(recent) if len(recent) >= FEW else math.nan


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 'es'}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rounded(count: float) -> str:
    """Return a number with two digits that count."""
    whole = round(count)
    digits = max(0, len(str(whole)) - 2)
    return f"{round(whole, -digits):,}"
