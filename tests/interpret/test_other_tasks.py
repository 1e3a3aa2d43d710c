"""What is told where images carry several labels, or none: losses, and no confusion."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from cleaner.cli import main
from cleaner.core.errors import CleanerError
from cleaner.core.images import read_image
from cleaner.core.records import Action, ClassLosses, Sample
from cleaner.core.scan import Scan
from cleaner.core.tasks import ALL_IMAGES, OTHER, drawn_file
from cleaner.interpret.interpretation import Interpretation
from cleaner.review.session import Session
from tests.support.images import make_image
from tests.support.scans import make_label_scan

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _closed_figures() -> Iterator[None]:
    yield
    pyplot.close("all")


@pytest.fixture
def several(tmp_path: Path) -> Scan:
    return make_label_scan(tmp_path / "data", tmp_path / "scan")


@pytest.fixture
def without(tmp_path: Path) -> Scan:
    """A scan of a task without labels, in which the first of two images has a drawing."""
    names = [make_image(tmp_path / "data" / "in" / f"{n}.png", seed=n).name for n in range(2)]
    samples = [
        Sample("valid", ALL_IMAGES, rank, f"in/{name}", 3.0 - rank, ALL_IMAGES, math.nan)
        for rank, name in enumerate(names, 1)
    ]
    drawing = drawn_file(tmp_path / "scan", "in/0.png")
    drawing.parent.mkdir(parents=True)
    Image.new("RGB", (90, 30), "lime").save(drawing)
    losses = (ClassLosses("valid", ALL_IMAGES, 2, 0),)
    return Scan(
        tmp_path / "data", (ALL_IMAGES,), ("valid",), 2, {"valid": 2}, tuple(samples), {"valid": {}}, (), losses,
        task=OTHER,
    ).write(tmp_path / "scan")  # fmt: skip


# Several labels an image.


def test_the_top_losses_are_of_pairs_of_an_image_and_a_label(several: Scan) -> None:
    interp = Interpretation(several)
    assert len(interp) == 12
    losses, places, files = interp.top_losses(4, items=True)
    assert losses.tolist() == [2.0, 2.0, 2.0, 1.9]
    assert [file.name for file in files] == ["0.png", "0.png", "0.png", "1.png"]
    assert [found.label for found in interp[places]] == ["cat", "dog", "fox", "cat"]
    assert len(interp.top_losses()[0]) == 12
    with pytest.raises(CleanerError, match="'train' has 12 pairs of an image and a label; pass at most that many"):
        interp.top_losses(13)


def test_a_pair_has_all_given_labels_and_the_prediction_of_its_own(several: Scan) -> None:
    found = {(each.path.name, each.label): each for each in Interpretation(several)[:]}
    said = {key: (each.target, each.prediction) for key, each in found.items()}
    assert said["0.png", "cat"] == ((), "cat")
    assert said["3.png", "cat"] == (("cat", "dog"), "")
    assert said["3.png", "dog"] == (("cat", "dog"), "dog")
    assert said["3.png", "fox"] == (("cat", "dog"), "")
    pair = found["1.png", "cat"]
    assert (pair.probability, pair.loss, pair.path) == (0.9, 1.9, several.root / "1.png")
    assert np.array_equal(np.asarray(pair.input), np.asarray(Image.open(pair.path)))


def test_plot_titles_tell_given_labels_from_absent_ones(several: Scan) -> None:
    axes = Interpretation(several).plot_top_losses([0, 1, 3, 9])
    axes[0].figure.canvas.draw()
    assert axes[0].figure.get_suptitle() == "Prediction/Actual/Loss/Probability"
    assert [ax.get_title() for ax in axes] == [
        "cat/none / 2.00 / 0.90",
        "not dog/none / 2.00 / 0.90",
        "not cat/cat / 1.90 / 0.90",
        "not cat/cat, dog / 1.70 / 0.90",
    ]
    assert [ax.texts[0].get_text() for ax in axes] == ["0.png", "0.png", "1.png", "3.png"]


# No labels.


def test_without_labels_a_sample_has_its_drawing_and_its_loss(without: Scan) -> None:
    first, second = Interpretation(without)[:]
    assert (first.target, first.prediction, first.label) == (None, None, ALL_IMAGES)
    assert (first.loss, first.path) == (2.0, without.root / "in/0.png")
    assert math.isnan(first.probability)
    assert first.input.size == (90, 30)
    assert np.array_equal(np.asarray(second.input), np.asarray(read_image(second.path)))


def test_without_labels_all_top_losses_are_of_one_class(without: Scan) -> None:
    losses, places, files = Interpretation(without).top_losses(items=True)
    assert (losses.tolist(), places.tolist()) == ([2.0, 1.0], [0, 1])
    assert files == [without.root / "in/0.png", without.root / "in/1.png"]
    with pytest.raises(CleanerError, match="'valid' has 2 samples"):
        Interpretation(without).top_losses(3)


def test_without_labels_the_plot_has_the_drawing_and_the_loss(without: Scan) -> None:
    axes = Interpretation(without).plot_top_losses(2)
    assert axes[0].figure.get_suptitle() == "Loss"
    assert [ax.get_title() for ax in axes] == ["2.00", "1.00"]
    assert [ax.texts[0].get_text() for ax in axes] == ["0.png", "1.png"]
    assert [ax.images[0].get_array().shape[:2] for ax in axes] == [(30, 90), (32, 48)]


def test_a_scan_that_was_never_written_has_no_drawings(without: Scan) -> None:
    object.__setattr__(without, "folder", None)
    assert Interpretation(without)[0].input.size == (48, 32)


# Neither.


@pytest.mark.parametrize(
    "ask",
    [
        lambda interp: interp.confusion_matrix(),
        lambda interp: interp.plot_confusion_matrix(),
        lambda interp: interp.most_confused(),
        lambda interp: interp.scan.most_confused(),
        lambda interp: interp.scan.confusion(interp.split),
    ],
)
def test_a_confusion_matrix_of_label_sets_is_refused(ask: Callable[[Interpretation], Any], several: Scan) -> None:
    with pytest.raises(CleanerError, match=r"a multi-label scan has no confusion matrix.* scan.classes"):
        ask(Interpretation(several))
    assert not pyplot.get_fignums()
    assert several.classes("train")["predicted_otherwise"].tolist() == [3, 0, 0]


@pytest.mark.parametrize(
    "ask",
    [
        lambda interp: interp.confusion_matrix(),
        lambda interp: interp.plot_confusion_matrix(),
        lambda interp: interp.most_confused(),
        lambda interp: interp.report(),
        lambda interp: interp.print_classification_report(),
        lambda interp: interp.scan.most_confused(),
        lambda interp: interp.scan.confusion(interp.split),
    ],
)
def test_methods_that_need_labels_are_refused_without_them(ask: Callable[[Interpretation], Any], without: Scan) -> None:
    with pytest.raises(CleanerError, match="a scan of images without labels has no confusion matrix"):
        ask(Interpretation(without))


def test_a_report_of_several_labels_without_counts_is_refused(several: Scan) -> None:
    for ask in (Interpretation(several).report, Interpretation(several).print_classification_report):
        with pytest.raises(CleanerError, match="counts missed and wrongly predicted labels together"):
            ask()


# The command line.


def test_show_prints_given_and_missing_labels(several: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(several.folder), "--label", "cat"]) == 0
    assert capsys.readouterr().out == (
        "split  label  rank  loss    given     predicted  confidence  decision  path\n"
        "train  cat    1     2.0000  none      cat        0.900                 0.png\n"
        "train  cat    2     1.9000  cat       not cat    0.900                 1.png\n"
        "train  cat    3     1.8000  dog       cat        0.900                 2.png\n"
        "train  cat    4     1.7000  cat, dog  not cat    0.900                 3.png\n"
    )


def test_show_prints_no_labels_for_a_task_without_them(without: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(without.folder)]) == 0
    assert capsys.readouterr().out == (
        "split  rank  loss    decision  path\n"
        "valid  1     2.0000            in/0.png\n"
        "valid  2     1.0000            in/1.png\n"
    )


def test_export_has_the_sets_and_no_label_where_there_is_none(
    several: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(several, reviewer="anna")
    session.decide("0.png", "toggle", "fox")
    session.decide("1.png", "toggle", "cat")
    assert main(["export", str(several.manifest_path), "--out", str(tmp_path / "out.csv")]) == 0
    assert "2 decisions" in capsys.readouterr().out
    rows = [line.split(",")[:4] for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert rows[1:] == [["0.png", "relabel", ";", "fox"], ["1.png", "relabel", "cat", ";"]]


def test_export_has_no_label_where_there_is_none(without: Scan, tmp_path: Path) -> None:
    Session(without, reviewer="anna").decide("in/0.png", Action.DELETE)
    assert main(["export", str(without.manifest_path), "--out", str(tmp_path / "out.csv")]) == 0
    (_, row) = (tmp_path / "out.csv").read_text().splitlines()
    assert row.split(",")[:4] == ["in/0.png", "delete", "", ""]
