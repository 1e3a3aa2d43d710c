"""Journals that somebody else wrote, or edited: undo asks first, and stays inside of the dataset and its tables."""

from __future__ import annotations

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cleaner.apply import apply
from cleaner.apply.execute import undo
from cleaner.apply.trash import empty
from cleaner.cli import main
from cleaner.core import journal as journals
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH, sha256_of
from cleaner.core.settings import journal_key, settings_file
from tests.support.folders import TIME, Place, delete, make, relabel, tree

UNKNOWN = "not known to be a journal that you wrote"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's settings, which are empty."""
    monkeypatch.setenv("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path / "settings" / "cleaner"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def done(place: Place) -> Path:
    """The journal of an apply that deleted one file and moved one to another class."""
    place.decide(delete("cat/1.png"), relabel("cat/2.png", "dog"))
    return place.apply().journal


def write_journal(path: Path, *lines: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def moves_journal(root: Path, source: str, target: str) -> Path:
    """A made-up journal of an apply that would have moved `source` to `target`, where the file is now."""
    status = os.lstat(root / target)
    file = {"size": status.st_size, "modified": status.st_mtime_ns, "inode": status.st_ino, "sha256": ""}
    return write_journal(
        root.parent / "stranger" / "journal-1.jsonl",
        {"format": 2, "data": str(root), "folders": [], "written": TIME},
        {"source": source, "target": target, "action": "relabel", "new_label": "", "decided_at": "", "file": file},
        {"state": "finished", "left": [], "at": TIME},
    )


def table_journal(table: Path, old: bytes, name: str = "") -> Path:
    """A made-up journal of an apply that would have changed a table that was `old` before."""
    journal = table.parent / "stranger" / "journal-1.jsonl"
    kept = journal.with_name(f"journal-1.{name or table.name}")
    kept.parent.mkdir()
    kept.write_bytes(old)
    before = {"sha256": sha256_of(kept), "size": len(old), "modified": 1, "mode": 0o600}
    header = {"format": 2, "data": "/data", "table": str(table), "before": before, "after": sha256_of(table)}
    return write_journal(
        journal, {**header, "kept": kept.name, "written": TIME}, {"state": "finished", "left": [], "at": TIME}
    )


def test_a_made_up_journal_of_a_table_replaces_no_file_that_is_no_table(tmp_path: Path) -> None:
    for name in (".bashrc", "notes.txt", ".csv"):
        file = tmp_path / name / name
        file.parent.mkdir()
        file.write_bytes(b"mine")
        with pytest.raises(CleanerError, match=r"a \.csv, \.tsv or \.parquet file is accepted"):
            undo(table_journal(file, b"path,label\nevil,1\n"), trust=True)
        assert file.read_bytes() == b"mine"


def test_a_table_is_replaced_by_a_table_and_not_through_links(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_bytes(b"a,b\n1,2\n")
    for name, content in (("text", b"#!/bin/sh\0"), ("empty", b"")):
        table = tmp_path / name / "labels.csv"
        make(table, "path,label\n")
        with pytest.raises(CleanerError):
            undo(table_journal(table, content), trust=True)
        assert table.read_bytes() == b"path,label\n"
    for link in ("labels.csv", "stranger/journal-1.labels.csv"):
        folder = tmp_path / link.replace("/", "-")
        make(folder / "labels.csv", "path,label\n")
        journal = table_journal(folder / "labels.csv", secret.read_bytes())
        (folder / link).unlink()
        (folder / link).symlink_to(secret)
        with pytest.raises(CleanerError, match="is a link or no regular file"):
            undo(journal, trust=True)
        assert secret.read_bytes() == b"a,b\n1,2\n"


def test_no_file_is_moved_out_of_the_dataset_or_into_it_through_a_link(place: Place, tmp_path: Path) -> None:
    make(tmp_path / "outside" / "theirs.png")
    (place.root / "link").symlink_to(tmp_path / "outside")
    before = tree(tmp_path / "outside"), tree(place.root)
    for source, target in (("link/new.png", "cat/1.png"), ("cat/new.png", "link/theirs.png")):
        report = undo(moves_journal(place.root, source, target), trust=True)
        assert (report.done, len(report.conflicts)) == ((), 1)
        assert "leads out of the dataset" in report.conflicts[0].reason
    assert (tree(tmp_path / "outside"), tree(place.root)) == before


def test_folders_outside_of_the_dataset_are_not_removed(place: Place, done: Path, tmp_path: Path) -> None:
    (tmp_path / "outside" / "empty").mkdir(parents=True)
    (place.root / "link").symlink_to(tmp_path / "outside")
    lines = [json.loads(line) for line in done.read_text().splitlines()]
    lines[0]["folders"] += ["link/empty", "link"]
    write_journal(done, *lines)
    assert undo(done, trust=True).conflicts == ()
    assert (tmp_path / "outside" / "empty").is_dir()


def test_emptying_the_trash_removes_no_folder_that_is_not_in_the_trash(place: Place, done: Path) -> None:
    (place.root / "empty").mkdir()
    lines = [json.loads(line) for line in done.read_text().splitlines()]
    lines[2].update(action="delete", target="empty/2.png")
    write_journal(done, *lines)
    assert len(empty(done, trust=True).left) == 1
    assert (place.root / "empty").is_dir()


def test_an_own_journal_is_undone_without_a_question(done: Path, place: Place) -> None:
    assert journals.read(done).doubt == ""
    assert main(["undo", str(done)]) == 0
    assert tree(place.root) == place.before
    assert journals.read(done).doubt == ""


def of_version_0_1(journal: Path) -> None:
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    del lines[0]["signature"]
    write_journal(journal, *lines)


def edited(journal: Path) -> None:
    journal.write_text(journal.read_text().replace('"cat/2.png"', '"cat/9.png"'))


def with_another_signature(journal: Path) -> None:
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    lines[0]["signature"] = "é"
    write_journal(journal, *lines)


def of_another_user(_: Path) -> None:
    path = settings_file("journal-key")
    path.rename(path.with_name("of another"))


def with_a_key_that_others_can_read(_: Path) -> None:
    settings_file("journal-key").chmod(0o644)


STRANGE = [of_version_0_1, edited, with_another_signature, of_another_user, with_a_key_that_others_can_read]


@pytest.mark.parametrize("make_strange", STRANGE)
def test_a_journal_that_the_user_did_not_write_as_it_is_asks_first(
    make_strange: Any, place: Place, done: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_strange(done)
    before = tree(place.root), done.read_bytes()
    for call in (undo, empty):
        with pytest.raises(CleanerError, match=UNKNOWN):
            call(done)
    for command in (["undo", str(done)], ["trash", "--empty", str(done)]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert all(text in said for text in (UNKNOWN, "--yes", " files ", str(place.root)))
    assert (tree(place.root), done.read_bytes()) == before
    assert len(undo(done, trust=True).done) == 2
    with pytest.raises(CleanerError, match=UNKNOWN):
        undo(done)  # nor is it the user's after that


class Terminal(io.StringIO):
    """Where a person types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "undone"), [("yes\n", True), ("no\n", False), ("", False)])
def test_at_a_terminal_a_person_is_told_what_changes_and_asked(
    typed: str,
    undone: bool,
    place: Place,
    done: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_version_0_1(done)
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert main(["undo", str(done)]) == (0 if undone else 1)
    out = capsys.readouterr().out
    assert UNKNOWN in out
    assert f"This would move up to 2 files inside of {str(place.root)!r}" in out
    assert (tree(place.root) == place.before) == undone


def test_yes_is_the_answer_where_nobody_can_be_asked(place: Place, done: Path) -> None:
    of_version_0_1(done)
    assert main(["undo", "--yes", str(done)]) == 0
    assert tree(place.root) == place.before


def test_the_table_that_changes_is_named_before_and_after(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = place.root / "labels.csv"
    table.write_bytes(b"path,label\ncat/1.png,cat\ncat/2.png,cat\ndog/1.png,dog\n")
    before = table.read_bytes()
    place.decide(delete("cat/1.png"), relabel("cat/2.png", "dog"))
    report = apply(place.manifest, place.root, labels=table)
    assert report.changed == table
    of_version_0_1(report.journal)
    assert main(["undo", str(report.journal)]) == 2
    assert f"replace the file {str(table)!r} (2 rows change)" in capsys.readouterr().err
    assert table.read_bytes() != before
    assert main(["undo", "--yes", str(report.journal)]) == 0
    assert f"{table} was restored:" in capsys.readouterr().out
    assert table.read_bytes() == before


@pytest.mark.parametrize("kind", ["absent", "a file", "others can write"])
def test_without_settings_apply_works_and_says_that_undo_asks(
    kind: str, place: Place, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "absent":
        monkeypatch.delenv("XDG_CONFIG_HOME")
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    elif kind == "a file":
        make(settings.parent)
    else:
        settings.mkdir(parents=True)
        settings.chmod(0o777)
    place.decide(delete("cat/1.png"))
    report = place.apply()
    assert (len(report.done), report.warnings) == (1, ())
    assert "undo asks before it trusts the journal" in report.notes[0]
    with pytest.raises(CleanerError, match=UNKNOWN):
        undo(report.journal)
    assert undo(report.journal, trust=True).conflicts == ()
    assert tree(place.root) == place.before


def test_an_apply_that_goes_on_from_the_journal_of_a_stranger_does_not_sign_it(place: Place) -> None:
    journal = moves_journal(place.root, "cat/9.png", "cat/1.png")
    there = place.manifest.with_name("journal-1.jsonl")
    place.decide(delete("cat/2.png"))
    there.write_text("".join(journal.read_text().splitlines(keepends=True)[:2]))
    report = place.apply()
    assert (report.journal, len(report.done)) == (there, 1)
    with pytest.raises(CleanerError, match=UNKNOWN):
        undo(report.journal)


def test_the_key_is_private_and_made_once(settings: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: journal_key(make=True), range(8)))
    assert len(keys) == 1
    assert (settings / "journal-key").stat().st_mode & 0o777 == 0o600
    (settings / "journal-key").write_text("short\n")
    with pytest.raises(ValueError, match="holds no key"):
        journal_key(make=True)


def test_what_is_left_in_the_trash_behind_a_link_is_known_by_the_own_journal_alone(place: Place, done: Path) -> None:
    (place.root / TRASH).rename(place.root.parent / "elsewhere")
    (place.root / TRASH).symlink_to("../elsewhere")
    of_version_0_1(done)
    (conflict,) = undo(done, trust=True).conflicts
    assert "leads out of the dataset" in conflict.reason
