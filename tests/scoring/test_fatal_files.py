"""A file whose reading ends the process is found, listed with the reason, and passed over, whatever process it was."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.reading_notes import ReadingNotes
from cleaner.scoring import fatal_files
from cleaner.scoring.data.reader import Dataset, PathBatch
from cleaner.scoring.fatal_files import FatalFiles, LostReaderError
from cleaner.scoring.input_cache import InputCache
from cleaner.scoring.model import backends
from cleaner.scoring.progress import Checkpoint, SplitProgress
from tests.support import fatal_scan
from tests.support.fatal_scan import FATAL_WIDTH, SCANS, Ends
from tests.support.hosts import wait_until
from tests.support.images import make_image
from tests.support.learners import make_folder
from tests.support.warm_processes import exit_code, start

REASON = "the process that read it was ended by the system (signal 9), as happens where memory runs out"
# In batches of four: two in one batch, one in another.
IN_ONE_BATCH = ("cat/cat_1.png", "cat/cat_3.png")
FATAL = (*IN_ONE_BATCH, "dog/dog_3.png")


def make_fatal(data: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (data / name).unlink()
        make_image(data / name, size=(FATAL_WIDTH, 20))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


def ends(how: str, tmp_path: Path) -> Ends:
    return Ends(how, tmp_path / "begun", spared=os.getpid())


def assert_equals_a_scan_where_they_are_unreadable(found: Path, expected: cleaner.Scan) -> None:
    scan = cleaner.load(found)
    assert [(s.label, s.rank, s.path, s.predicted) for s in scan.samples] == [
        (s.label, s.rank, s.path, s.predicted) for s in expected.samples
    ]
    assert [s.loss for s in scan.samples] == pytest.approx([s.loss for s in expected.samples], abs=1e-5)
    assert (scan.scored, scan.cells) == (expected.scored, expected.cells)
    assert [(u.label, u.path) for u in scan.unreadable] == [(u.label, u.path) for u in expected.unreadable]
    assert {u.error for u in scan.unreadable} == {REASON}
    assert not (found / "checkpoint").exists()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("source", "workers"),
    [
        ("fastai", 2),
        ("torch", 1),
        pytest.param("fastai", 1, marks=pytest.mark.long),
        pytest.param("torch", 2, marks=pytest.mark.long),
    ],
)
def test_a_scan_with_workers_passes_over_fatal_images(
    source: str, workers: int, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_fatal(data, FATAL)
    expected = SCANS[source](ends("raise", tmp_path), data, tmp_path / "expected", workers=0)
    assert len(expected.unreadable) == len(FATAL)
    caplog.set_level(logging.WARNING, "cleaner")
    SCANS[source](ends("kill", tmp_path), data, tmp_path / "scan", workers=workers)
    assert_equals_a_scan_where_they_are_unreadable(tmp_path / "scan", expected)
    named = [name for name in FATAL for record in caplog.records if f"{name!r} cannot be read" in record.getMessage()]
    assert named == list(FATAL)
    assert sum("being read" in record.getMessage() for record in caplog.records) <= 2


@pytest.mark.timeout(240)
@pytest.mark.parametrize("resume", [True, pytest.param(False, marks=pytest.mark.long)])
def test_the_same_command_without_workers_gets_past_them(resume: bool, data: Path, tmp_path: Path) -> None:
    make_fatal(data, FATAL)
    expected = SCANS["torch"](ends("raise", tmp_path), data, tmp_path / "expected", workers=0)
    options = json.dumps({"workers": 0, "resume": resume})
    command = ("kill", "torch", str(data), str(tmp_path / "scan"), options)
    logs = [tmp_path / f"log{number}" for number in range(3)]
    codes = [exit_code(fatal_scan.main, *command, log=log) for log in logs]
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0], logs[2].read_text()  # one for each batch that holds some
    assert [name for name in IN_ONE_BATCH if repr(name) not in logs[1].read_text()] == []
    assert repr(FATAL[-1]) in logs[2].read_text()
    assert_equals_a_scan_where_they_are_unreadable(tmp_path / "scan", expected)


@pytest.mark.timeout(120)
@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 1])
def test_the_same_command_gets_past_a_fatal_image_at_an_address(workers: int, data: Path, tmp_path: Path) -> None:
    make_fatal(data, FATAL[-1:])
    expected = SCANS["fastai"](ends("raise", tmp_path), f"local://{data}", tmp_path / "expected", workers=0)
    options = json.dumps({"workers": workers})
    command = [sys.executable, "-m", "tests.support.fatal_scan", "kill", "fastai", f"local://{data}"]
    codes = []
    while not codes or (codes[-1] and len(codes) < 3):
        run = subprocess.run([*command, tmp_path / "scan", options], capture_output=True, text=True, check=False)
        codes.append(run.returncode)
    assert codes == ([0] if workers else [-signal.SIGKILL, 0])
    assert_equals_a_scan_where_they_are_unreadable(tmp_path / "scan", expected)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_scan_that_is_killed_loses_no_image(
    workers: int, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_fatal(data, FATAL[-1:])
    (tmp_path / "begun").touch()
    expected = SCANS["torch"](ends("wait", tmp_path), data, tmp_path / "expected", workers=0)
    (tmp_path / "begun").unlink()
    options = json.dumps({"workers": workers})
    command = ("wait", "torch", str(data), str(tmp_path / "scan"), options)
    scan = start(fatal_scan.main, *command, log=tmp_path / "log")
    wait_until((tmp_path / "begun").exists)
    processes = [*psutil.Process(scan.pid).children(recursive=True), psutil.Process(scan.pid)]
    for process in processes:
        process.kill()
    scan.join()
    assert list((tmp_path / "scan/checkpoint").glob("reading-*"))
    SCANS["torch"](ends("wait", tmp_path), data, tmp_path / "scan", workers=workers)
    found = cleaner.load(tmp_path / "scan")
    assert (found.scored, found.unreadable, found.cells) == ({"all": 21}, (), expected.cells)
    assert [(s.path, round(s.loss, 4)) for s in found.samples] == [(s.path, round(s.loss, 4)) for s in expected.samples]
    assert "Each of them can be read alone" in caplog.text


def test_a_scan_that_ends_by_an_error_leaves_no_suspects(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SplitProgress, "update", stop)
        SCANS["torch"](ends("raise", tmp_path), data, tmp_path / "scan", workers=0)
    assert not (tmp_path / "scan").exists()
    SCANS["torch"](ends("raise", tmp_path), data, tmp_path / "scan", workers=0)
    assert "being read" not in caplog.text


class EndsLater(Ends):
    """Kills at the second read that is not the test's own."""

    def end(self) -> None:
        if os.getpid() == self.spared:
            return
        if self.begun.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        self.begun.touch()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("saved", [False, True])
