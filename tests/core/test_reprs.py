"""What a person sees of the objects: a short line in a terminal, and counts, images and the next step in a notebook."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import cleaner
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan, load
from tests.support.scans import make_scan

LONGEST = 300


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    return make_scan(tmp_path / "data", tmp_path / "scan", per_class=40)


def test_a_scan_is_a_line(scan: Scan) -> None:
    text = repr(scan)
    assert len(text) < LONGEST + len(str(scan.root))
    assert "images train 120, valid 120; 3 labels, ranked by loss" in text
    assert "not written" in repr(replace(scan, folder=None))


def test_a_notebook_shows_counts_classes_images_and_the_next_step(scan: Scan) -> None:
    text = load(scan.folder)._repr_html_()
    assert "train: 120 images, valid: 120 images" in text
    assert text.count("<img") == 10
    assert "<td>cat</td><td>40</td><td>100.0%</td>" in text
    assert "Next: cleaner.Review(" in text


def test_a_notebook_shows_some_of_many_classes(tmp_path: Path) -> None:
    vocab = tuple(f"class {number:03d}" for number in range(50))
    text = make_scan(tmp_path / "data", tmp_path / "scan", vocab, per_class=1)._repr_html_()
    assert text.count("<tr>") == 1 + 8
    assert "and 92 more classes" in text
    assert len(text) < 60_000


def test_labels_and_paths_are_escaped(tmp_path: Path) -> None:
    text = make_scan(tmp_path / "data", tmp_path / "scan", ("<b>", "dog"), per_class=2)._repr_html_()
    assert "&lt;b&gt;" in text
    assert "<b>" not in text


def test_images_that_are_gone_are_left_out(scan: Scan) -> None:
    for sample in scan.worst(3):
        (scan.root / sample.path).unlink()
    assert scan._repr_html_().count("<img") == 7


def test_an_estimate_is_a_line_and_a_table_of_few_classes(tmp_path: Path) -> None:
    vocab = tuple(f"class {number:03d}" for number in range(50))
    estimate = make_scan(tmp_path / "data", tmp_path / "scan", vocab, per_class=1).estimate()
    assert len(repr(estimate)) < LONGEST
    text = estimate._repr_html_()
    assert text.count("<tr>") == 1 + 20
    assert "and 80 more classes: estimate.table()" in text


def test_an_interpretation_shows_counts_confused_labels_and_images(scan: Scan) -> None:
    text = cleaner.Interpretation(scan)._repr_html_()
    assert "valid: 120 images, 120 of them kept" in text
    assert text.count("<img") == 10
    assert "plot_top_losses" in text


def test_a_review_says_how_it_is_shown(scan: Scan) -> None:
    text = repr(cleaner.Review(scan, reviewer="anna"))
    assert (
        f"by 'anna': a notebook shows it as the last line of a cell, a browser by: cleaner serve {scan.folder}" in text
    )


def test_the_report_of_an_undo_offers_no_undo(scan: Scan) -> None:
    scan.decide(scan.worst(1)[0], "delete")
    report = cleaner.apply(scan)
    assert "undo with" in repr(report)
    assert "undo" not in repr(cleaner.undo(report))


def test_a_sample_is_a_line_without_json(scan: Scan) -> None:
    assert "alternatives" not in repr(scan.worst(1)[0])
    assert len(repr(scan.worst(1)[0])) < LONGEST


def test_a_printed_dry_run_has_the_sums_and_the_next_step(scan: Scan) -> None:
    first, second = scan.worst(2)
    scan.decide(first, "relabel", next(label for label in scan.vocab if label != first.label))
    scan.decide(second, "delete")
    text = str(cleaner.apply(scan, dry_run=True))
    lines = text.splitlines()
    assert lines[0] == "2 planned, 0 left alone"
    assert lines[1].split() == ["label", "new", "label", "images"]
    assert lines[-1] == "Next: cleaner.apply(report) carries this out"
    assert "(deleted)" in text
    assert "To take it back: cleaner.undo(report)" in str(cleaner.apply(scan))


def test_a_manifest_is_a_line_and_a_table(scan: Scan) -> None:
    manifest = Manifest(scan.manifest_path)
    assert "about 0 images" in repr(manifest)
    for sample, action in zip(scan.worst(3), (Action.DELETE, Action.KEEP, Action.DELETE), strict=True):
        manifest.append(Decision(path=sample.path, split=sample.split, label=sample.label, action=action))
    assert repr(manifest).endswith("with the decisions about 3 images>")
    text = manifest._repr_html_()
    assert "<td>delete</td><td>2</td>" in text
    assert "dry_run=True" in text


def test_an_interpretation_is_a_line(scan: Scan) -> None:
    text = repr(cleaner.Interpretation(scan))
    assert "split 'valid': 120 kept samples" in text
    assert len(text) < 2 * LONGEST


def test_the_report_of_a_check_is_a_line(scan: Scan, tmp_path: Path) -> None:
    report = cleaner.check(scan.root, tmp_path / "checked", workers=0, progress=False)
    assert len(repr(report)) < LONGEST + 2 * len(str(scan.root))
    assert "240 images" in repr(report)
