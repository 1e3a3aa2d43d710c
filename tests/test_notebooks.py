"""The notebooks run from top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def test_the_tutorial_finds_applies_and_undoes(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOKS / "tutorial.ipynb", as_version=4)
    check = "assert len(report.done) >= 0.8 * len(wrong_labels) and not report.conflicts\n"
    check += "assert len(undone.done) == len(report.done) and not undone.conflicts\n"
    check += "assert [u.path for u in scan.unreadable] == ['0/digit_broken.png']"
    notebook.cells.append(nbformat.v4.new_code_cell(check))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


UNDONE = "assert len(undone.done) == len(report.done) and not report.conflicts and not undone.conflicts\n"
SHORT = [
    ("several_labels", "assert len(report.done) >= 0.8 * len(right)\n"),
    ("segmentation", "assert len(report.done) == len(wrong)\n"),
]


@pytest.mark.parametrize(("name", "check"), SHORT)
def test_a_notebook_finds_what_is_wrong_applies_and_undoes(name: str, check: str, tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(check + UNDONE))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_notebooks_are_kept_without_their_outputs() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs"), path.name