def test_a_file_that_is_fatal_in_the_second_pass_is_listed_once(
    saved: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_fatal(data, FATAL[-1:])
    expected = SCANS["fastai"](ends("raise", tmp_path), data, tmp_path / "expected", workers=0)
    monkeypatch.setattr(backends, "_CLEARLY_FASTER", float("inf"))
    monkeypatch.setattr(backends, "_pays", lambda *_: True)
    monkeypatch.setattr(InputCache, "add_from", lambda _self, batches: batches)  # the second pass reads all again
    if saved:
        monkeypatch.setattr(Checkpoint, "save_if_due", Checkpoint.save)
    later = EndsLater("", tmp_path / "begun", spared=os.getpid())
    scan = SCANS["fastai"](later, data, tmp_path / "scan", workers=1, fast=True)
    assert scan.settings["ways"]["fast"] in backends.FAST
    assert [(u.path, u.error) for u in scan.unreadable] == [(FATAL[-1], REASON)]
    assert {s.path for s in scan.samples} == {s.path for s in expected.samples}
    # What the first pass has counted stays counted.
    assert scan.scored == {"all": 21 if saved else 20}


def test_where_no_file_is_at_fault_the_lost_worker_is_told(data: Path, tmp_path: Path) -> None:
    class InWorkers(Ends):
        def end(self) -> None:
            if torch.utils.data.get_worker_info() is not None:
                os.kill(os.getpid(), signal.SIGKILL)

    make_fatal(data, FATAL[-1:])
    with pytest.raises(CleanerError, match=r"fewer workers=N.*Each of the \d+ images that were being read can be read"):
        SCANS["torch"](InWorkers("", tmp_path), data, tmp_path / "scan", workers=1)
    scan = SCANS["torch"](InWorkers("", tmp_path), data, tmp_path / "scan", workers=0)
    assert (scan.scored, scan.unreadable) == ({"all": 21}, ())


class Texts(Dataset):
    """Samples that are text files; a key is a file and a number, and reading does what the text says."""

    def __init__(self, root: Path) -> None:
        super().__init__("all", ("cat",), 2)
        self.root = root

    def listing(self) -> Callable[[], Iterator[tuple[str, int]]]:
        return lambda: ((str(file), n) for n, file in enumerate(sorted(self.root.iterdir())))

    def file(self, key: tuple[str, int]) -> str:
        return key[0]

    def label(self, _key: tuple[str, int]) -> str:
        return "cat"

    def sample(self, key: tuple[str, int]) -> str:
        text = Path(key[0]).read_text()
        if text.startswith("signal"):
            os.kill(os.getpid(), int(text.split()[1]))
        if text.startswith("exit"):
            os._exit(int(text.split()[1]))
        return text

    def collate(self, samples: list[Any]) -> list[Any]:
        return samples


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    (tmp_path / "texts").mkdir()
    for number in range(6):
        (tmp_path / f"texts/{number}.txt").write_text("fine")
    return Texts(tmp_path / "texts")


def noted(texts: Texts, folder: Path, alone: int = 0) -> FatalFiles:
    """Notes that all of the files were being read."""
    folder.mkdir(exist_ok=True)
    ReadingNotes(folder).write("all", texts.keys(), alone)
    return FatalFiles(folder, {"all": texts})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("signal 9", r"ended by the system (signal 9), as happens where memory runs out"),
        ("signal 7", r"ended by the system (signal 7), as happens where a file gets shorter while it is read"),
        ("signal 11", r"ended by the system (signal 11)"),
        ("exit 3", r"ended by the system (exit code 3)"),
        ("exit 0", r"ended by the system (exit code 0)"),
    ],
)
def test_the_reason_tells_how_the_process_ended(text: str, reason: str, texts: Texts, tmp_path: Path) -> None:
    for name in ("0.txt", "3.txt", "5.txt"):
        (texts.root / name).write_text(text)
    noted(texts, tmp_path / "checkpoint").find()
    assert list(texts.fatal) == ["0.txt", "3.txt", "5.txt"]
    assert {error.removeprefix("the process that read it was ") for error in texts.fatal.values()} == {reason}
    batch = texts.__getitems__(list(texts.keys()))
    assert isinstance(batch, PathBatch)
    assert batch.paths == ["1.txt", "2.txt", "4.txt"]
    assert [item.path for item in batch.unreadable] == ["0.txt", "3.txt", "5.txt"]


