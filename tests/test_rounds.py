"""Three rounds of training, scanning, reviewing and applying, on real images of which a tenth has a wrong label."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from fastai.vision import all as fastai

import cleaner
from cleaner.core.files import sha256_of
from cleaner.core.records import Action
from cleaner.core.rounds import history
from cleaner.core.scan import Scan
from cleaner.review.session import Session
from tests.support.folders import tree
from tests.support.learners import make_model

VOCAB = ("airplane", "automobile", "frog")
PER_CLASS, WRONG = 60, 6


@dataclass
class Dataset:
    """Class folders, the true label of all bytes, and what a reviewer who knows it was asked."""

    root: Path
    truth: dict[str, str] = field(default_factory=dict)
    spare: bytes = b""
    asked: dict[str, float] = field(default_factory=dict)

    def learner(self, seed: int) -> fastai.Learner:
        loaders = fastai.ImageDataLoaders.from_folder(self.root, valid_pct=0.2, seed=1, bs=32, num_workers=0)
        learn = fastai.Learner(loaders, make_model(len(VOCAB)), loss_func=fastai.CrossEntropyLossFlat())
        torch.manual_seed(seed)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(3, 3e-3)
        return learn

    def review(self, scan: Scan, reviewer: str) -> int:
        """Decide about every undecided card; returns how many there were."""
        session, count = Session(scan, reviewer), 0
        for path, sample in scan.by_path().items():
            sha256, standing = sha256_of(self.root / path), session.card(path).decision
            if standing:
                assert standing.sha256 == sha256, f"a decision about another file shows on {path!r}"
                continue
            # The one reason to ask again: the model disagrees more with the new label than with the old one.
            assert sha256 not in self.asked or sample.loss > self.asked[sha256], f"asked again about {path!r}"
            count += 1
            truth = self.truth[sha256]
            if truth == sample.label:
                session.decide(path, Action.KEEP)
            elif count % 3:
                session.decide(path, Action.RELABEL, truth)
            else:
                session.decide(path, Action.DELETE)
            self.asked[sha256] = sample.loss
        return count


@pytest.fixture
def dataset(shared_data: Callable[[str], Path], tmp_path: Path) -> Dataset:
    found, chance = Dataset(tmp_path / "data"), random.Random(0)
    with zipfile.ZipFile(shared_data("cifar10-test.zip")) as images:
        for number, label in enumerate(VOCAB):
            names = sorted(name for name in images.namelist() if f"/{label}/" in name and name.endswith(".jpg"))
            wrong = set(chance.sample(range(PER_CLASS), WRONG))
            for n, name in enumerate(names[:PER_CLASS]):
                folder = found.root / VOCAB[(number + 1) % len(VOCAB)] if n in wrong else found.root / label
                folder.mkdir(parents=True, exist_ok=True)
                # A name that is taken in another class is what an apply has to solve.
                file = folder / f"{number if n in wrong else ''}{n:03d}.jpg"
                file.write_bytes(images.read(name))
                found.truth[sha256_of(file)] = label
            found.spare = images.read(names[PER_CLASS])
    return found


def test_no_image_is_asked_twice_and_undo_of_all_rounds_restores_the_tree(dataset: Dataset, tmp_path: Path) -> None:
    before, journals, asked = tree(dataset.root), [], []
    scans = [tmp_path / "scan", tmp_path / "scan", tmp_path / "new"]
    for number, out in enumerate(scans):
        learn = dataset.learner(seed=number)
        earlier = scans[number - 1] if number and out != scans[number - 1] else None
        scan = cleaner.scan(learn, out, k=30, root=dataset.root, progress=False, decisions_from=earlier)
        asked.append(dataset.review(scan, f"reviewer {number}"))
        report = cleaner.apply(scan.manifest_path, dataset.root)
        assert report.conflicts == ()
        journals.append(report.journal)
        if number == 0:
            # Another file under the name of one that was deleted.
            old = dataset.root / next(each.source for each in report.done if each.action == "delete")
            old.write_bytes(dataset.spare)
            dataset.truth[sha256_of(old)] = VOCAB[-1]

    print(f"\nimages asked about in each round: {asked}")
    assert asked[0] >= 100
    assert max(asked[1:]) < asked[0] / 2
    rounds = history(scan)
    assert len(rounds) == 3
    assert rounds[0].found >= WRONG
    assert rounds[0].changed == rounds[0].found

    for journal in reversed(journals):
        if journal == journals[0]:
            old.unlink()
        if journal is not None:
            assert cleaner.undo(journal).conflicts == ()
    assert tree(dataset.root) == before
