"""Paths, numbers and image files as they come from disk and CSV, and files written whole or not at all."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import math
import os
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cleaner.core import files
from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import (
    MAX_BYTES,
    TRASH,
    RefusedFile,
    cell_from_csv,
    cell_to_csv,
    check_path,
    image_files,
    number_to_csv,
    path_from_csv,
    path_to_csv,
    regular_handle,
    relative_path,
    remove_leftovers,
    sha256_of,
    temporary_beside,
    write_whole,
)
from tests.support.odd_images import write_harmful_image

FORMULAS = ["=1+1.png", "+a.png", "-a.png", "@a.png", "\ta.png", "\ra.png", "=cat/a.png"]


@pytest.mark.parametrize(
    "path",
    ["a.png", "cat/a.png", "...", "a/...png", ".hidden", "~", "a b", "a\nb", "<b>.png", "😀/é.png", "a\\b", *FORMULAS],
)
def test_plain_paths_below_the_root_are_accepted(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path", ["", "/", "/etc/passwd", "a//b", "a/", "./a", "a/.", "..", "../a", "a/../../b", "a\0b", "\udcff.png"]
)
def test_paths_outside_the_dataset_are_refused(path: str) -> None:
    with pytest.raises(FieldError, match="expected") as caught:
        check_path(path)
    assert (caught.value.field, caught.value.value) == ("path", path)


@given(path=st.one_of(st.text(), st.text(alphabet="=+-@\t\r./a,\"'\n")))
def test_any_path_comes_back_from_csv_and_is_no_formula(path: str) -> None:
    try:
        check_path(path)
    except FieldError:
        assume(False)
    cell = path_to_csv(path)
    assert path_from_csv(cell) == path
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    text = io.StringIO()
    csv.writer(text).writerow([cell])
    assert list(csv.reader(io.StringIO(text.getvalue(), newline=""))) == [[cell]]


@pytest.mark.parametrize("path", FORMULAS)
def test_a_path_that_a_spreadsheet_takes_for_a_formula_gets_a_leading_dot(path: str) -> None:
    assert path_to_csv(path) == f"./{path}"


@pytest.mark.parametrize("path", ["a.png", "a=b.png", " =a.png", "'=a.png"])
def test_ordinary_paths_are_written_unchanged(path: str) -> None:
    assert path_to_csv(path) == path


def test_a_leading_dot_is_removed_from_a_path() -> None:
    assert path_from_csv("./cat/a.png") == "cat/a.png"


@given(text=st.one_of(st.text(), st.text(alphabet="'=+-@\t\r\na")))
def test_any_text_comes_back_from_csv_and_is_no_formula(text: str) -> None:
    cell = cell_to_csv(text)
    assert cell_from_csv(cell) == text
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cell in (text, f"'{text}")


@pytest.mark.parametrize("text", ["", "cat", "'", "'tis", "''", "a=b", " =a", "'cat'", "./=a"])
def test_ordinary_texts_are_written_unchanged(text: str) -> None:
    assert cell_to_csv(text) == cell_from_csv(text) == text


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A0", "+1", "-1", "@a", "\ta", "\ra", "\na"])
def test_a_text_that_a_spreadsheet_takes_for_a_formula_gets_a_leading_apostrophe(text: str) -> None:
    assert cell_to_csv(text) == f"'{text}"
    assert cell_from_csv(text) == text, "version 0.1 wrote it as it is"


@given(value=st.floats(width=32))
def test_a_number_in_csv_gives_the_float32_back(value: float) -> None:
    back = np.float32(number_to_csv(value))
    assert back == np.float32(value) or (math.isnan(back) and math.isnan(value))


@pytest.mark.parametrize(("value", "cell"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), (0.5, "0.5")])
def test_numbers_are_written_alike_for_every_float_type(value: float, cell: str) -> None:
    assert number_to_csv(value) == number_to_csv(np.float64(value)) == number_to_csv(np.float32(value)) == cell


def test_paths_relative_to_the_root_keep_the_names_of_links(tmp_path: Path) -> None:
    (tmp_path / "data" / "cat").mkdir(parents=True)
    (tmp_path / "data" / "dog").symlink_to("cat")
    assert relative_path(tmp_path / "data" / "dog" / "a.png", tmp_path / "data") == "dog/a.png"
    assert relative_path(tmp_path / "data" / "cat" / ".." / "a.png", tmp_path / "data") == "a.png"


@pytest.mark.parametrize("outside", ["../a.png", "../data2/a.png", "/a.png", "."])
def test_a_path_outside_the_root_is_refused(outside: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    with pytest.raises(CleanerError):
        relative_path(root / outside, root)


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than one block
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["pipe.png", "socket.png", "zero.png"])
def test_pipes_and_devices_are_not_read(name: str, tmp_path: Path) -> None:
    path = write_harmful_image(name, tmp_path)
    (tmp_path / "link").symlink_to(path)
    for each in (path, tmp_path / "link"):
        with pytest.raises(RefusedFile, match="no regular file"):
            sha256_of(each)


def test_a_file_that_becomes_a_pipe_after_the_check_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = write_harmful_image("pipe.png", tmp_path)
    (tmp_path / "a.png").write_bytes(b"a")
    before = os.stat(tmp_path / "a.png")
    with monkeypatch.context() as patch, pytest.raises(RefusedFile, match="a named pipe"):
        patch.setattr(files.os, "stat", lambda path: before)
        regular_handle(pipe)


def test_a_folder_or_a_missing_file_raises_the_error_of_the_system(tmp_path: Path) -> None:
    for path, error in ((tmp_path, IsADirectoryError), (tmp_path / "no", FileNotFoundError)):
        with pytest.raises(error):
            sha256_of(path)


def test_a_file_that_is_too_large_is_not_hashed_unless_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    os.truncate(path, MAX_BYTES + 1)
    with pytest.raises(RefusedFile, match=f"it has {MAX_BYTES + 1} bytes"):
        sha256_of(path)
    path.write_bytes(b"abc")
    assert sha256_of(path, max_bytes=3) == sha256_of(path, max_bytes=None) == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(RefusedFile):
        sha256_of(path, max_bytes=2)


@pytest.mark.parametrize("size", [3 << 20, (1 << 20) - 1, 0])
def test_a_file_that_grows_or_shrinks_while_it_is_read_has_no_hash(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(bytes(2 << 20))
    handle = os.open(tmp_path / "a", os.O_RDONLY)
    monkeypatch.setattr(files, "regular_handle", lambda path: (handle, SimpleNamespace(st_size=size)))
    with pytest.raises(RefusedFile, match="its size changed"):
        sha256_of(tmp_path / "a")


def test_a_refusal_keeps_its_reason_across_processes() -> None:
    refused = pickle.loads(pickle.dumps(RefusedFile("it is a named pipe")))
    assert (type(refused), refused.strerror) == (RefusedFile, "it is a named pipe")


def make_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def found(root: Path) -> list[str]:
    return [Path(path).relative_to(root).as_posix() for path in image_files(root)]


def test_image_files_are_known_by_suffix_in_any_case(tmp_path: Path) -> None:
    make_files(tmp_path, "b/2.PNG", "b/1.JpEg", "a/z.gif", "a/a.bmp", "c.jpg", "a/a.txt", "a/png", "x.csv")
    assert sorted(found(tmp_path)) == ["a/a.bmp", "a/z.gif", "b/1.JpEg", "b/2.PNG", "c.jpg"]


def test_hidden_files_and_the_trash_are_left_out(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.png", "a/.2.png", ".git/3.png", f"{TRASH}/j/a/4.png", "a/.thumbs/5.png")
    assert found(tmp_path) == ["a/1.png"]


def test_linked_folders_are_followed_once_and_circles_end(tmp_path: Path) -> None:
    make_files(tmp_path, "data/a/1.png", "elsewhere/2.png")
    (tmp_path / "data" / "a" / "up").symlink_to("..")
    (tmp_path / "data" / "a" / "self").symlink_to(".")
    (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "gone").symlink_to(tmp_path / "nowhere")
    assert found(tmp_path / "data") == ["a/1.png", "b/2.png"]


def test_files_with_an_image_suffix_are_listed_whatever_they_are(tmp_path: Path) -> None:
    for name in ("pipe.png", "zero.png", "circle.png"):
        write_harmful_image(name, tmp_path)
    (tmp_path / "nowhere.png").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "long").symlink_to("x" * 300)
    (tmp_path / "a.png").touch()
    (tmp_path / "below").symlink_to("a.png/below")
    assert sorted(found(tmp_path)) == ["a.png", "circle.png", "nowhere.png", "pipe.png", "zero.png"]


class Entry:
    """An entry of a folder of which the system cannot say what it is."""

    def __init__(self, code: int) -> None:
        self.code = code

    def is_dir(self) -> bool:
        raise OSError(self.code, os.strerror(self.code), "data/folder")


def test_a_link_that_may_lead_to_images_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in (errno.EACCES, errno.EIO):
        assert not files._is_folder(Entry(code), is_image=True)
        with pytest.raises(OSError, match="folder"):
            files._is_folder(Entry(code), is_image=False)
    (tmp_path / "b").mkdir()
    monkeypatch.setattr(files, "_is_folder", lambda entry, is_image: Entry(errno.EACCES).is_dir())
    with pytest.raises(CleanerError, match="'data/folder' cannot be listed"):
        found(tmp_path)


def test_a_folder_that_disappears_raises_an_error(tmp_path: Path) -> None:
    make_files(tmp_path, "a.png", "b/1.png", "c/2.png")
    walk = image_files(tmp_path)
    assert Path(next(walk)).name == "a.png"
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(CleanerError, match=r"b' cannot be listed \(No such file"):
        list(walk)


def test_a_file_is_written_whole_with_the_rights_that_others_get(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_whole(path, "old")
    write_whole(path, "né\r\n")
    assert path.read_bytes() == "né\r\n".encode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space left"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = tmp_path / "a.csv"
    write_whole(path, b"old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_the_bytes_are_on_the_disk_before_they_get_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (steps.append("replace"), replace(*names)))
    write_whole(tmp_path / "a.csv", b"new")
    assert steps[:2] == ["fsync", "replace"]


def killed_at_replace(path: Path) -> None:
    """Let a process that writes `path` end before the file has its name."""
    child = os.fork()
    if child == 0:
        os.replace = lambda *_: os._exit(9)
        try:
            write_whole(path, b"half")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_file_with_the_longest_name_is_written_too(tmp_path: Path) -> None:
    for name in ("a" * 255, "é" * 127, "\udcff" * 255):
        write_whole(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_leftovers_of_killed_processes_are_recognized_and_removed(tmp_path: Path) -> None:
    for name in ("a.csv", "two\nlines", "a.csv"):
        killed_at_replace(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 3
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "none")
    write_whole(tmp_path / "b.csv", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.csv"]


def test_files_of_running_writers_and_of_the_user_are_not_removed(tmp_path: Path) -> None:
    names = [".a.csv.part", ".a.csv.12345678.part", "a.csv.12345678.cleaner.part", ".a.csv.1234.cleaner.part"]
    for name in names:
        (tmp_path / name).write_bytes(b"of the user")
    (tmp_path / ".folder.12345678.cleaner.part").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"of the user")
    (tmp_path / ".link.12345678.cleaner.part").symlink_to("elsewhere")
    os.mkfifo(tmp_path / ".pipe.12345678.cleaner.part")
    before = sorted(entry.name for entry in tmp_path.iterdir())
    with temporary_beside(tmp_path / "b.csv") as (handle, part):
        os.write(handle, b"new")
        os.close(handle)
        write_whole(tmp_path / "a.csv", b"other")
        remove_leftovers(tmp_path)
        os.replace(part, tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_bytes() == b"new"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([*before, "a.csv", "b.csv"])


def test_a_new_file_removed_as_a_leftover_before_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock, made = fcntl.flock, []

    def removing_first(handle: int, operation: int) -> None:
        if not made:
            made.extend(tmp_path.iterdir())
            made[0].unlink()
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", removing_first)
    write_whole(tmp_path / "a.csv", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_without_file_locks_files_are_written_and_leftovers_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".a.csv.12345678.cleaner.part"
    left.write_bytes(b"half")
    for fcntl in (SimpleNamespace(flock=lambda *_: os.stat("/none"), LOCK_EX=1, LOCK_NB=2), None):
        monkeypatch.setattr(files, "fcntl", fcntl)
        write_whole(tmp_path / "a.csv", b"new")
        remove_leftovers(tmp_path)
        assert sorted(entry.name for entry in tmp_path.iterdir()) == [left.name, "a.csv"]
