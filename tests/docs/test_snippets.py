"""The code in README and documentation runs: Python in order on each page, and commands by the command line itself."""

from __future__ import annotations

import io
import re
import shlex
import shutil
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from torchvision.datasets import ImageFolder
from traitlets.config import Config

import cleaner
from cleaner.cli import main
from tests.support.images import make_image
from tests.support.learners import make_folder, make_learner
from tests.support.scans import make_label_scan
from tests.support.torch_models import TRANSFORM, VOCAB, make_model

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/guide").glob("*.md")),
]

# Python that is not run, by a text in it, and why.
PYTHON_NOT_RUN = {
    "lightning.": "needs Lightning",
    "Trainer": "needs Hugging Face",
    "/data/scan": "has the folders of a server",
}
# Commands that are not run, by their beginning, and why; their options are checked.
NOT_RUN = {
    "pip install": "changes the environment",
    "python3 -m venv": "is the test command, which .ci/run runs",
    "git clone": "needs a network",
    "python -m venv": "makes an environment; .ci/run does",
    ".venv/bin/": "is a command of developers; .ci/run runs these",
    "npm ": "is a command of developers; tests/test_front_end.py runs these",
    "npx ": "is a command of developers; tests/test_front_end.py runs these",
    "openssl ": "makes a secret",
    "cleaner serve": "serves until it is stopped; tests/test_review_server.py runs it",
    "cleaner demo": "trains a model; tests/test_demo.py runs it",
    "IMAGES=": "needs Docker",
    "a learner + its images": "is a drawing",
    "(top-k per class)": "is a drawing",
    "for batch in": "is a summary of the engine",
}
# The name of a journal in the documentation, for the newest one.
JOURNAL = "journal-20260131T120000Z.jsonl"
# Pages whose Python trains for seconds.
SLOW = {"memorised.md"}
# Options of other programs.
FOREIGN = {"--no-deps"}

_FENCED = re.compile(r"^```(.*?)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|(?<=-->\n))(?: {4}.*\n|\n(?= {4}))+")


class Page(NamedTuple):
    """The code of a page, block by block."""

    path: Path
    python: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    text: str


def read(path: Path) -> Page:
    """Return the code of a page. Fences with other languages, such as directives, are left out."""
    text = path.read_text(encoding="utf-8")
    fences = _FENCED.findall(text)
    shown = [block for language, block in fences if language in ("console", "bash")]
    indented = [block.replace("\n    ", "\n")[4:] for block in _INDENTED.findall(_FENCED.sub("", text))]
    joined = [block.replace("\\\n", " ") for block in shown + indented]
    commands = [tuple(re.sub(r"^\$ ", "", line).strip() for line in block.splitlines()) for block in joined]
    return Page(path, tuple(block for language, block in fences if language == "python"), tuple(commands), text)


ALL = [read(path) for path in PAGES]


def each_page(pages: list[Page]) -> list[Any]:
    """Return the pages as parameters, those that train for seconds with a mark."""
    slow = dict.fromkeys(SLOW, (pytest.mark.notebook,))
    return [
        pytest.param(page, id=page.path.relative_to(ROOT).as_posix(), marks=slow.get(page.path.name, ()))
        for page in pages
    ]


@cache
def options_of(command: str) -> frozenset[str]:
    """Return the options that the help of a command names; empty for an unknown command."""
    text = io.StringIO()
    try:
        with redirect_stdout(text):
            main([command, "--help"])
    except SystemExit as end:
        if end.code:
            return frozenset()
    return frozenset(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text.getvalue()))


@cache
def commands() -> tuple[str, ...]:
    """Return the names of all commands, from the usage."""
    text = io.StringIO()
    with redirect_stdout(text), pytest.raises(SystemExit):
        main(["--help"])
    return tuple(re.findall(r"^    ([a-z]+)\b", text.getvalue(), flags=re.MULTILINE))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a dataset, its labels, a learner and a scan with decisions, under the names that the pages use.

    Labels are the folders' names, parts of the files' names, or several in the cells of a table.
    """
    folders = {name: tmp_path_factory.mktemp(name) for name in ("folders", "names", "several")}
    for name, make in (("folders", make_in_folders), ("names", make_in_names), ("several", make_with_several)):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folders[name])
            make()
    return folders


def make_in_folders() -> None:
    make_folder(Path("images"), per_class=12)
    learn = make_learner(Path("images"))
    learn.export(Path("export.pkl").absolute())
    files = [f"{label}/{label}_{n}.png" for label in VOCAB for n in range(12)]
    labels = [file.split("/")[0] for file in files]
    Path("labels.csv").write_text("fname,label\n" + "".join(map("{},{}\n".format, files, labels)))
    np.save("probs.npy", np.random.default_rng(0).dirichlet(np.ones(3), len(files)).astype(np.float32))
    scan = cleaner.scan(learn, "scan", progress=False, workers=0)
    scan.decide("cat/cat_0.png", "delete", reviewer="anna")
    scan.decide("cat/cat_0.png", "delete", reviewer="ben")
    scan.decide("dog/dog_1.png", "relabel", "bear", reviewer="anna")


def make_in_names() -> None:
    files = [f"{label}_{n}.jpg" for label in VOCAB for n in range(3)]
    for number, file in enumerate(files):
        make_image(Path("images", file), seed=number, size=(20, 20))
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), len(files))
    labels = [file.split("_")[0] for file in files]
    scan = cleaner.scan_arrays(labels, probabilities, files, VOCAB, "scan", root="images", progress=False)
    scan.decide("cat_1.jpg", "relabel", "dog")


def make_with_several() -> None:
    scan = make_label_scan(Path("images").absolute(), Path("scan").absolute())
    Path("labels.csv").write_text("fname,labels\n0.png,\n1.png,cat\n2.png,dog\n3.png,cat dog\n")
    scan.decide("1.png", "relabel", ["cat", "dog"])


@pytest.fixture
def copied(made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives a copy of the folder that a code needs, and changes to it."""

    def copy(code: str) -> Path:
        name = "several" if re.search("label.delim", code) else "names" if "--name-pattern" in code else "folders"
        folder = tmp_path / f"work-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(made[name], folder)
        monkeypatch.chdir(folder)
        file = folder / "scan/scan.json"
        file.write_text(file.read_text().replace(made[name].as_posix(), folder.as_posix()))
        return folder

    monkeypatch.setenv("TQDM_DISABLE", "1")
    return copy


