"""The notebooks run from top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def execute(name: str, check: str, folder: Path) -> None:
    """Run a notebook, and then `check` in it."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(check))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()


def test_the_tutorial_finds_applies_and_undoes(tmp_path: Path) -> None:
    check = "assert len(report.done) >= 0.8 * len(wrong_labels) and not report.conflicts\n"
    check += "assert len(undone.done) == len(report.done) and not undone.conflicts\n"
    check += "assert [u.path for u in scan.unreadable] == ['0/digit_broken.png']"
    execute("tutorial.ipynb", check, tmp_path)


def test_predictions_made_elsewhere_find_apply_and_undo(tmp_path: Path) -> None:
    check = "import sys\nfor s in scan.samples:\n"
    check += "    p = pred_probs[paths.index(s.path), vocab.index(s.label)]\n"
    check += "    assert abs(s.loss + np.log(p)) < 1e-6 * max(1, s.loss)\n"
    check += "assert len(report.done) >= 0.8 * len(wrong_labels) and not report.conflicts\n"
    check += "assert len(undone.done) == len(report.done) and not undone.conflicts\n"
    check += "assert (cleaned != labels).sum() == len(report.done)\n"
    check += "assert not {'torch', 'fastai'} & set(sys.modules)"
    execute("predictions.ipynb", check, tmp_path)


def test_a_plain_torch_model_finds_applies_and_undoes(tmp_path: Path) -> None:
    check = "assert len(report.done) > 0.8 * len(wrong_labels) and not report.conflicts\n"
    check += "assert len(undone.done) == len(report.done) and not undone.conflicts\n"
    check += "assert len(cleaned) == len(dataset) - 1 and cleaned.classes == dataset.classes\n"
    check += "import sys\nassert 'fastai' not in sys.modules"
    execute("torch.ipynb", check, tmp_path)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("names", "assert all((images / move.target).is_file() for move in undone.done)"),
        ("label_table", "assert table.read_bytes() == before\nassert sum(again.scored.values()) == len(rows)"),
    ],
    ids=["names", "label_table"],
)
def test_file_names_and_label_tables_find_apply_and_undo(name: str, check: str, tmp_path: Path) -> None:
    check += "\nassert len(report.done) >= 0.8 * len(true_labels) and not report.conflicts\n"
    check += "assert len(undone.done) == len(report.done) and not undone.conflicts"
    execute(f"{name}.ipynb", check, tmp_path)


def test_the_interpretation_leads_back_into_training(tmp_path: Path) -> None:
    check = "assert len(changed) >= 0.7 * len(wrong_labels)\n"
    check += "assert all(cleaned_df['label'][n] == wrong_labels[df['fname'][n]] for n in changed.index)\n"
    check += "assert set(learn.dls.train.items['fname']) | set(learn.dls.valid.items['fname']) == set(files)\n"
    check += "assert all((images / file).is_file() for file in df['fname']) and labels == list(cleaned_df['label'])\n"
    check += "assert len(interp[places]) == 3 and interp.confusion_matrix().sum() == scan.scored['valid']"
    execute("interpretation.ipynb", check, tmp_path)


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
