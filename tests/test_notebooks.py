"""The notebooks run from top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def run(name: str, check: str, folder: Path) -> None:
    """Run a notebook and then, in its kernel, what has to hold."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(check))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()


def test_the_tutorial_finds_applies_and_undoes(tmp_path: Path) -> None:
    check = "assert len(report.done) >= 0.8 * len(wrong_labels) and not report.conflicts\n"
    check += "assert len(undone.done) == len(report.done) and not undone.conflicts\n"
    check += "assert [u.path for u in scan.unreadable] == ['0/digit_broken.png']"
    run("tutorial.ipynb", check, tmp_path)


def test_the_interpretation_leads_back_into_training(tmp_path: Path) -> None:
    check = "assert len(changed) >= 0.7 * len(wrong_labels)\n"
    check += "assert all(cleaned_df['label'][n] == wrong_labels[df['fname'][n]] for n in changed.index)\n"
    check += "assert set(learn.dls.train.items['fname']) | set(learn.dls.valid.items['fname']) == set(files)\n"
    check += "assert all((images / file).is_file() for file in df['fname']) and labels == list(cleaned_df['label'])\n"
    check += "assert len(interp[places]) == 3 and interp.confusion_matrix().sum() == scan.scored['valid']"
    run("interpretation.ipynb", check, tmp_path)


def test_notebooks_are_kept_without_their_outputs() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs"), path.name
