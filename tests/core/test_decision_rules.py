"""`Scan.decide` writes the rows that the page writes, and accepts what the page accepts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from cleaner.core import decision_rules
from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.issues import Issue
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Unreadable
from cleaner.core.scan import Scan, load
from cleaner.review.session import Session
from tests.support.images import make_image
from tests.support.scans import make_label_scan, make_scan

KEPT = "train/cat/cat_01.png"


def without_time(decision: Decision) -> Decision:
    return replace(decision, decided_at="")


@pytest.mark.parametrize(
    ("action", "new_label"), [("keep", ""), ("delete", ""), ("unsure", ""), ("relabel", "fox"), (Action.DELETE, "")]
)
def test_the_row_is_that_of_the_page(action: str, new_label: str, scan: Scan) -> None:
    made = scan.decide(KEPT, action, new_label or None, reviewer="anna")
    page = Session(scan, "anna")
    page.decide(KEPT, Action(action), new_label)
    mine, theirs = Manifest(scan.manifest_path).rows()
    assert mine == made
    assert without_time(mine) == without_time(theirs)
    assert made.sha256 == sha256_of(scan.root / KEPT)


@pytest.mark.parametrize("name", ["notes.txt", ".git/1.png", "train/cat/.hidden.png", "train/labels.csv"])
def test_a_file_that_is_no_image_of_the_dataset_is_refused(name: str, scan: Scan) -> None:
    (scan.root / name).parent.mkdir(exist_ok=True)
    (scan.root / name).write_text("mine")
    with pytest.raises(CleanerError, match="is not an image of the dataset"):
        scan.decide(name, "delete")


def test_the_last_decision_stands_and_can_be_taken_back(scan: Scan) -> None:
    scan.decide(KEPT, "delete")
    scan.decide(KEPT, "relabel", "dog")
    assert Manifest(scan.manifest_path).standing()[KEPT].new_label == "dog"
    scan.decide(KEPT, "undo")
    assert KEPT not in Manifest(scan.manifest_path).standing()
    with pytest.raises(CleanerError, match="is not decided"):
        scan.decide(KEPT, "undo")


@pytest.mark.parametrize("kind", ["relative", "dotted", "absolute", "from here", "path"])
def test_a_path_may_be_written_in_several_ways(kind: str, scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scan.root.parent)
    ways = {
        "relative": KEPT,
        "dotted": f"./{KEPT}",
        "absolute": str(scan.root / KEPT),
        "from here": f"{scan.root.name}/{KEPT}",
        "path": Path(KEPT),
    }
    assert scan.decide(ways[kind], "keep").path == KEPT


def test_an_image_that_the_scan_did_not_keep_can_be_decided(scan: Scan) -> None:
    make_image(scan.root / "valid/dog/new.png")
    make_image(scan.root / "misc/loose.png")
    known = scan.decide("valid/dog/new.png", "relabel", "cat")
    assert (known.split, known.label, known.new_label, known.predicted) == ("valid", "dog", "cat", "")
    assert math.isnan(known.loss)
    assert (known.sha256, known.reviewer != "") == (sha256_of(scan.root / "valid/dog/new.png"), True)
    unknown = scan.decide("misc/loose.png", "delete")
    assert (unknown.split, unknown.label) == ("", "")


def test_an_image_with_an_issue_has_the_label_of_its_row(scan: Scan) -> None:
    make_image(scan.root / "misc/dark.png")
    listed = replace(scan, issues=(Issue("dark", 0, 0.9, "train", "fox", "misc/dark.png", ""),))
    assert listed.decide("misc/dark.png", "keep").label == "fox"


def test_an_image_that_could_not_be_read_gets_no_label(scan: Scan) -> None:
    (scan.root / "train/cat/broken.png").write_bytes(b"")
    broken = replace(scan, unreadable=(Unreadable("train", "cat", "train/cat/broken.png", "empty"),))
    with pytest.raises(CleanerError, match="could not be read, so it gets no label"):
        broken.decide("train/cat/broken.png", "relabel", "dog")
    assert broken.decide("train/cat/broken.png", "delete").label == "cat"


def test_several_labels_are_a_text_or_a_list(tmp_path: Path) -> None:
    scan = make_label_scan(tmp_path / "data", tmp_path / "scan")
    for labels in ("dog;cat", ["dog", "cat"], ("cat", "dog")):
        assert scan.decide("0.png", "relabel", labels).new_label == "cat;dog"
    assert scan.decide("1.png", "relabel", []).new_label == ";"
    make_image(tmp_path / "data/other.png")
    assert scan.decide("other.png", "relabel", ["cat"]).label == ""
    with pytest.raises(CleanerError, match="there is no label 'horse'"):
        scan.decide("0.png", "relabel", ["cat", "horse"])


def test_nothing_is_written_where_the_images_are_not(scan: Scan) -> None:
    gone = replace(scan, root=scan.root / "nowhere")
    with pytest.raises(CleanerError, match=r"no folder .*nowhere' with the images"):
        gone.decide(KEPT, "keep")
    assert not scan.manifest_path.exists()
    with pytest.raises(CleanerError, match="has no folder yet"):
        replace(scan, folder=None).decide(KEPT, "keep")


def test_a_link_out_of_the_dataset_is_not_followed_by_name(scan: Scan, tmp_path: Path) -> None:
    make_image(tmp_path / "outside.png")
    with pytest.raises(CleanerError, match="there is no image"):
        scan.decide("../outside.png", "delete")
    with pytest.raises(CleanerError, match="there is no image"):
        scan.decide(tmp_path / "outside.png", "delete")


def test_a_scan_that_is_loaded_again_shows_the_decisions_on_its_page(scan: Scan) -> None:
    scan.decide(KEPT, "delete", reviewer="anna")
    card = Session(load(scan.folder), "ben").card(KEPT)
    assert (card.decision.action, card.decision.reviewer) == (Action.DELETE, "anna")


def test_many_decisions_in_code_read_the_scan_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan")
    reads = []
    monkeypatch.setattr(decision_rules, "Manifest", lambda path: reads.append(path) or Manifest(path))
    for sample in scan.worst(10):
        scan.decide(sample.path, "keep", reviewer="ann")
    assert len(reads) == 1
    other = Manifest(scan.manifest_path)
    other.append(Decision(scan.worst(1)[0].path, Action.UNDO, "cat", reviewer="ben"))
    with pytest.raises(CleanerError, match="is not decided, so there is nothing to undo"):
        scan.decide(scan.worst(1)[0].path, "undo")


def test_on_a_hub_who_logged_in_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_USER", "ann")
    assert decision_rules.default_reviewer() == "ann"
