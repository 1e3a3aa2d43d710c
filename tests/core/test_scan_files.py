"""The files of a scan folder are replaced all together, whatever happens on the way, and by one process at a time."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.errors import CleanerError
from cleaner.core.records import Unreadable
from cleaner.core.scan import LazyRecords, Scan, load
from cleaner.core.scan_files import ReplacedScanError, writing
from cleaner.core.tasks import drawn_file
from tests.support.light_process import in_a_light_process
from tests.support.scan_records import as_text, make

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
KILLED = 9
CHANGES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod"}
FILES = ["audit.csv", "classes.csv", "confusion.csv", "scan.json", "top_losses.csv", "typical.csv", "unreadable.csv"]

Call = Callable[[Path], object]


def later() -> Scan:
    """A scan of the same dataset that differs from `make()` in each of its files."""
    scan = make()
    return make(
        samples=tuple(replace(sample, loss=sample.loss + 1) for sample in scan.samples),
        cells={"train": {("dog", "dog"): 20}, "valid": {("cat", "cat"): 6}},
        unreadable=(Unreadable("train", "cat", "torn.png", "it is torn"),),
        losses=(),
        finished="later",
    )


def content(scan: Scan) -> dict[str, str]:
    """What a scan says, whatever its generation."""
    return as_text(replace(scan, generation=""))


class TornFile:
    """A file that the process does not finish writing."""

    def __init__(self, file: Any, step: Callable[[], None]) -> None:
        self._file, self._step = file, step

    def write(self, data: bytes) -> None:
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._step()
        self._file.write(data[len(data) // 2 :])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> TornFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def killed_at(point: int, call: Callable[[], object]) -> bool:
    """Run a call in a process that ends at its n-th step, counting what it does to files; false if it has fewer."""
    child = os.fork()
    if child == 0:
        try:
            steps = itertools.count()

            def step() -> None:
                if next(steps) == point:
                    os._exit(KILLED)

            fsync, fdopen = os.fsync, os.fdopen
            os.fsync = lambda handle: (step(), fsync(handle))
            os.fdopen = lambda *arguments: TornFile(fdopen(*arguments), step)
            sys.addaudithook(lambda event, _: step() if event in CHANGES else None)
            call()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, KILLED), "the call failed by itself"
    return status == KILLED


def kills(call: Call, before: Path, folder: Path) -> Iterator[int]:
    """Kill a call at each of its steps, each time on a copy of a folder."""
    for point in itertools.count():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        if not killed_at(point, lambda: call(folder)):
            return
        yield point


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@needs_fork
@in_a_light_process
def test_a_rewrite_that_is_killed_anywhere_leaves_the_old_scan_or_the_new_one(tmp_path: Path) -> None:
    make().write(tmp_path / "before")
    old, new, seen = content(make()), content(later()), []
    for _ in kills(later().write, tmp_path / "before", tmp_path / "scan"):
        left = tree(tmp_path / "scan")
        found = content(load(tmp_path / "scan"))
        assert found in (old, new)
        assert tree(tmp_path / "scan") == left, "to load a scan writes nothing"
        seen.append(found == new)
        make(k=7).write(tmp_path / "scan")
        assert load(tmp_path / "scan").k == 7
        assert names(tmp_path / "scan") == FILES
    assert seen == sorted(seen), "what was committed stays"
    assert {True, False} == set(seen)
    assert len(seen) > 30


@needs_fork
@pytest.mark.parametrize("with_classes", [True, False])
@in_a_light_process
def test_a_killed_rewrite_of_a_version_0_1_folder_leaves_one_whole_scan(with_classes: bool, tmp_path: Path) -> None:
    before = tmp_path / "before"
    make().write(before)
    description = json.loads((before / "scan.json").read_text())
    del description["generation"]
    (before / "scan.json").write_text(json.dumps(description))
    if not with_classes:
        (before / "classes.csv").unlink()
    old, new = content(load(before)), content(make(k=7))
    found = [content(load(tmp_path / "scan")) for _ in kills(make(k=7).write, before, tmp_path / "scan")]
    assert all(each in (old, new) for each in found)
    assert found[0] == old
    assert found[-1] == new


@needs_fork
@in_a_light_process
def test_a_killed_first_scan_leaves_a_whole_scan_or_none(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    there = []
    for _ in kills(make().write, tmp_path / "before", tmp_path / "scan"):
        there.append((tmp_path / "scan/scan.json").exists())
        if there[-1]:
            assert content(load(tmp_path / "scan")) == content(make())
        else:
            with pytest.raises(CleanerError, match="not the folder of a finished scan"):
                load(tmp_path / "scan")
    assert there == sorted(there)


def write_drawn(folder: Path, scan: Scan, drawing: bytes) -> None:
    """Write a scan with drawings of its samples."""
    with writing(folder) as files:
        for sample in scan.samples[:2]:
            files.write(f"drawn/{drawn_file(folder, sample.path).name}", drawing)
        scan.write_to(files)


@needs_fork
@in_a_light_process
def test_drawings_belong_to_the_loaded_scan(tmp_path: Path) -> None:
    write_drawn(tmp_path / "before", make(), b"old")
    for _ in kills(lambda folder: write_drawn(folder, later(), b"new"), tmp_path / "before", tmp_path / "scan"):
        scan = load(tmp_path / "scan")
        drawing = b"new" if scan.finished == "later" else b"old"
        assert scan.drawn_in is not None
        assert [drawn_file(scan.drawn_in, sample.path).read_bytes() for sample in scan.samples[:2]] == [drawing] * 2
        write_drawn(tmp_path / "scan", make(), b"last")
        assert {path.read_bytes() for path in (tmp_path / "scan/drawn").iterdir()} == {b"last"}
        assert names(tmp_path / "scan") == sorted([*FILES, "drawn"])


def test_a_writer_that_fails_leaves_the_old_scan(tmp_path: Path) -> None:
    make().write(tmp_path)

    def rows() -> Iterator[Any]:
        yield later().samples[0]
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        make(samples=LazyRecords(rows)).write(tmp_path)
    assert content(load(tmp_path)) == content(make())
    assert names(tmp_path) == FILES


def test_a_reader_never_mixes_the_files_of_two_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another scan is written before each of the files that `load` opens, in turn."""
    from cleaner.core import scan_files

    old, new = content(make()), content(later())
    opened = scan_files.ScanFiles.open
    for point in itertools.count():
        make().write(tmp_path)
        steps = itertools.count()

        def written_meanwhile(files: Any, name: str, steps: Any = steps, point: int = point) -> Any:
            if next(steps) == point:
                later().write(tmp_path)
            return opened(files, name)

        with monkeypatch.context() as patch:
            patch.setattr(scan_files.ScanFiles, "open", written_meanwhile)
            found = content(load(tmp_path))
        if next(steps) <= point:
            assert found == old
            break
        assert found == new
    assert point == 6