def test_what_was_found_is_remembered_for_as_long_as_the_file_is_the_same(texts: Texts, tmp_path: Path) -> None:
    for name in ("1.txt", "4.txt"):
        (texts.root / name).write_text("signal 9")
    noted(texts, tmp_path / "checkpoint").find()
    (texts.root / "1.txt").write_text("repaired")
    later = Texts(texts.root)
    FatalFiles(tmp_path / "checkpoint", {"all": later}).find()
    assert list(later.fatal) == ["4.txt"]


def test_starting_over_reads_again_what_was_found_before(texts: Texts, tmp_path: Path) -> None:
    (texts.root / "1.txt").write_text("signal 9")
    noted(texts, tmp_path / "checkpoint").find()
    status = (texts.root / "1.txt").stat()
    (texts.root / "1.txt").write_text("repaired"[: status.st_size])
    os.utime(texts.root / "1.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    resumed, over = Texts(texts.root), Texts(texts.root)
    FatalFiles(tmp_path / "checkpoint", {"all": resumed}).find()
    FatalFiles(tmp_path / "checkpoint", {"all": over}).find(resume=False)
    assert (list(resumed.fatal), list(over.fatal)) == (["1.txt"], [])


def test_a_file_at_which_everything_ended_twice_is_not_read_a_third_time(texts: Texts, tmp_path: Path) -> None:
    """As in a container that is ended as a whole where its memory runs out."""
    noted(texts, tmp_path / "checkpoint", alone=1).find()
    assert texts.fatal == {}
    folder = tmp_path / "checkpoint"
    folder.mkdir(exist_ok=True)
    ReadingNotes(folder).write("all", list(texts.keys())[2:3], alone=2)
    FatalFiles(folder, {"all": texts}).find()
    assert texts.fatal == {}  # the process that read it is this one, which was not ended
    folder.mkdir(exist_ok=True)
    ReadingNotes(folder).write("all", list(texts.keys())[2:3], alone=2)
    (folder / f"reading-{os.getpid()}").rename(folder / "reading-999999999")
    FatalFiles(folder, {"all": texts}).find()
    assert texts.fatal == {"2.txt": REASON}


def test_the_process_that_reads_alone_notes_how_often(texts: Texts, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    (texts.root / "2.txt").write_text("signal 9")
    notes = ReadingNotes(tmp_path / "checkpoint")
    child = os.fork()
    if not child:
        fatal_files._read_each(texts, [(key, 1) for key in list(texts.keys())], notes)
        os._exit(0)
    os.waitpid(child, 0)
    assert [(Path(note.keys[0][0]).name, note.alone) for note in notes.read()] == [("2.txt", 2)]


def test_a_reader_that_a_scheduler_stops_is_not_the_fault_of_a_file(texts: Texts, tmp_path: Path) -> None:
    (texts.root / "2.txt").write_text(f"signal {int(signal.SIGTERM)}")
    files = noted(texts, tmp_path / "checkpoint")
    with pytest.raises(CleanerError, match=r"stopped \(signal 15\)\. Run the same command again"):
        files.find()
    assert texts.fatal == {}
    (texts.root / "2.txt").write_text("fine")
    files.find()
    assert (texts.fatal, (tmp_path / "checkpoint").exists()) == ({}, False)


def test_notes_of_another_dataset_and_torn_ones_are_passed_over(texts: Texts, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    files = noted(texts, folder)
    (folder / "reading-1").write_text('{"split": "other", "keys": [1, 2], "alone": 0}\n')
    (folder / "reading-2").write_text('{"split": "all", "keys": [["/gone.png", 1], 5], "alone": 0}\n')
    (folder / "reading-3").write_text('{"split": "all", "ke')
    (folder / "reading-4").write_text("")
    (texts.root / "2.txt").write_text("signal 9")
    files.find()
    assert list(texts.fatal) == ["2.txt"]
    assert [file.name for file in folder.iterdir()] == ["fatal.jsonl"]


def test_a_file_that_was_found_is_scored_past_in_the_same_call(texts: Texts, tmp_path: Path) -> None:
    (texts.root / "2.txt").write_text("signal 9")
    (tmp_path / "checkpoint").mkdir()
    files, attempts = FatalFiles(tmp_path / "checkpoint", {"all": texts}), list[bool]()

    def attempt(resume: bool) -> str:
        attempts.append(resume)
        files.find(resume)
        with files.noting():
            if not texts.fatal:
                texts.notes.write("all", texts.keys())  # type: ignore[union-attr]
                raise LostReaderError("lost")
        return "done"

    assert files.score_past(attempt, resume=False) == "done"
    assert attempts == [False, True]
