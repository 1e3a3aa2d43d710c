"""What is told from a scan equals what fastai tells from the learner."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from fastai.vision import all as fastai
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import classification_report

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.records import Sample
from cleaner.core.scan import Scan
from cleaner.interpret.interpretation import Interpretation
from tests.support.images import make_image
from tests.support.learners import make_folder, make_learner
from tests.support.odd_images import write_odd_image

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _closed_figures() -> Iterator[None]:
    yield
    mpl.pyplot.close("all")


def scan_of(
    rows: list[tuple[str, str, str, float]], vocab: tuple[str, ...], k: int = 100, root: Path = Path("data")
) -> Scan:
    """A scan of one split, from `path, label, predicted, loss` of every sample of it."""
    cells: dict[tuple[str, str], int] = {}
    for _, label, predicted, _ in rows:
        cells[label, predicted] = cells.get((label, predicted), 0) + 1
    kept = []
    for label in vocab:
        mine = sorted((row for row in rows if row[1] == label), key=_rank)
        kept += [Sample("valid", label, n, row[0], row[3], row[2], 0.5) for n, row in enumerate(mine[:k], start=1)]
    return Scan(root, vocab, ("valid",), k, {"valid": len(rows)}, tuple(kept), {"valid": cells})


def _rank(row: tuple[str, str, str, float]) -> tuple[float, str]:
    return (-row[3] if math.isfinite(row[3]) else -math.inf), row[0]


# Beside fastai.


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[fastai.Learner, Scan]:
    """A learner whose validation split has no sample of one of its classes, and its scan."""
    folder = tmp_path_factory.mktemp("both")
    data = make_folder(folder / "data", per_class=20, vocab=("bear", "cat", "dog", "elk"))
    make_image(data / "fox" / "fox_0.png", seed=1, size=(20, 20))
    split = fastai.FuncSplitter(lambda file: file.stem[-1] in "0369" and file.parent.name != "fox")
    block = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock),
        get_items=fastai.get_image_files,
        get_y=fastai.parent_label,
        splitter=split,
        item_tfms=fastai.Resize(16),
    )
    learn = make_learner(data)
    learn.dls = block.dataloaders(data, path=data, bs=4, num_workers=0)
    fastai.set_seed(0)
    learn.model[-1] = fastai.nn.Linear(32, 5)
    with learn.no_bar(), learn.no_logging():
        learn.fit(10, 1e-2)  # after which more than one class is predicted
    return learn, cleaner.scan(learn, folder / "scan", progress=False)


@pytest.fixture(scope="module")
def fastais(both: tuple[fastai.Learner, Scan]) -> fastai.ClassificationInterpretation:
    return fastai.ClassificationInterpretation.from_learner(both[0])


@pytest.fixture(scope="module")
def ours(both: tuple[fastai.Learner, Scan]) -> Interpretation:
    return cleaner.Interpretation(both[1])


def test_the_learner_predicts_several_classes_and_one_has_no_sample(fastais: Any) -> None:
    matrix = fastais.confusion_matrix()
    assert (matrix.sum(axis=0) > 0).sum() >= 2
    assert (matrix.sum(axis=1) > 0).tolist() == [True, True, True, True, False]


def test_the_confusion_matrix_is_fastais(fastais: Any, ours: Interpretation) -> None:
    found = ours.confusion_matrix()
    assert found.dtype == np.int64
    assert found.tolist() == fastais.confusion_matrix().tolist()


@pytest.mark.parametrize("min_val", [1, 2, 4])
def test_the_most_confused_are_fastais(min_val: int, fastais: Any, ours: Interpretation) -> None:
    found = ours.most_confused(min_val)
    assert found == fastais.most_confused(min_val)
    assert found or min_val > 1


def test_the_report_is_fastais(fastais: Any, ours: Interpretation, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, about classes without samples
        fastais.print_classification_report()
    expected = capsys.readouterr().out
    ours.print_classification_report()
    assert capsys.readouterr().out == expected
    assert ours.report() + "\n" == expected


@pytest.mark.parametrize("k", [1, 5, None])
@pytest.mark.parametrize("largest", [True, False])
def test_the_top_losses_are_fastais(k: int | None, largest: bool, fastais: Any, ours: Interpretation) -> None:
    expected, _, expected_files = fastais.top_losses(k, largest, items=True)
    losses, places, files = ours.top_losses(k, largest, items=True)
    assert losses == pytest.approx(expected.numpy(), abs=1e-5)
    assert files == [Path(file).absolute() for file in expected_files]
    assert [found.path for found in ours[places]] == files
    assert [found.loss for found in ours[places]] == losses.tolist()


def test_a_sample_equals_that_of_fastai(fastais: Any, ours: Interpretation) -> None:
    _, indices = fastais.top_losses(3)
    _, predictions, targets, decoded, losses = fastais[indices]
    for n, found in enumerate(ours[:3]):
        assert found.target == ours.vocab[targets[n]]
        assert found.prediction == ours.vocab[decoded[n]]
        assert found.probability == pytest.approx(float(predictions[n].max()), abs=1e-5)
        assert found.loss == pytest.approx(float(losses[n]), abs=1e-5)
        assert np.array_equal(np.asarray(found.input), np.asarray(Image.open(found.path)))


def test_plot_top_losses_has_the_titles_of_fastai(fastais: Any, ours: Interpretation) -> None:
    fastais.plot_top_losses(4)
    theirs = mpl.pyplot.gcf()
    axes = ours.plot_top_losses(4)
    figure = axes[0].figure
    assert [ax.get_title() for ax in axes] == [ax.get_title() for ax in theirs.axes]
    assert figure.get_suptitle() == theirs.get_suptitle() == "Prediction/Actual/Loss/Probability"


def test_plot_confusion_matrix_has_the_texts_of_fastai(fastais: Any, ours: Interpretation) -> None:
    for normalize in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fastai divides by the number of samples of a class that has none
            fastais.plot_confusion_matrix(normalize)
        theirs = mpl.pyplot.gcf().axes[0]
        (ax,) = ours.plot_confusion_matrix(normalize)
        expected = [text.get_text().replace("nan", "0.00") for text in theirs.texts]
        assert [text.get_text() for text in ax.texts] == expected
        for side in ("get_xticklabels", "get_yticklabels"):
            assert [t.get_text() for t in getattr(ax, side)()] == [t.get_text() for t in getattr(theirs, side)()]
        assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("Confusion matrix", "Predicted", "Actual")


# What a scan cannot know it does not say.


_LOSSES = st.floats(0, 8, width=16) | st.sampled_from([math.nan, math.inf])
_LABELS = st.sampled_from("abc")


@given(st.lists(st.tuples(_LABELS, _LABELS, _LOSSES), min_size=1, max_size=40), st.integers(1, 6))
def test_top_losses_beyond_the_certain_ones_are_refused(rows: list[tuple[str, str, float]], k: int) -> None:
    samples = [(f"{n}.png", *row) for n, row in enumerate(rows)]
    interp = Interpretation(scan_of(samples, ("a", "b", "c"), k))
    expected = [Path("data") / row[0] for row in sorted(samples, key=_rank)]
    certain = len(interp.top_losses()[0])
    assert certain >= min(k, len(rows))
    for n in range(1, certain + 1):
        assert interp.top_losses(n, items=True)[2] == expected[:n]
    for n in range(certain + 1, len(rows) + 1):
        with pytest.raises(CleanerError, match=f"only {certain} are certain"):
            interp.top_losses(n)
    with pytest.raises(CleanerError, match="at most that many"):
        interp.top_losses(len(rows) + 1)


def test_top_losses_returns_only_certain_ones_by_default() -> None:
    samples = [(f"{n}.png", "a", "b", float(n)) for n in range(10)] + [("c.png", "c", "c", 7.5)]
    interp = Interpretation(scan_of(samples, ("a", "b", "c"), k=3))
    assert interp.top_losses(items=True)[0].tolist() == [9.0, 8.0, 7.5, 7.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda interp: interp.top_losses(0), "at least 1"),
        (lambda interp: interp.top_losses(True), "at least 1"),
        (lambda interp: interp.top_losses(2.0), "at least 1"),
        (lambda interp: interp.top_losses(1, largest=False), "kept only the highest losses"),
        (lambda interp: interp.top_losses(5), "scan with k=5"),
        (lambda interp: interp.plot_top_losses(5), "scan with k=5"),
        (lambda interp: interp.plot_top_losses(range(3, 5)), "scan with k=5"),
        (lambda interp: interp.plot_top_losses([]), "at least 1"),
        (lambda interp: interp.plot_top_losses(0), "at least 1"),
        (lambda interp: interp.plot_top_losses(2.5), "at least 1"),
        (lambda interp: interp.plot_top_losses("2"), "at least 1"),
        (lambda interp: interp.plot_top_losses([-1]), "from 0 up"),
        (lambda interp: interp.plot_top_losses(4, nrows=1, ncols=3), "1 rows of 3"),
        (lambda interp: interp.plot_top_losses(4, nrows=0), "at least 1"),
        (lambda interp: interp.most_confused(0), "at least 1"),
        (lambda interp: Interpretation(interp.scan, "train"), "no split 'train'"),
        (lambda _interp: Interpretation("no such folder"), "finished scan"),
        (lambda interp: interp[0], "cannot be read: The file does not exist"),
    ],
)
def test_invalid_arguments_are_refused(call: Callable[[Interpretation], Any], message: str) -> None:
    samples = [(f"{n}.png", "a", "b", float(n)) for n in range(10)]
    with pytest.raises(CleanerError, match=message):
        call(Interpretation(scan_of(samples, ("a", "b"), k=4)))


def test_a_loop_ends_after_the_last_kept_sample(tmp_path: Path) -> None:
    rows = [(make_image(tmp_path / f"{n}.png").name, "a", "a", float(n)) for n in range(3)]
    interp = Interpretation(scan_of(rows, ("a",), k=2, root=tmp_path))
    assert [found.loss for found in interp] == [2.0, 1.0]
    assert interp[-1].loss == 1.0
    with pytest.raises(IndexError, match="the scan kept 2 of 'valid'"):
        interp[2]


def test_the_split_is_valid_or_the_first(scan: Scan, tmp_path: Path) -> None:
    assert Interpretation(scan).split == "valid"
    assert Interpretation(scan.folder, "train").split == "train"
    assert Interpretation(scan_of([], ("a",))).split == "valid"
    assert Interpretation(scan, root=tmp_path).top_losses(1, items=True)[2][0].is_relative_to(tmp_path)


def test_a_split_without_samples_has_nothing_to_report() -> None:
    interp = Interpretation(scan_of([], ("a", "b")))
    assert interp.confusion_matrix().tolist() == [[0, 0], [0, 0]]
    assert interp.most_confused() == []
    assert interp.top_losses()[0].shape == (0,)
    with pytest.raises(CleanerError, match="no sample of 'valid'"):
        interp.report()


# The report beside scikit-learn.


@given(
    st.sampled_from([("a", "b"), ("a", "b", "a class with a long name"), tuple("abcdefghij")]),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=300),
)
def test_the_report_is_scikit_learns(vocab: tuple[str, ...], pairs: list[tuple[int, int]]) -> None:
    pairs = [(label % len(vocab), predicted % len(vocab)) for label, predicted in pairs]
    rows = [(f"{n}.png", vocab[label], vocab[predicted], 0.0) for n, (label, predicted) in enumerate(pairs)]
    labels, predicted = zip(*pairs, strict=True)
    # Where no prediction at all is right, scikit-learn writes the counts as floats.
    assume(any(label == guess for label, guess in pairs))
    expected = classification_report(labels, predicted, labels=range(len(vocab)), target_names=vocab, zero_division=0.0)
    assert Interpretation(scan_of(rows, vocab)).report() == expected


# The pictures.


def test_an_unreadable_file_shows_its_error_in_the_plot(tmp_path: Path) -> None:
    names = [make_image(tmp_path / "cost$5 or $6.png").name, write_odd_image("truncated", tmp_path).name, "gone.png"]
    rows = [(name, "a$b$", "b", 3.0 - n) for n, name in enumerate(names)]
    axes = Interpretation(scan_of(rows, ("a$b$", "b"), root=tmp_path)).plot_top_losses(3, ncols=3)
    axes[0].figure.canvas.draw()
    assert [len(ax.images) for ax in axes] == [1, 0, 0]
    said = [" ".join(text.get_text().replace("\n", " ") for text in ax.texts) for ax in axes]
    assert said[0] == r"cost\$5 or \$6.png"
    assert "OSError: image file is truncated" in said[1]
    assert "The file does not exist any more" in said[2]
    assert axes[0].get_title() == r"b/a\$b\$ / 3.00 / 0.50"


def test_long_names_do_not_run_into_the_next_image(tmp_path: Path) -> None:
    vocab = ("german shorthaired pointer", "english cocker spaniel")
    rows = [(make_image(tmp_path / f"{n}.png").name, *vocab, 2.0) for n in range(3)]
    axes = Interpretation(scan_of(rows, vocab, root=tmp_path)).plot_top_losses(3, nrows=1)
    axes[0].figure.canvas.draw()
    boxes = [ax.title.get_window_extent() for ax in axes]
    assert boxes[0].x1 < boxes[1].x0 < boxes[1].x1 < boxes[2].x0
    assert axes[0].get_title() == "english cocker spaniel/\ngerman shorthaired poin… /\n2.00 / 0.50"


def test_top_losses_can_be_plotted_by_index(tmp_path: Path) -> None:
    rows = [(make_image(tmp_path / f"{n}.png").name, "a", "b", math.nan if n == 0 else float(n)) for n in range(6)]
    interp = Interpretation(scan_of(rows, ("a", "b"), root=tmp_path))
    titles = [ax.get_title() for ax in interp.plot_top_losses(range(3))]
    assert titles == ["b/a / nan / 0.50", "b/a / 5.00 / 0.50", "b/a / 4.00 / 0.50"]
    assert [ax.get_title() for ax in interp.plot_top_losses(np.array([1, 2]))] == titles[1:]
    assert [ax.get_title() for ax in interp.plot_top_losses([1], largest=False)] == ["b/a / 2.00 / 0.50"]


def test_another_ranking_is_named_in_the_plot(tmp_path: Path) -> None:
    rows = [(make_image(tmp_path / "a.png").name, "a", "b", 0.7)]
    scan = scan_of(rows, ("a", "b"), root=tmp_path)
    object.__setattr__(scan, "ranked_by", "margin")
    (ax,) = Interpretation(scan).plot_top_losses(1)
    assert ax.figure.get_suptitle() == "Prediction/Actual/Margin/Probability"


@pytest.mark.parametrize("n", [31, 1000])
def test_with_many_classes_only_the_most_confused_are_named(n: int) -> None:
    vocab = tuple(f"class {number}" for number in range(n))
    rows = [(f"{number}.png", label, label, 0.0) for number, label in enumerate(vocab)]
    rows += [(f"wrong {number}.png", vocab[3], vocab[n - 1], 5.0) for number in range(7)]
    whole, block = Interpretation(scan_of(rows, vocab)).plot_confusion_matrix()
    names = [label.get_text() for label in block.get_xticklabels()]
    assert names == ["class 3", f"class {n - 1}"]
    assert [text.get_text() for text in block.texts] == ["1", "7", "0", "1"]
    assert block.get_title() == "The 2 most confused classes"
    assert whole.get_title() == "Confusion matrix: wrong predictions"
    assert 20 <= len(whole.get_xticklabels()) <= 40
    (picture,) = whole.images
    assert max(picture.get_array().shape) <= 200
    points = picture.get_array().filled(0)
    assert points.sum() == points[3 * len(points) // n, -1] == 7  # the right ones are not in it


def test_many_classes_without_confusions_are_plotted_without_names() -> None:
    vocab = tuple(f"class {number}" for number in range(40))
    rows = [(f"{number}.png", label, label, 0.0) for number, label in enumerate(vocab)]
    (ax,) = Interpretation(scan_of(rows, vocab)).plot_confusion_matrix(figsize=(4, 3))
    ax.figure.canvas.draw()
    assert ax.figure.get_size_inches().tolist() == [4, 3]


def test_the_counts_of_the_matrix_can_be_left_out() -> None:
    rows = [("a.png", "a", "b", 1.0)]
    (ax,) = Interpretation(scan_of(rows, ("a", "b"))).plot_confusion_matrix(plot_txt=False, title="Mine")
    assert not ax.texts
    assert ax.get_title() == "Mine"
