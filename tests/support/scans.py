"""Small scans, made without a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cleaner.core.features import FeatureWriter
from cleaner.core.records import ClassLosses, Sample
from cleaner.core.scan import Scan
from cleaner.core.tasks import MULTI_LABEL
from tests.support.images import make_image


def make_scan(root: Path, out: Path, vocab: tuple[str, ...] = ("cat", "dog", "fox"), per_class: int = 8) -> Scan:
    """Write a dataset in class folders below `train` and `valid`, and return its scan, made without a model."""
    samples, cells = [], {}
    for split in ("train", "valid"):
        cells[split] = {}
        for number, label in enumerate(vocab):
            predicted = vocab[(number + 1) % len(vocab)]
            cells[split][label, predicted] = per_class
            for rank in range(1, per_class + 1):
                path = f"{split}/{label}/{label}_{'v' if split == 'valid' else ''}{rank:02d}.png"
                make_image(root / path, seed=hash((split, number, rank)) % 2**32)
                samples.append(Sample(split, label, rank, path, 5 - rank / 10, predicted, 0.9))
    return Scan(
        root=root,
        vocab=vocab,
        splits=("train", "valid"),
        k=per_class,
        scored={"train": len(vocab) * per_class, "valid": len(vocab) * per_class},
        samples=tuple(samples),
        cells=cells,
    ).write(out)


def with_features(scan: Scan, paths: list[str], rows: np.ndarray) -> Scan:
    """Return a scan that kept these features, float32 [n, m], of samples."""
    assert scan.folder is not None
    writer = FeatureWriter(scan.folder)
    writer.append(paths, rows)
    writer.finish()
    return replace(scan, settings={**scan.settings, "features": rows.shape[1]}).write(scan.folder)


def make_label_scan(root: Path, out: Path) -> Scan:
    """Return a scan of four images with all sets of the labels cat and dog; predictions of cat are wrong."""
    vocab, sets = ("cat", "dog", "fox"), [(), ("cat",), ("dog",), ("cat", "dog")]
    for number in range(len(sets)):
        make_image(root / f"{number}.png", seed=number)
    samples = []
    for label in vocab:
        for number, given in enumerate(sets):
            says = (label in given) != (label == "cat")
            about = (f"{number}.png", 2 - number / 10, label if says else "", 0.9)
            samples.append(Sample("train", label, number + 1, *about, given))
    losses = tuple(ClassLosses("train", label, 4, 3 if label == "cat" else 0) for label in vocab)
    return Scan(
        root, vocab, ("train",), 4, {"train": 4}, tuple(samples), {"train": {}}, (), losses,
        task=MULTI_LABEL, label_delim=";",
    ).write(out)  # fmt: skip
