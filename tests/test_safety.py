"""Counted: processes that are killed at random moments, and disks that fail at each write in turn; nothing is lost.

The short counts run always; `pytest -m long -s tests/test_safety.py` runs the long ones and shows what was counted.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import random
import select
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cleaner.apply import apply
from cleaner.apply.execute import undo
from cleaner.apply.trash import empty
from cleaner.cli import main
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH, sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Sample
from cleaner.core.rounds import history, take_over
from cleaner.core.scan import Scan, load
from tests.support.crashes import killed_in
from tests.support.folders import TIME, make, make_scan, tree
from tests.support.light_process import in_a_light_process

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
COUNTS = [pytest.param(10, id="short"), pytest.param(200, id="long", marks=pytest.mark.long)]


@dataclass(frozen=True)
class Place:
    """A dataset of class folders with a label table, and decisions about all of it; `before` is its tree."""

    root: Path
    manifest: Path
    table: Path
    before: dict[str, object]

    def apply_to_folders(self) -> Any:
        return apply(self.manifest, self.root)

    def apply_to_table(self) -> Any:
        return apply(self.manifest, self.root, labels=self.table)

    def undo(self) -> Any:
        return [undo(journal) for journal in self.journals()]

    def journals(self) -> list[Path]:
        return sorted(self.manifest.parent.glob("journal-*.jsonl"))


def make_place(folder: Path, count: int = 40) -> Place:
    root, labels = folder / "data", ("cat", "dog", "fox")
    files = [f"{labels[n % 3]}/{n // 2}.png" for n in range(count)]
    for n, path in enumerate(files):
        make(root / path, f"bytes {n} of {path}")
        os.utime(root / path, ns=(10**18, 10**18 + n))
    table = root / "labels.csv"
    table.write_bytes("".join(["fname,label\r\n", *(f"{path},{path[:3]}\r\n" for path in files)]).encode())
    os.utime(table, ns=(10**18, 10**18 + 9))
    manifest = make_scan(root, *labels)
    decisions = []
    for n, path in enumerate(files):
        action, new = [(Action.DELETE, ""), (Action.RELABEL, "dog" if path[:3] == "cat" else "cat")][n % 2]
        decisions.append(Decision(path, action, path[:3], new, sha256=sha256_of(root / path), decided_at=TIME))
    Manifest(manifest).append(*decisions)
    return Place(root, manifest, table, tree(root))


def contents(found: dict[str, object]) -> Counter[bytes]:
    """How often the bytes of each file are there, but for the label table and what is half written of it."""
    return Counter(
        file[0] for path, file in found.items() if isinstance(file, tuple) and not path.lstrip(".").startswith("labels")
    )


@pytest.mark.parametrize("count", COUNTS)
@in_a_light_process
def test_no_confirmed_decision_is_lost_when_the_process_is_killed(count: int, tmp_path: Path) -> None:
    path, chance, said = tmp_path / "decisions.csv", random.Random(1), []
    Manifest(path)
    for round_ in range(count):
        read, write = os.pipe()

        def decide(round_: int = round_, write: int = write) -> None:
            manifest = Manifest(path)
            for n in itertools.count():
                name = f'{round_}/{n}, "é"\n{"x" * (n % 50)}.png'
                manifest.append(Decision(name, Action.KEEP, label="two\nlines", decided_at=TIME))
                os.write(write, f"{name}\0".encode())

        def has_decided(read: int = read) -> bool:
            return bool(select.select([read], [], [], 0)[0])

        # Every other one while it opens the file or decides for the first time.
        begun = has_decided if round_ % 2 else lambda: True
        assert killed_in(decide, chance.uniform(0, 0.06), begun)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            said += pipe.read().decode().split("\0")[:-1]
        found = [row.path for row in Manifest(path).rows()]
        assert set(said) <= set(found)
        assert len(found) == len(set(found)) <= len(said) + round_ + 1
    print(f"\n{count} processes were killed while deciding; all {len(said)} decisions that were confirmed are there")
    assert len(said) >= count // 2


def steps(place: Place, kind: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """What is applied, and what takes it back."""
    return (place.apply_to_folders if kind == "folders" else place.apply_to_table), place.undo


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("step", ["apply", "undo"])
@pytest.mark.parametrize("kind", ["folders", "table"])
@in_a_light_process
def test_a_run_killed_at_any_moment_loses_nothing_and_the_next_finishes(
    kind: str, step: str, count: int, tmp_path: Path
) -> None:
    pattern = make_place(tmp_path / "pattern")
    forward, back = steps(pattern, kind)
    seconds, applied = 60.0, {}
    for _ in range(3):  # the quickest, as others may use the machine
        begun = time.perf_counter()
        forward()
        middle = time.perf_counter()
        applied = tree(pattern.root)
        after = time.perf_counter()
        back()
        seconds = min(seconds, middle - begun if step == "apply" else time.perf_counter() - after)
    chance, killed, between = random.Random(2), 0, 0
    for n in range(10 * count):
        if killed == count:
            break
        place = make_place(tmp_path / str(n))
        forward, back = steps(place, kind)
        call, finished = (forward, applied) if step == "apply" else (back, place.before)
        if step == "undo":
            forward()
        if n % 2:
            killed += killed_in(call, chance.uniform(0, 1.5 * seconds))
        else:  # where it changes the dataset, which is a small part of the time
            killed += killed_in(call, chance.uniform(0, 0.2 * seconds), partial(has_begun, place, step))
        found = tree(place.root)
        assert contents(found) == contents(place.before)
        now, ends = timeless(found), (timeless(applied), timeless(place.before))
        assert all(now[path] in [end.get(path) for end in ends] for path in now if not path.startswith(".labels"))
        between += now not in ends
        call()
        assert same(tree(place.root), finished)
        assert not list(place.manifest.parent.glob(".*.part"))
        if step == "apply":
            assert all(not report.conflicts for report in back())
            assert same(tree(place.root), place.before)
        shutil.rmtree(tmp_path / str(n))
    print(f"\n{killed} processes were killed in {step} of {kind}, {between} of them half way; each file was there once")
    assert killed == count


def has_begun(place: Place, step: str) -> bool:
    """Whether the journal says that an apply or an undo is about to change the dataset."""
    return any(step == "apply" or b'"undoing"' in path.read_bytes() for path in place.journals())


def same(one: dict[str, object], other: dict[str, object]) -> bool:
    """Whether two trees are the same; the time of a label table that was just written is its own."""
    return timeless(one) == timeless(other)


def timeless(found: dict[str, object]) -> dict[str, object]:
    return {path: file[0] if path == "labels.csv" else file for path, file in found.items()}


class FailingFile:
    """A file of which each write counts as one step that may fail, after half of it was written."""

    def __init__(self, file: Any, fail: Callable[[], None]) -> None:
        self._file = file
        self._fail = fail

    def __enter__(self) -> FailingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        try:
            self._fail()
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)


STEPS = ("write", "fsync", "replace", "open")


@contextmanager
def failing(step: str, at: int, code: int) -> Iterator[list[int]]:
    """In here the `at`-th step of a kind, and each one after it, fails; gives a list that is not empty once it did."""
    count, failed = itertools.count(1), []

    def fail() -> None:
        if next(count) >= at:
            failed.append(at)
            raise OSError(code, os.strerror(code))

    def failing_before(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **options: Any) -> Any:
            fail()
            return function(*given, **options)

        return wrapped

    def opened(file: Any, mode: str = "r", **options: Any) -> Any:
        found = open(file, mode, **options)  # noqa: SIM115
        return FailingFile(found, fail) if mode in ("a+b", "ab") else found

    with pytest.MonkeyPatch.context() as patch:
        if step == "write":
            fdopen = os.fdopen
            patch.setattr(os, "fdopen", lambda *given, **options: FailingFile(fdopen(*given, **options), fail))
            for module in ("manifest", "ledger"):
                patch.setattr(f"cleaner.core.{module}.open", opened, raising=False)
        elif step == "open":
            real = os.open
            # Locks are not what is written.
            patch.setattr(os, "open", lambda f, *g, **o: (str(f).endswith(".lock") or fail(), real(f, *g, **o))[1])
        else:
            patch.setattr(os, step, failing_before(getattr(os, step)))
        yield failed


CODES = (errno.ENOSPC, errno.EIO)
ORDERS = [pytest.param(1, id="short"), pytest.param(2, id="long", marks=pytest.mark.long)]


def each_failure(check: Callable[[str, int, int, Path], bool], folder: Path, orders: int) -> int:
    """Let each step of each kind fail in turn, until there is no such step; gives how many failed.

    The two kinds of failure take turns; with two orders each step fails in both ways.
    """
    count = 0
    for step, order in itertools.product(STEPS, range(orders)):
        for at in itertools.count(1):
            code = CODES[(at + order) % 2]
            place = folder / f"{step}-{order}-{at}"
            place.mkdir()
            if not check(step, at, code, place):
                break
            count += 1
            shutil.rmtree(place)
    return count


def assert_says(error: Exception, code: int) -> None:
    assert os.strerror(code) in str(error)


@pytest.mark.parametrize("orders", ORDERS)
@in_a_light_process
def test_a_disk_that_fails_at_any_write_of_the_manifest_loses_no_decision(orders: int, tmp_path: Path) -> None:
    def check(step: str, at: int, code: int, folder: Path) -> bool:
        path = folder / "decisions.csv"
        said = []
        # A torn row, and a header without all columns, so that every way to write is gone.
        path.write_bytes(b"path,action\r\nold.png,keep\r\nto")
        with failing(step, at, code) as failed:
            for n in range(3):
                try:
                    Manifest(path).append(Decision(f"{n}.png", Action.KEEP, decided_at=TIME))
                    said.append(f"{n}.png")
                except (CleanerError, OSError) as error:
                    assert_says(error, code)
        Manifest(path).append(Decision("last.png", Action.KEEP, decided_at=TIME))
        found = [row.path for row in Manifest(path).rows()]
        assert [name for name in found if name in ("old.png", "last.png", *said)] == ["old.png", *said, "last.png"]
        assert len(found) == len(set(found))
        return bool(failed)

    count = each_failure(check, tmp_path, orders)
    print(f"\n{count} failures of the disk while the manifest was written; no decision was lost")
    assert count > 10


@pytest.mark.parametrize("orders", ORDERS)
@in_a_light_process
def test_a_disk_that_fails_while_decisions_are_restored_loses_none(orders: int, tmp_path: Path) -> None:
    def scanned(folder: Path) -> Scan:
        return Scan(tmp_path, ("cat", "dog"), ("train",), 1, {"train": 0}, (), {"train": {}}, started=TIME).write(
            folder
        )

    def check(step: str, at: int, code: int, folder: Path) -> bool:
        old, new = scanned(folder / "old"), scanned(folder / "new")
        sha256 = hashlib.sha256().hexdigest()
        taken = [Decision(f"{n}.png", Action.KEEP, sha256=sha256, decided_at=TIME) for n in range(5)]
        for each in taken:
            (tmp_path / each.path).touch()
            Manifest(old.manifest_path).append(each)
        header, *rows = old.manifest_path.read_bytes().splitlines(keepends=True)
        (folder / "saved").write_bytes(b"".join([header, *rows[:1], *rows[3:]]))
        (folder / "saved").replace(old.manifest_path)
        with failing(step, at, code) as failed:
            for attempt in (Manifest(old.manifest_path).restore, partial(take_over, new, old.folder)):
                try:
                    attempt()
                except (CleanerError, OSError) as error:
                    assert_says(error, code)
        now = Manifest(old.manifest_path)
        assert {row.path for row in (*now.rows(), *now.edits.lost)} == {each.path for each in taken}
        now.restore()
        assert dict(Manifest(old.manifest_path).standing()) == {each.path: each for each in taken}
        take_over(new, old.folder)
        assert set(Manifest(new.manifest_path).standing()) == {each.path for each in taken}
        assert len(history(new)) == 2
        return bool(failed)

    count = each_failure(check, tmp_path, orders)
    print(f"\n{count} failures of the disk while decisions were restored and taken over; none was lost")
    assert count > 20


@pytest.mark.parametrize("orders", ORDERS)
@in_a_light_process
def test_a_disk_that_fails_at_any_write_of_a_scan_folder_leaves_whole_files(orders: int, tmp_path: Path) -> None:
    def scan(loss: float) -> Scan:
        samples = (Sample("train", "cat", 1, "cat/1.png", loss, "dog", 0.5),)
        return Scan(tmp_path, ("cat", "dog"), ("train",), 1, {"train": int(loss)}, samples, {"train": {}})

    def check(step: str, at: int, code: int, folder: Path) -> bool:
        old = scan(1).write(folder / "scan").folder
        new = scan(2).write(folder / "new").folder
        before = {path.name: path.read_bytes() for path in old.iterdir()}
        after = {path.name: path.read_bytes() for path in new.iterdir()}
        with failing(step, at, code) as failed:
            try:
                scan(2).write(old)
            except (CleanerError, OSError) as error:
                assert_says(error, code)
        # What was committed and could not be moved stays in a hidden folder until the next scan.
        found = {path.name: path.read_bytes() for path in old.iterdir() if path.is_file()}
        assert set(found) == set(before)
        assert all(found[name] in (before[name], after[name]) for name in found if name != "scan.json")
        loaded = load(old)
        assert (loaded.samples, loaded.scored) in [(each.samples, each.scored) for each in (scan(1), scan(2))]
        scan(2).write(old)
        assert load(old).samples == scan(2).samples
        assert {path.name for path in old.iterdir()} == set(before)
        return bool(failed)

    count = each_failure(check, tmp_path, orders)
    print(f"\n{count} failures of the disk while a scan folder was written; it held the old scan or the new one")
    assert count > 20


def of_folders(place: Place) -> tuple[str, ...]:
    return "apply", str(place.manifest), "--data", str(place.root)


def of_table(place: Place) -> tuple[str, ...]:
    return (*of_folders(place), "--labels", str(place.table))


@pytest.mark.parametrize("orders", ORDERS)
@pytest.mark.parametrize("command", [of_folders, of_table])
def test_a_disk_that_fails_at_any_write_of_journal_or_table_loses_nothing(
    command: Callable[[Place], tuple[str, ...]], orders: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = make_place(tmp_path / "pattern", 6)
    main(command(pattern))
    applied = tree(pattern.root)

    def told(arguments: tuple[str, ...], code: int) -> None:
        status = main(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert status in (0, 1, 2)
        assert status == 0 or os.strerror(code) in out + err

    def check(step: str, at: int, code: int, folder: Path) -> bool:
        place = make_place(folder, 6)
        with failing(step, at, code) as failed:
            told(command(place), code)
        assert contents(tree(place.root)) == contents(place.before)
        assert main(command(place)) == 0, capsys.readouterr()
        assert same(tree(place.root), applied)
        (journal,) = place.journals()
        with failing(step, at, code) as failed_back:
            told(("undo", str(journal)), code)
        assert contents(tree(place.root)) == contents(place.before)
        assert main(("undo", str(journal))) == 0, capsys.readouterr()
        capsys.readouterr()
        assert same(tree(place.root), place.before)
        return bool(failed or failed_back)

    count = each_failure(check, tmp_path, orders)
    with capsys.disabled():
        print(f"\n{count} failures of the disk in apply and undo of {command.__name__[3:]}; nothing was lost")
    assert count > 10


@pytest.mark.parametrize("orders", ORDERS)
@in_a_light_process
def test_after_a_disk_failed_while_emptying_the_trash_undo_tells_the_truth(orders: int, tmp_path: Path) -> None:
    def check(step: str, at: int, code: int, folder: Path) -> bool:
        place = make_place(folder, 6)
        place.apply_to_folders()
        (journal,) = place.journals()
        with failing(step, at, code) as failed:
            try:
                empty(journal)
            except CleanerError as error:
                assert_says(error, code)
        left = sum(1 for path in (place.root / TRASH).rglob("*.png"))
        back = undo(journal)
        deleted = len([o for o in back.done if o.action == "delete"])
        assert deleted == left
        assert all("gone for good" in conflict.reason for conflict in back.conflicts)
        return bool(failed)

    count = each_failure(check, tmp_path, orders)
    print(f"\n{count} failures of the disk while the trash was emptied")
    assert count > 5
