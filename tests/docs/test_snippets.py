"""The code in README and documentation runs: Python in order on each page, and commands by the command line itself."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.cli import _parser
from cleaner.core.records import Action, Decision
from tests.support.learners import make_folder, make_learner
from tests.support.torch_models import TRANSFORM, VOCAB, make_model

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/guide").glob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Python that is not run, by what it contains, and why.
NOT_RUN = {
    "lightning.": "needs Lightning",
    "Trainer": "needs Hugging Face",
    "/data/scan": "the folders of a server",
    "c.Spawner": "the settings of JupyterHub",
    "torch.distributed": "needs several processes",
    "label_delim": "needs a dataset with several labels, which tests/apply/table has",
    'engine="ray"': "needs a cluster",
}


def texts(pages: list[Path]) -> Iterator[Any]:
    for page in pages:
        yield pytest.param(page, id=page.relative_to(ROOT).as_posix())


def python_of(page: Path) -> list[str]:
    return PYTHON.findall(page.read_text(encoding="utf-8"))


def commands_of(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"^(?:\$ |    )(cleaner [a-z].*)$", text, flags=re.MULTILINE)
    return [line.split("  #")[0].strip() for line in lines]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, its label table and its scan, under the names that the pages use."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_folder(folder / "images", per_class=12)
        cleaner.scan(make_learner(Path("images")), "scan", progress=False, workers=0)
        manifest = cleaner.Manifest("scan/decisions.csv")
        manifest.append(Decision("cat/cat_0.png", Action.DELETE, "cat"))
        manifest.append(Decision("dog/dog_1.png", Action.RELABEL, "dog", "bear"))
    return folder


@pytest.fixture
def names(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the snippets use, in a copy of the folder."""
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    file = folder / "scan/scan.json"
    file.write_text(file.read_text().replace(prepared.as_posix(), folder.as_posix()))
    dataset = ImageFolder("images", TRANSFORM)
    files = [Path(path) for path, _ in dataset.samples]
    labels = [VOCAB[number] for _, number in dataset.samples]
    paths = [file.relative_to("images").as_posix() for file in files]
    pred_probs = np.random.default_rng(0).dirichlet(np.ones(3), len(files)).astype(np.float32)
    from fastai.vision import all as fastai

    learn = make_learner(Path("images"))
    named: dict[str, Any] = {name: getattr(fastai, name) for name in dir(fastai) if not name.startswith("_")}
    return named | {
        "cleaner": cleaner,
        "learn": learn,
        "dls": learn.dls,
        "scan": cleaner.load("scan"),
        "model": make_model(),
        "dataset": dataset,
        "another": dataset,
        "ImageFolder": ImageFolder,
        "files": paths,
        "labels": labels,
        "paths": [str(file.absolute()) for file in files],
        "pred_probs": pred_probs,
        "vocab": list(VOCAB),
        "chunks": [(labels, pred_probs, paths)],
        "df": pd.DataFrame({"fname": paths, "label": labels}),
        "report": cleaner.check("images", "checked", workers=0, progress=False),
        # Without the weights that it would download.
        "vision_learner": lambda dls, *_args, **_kwargs: fastai.Learner(
            dls, make_model(), loss_func=fastai.CrossEntropyLossFlat(), metrics=fastai.accuracy
        ),
        "torch": torch,
        "DataLoader": torch.utils.data.DataLoader,
        "transform": TRANSFORM,
        "epochs": 1,
        "torchvision": torchvision,
    }


@pytest.mark.parametrize("page", texts([page for page in PAGES if python_of(page)]))
def test_the_python_of_a_page_runs(page: Path, names: dict[str, Any]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    for code in python_of(page):
        if any(word in code for word in NOT_RUN):
            continue
        exec(compile(code, f"{page.name}: {code[:60]!r}", "exec"), names)


@pytest.mark.parametrize("page", texts([page for page in PAGES if commands_of(page)]))
def test_the_commands_of_a_page_have_these_options(page: Path) -> None:
    for command in commands_of(page):
        words = shlex.split(command.replace("…", ""))[1:]
        try:
            _parser().parse_args(words)
        except SystemExit as error:
            pytest.fail(f"{command}: {error}") if error.code else None
