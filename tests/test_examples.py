"""The example in the docstring of each public name runs, in a folder with a small dataset, a learner and a scan."""

from __future__ import annotations

import doctest
import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.checks.report import CheckReport
from cleaner.core.records import Action, Decision
from tests.support.learners import make_folder, make_learner
from tests.support.torch_models import TRANSFORM, VOCAB, make_model

# For the command line and other parts of the package, or the same by another name.
WITHOUT_EXAMPLE = {"write_to", "print_classification_report", "table", "summary", "notes"}
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
    mpl.use("Agg")
    description = (folder / "scan/scan.json").read_text()
    (folder / "scan/scan.json").write_text(description.replace(prepared.as_posix(), folder.as_posix()))
    dataset = ImageFolder("images", TRANSFORM)
    paths = [Path(path).relative_to("images").as_posix() for path, _ in dataset.samples]
    labels = [VOCAB[number] for _, number in dataset.samples]
    pred_probs = np.random.default_rng(0).dirichlet(np.ones(3), len(paths))
    learn = make_learner(Path("images"))
    scan = cleaner.load("scan")
    return {
        "Path": Path,
        "scan": scan,
        "interp": cleaner.Interpretation(scan),
        "manifest": cleaner.Manifest(scan.manifest_path),
        "cleaner": cleaner,
        "learn": learn,
        "model": make_model(),
        "dataset": dataset,
        "paths": paths,
        "labels": labels,
        "pred_probs": pred_probs,
        "vocab": list(VOCAB),
    }


def run_example(public: Any, name: str, names: dict[str, Any]) -> None:
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(public) or "", names, name, None, None)
    assert example.examples, f"the docstring of {name} has no example"
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    said: list[str] = []
    runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)


@pytest.mark.parametrize("name", [name for name in cleaner.__all__ if name != "CleanerError"])
def test_the_example_of_a_public_name_runs(name: str, names: dict[str, Any]) -> None:
    run_example(getattr(cleaner, name), f"cleaner.{name}", names)


def methods() -> Iterator[str]:
    """Yield the methods that users call, as `Scan.worst`."""
    for kind in (cleaner.Scan, cleaner.Interpretation, CheckReport):
        for name, member in vars(kind).items():
            if inspect.isfunction(member) and not name.startswith("_") and name not in WITHOUT_EXAMPLE:
                yield f"{kind.__name__}.{name}"
    yield from ("Manifest.latest", "Manifest.rows", "Manifest.decisions", "Manifest.export")


@pytest.mark.parametrize("name", methods())
def test_the_example_of_a_method_runs(name: str, names: dict[str, Any]) -> None:
    kind, method = name.split(".")
    if kind == "CheckReport":
        names["report"] = cleaner.check("images", "checked", workers=0, progress=False)
    public = getattr(CheckReport if kind == "CheckReport" else getattr(cleaner, kind), method)
    run_example(public, name, names)
