"""Labels in the names of files: a file is renamed so that the pattern finds the new label, and back."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cleaner
from cleaner.apply import apply
from cleaner.apply.execute import Report, undo
from cleaner.apply.names import NameLabels
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH, sha256_of
from cleaner.core.journal import Operation
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from tests.support.crashes import in_a_process_that_dies, interrupted, one_step
from tests.support.folders import TIME, delete, make, make_scan, relabel, tree
from tests.support.light_process import in_a_light_process

PETS = r"(.+)_\d+.jpg$"
VOCAB = ("Abyssinian", "Bengal", "Egyptian_Mau", "beagle")
FILES = ("Abyssinian_1.jpg", "Abyssinian_12.jpg", "Bengal_1.jpg", "Egyptian_Mau_3.jpg", "beagle_1.jpg", "notes.txt")


class Pets:
    """Images of which the name says the label, all in one folder, and a manifest beside it."""

    def __init__(self, folder: Path, files: Iterable[str] = FILES, vocab: tuple[str, ...] | None = VOCAB) -> None:
        self.root = folder / "data"
        for name in files:
            make(self.root / "images" / name)
        self.before = tree(self.root)
        self.manifest = make_scan(self.root, *vocab) if vocab else folder / "scan" / "decisions.csv"

    def decide(self, *decisions: Decision) -> None:
        for decision in decisions:
            changes = {"sha256": sha256_of(self.root / decision.path)}
            fields = {name: getattr(decision, name) for name in ("path", "action", "label", "new_label", "decided_at")}
            Manifest(self.manifest).append(Decision(**{**fields, **changes}))

    def decide_some(self) -> None:
        """A delete, two that want one name, a chain of names, and a new name that nobody has."""
        self.decide(
            delete("images/beagle_1.jpg"),
            relabel("images/Abyssinian_1.jpg", "Bengal", label="Abyssinian"),
            relabel("images/Bengal_1.jpg", "beagle", label="Bengal"),
            relabel("images/Egyptian_Mau_3.jpg", "Abyssinian"),
            relabel("images/Abyssinian_12.jpg", "Egyptian_Mau"),
        )

    def apply(self, pattern: str = PETS) -> Report:
        return apply(self.manifest, self.root, name_pattern=pattern)

    def journals(self) -> list[Path]:
        return sorted(self.manifest.parent.glob("journal-*"))


APPLIED = {
    f"{TRASH}/journal/images/beagle_1.jpg": "images/beagle_1.jpg",
    "images/Bengal_11.jpg": "images/Abyssinian_1.jpg",  # Bengal_1_1.jpg would be a 'Bengal_1' for the pattern
    "images/beagle_11.jpg": "images/Bengal_1.jpg",  # the name of a file that leaves is not free: its move may fail
    "images/Abyssinian_3.jpg": "images/Egyptian_Mau_3.jpg",
    "images/Egyptian_Mau_12.jpg": "images/Abyssinian_12.jpg",
    "images/notes.txt": "images/notes.txt",
}


def applied(before: dict[str, object]) -> dict[str, object]:
    folders = dict.fromkeys(["images", TRASH, f"{TRASH}/journal", f"{TRASH}/journal/images"])
    return {**folders, **{new: before[old] for new, old in APPLIED.items()}}


def targets(done: Iterable[Operation]) -> dict[str, str]:
    return {operation.source: operation.target for operation in done}


def test_relabelled_files_are_renamed_and_undo_renames_them_back(tmp_path: Path) -> None:
    pets = Pets(tmp_path)
    pets.decide_some()
    planned = apply(pets.manifest, pets.root, name_pattern=PETS, dry_run=True)
    assert tree(pets.root) == pets.before
    report = cleaner.apply(pets.manifest, pets.root, name_pattern=PETS)
    assert (report.conflicts, len(report.done)) == ((), 5)
    assert [o.source for o in planned.planned] == [o.source for o in report.done]
    assert tree(pets.root) == applied(pets.before)
    again = pets.apply()
    assert (again.done, again.conflicts) == ((), ())
    assert again.notes[0].startswith("5 decisions were carried out on ")
    assert cleaner.undo(report.journal).conflicts == ()
    assert tree(pets.root) == pets.before


def test_without_the_pattern_nothing_is_relabelled(tmp_path: Path) -> None:
    pets = Pets(tmp_path)
    (pets.root / "Bengal").mkdir()  # not even where there is such a folder
    pets.decide(relabel("images/Abyssinian_1.jpg", "Bengal", label="Abyssinian"))
    report = apply(pets.manifest, pets.root)
    assert report.done == ()
    assert "name_pattern=REGEX" in report.conflicts[0].reason


@pytest.mark.parametrize(
    ("pattern", "files", "path", "new_label", "target"),
    [
        (PETS, (), "images/Abyssinian_12.jpg", "Egyptian_Mau", "images/Egyptian_Mau_12.jpg"),
        (PETS, ("Bengal_12.jpg",), "images/Abyssinian_12.jpg", "Bengal", "images/Bengal_121.jpg"),
        (PETS, ("Bengal_12.jpg", "Bengal_121.jpg"), "images/Abyssinian_12.jpg", "Bengal", "images/Bengal_13.jpg"),
        (r"^(.+?)_\d", ("Bengal_12.jpg",), "images/Abyssinian_12.jpg", "Bengal", "images/Bengal_12_1.jpg"),
        (r"(.+)_\d{2}.jpg$", ("Bengal_12.jpg",), "images/Abyssinian_12.jpg", "Bengal", "images/Bengal_13.jpg"),
        (r"(.+)_\d{2}.jpg$", ("Bengal_99.jpg", "Bengal_00.jpg"), "images/Abyssinian_99.jpg", "Bengal",
         "images/Bengal_01.jpg"),
        (r"/([^/]+)_\d+.jpg$", (), "images/Abyssinian_12.jpg", "Bengal", "images/Bengal_12.jpg"),  # as from_path_re
        (r"_(\w+)\.jpg$", ("1_dog.jpg",), "images/1_cat.jpg", "dog", "images/11_dog.jpg"),
        (r"^\d+-(cat|dog)", (), "images/7-cat of 7-cats.jpg", "dog", "images/7-dog of 7-cats.jpg"),
        (r"^(\d)_", (), "images/3_0001.png", "8", "images/8_0001.png"),
    ],
)  # fmt: skip
def test_only_the_label_is_changed_and_a_taken_name_gets_another_number(
    pattern: str, files: tuple[str, ...], path: str, new_label: str, target: str, tmp_path: Path
) -> None:
    pets = Pets(tmp_path, (*files, path.rpartition("/")[2]), (new_label, "other"))
    pets.decide(relabel(path, new_label))
    report = pets.apply(pattern)
    assert targets(report.done) == {path: target}


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (relabel("images/notes.txt", "Bengal"), "finds no label in its name"),
        (relabel("images/Abyssinian_1.jpg", "Bengal", label="True"), "cleaner.cleaned"),
        (relabel("images/Abyssinian_1.jpg", "Bengal", label="beagle"), "finds 'Abyssinian' in its name, not its label"),
        (relabel("images/Abyssinian_1.jpg", "Abyssinian"), "has the label 'Abyssinian' already"),
        (relabel("images/Abyssinian_1.jpg", "Sphynx"), "there is no class 'Sphynx'"),
        (relabel("images/Abyssinian_1.jpg", "../x"), "no file can be called"),
        (relabel("images/Abyssinian_1.jpg", "a\\b"), "no file can be called"),
        (relabel("images/Abyssinian_1.jpg", ".hidden"), "no file can be called"),
        (relabel("images/Abyssinian_1.jpg", "two\nlines"), "in which the name pattern finds the label 'lines'"),
        (relabel("images/Abyssinian_1.jpg", "B_2.jpg\n"), "in which the name pattern finds no label"),
        (relabel("images/none_1.jpg", "Bengal"), "the file is gone"),
        (delete("images/none_1.jpg"), "the file is gone"),
        (delete("images/Abyssinian_1.jpg", sha256="0" * 64), "its bytes changed"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_renamed_is_left_alone(decision: Decision, reason: str, tmp_path: Path) -> None:
    odd = ("../x", "a\\b", ".hidden", "two\nlines", "B_2.jpg\n")
    pets = Pets(tmp_path, vocab=(*VOCAB, *odd))
    # As by hand, so that whatever stands in it is what is refused.
    Manifest(pets.manifest).append(Decision(decision.path, decision.action, decision.label, decision.new_label,
                                            sha256=decision.sha256))  # fmt: skip
    report = pets.apply()
    assert (report.journal, report.done) == (None, ())
    assert [(c.path, c.action) for c in report.conflicts] == [(decision.path, decision.action.value)]
    assert reason in report.conflicts[0].reason
    assert tree(pets.root) == pets.before


def test_a_pattern_that_fits_no_other_name_is_a_conflict(tmp_path: Path) -> None:
    pets = Pets(tmp_path, ("cat_1.jpg", "dog_1.jpg"), ("cat", "dog"))
    pets.decide(relabel("images/cat_1.jpg", "dog"))
    report = pets.apply(r"^(cat|dog)_1\.jpg$")
    assert report.done == ()
    assert report.conflicts[0].reason == "the name 'dog_1.jpg' is taken, and no other with this label was found"


def test_a_label_in_the_name_of_a_folder_is_left_alone(tmp_path: Path) -> None:
    make(tmp_path / "data" / "cat_1" / "a.jpg")
    manifest = make_scan(tmp_path / "data", "cat", "dog")
    Manifest(manifest).append(relabel("cat_1/a.jpg", "dog", decided_at=""))
    report = apply(manifest, tmp_path / "data", name_pattern=r"/(\w+)_1/")
    assert "in the name of a folder" in report.conflicts[0].reason


def test_without_a_scan_the_labels_are_those_that_the_pattern_finds(tmp_path: Path) -> None:
    pets = Pets(tmp_path, vocab=None)
    pets.decide(relabel("images/Abyssinian_1.jpg", "beagle"), relabel("images/Abyssinian_12.jpg", "Sphynx"))
    report = pets.apply()
    assert targets(report.done) == {"images/Abyssinian_1.jpg": "images/beagle_11.jpg"}
    assert [c.reason for c in report.conflicts] == ["there is no class 'Sphynx'"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"name_pattern": "("}, "no regular expression"),
        ({"name_pattern": ""}, "no group"),
        ({"name_pattern": r".+_\d+.jpg"}, "no group"),
        ({"name_pattern": 7}, "no regular expression"),
        ({"name_pattern": PETS, "labels": "labels.csv"}, "got both"),
    ],
)
@pytest.mark.parametrize("ask", [apply, partial(apply, dry_run=True)])
def test_a_pattern_that_cannot_be_used_is_an_error_and_nothing_moves(
    ask: Callable[..., Any], options: dict[str, Any], match: str, tmp_path: Path
) -> None:
    pets = Pets(tmp_path)
    pets.decide_some()
    with pytest.raises(CleanerError, match=match):
        ask(pets.manifest, pets.root, **options)
    assert tree(pets.root) == pets.before


PATTERNS = [PETS, r"^([^_]+)_", r"(.+)_\d{2}.jpg$", r"/([^/]+)_\d+.jpg$", r"^(cat|dog|a_1)_"]
LABELS = ["cat", "dog", "Maine_Coon", "a_1", "1"]
NAMES = st.tuples(
    st.sampled_from(LABELS), st.sampled_from(["1", "2", "12", "01", "1_1", "x"]), st.sampled_from(["jpg", "png"])
).map(lambda parts: f"{parts[0]}_{parts[1]}.{parts[2]}")
PATHS = st.tuples(st.sampled_from(["", "images/"]), NAMES).map("".join)


@settings(max_examples=40)
@given(paths=st.lists(PATHS, min_size=1, max_size=12, unique=True), data=st.data())
def test_the_pattern_finds_the_new_label_and_undo_changes_all_back(paths: list[str], data: Any) -> None:
    renamed_and_back(paths, data)


@pytest.mark.long
@settings(max_examples=1000)
@given(paths=st.lists(PATHS, min_size=1, max_size=12, unique=True), data=st.data())
def test_the_pattern_finds_the_new_label_a_thousand_times(paths: list[str], data: Any) -> None:
    renamed_and_back(paths, data)


def renamed_and_back(paths: list[str], data: Any) -> None:
    pattern = data.draw(st.sampled_from(PATTERNS))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        root = Path(folder, "data")
        for path in paths:
            make(root / path)
        before = tree(root)
        manifest = make_scan(root, *LABELS)
        for path in paths:
            action = data.draw(st.sampled_from([Action.DELETE, *[Action.RELABEL] * 3, Action.KEEP]))
            new = data.draw(st.sampled_from(LABELS)) if action is Action.RELABEL else ""
            decision = Decision(path, action, "", new, sha256=sha256_of(root / path), decided_at=TIME)
            Manifest(manifest).append(decision)
        with suppress(KeyboardInterrupt), interrupted(monkeypatch, at=data.draw(st.integers(1, 9))):
            apply(manifest, root, name_pattern=pattern)
        apply(manifest, root, name_pattern=pattern)
        assert sorted(filter(None, tree(root).values())) == sorted(filter(None, before.values()))
        for done in manifest.parent.glob("journal-*"):
            for operation in cleaner.core.journal.read(done).carried_out:
                if operation.action == "relabel":
                    name = operation.target.rpartition("/")[2]
                    found = re.search(pattern, name) or re.search(pattern, str(root / operation.target))
                    assert found[1] == operation.new_label
                    assert operation.target.rpartition("/")[0] == operation.source.rpartition("/")[0]
            with suppress(KeyboardInterrupt), interrupted(monkeypatch, at=data.draw(st.integers(1, 9))):
                undo(done)
            assert undo(done).conflicts == ()
        assert tree(root) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@in_a_light_process
def test_the_same_call_finishes_the_work_of_a_process_killed_at_any_change(tmp_path: Path) -> None:
    at, died = 0, True
    while died:
        at += 1
        pets = Pets(tmp_path / str(at))
        pets.decide_some()
        died = in_a_process_that_dies(at, pets.apply, one_step)
        pets.apply()
        assert tree(pets.root) == applied(pets.before)
        (done,) = pets.journals()
        undoing = in_a_process_that_dies(at, lambda done=done: undo(done), one_step)
        assert undo(done).conflicts == ()
        assert tree(pets.root) == pets.before
        died = died or undoing
    assert at > 15


def test_a_free_number_is_found_without_trying_all(tmp_path: Path) -> None:
    """Of a class with many numbers the free one is found without trying all of them."""
    for n in range(1, 200):
        make(tmp_path / f"Bengal_{n}.jpg", "x")
    labels = NameLabels.from_vocab(tmp_path, PETS, VOCAB)
    names = labels.relabelled(relabel("Abyssinian_12.jpg", "Bengal"))
    tried = 0
    for name in names:
        tried += 1
        if not (tmp_path / name).exists():
            break
    assert tried < 100
