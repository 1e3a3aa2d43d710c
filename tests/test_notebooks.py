"""The notebooks run from top to bottom on a small made-up dataset; what is saved in them is whole and public."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

import cleaner

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_CLASS = 60
MAX_BYTES = 1_000_000
DURATION = re.compile(r"It takes (\d+ seconds|a minute|\d+(\.5)? minutes) on two cores\.")
# Folders of the machine that a notebook was executed on.
ABSOLUTE = re.compile(r"(?<![\w.:/])(/(tmp|work|root|home|Users|usr|var)/|[A-Z]:\\)")

# Assigned after the first cell of a notebook, so that it takes seconds, and learns from few batches per epoch.
SIZES = {
    "names": "EPOCHS = 20",
    "label_table": "EPOCHS = 20",
    "interpretation": "EPOCHS = 20",
    "several_labels": "IMAGES, TEST = 240, 60",
    "segmentation": "IMAGES, TEST = 80, 20",
    "training": "EPOCHS = 10",
    "checks": "EPOCHS = 5",
}
UNDONE = "assert report.done and not report.conflicts\n"
UNDONE += "assert len(undone.done) == len(report.done) and not undone.conflicts\n"
FOUND = "assert len(report.done) >= 0.7 * len(truth)\n"
CHECKS = {
    "tutorial": UNDONE + FOUND,
    "training": UNDONE + FOUND,
    "torch": UNDONE + FOUND + "import sys\nassert 'fastai.vision' not in sys.modules\n",
    "predictions": UNDONE + FOUND + "assert table.read_bytes() == before_apply\n",
    "label_table": UNDONE + FOUND + "assert table.read_bytes() == before_apply\n",
    "names": UNDONE + FOUND + "assert all((images / change.target).is_file() for change in undone.done)\n",
    "interpretation": (
        "changed = df['label'] != cleaned_df['label']\n"
        "assert changed.sum() >= 0.6 * len(truth)\n"
        "assert all(cleaned_df['label'][n] == truth[df['fname'][n]] for n in df.index[changed])\n"
        "assert interp.confusion_matrix().sum() == scan.scored['valid']\n"
    ),
    "checks": (
        "assert len(undone.done) == len(applied.done) >= len(planted['leak']) and not undone.conflicts\n"
        "assert all(row['of these found'] >= 0.7 * row['planted'] for row in rows.values())\n"
    ),
    "several_labels": UNDONE + "assert len(report.done) >= 0.5 * len(truth)\n",
    "segmentation": UNDONE + "assert len(report.done) >= 0.7 * len(wrong)\n",
}


@pytest.fixture(scope="session")
def fastai_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of fastai with a made-up dataset in the place of CIFAR, so that nothing is downloaded."""
    home = tmp_path_factory.mktemp("fastai")
    random = np.random.default_rng(0)
    for label in CLASSES:
        folder = home / "data" / "cifar10" / "test" / label
        folder.mkdir(parents=True)
        colours = random.integers(60, 220, (2, 2, 3))  # the same in all images of a class
        for number in range(PER_CLASS):
            blocks = np.repeat(np.repeat(colours, 4, 0), 4, 1) + random.normal(0, 35, (8, 8, 3))
            image = Image.fromarray(np.uint8(np.clip(blocks, 0, 255)))
            image.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{number}_{label}.png")
    return home


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(
    path: Path, fastai_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTAI_HOME", str(fastai_home))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads of parallel tests would wait for each other
    notebook = nbformat.read(path, as_version=4)
    first = next(n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    notebook.cells.insert(first + 1, nbformat.v4.new_code_cell(SIZES.get(path.stem, "")))
    notebook.cells.append(nbformat.v4.new_code_cell(CHECKS[path.stem]))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_saved_with_its_outputs(path: Path) -> None:
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert all(output.output_type != "error" for output in cell.outputs)
        if shows_something(cell.source):
            assert cell.outputs, cell.source
    assert path.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_no_folder_of_the_machine_that_it_ran_on(path: Path) -> None:
    for cell in code_cells(path):
        for text in texts(cell):
            assert not ABSOLUTE.search(text), text[:2000]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_uses_public_names_only(path: Path) -> None:
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] != "cleaner", cell.source
            elif isinstance(node, ast.Import):
                assert not any(name.name.startswith("cleaner.") for name in node.names), cell.source
            elif isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_"), node.attr
                if isinstance(node.value, ast.Name) and node.value.id == "cleaner":
                    assert node.attr in cleaner.__all__


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_with_its_duration(path: Path) -> None:
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert DURATION.search(" ".join(first.source.split())), first.source


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def shows_something(source: str) -> bool:
    """Whether a cell ends with an expression whose value Jupyter shows."""
    last = ast.parse(source).body[-1]
    return isinstance(last, ast.Expr) and not source.rstrip().endswith(";")


def texts(cell: Any) -> list[str]:
    """Return the source and the outputs of a cell, without images."""
    found = [cell.source]
    for output in cell.outputs:
        data = dict(output.get("data", {"text/plain": output.get("text", "")}))
        found += [str(value) for kind, value in data.items() if not kind.startswith("image/")]
    return [re.sub(r"data:image/[\w+;,/=-]+", "", text) for text in found]
