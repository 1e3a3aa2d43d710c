"""A scan of a few rows, and its fields as text."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from cleaner.core.records import LOSS_EDGES, ClassLosses, Sample
from cleaner.core.scan import Scan


def as_text(scan: Scan) -> dict[str, str]:
    """Return all fields but the folder as text, so that NaN equals NaN; numbers have the files' precision, float32."""
    samples, audit = (
        tuple(replace(s, loss=float(np.float32(s.loss)), confidence=float(np.float32(s.confidence))) for s in each)
        for each in (scan.samples, scan.audit)
    )
    scan = replace(scan, samples=samples, audit=audit, typical=tuple(scan.typical), folder=None)
    return {each.name: repr(getattr(scan, each.name)) for each in fields(scan)}


def make(**changes: Any) -> Scan:
    """Return a scan of two splits and three labels, with a tie and losses that are not finite."""
    samples = (
        Sample("train", "cat", 1, "train/cat/n.png", math.nan, "dog", 0.5),
        Sample("train", "cat", 2, "train/cat/b.png", 3.0, "dog", 0.9),
        Sample("train", "dog", 1, "train/dog/a.png", 3.0, "cat", 0.8),
        Sample("train", "dog", 2, "train/dog/c.png", 0.5, "dog", 0.7),
        Sample("valid", "cat", 1, "valid/cat/i.png", math.inf, "fox", 1.0),
    )
    cells = {
        "train": {("cat", "cat"): 7, ("cat", "dog"): 2, ("dog", "cat"): 2, ("dog", "dog"): 9},
        "valid": {("cat", "fox"): 5, ("cat", "cat"): 1},
    }
    histogram = (6, *[0] * (len(LOSS_EDGES) - 1), 0)
    histogram = tuple(2 if n and LOSS_EDGES[n - 1] == 5 else count for n, count in enumerate(histogram))
    values = {
        "losses": (ClassLosses("train", "cat", 9, 2, 0.5, 1, histogram),),
        "root": Path("/data"),
        "vocab": ("cat", "dog", "fox"),
        "splits": ("train", "valid"),
        "k": 2,
        "scored": {"train": 20, "valid": 6},
        "samples": samples,
        "cells": cells,
    }
    return Scan(**{**values, **changes})