def names_in(folder: Path) -> dict[str, Any]:
    """Return what the Python of a page may use."""
    from fastai.vision import all as fastai

    if not (folder / "probs.npy").exists():
        return {"cleaner": cleaner, "scan": cleaner.load("scan")}
    dataset = ImageFolder("images", TRANSFORM)
    files = [Path(path) for path, _ in dataset.samples]
    labels = [VOCAB[number] for _, number in dataset.samples]
    paths = [file.relative_to("images").as_posix() for file in files]
    pred_probs = np.load("probs.npy")
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
        "df": pd.DataFrame({"fname": paths, "label": labels}),
        # Without the weights that it would download.
        "vision_learner": lambda dls, *_args, **_kwargs: fastai.Learner(
            dls, make_model(), loss_func=fastai.CrossEntropyLossFlat(), metrics=fastai.accuracy
        ),
        "torch": torch,
        "DataLoader": torch.utils.data.DataLoader,
        "transform": TRANSFORM,
        "epochs": 1,
        "c": Config(),
        "torchvision": torchvision,
    }


@pytest.mark.parametrize("page", each_page([page for page in ALL if page.python]))
def test_the_python_of_a_page_runs(page: Page, copied: Any) -> None:
    import matplotlib

    matplotlib.use("Agg")
    names = names_in(copied("".join(page.python)))
    for code in page.python:
        compiled = compile(code, f"{page.path.name}: {code[:60]!r}", "exec")
        if not any(text in code for text in PYTHON_NOT_RUN):
            exec(compiled, names)


@pytest.mark.parametrize("page", each_page([page for page in ALL if page.commands]))
def test_the_commands_of_a_page_run(page: Page, copied: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands of a block run in order, each block in a new folder."""
    for block in page.commands:
        copied("\n".join(block))
        for line in block:
            if not line or any(line.startswith(text) for text in NOT_RUN):
                continue
            assert line.startswith("cleaner "), f"{line}: neither a command of cleaner nor in NOT_RUN"
            journals = sorted(Path("scan").glob("journal-*.jsonl"))
            words = [word.replace(JOURNAL, journals[-1].name) if JOURNAL in word else word for word in words_of(line)]
            assert main(words[1:]) == 0, f"{line}\n{capsys.readouterr().err}"


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


@pytest.mark.parametrize("page", each_page(ALL))
def test_pages_name_commands_and_options_that_the_help_knows(page: Page) -> None:
    """Also those in running text."""
    spans = re.findall(r"`([^`\n]+)`", _FENCED.sub("", page.text).replace("``", ""))
    lines = [line for block in page.commands for line in block]
    for text in (*spans, *lines):
        # Without comments, and without texts in quotes.
        code = re.sub(r"\s#.*|'[^']*'|\"[^\"]*\"", "", text)
        flags = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", code))
        if found := re.match(r"cleaner ([a-z]+)", code):
            assert found[1] in commands(), text
            assert flags <= options_of(found[1]), text
        elif code.startswith("--"):
            known = frozenset[str]().union(*map(options_of, commands()))
            assert flags <= known | FOREIGN, text


@pytest.mark.parametrize("page", each_page(ALL))
def test_pages_name_public_names(page: Page) -> None:
    text = re.sub(r"https?://\S+", "", page.text)
    known = {*cleaner.__all__, "core", "py"}
    for name in re.findall(r"(?<![\w./-])cleaner\.(\w+)", text):
        assert name in known, f"cleaner.{name}"


def test_nothing_is_left_out_that_no_page_has() -> None:
    lines = [line for page in ALL for block in page.commands for line in block]
    python = [code for page in ALL for code in page.python]
    assert [text for text in NOT_RUN if not any(line.startswith(text) for line in lines)] == []
    assert [text for text in PYTHON_NOT_RUN if not any(text in code for code in python)] == []
    assert any(JOURNAL in line for line in lines)
