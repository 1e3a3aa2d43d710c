"""One move: never over another file, and an end in the middle can be mended."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cleaner.apply import moves
from cleaner.apply.moves import move, take_back_half
from cleaner.core.files import remove_leftovers


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(b"of a")
    return tmp_path / "a"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "b"


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def without_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "_rename_noreplace", None)


def with_a_rename_that_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "_rename_noreplace", lambda *_: False)


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    without_rename(monkeypatch)
    monkeypatch.setattr(os, "link", refuse)


SYSTEMS = [lambda _: None, without_rename, with_a_rename_that_says_no, without_links]


@pytest.fixture(params=SYSTEMS, ids=["one step", "no rename", "not on this file system", "no links"])
def _system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    request.param(monkeypatch)


@pytest.mark.usefixtures("_system")
def test_a_file_is_moved(source: Path, target: Path) -> None:
    move(source, target)
    assert (os.listdir(source.parent), target.read_bytes()) == (["b"], b"of a")


@pytest.mark.usefixtures("_system")
def test_a_link_is_moved_and_not_what_it_leads_to(source: Path, target: Path) -> None:
    (source.parent / "link").symlink_to("a")
    move(source.parent / "link", target)
    assert os.readlink(target) == "a"
    assert sorted(os.listdir(source.parent)) == ["a", "b"]


@pytest.mark.usefixtures("_system")
@pytest.mark.parametrize("make", [lambda p: p.write_bytes(b""), lambda p: p.symlink_to("x"), lambda p: p.mkdir()])
def test_nothing_is_overwritten(make: Callable[[Path], object], source: Path, target: Path) -> None:
    make(target)
    before = os.lstat(target).st_ino
    with pytest.raises(FileExistsError):
        move(source, target)
    assert (source.read_bytes(), os.lstat(target).st_ino) == (b"of a", before)


@pytest.mark.parametrize("error", [OSError(errno.EXDEV, "no"), KeyboardInterrupt()])
@pytest.mark.parametrize(("system", "step"), [(without_rename, "rename"), (without_links, "rename")])
def test_a_second_step_that_fails_changes_nothing(
    system: Callable[[pytest.MonkeyPatch], None],
    step: str,
    error: BaseException,
    source: Path,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = getattr(os, step)

    def fail_once(*_: object) -> None:
        monkeypatch.setattr(os, step, real)
        raise error

    system(monkeypatch)
    monkeypatch.setattr(os, step, fail_once)
    with pytest.raises(type(error)):
        move(source, target)
    assert (os.listdir(source.parent), source.read_bytes()) == (["a"], b"of a")


@pytest.mark.parametrize(("system", "step"), [(without_rename, "rename"), (without_links, "rename")])
def test_an_interruption_after_the_second_step_loses_nothing(
    system: Callable[[pytest.MonkeyPatch], None],
    step: str,
    source: Path,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = getattr(os, step)

    def stop(*paths: Path) -> None:
        real(*paths)
        raise KeyboardInterrupt

    system(monkeypatch)
    monkeypatch.setattr(os, step, stop)
    with pytest.raises(KeyboardInterrupt):
        move(source, target)
    assert (os.listdir(source.parent), target.read_bytes()) == (["b"], b"of a")


@pytest.mark.parametrize("system", [without_rename, without_links])
def test_the_placeholder_of_an_interrupted_move_is_removed(
    system: Callable[[pytest.MonkeyPatch], None], source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system(monkeypatch)
    monkeypatch.setattr(os, "rename", lambda *_: os._exit(9))  # as one who is killed
    child = os.fork()
    if child == 0:
        try:
            move(source, target)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert target.is_file()
    assert take_back_half(source, target)
    remove_leftovers(source.parent)
    assert (os.listdir(source.parent), source.read_bytes()) == (["a"], b"of a")


@pytest.mark.parametrize(
    "make",
    [lambda a, b: os.link(a, b), lambda _, b: b.write_bytes(b""), lambda _, b: b.mkdir(), lambda a, b: b.symlink_to(a)],
)
def test_an_empty_file_or_another_name_of_the_file_may_be_the_users_and_stays(
    make: Callable[[Path, Path], object], source: Path, target: Path
) -> None:
    make(source, target)
    before = os.lstat(target)
    assert not take_back_half(source, target)
    assert os.lstat(target) == before
    assert source.read_bytes() == b"of a"


def test_what_is_no_half_of_a_move_stays(source: Path, target: Path) -> None:
    take_back_half(source, target)
    take_back_half(target, source)
    target.write_bytes(b"of b")
    take_back_half(source, target)
    assert target.read_bytes() == b"of b"


def test_a_file_seen_through_a_linked_folder_is_not_a_second_name(source: Path) -> None:
    (source.parent / "again").symlink_to(".")
    take_back_half(source, source.parent / "again" / "a")
    assert source.read_bytes() == b"of a"
