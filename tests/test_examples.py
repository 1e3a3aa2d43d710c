"""The example in the docstring of each public name runs, in a folder with a small dataset, a learner and a scan."""

from __future__ import annotations

import doctest
import inspect
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.core.records import Action, Decision
from tests.support.learners import make_folder, make_learner
from tests.support.torch_models import TRANSFORM, VOCAB, make_model

# What examples may differ in: times and places.
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `images`, `labels.csv`, `export.pkl` and the scan folder `scan`, in which two are decided."""
    folder = tmp_path_factory.mktemp("examples")
    make_folder(folder / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        learn = make_learner(Path("images"))
        learn.path = folder
        learn.export("export.pkl")
        cleaner.scan(learn, "scan", progress=False, workers=0)
        manifest = cleaner.Manifest("scan/decisions.csv")
        manifest.append(Decision("cat/cat_0.png", Action.DELETE, "cat"))
        manifest.append(Decision("dog/dog_1.png", Action.RELABEL, "dog", "bear"))
        rows = [f"{path.parent.name}/{path.name},{path.parent.name}" for path in sorted(Path("images").rglob("*.png"))]
        Path("labels.csv").write_text("\n".join(["fname,label", *rows]) + "\n")
    return folder


@pytest.fixture
def names(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What an example may use, in a copy of the folder."""
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    description = (folder / "scan/scan.json").read_text()
    (folder / "scan/scan.json").write_text(description.replace(prepared.as_posix(), folder.as_posix()))
    dataset = ImageFolder("images", TRANSFORM)
    paths = [Path(path).relative_to("images").as_posix() for path, _ in dataset.samples]
    labels = [VOCAB[number] for _, number in dataset.samples]
    pred_probs = np.random.default_rng(0).dirichlet(np.ones(3), len(paths))
    learn = make_learner(Path("images"))
    return {
        "cleaner": cleaner,
        "learn": learn,
        "model": make_model(),
        "dataset": dataset,
        "paths": paths,
        "labels": labels,
        "pred_probs": pred_probs,
        "vocab": list(VOCAB),
    }


@pytest.mark.parametrize("name", [name for name in cleaner.__all__ if name != "CleanerError"])
def test_the_example_of_a_public_name_runs(name: str, names: dict[str, Any]) -> None:
    public = getattr(cleaner, name)
    docstring = inspect.getdoc(public) or ""
    example = doctest.DocTestParser().get_doctest(docstring, names, name, None, None)
    assert example.examples, f"the docstring of cleaner.{name} has no example"
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    said: list[str] = []
    runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)
