"""What a scan keeps of each class: how many samples, and whether all of them are where they belong."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.tasks import MULTI_LABEL, OTHER, SINGLE_LABEL
from cleaner.scoring.engine import DatasetInfo, ScanOptions
from tests.support.learners import make_folder, make_learner


@pytest.mark.parametrize(
    ("n_classes", "splits", "options", "task", "expected"),
    [
        (10, 1, {}, SINGLE_LABEL, 10_000),
        (10, 2, {}, SINGLE_LABEL, 5_000),
        (1_000, 1, {}, SINGLE_LABEL, 100),
        (1_000, 2, {}, SINGLE_LABEL, 100),
        (600, 1, {}, SINGLE_LABEL, 166),
        (10, 2, {"fast": True}, SINGLE_LABEL, 100),
        (20, 1, {}, MULTI_LABEL, 5_000),
        (1, 2, {}, OTHER, 100),
        (10, 2, {"k": 7}, SINGLE_LABEL, 7),
        (1_000, 2, {"k": 500, "fast": True}, SINGLE_LABEL, 500),
    ],
)
def test_auto_keeps_a_hundred_thousand_rows_in_all_and_a_hundred_of_each_class(
    n_classes: int, splits: int, options: dict[str, Any], task: str, expected: int
) -> None:
    vocab, names = tuple(map(str, range(n_classes))), tuple(map(str, range(splits)))
    info = DatasetInfo(Path("data"), vocab, names, task=task, label_delim=";" if task == MULTI_LABEL else "")
    assert ScanOptions(**options).samples_per_class(info) == expected


@pytest.mark.parametrize("k", [0, -1, 2.0, True, "many", None])
def test_another_k_is_refused(k: Any) -> None:
    with pytest.raises(CleanerError, match="whole number of at least 1, or 'auto'"):
        ScanOptions(k=k)


def predictions(n: int) -> tuple[Any, Any, list[str]]:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(7), n)
    return random.integers(0, 7, n), probabilities, [f"{number:04d}.png" for number in range(n)]


def test_listed_audited_and_typical_samples_of_predictions(tmp_path: Path) -> None:
    labels, probabilities, paths = predictions(700)
    vocab = tuple("abcdefg")
    scan = cleaner.scan_arrays(labels, probabilities, paths, vocab, tmp_path / "scan", k=20, progress=False)
    losses = -np.log(probabilities[np.arange(700), labels])
    for index, label in enumerate(vocab):
        own = [path for path, given in zip(paths, labels, strict=True) if given == index]
        listed = [sample.path for sample in scan.kept("all", label)]
        assert listed == sorted(own, key=lambda path: -losses[int(path[:4])])[:20]
        audited = [sample.path for sample in scan.audit if sample.label == label]
        assert len(audited) == min(30, len(own) - 20)
        assert set(audited) <= set(own) - set(listed)
        typical = [each.path for each in scan.typical if each.label == label]
        right = [path for path in own if probabilities[int(path[:4])].argmax() == index]
        assert typical == sorted(right, key=lambda path: losses[int(path[:4])])[:12]
    for sample in scan.samples:
        own = probabilities[int(sample.path[:4])]
        assert [label for label, _ in sample.alternatives] == [vocab[at] for at in np.argsort(-own)[:5]]
        assert [p for _, p in sample.alternatives] == pytest.approx(sorted(own, reverse=True)[:5], rel=1e-3)
        assert sample.alternatives[0][0] == sample.predicted


def test_a_round_after_an_apply_draws_another_audit_sample(tmp_path: Path) -> None:
    """Errors of the first sample were corrected: it would say that none are left."""

    def audited(out: Path, **options: Any) -> list[str]:
        scan = cleaner.scan_arrays(*predictions(700), tuple("abcdefg"), out, k=20, progress=False, **options)
        return [sample.path for sample in scan.audit]

    first = audited(tmp_path / "scan")
    assert audited(tmp_path / "scan") == audited(tmp_path / "other") == first
    (tmp_path / "scan" / "journal-20260101T000000Z.jsonl").touch()
    from_old = replace(ScanOptions(), decisions_from=tmp_path / "scan")
    assert from_old.audit_key(tmp_path / "other") == ScanOptions().audit_key(tmp_path / "scan") == 1


@pytest.mark.parametrize("fast", [False, True])
def test_a_learner_s_scan_has_all_three_lists(fast: bool, tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=45))
    scan = cleaner.scan(learn, tmp_path / "scan", k=3, fast=fast, progress=False)
    for split in scan.splits:
        for losses in scan.of_classes(split):
            listed = {sample.path for sample in scan.kept(split, losses.label)}
            audited = {s.path for s in scan.audit if (s.split, s.label) == (split, losses.label)}
            assert not listed & audited
            assert len(audited) == min(30, losses.scored - len(listed))
            typical = {t.path for t in scan.typical if (t.split, t.label) == (split, losses.label)}
            assert len(typical) == min(12, losses.scored - losses.predicted_otherwise)
    for sample in (*scan.samples, *scan.audit):
        assert sample.alternatives[0] == (sample.predicted, pytest.approx(sample.confidence, rel=1e-3))
        assert sum(p for _, p in sample.alternatives) <= 1.001
    with open(tmp_path / "scan/audit.csv", encoding="utf-8", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [sample.path for sample in scan.audit]


def test_a_file_listed_twice_is_audited_once_and_not_if_it_is_listed(tmp_path: Path) -> None:
    from fastai.vision.all import ImageDataLoaders, Resize

    folder = make_folder(tmp_path / "data", per_class=6)
    files = sorted(path for path in folder.rglob("*.png"))
    labels = [path.parent.name for path in files]
    dls = ImageDataLoaders.from_lists(
        folder, files * 3, labels * 3, valid_pct=0.1, seed=0, item_tfms=Resize(16), bs=4, num_workers=0
    )
    from tests.support.learners import make_model

    scan = cleaner.scan(_learner(dls, make_model(len(dls.vocab))), tmp_path / "scan", k=3, progress=False)
    for split in scan.splits:
        for label in scan.vocab:
            listed = [sample.path for sample in scan.kept(split, label)]
            audited = [s.path for s in scan.audit if (s.split, s.label) == (split, label)]
            assert len(set(listed)) == len(listed)
            assert len(set(audited)) == len(audited)
            assert not set(listed) & set(audited)


def _learner(dls: Any, model: Any) -> Any:
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat

    return Learner(dls, model, loss_func=CrossEntropyLossFlat())