def test_loading_gives_up_on_a_folder_that_changes_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cleaner.core import scan_files

    make().write(tmp_path)
    opened = scan_files.ScanFiles.open
    monkeypatch.setattr(
        scan_files.ScanFiles, "open", lambda files, name: (later().write(tmp_path), opened(files, name))[1]
    )
    with pytest.raises(CleanerError, match="rewritten again and again"):
        load(tmp_path)


def test_samples_read_late_are_not_those_of_a_later_scan(tmp_path: Path) -> None:
    scan = make(samples=LazyRecords(lambda: make().samples)).write(tmp_path)
    assert [sample.path for sample in scan.samples] == [sample.path for sample in make().samples]
    later().write(tmp_path)
    with pytest.raises(ReplacedScanError, match="replaced by a later one"):
        next(iter(scan.samples))


def test_a_second_writer_is_refused_with_the_process_of_the_first(tmp_path: Path) -> None:
    make().write(tmp_path)
    with writing(tmp_path):
        with pytest.raises(CleanerError, match=rf"another scan is being written to .* by process {os.getpid()} on \S+"):
            later().write(tmp_path)
        assert content(load(tmp_path)) == content(make())
    later().write(tmp_path)
    assert content(load(tmp_path)) == content(later())


@needs_fork
def test_a_killed_writer_with_running_children_blocks_no_other(tmp_path: Path) -> None:
    """A process that reads images outlives the one that scans."""
    make().write(tmp_path)
    begun, reached = os.pipe()
    stay, ended = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ended)
        try:
            with writing(tmp_path):
                if os.fork() == 0:
                    os.write(reached, b"x")
                os.read(stay, 1)
        finally:
            os._exit(1)
    os.close(stay)
    assert os.read(begun, 1) == b"x"
    with pytest.raises(CleanerError, match=f"by process {child} "):
        later().write(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    later().write(tmp_path)
    assert content(load(tmp_path)) == content(later())
    os.close(ended)


@pytest.mark.parametrize("generation", ["../x", "A", 3, None, "a" * 65, "a\n"])
def test_an_invalid_generation_is_refused(generation: object, tmp_path: Path) -> None:
    make().write(tmp_path)
    description = json.loads((tmp_path / "scan.json").read_text())
    (tmp_path / "scan.json").write_text(json.dumps(description | {"generation": generation}))
    with pytest.raises(CleanerError, match="generation is"):
        load(tmp_path)
