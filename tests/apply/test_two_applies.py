"""Two scan folders about one label table, or one dataset of class folders: one apply at a time, and no lost update."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cleaner.apply import apply, locks
from cleaner.apply.execute import Report, undo
from cleaner.apply.table.table_file import TableFile
from cleaner.core.errors import CleanerError
from cleaner.core.journal import Journal
from cleaner.core.manifest import Manifest
from tests.support.folders import Place, delete, relabel, tree

fcntl = pytest.importorskip("fcntl", reason="needs fcntl, which Windows lacks")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def table(place: Place) -> Path:
    file = place.root / "labels.csv"
    file.write_bytes(b"path,label\ncat/1.png,cat\ncat/2.png,cat\ndog/1.png,dog\n")
    return file


def other_manifest(place: Place, *decisions: Any) -> Path:
    """The manifest of another scan folder of the same dataset."""
    manifest = place.manifest.parent.with_name("other") / "decisions.csv"
    Manifest(manifest).append(*map(place.with_hash, decisions))
    return manifest


class Second:
    """A call in another thread, which begins where the first is about to change something.

    The first goes on once the second has ended, or waits for the lock on what changes.
    """

    def __init__(self, call: Callable[[], Report], patch: pytest.MonkeyPatch) -> None:
        self.reports: list[Report] = []
        self.waited = False
        self._call = call
        self._goes_on = threading.Event()
        self._thread = threading.Thread(target=self._run)
        flock = fcntl.flock

        def noting(handle: int, operation: int) -> None:
            if threading.current_thread() is self._thread and stat.S_ISDIR(os.fstat(handle).st_mode):
                self.waited = True
                self._goes_on.set()
            flock(handle, operation)

        patch.setattr(fcntl, "flock", noting)

    def begin(self) -> None:
        if self._thread.ident is None:
            self._thread.start()
            assert self._goes_on.wait(60)

    def _run(self) -> None:
        try:
            self.reports.append(self._call())
        finally:
            self._goes_on.set()

    def end(self) -> Report:
        self._thread.join(60)
        (report,) = self.reports
        return report


def test_two_scan_folders_change_one_table_one_after_the_other(
    place: Place, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide(relabel("cat/1.png", "dog"))
    manifest = other_manifest(place, relabel("cat/2.png", "dog"))
    second = Second(lambda: apply(manifest, place.root, labels=table), monkeypatch)
    unchanged = TableFile.is_as_it_was

    def between(found: TableFile) -> bool:
        result = unchanged(found)
        second.begin()
        return result

    monkeypatch.setattr(TableFile, "is_as_it_was", between)
    first = apply(place.manifest, place.root, labels=table)
    later = second.end()
    assert (len(first.done), len(later.done), first.conflicts, later.conflicts) == (1, 1, (), ())
    assert table.read_bytes() == b"path,label\ncat/1.png,dog\ncat/2.png,dog\ndog/1.png,dog\n"
    assert undo(later.journal).conflicts == ()
    assert undo(first.journal).conflicts == ()
    assert b"cat/1.png,cat\ncat/2.png,cat" in table.read_bytes()


def test_two_scan_folders_move_the_files_of_one_dataset_one_after_the_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide(relabel("cat/1.png", "dog"), delete("cat/2.png"))
    manifest = other_manifest(place, delete("cat/1.png"), relabel("cat/3.png", "dog"))
    second = Second(lambda: apply(manifest, place.root), monkeypatch)
    write = Journal.write

    def between(journal: Journal) -> None:
        write(journal)
        second.begin()

    monkeypatch.setattr(Journal, "write", between)
    first = place.apply()
    later = second.end()
    assert (len(first.done), first.conflicts) == (2, ())
    # It was planned when the first had ended.
    assert [operation.source for operation in later.done] == ["cat/3.png"]
    assert [conflict.reason for conflict in later.conflicts] == ["the file is gone"]
    undo(later.journal)
    undo(first.journal)
    assert tree(place.root) == place.before


def test_the_lock_leaves_nothing_and_needs_no_right_to_write(place: Place, table: Path, tmp_path: Path) -> None:
    with locks.locked(place.manifest, place.root):
        handle = os.open(place.root, os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(handle)
        assert sorted(os.listdir(place.root)) == ["cat", "dog", "fox", "labels.csv"]
    link = tmp_path / "link.csv"
    link.symlink_to(table)  # the same table by another name
    place.decide(relabel("cat/1.png", "dog"))
    assert apply(place.manifest, place.root, labels=link).changed == table
    shutil.rmtree(place.root)
    with locks.locked(place.manifest, place.root):
        pass  # what is gone cannot change


def test_where_folders_cannot_be_locked_a_hidden_file_is(
    place: Place, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def as_over_a_network(handle: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(9, os.strerror(9))
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", as_over_a_network)
    place.decide(relabel("cat/1.png", "dog"))
    assert len(apply(place.manifest, place.root, labels=table).done) == 1
    assert set(os.listdir(place.root)) - {".cleaner.lock"} == {"cat", "dog", "fox", "labels.csv"}
    acquire = locks.FileLock.acquire

    def refuse(lock: locks.FileLock) -> object:
        if Path(lock.lock_file).parent == place.root:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return acquire(lock)

    monkeypatch.setattr(locks.FileLock, "acquire", refuse)
    with pytest.raises(CleanerError, match="cannot be locked; make it writable"):
        apply(place.manifest, place.root, labels=table)
