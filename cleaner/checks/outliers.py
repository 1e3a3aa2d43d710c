"""Outliers: images that are far from all others of their class, such as a photo of a receipt among dogs.

The score is the mean distance to the nearest neighbours (Angiulli and Pizzuti, 2002, "Fast Outlier Detection in High
Dimensional Spaces"), in the features of the learner joined with the colour descriptor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.checks.features import Described, joined
from cleaner.checks.quality import Quality, Worst
from cleaner.checks.records import Finding

__all__ = ["OUTLIER", "find_outliers"]

OUTLIER = "outlier"

_NEIGHBOURS = 10
# Classes with fewer images have no outliers, and the images of larger ones are compared with so many of them.
_MIN_OF_CLASS, _COMPARED = 12, 20_000
# An outlier is further than the median of its class by so many usual deviations of all classes. Of 10 images of noise,
# 10 of receipts and 10 of digits among 10,000 images of CIFAR-10 this finds 8, 8 and 6, half of them among the worst
# 20, and 1.7 % of the others, with the features of a small network that is right about two thirds of the images.
_USUAL_DEVIATIONS = 2.5
# And at least so much, as in a dataset of nearly equal images all deviations are small.
_MIN_BEYOND = 0.1
_QUERIES, _VECTORS = 1024, 8192


def find_outliers(
    records: npt.NDArray[Any], classes: npt.NDArray[np.uint32], n_classes: int, described: Described
) -> Quality:
    """Find the images that are far from all others of their class.

    Args:
        records: RECORD [n].
        classes: index [n] of the label of each.
        n_classes: number of labels.
        described: looks up features. An image without is no outlier.
    """
    distances = np.full(len(records), np.nan, np.float32)
    for index in range(n_classes):
        members = np.flatnonzero(classes == index)
        members = members[_have_features(members, described)]
        if len(members) >= _MIN_OF_CLASS:
            distances[members] = _distances(records, members, described)
    limits = _limits(distances, classes, n_classes)[classes]
    at = np.flatnonzero(distances > limits)
    worst = Worst()
    worst.update(at, (distances[at] - limits[at]).astype(np.float64) / np.maximum(1e-6, 1 - limits[at]))
    findings = [
        Finding(OUTLIER, image, min(1.0, score), _detail(float(distances[image]), float(limits[image])))
        for image, score in worst.result()
    ]
    by_class = np.bincount(classes[at], minlength=n_classes)
    return Quality(findings, {OUTLIER: by_class} if len(at) else {})


def _have_features(members: npt.NDArray[np.int64], described: Described) -> npt.NDArray[np.bool_]:
    blocks = (described(members[start : start + _VECTORS]).any(axis=1) for start in range(0, len(members), _VECTORS))
    return np.concatenate([np.empty(0, bool), *blocks])


def _distances(
    records: npt.NDArray[Any], members: npt.NDArray[np.int64], described: Described
) -> npt.NDArray[np.float32]:
    """Return for each member the mean of 1 - cosine over its nearest ones."""
    compared = members
    if len(members) > _COMPARED:
        compared = np.sort(np.random.default_rng(0).choice(members, _COMPARED, replace=False))
    found = np.empty(len(members), np.float32)
    for start in range(0, len(members), _QUERIES):
        at = members[start : start + _QUERIES]
        queries = joined(records, at, described)
        best = np.full((len(at), _NEIGHBOURS), -1, np.float32)
        for begin in range(0, len(compared), _VECTORS):
            others = compared[begin : begin + _VECTORS]
            cosines = queries @ joined(records, others, described).T
            cosines[at[:, None] == others] = -1
            best = np.partition(np.hstack([best, cosines]), -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS:]
        found[start : start + len(at)] = 1 - best.mean(axis=1)
    return found


def _limits(
    distances: npt.NDArray[np.float32], classes: npt.NDArray[np.uint32], n_classes: int
) -> npt.NDArray[np.float32]:
    """Return for each class the distance beyond which an image is an outlier."""
    medians = np.full(n_classes, np.nan, np.float32)
    for index in np.unique(classes[~np.isnan(distances)]):
        medians[index] = np.nanmedian(distances[classes == index])
    deviations = np.abs(distances - medians[classes])
    is_known = ~np.isnan(deviations)
    # 1.4826: for normal deviations that is their standard deviation.
    usual = 1.4826 * float(np.median(deviations[is_known])) if is_known.any() else 0.0
    limits: npt.NDArray[np.float32] = medians + np.float32(max(_MIN_BEYOND, _USUAL_DEVIATIONS * usual))
    return limits


def _detail(distance: float, limit: float) -> str:
    return f"{distance:.2f} from the {_NEIGHBOURS} nearest images of its label; unusual here is more than {limit:.2f}"
