"""The scan of an address finds what that of the folder finds, whatever process reads the images."""

from __future__ import annotations

import builtins
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fastai.vision import all as fastai
from torch import nn

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.records import Action, Decision
from cleaner.review.session import Session
from cleaner.scoring import api
from cleaner.scoring.data import remote
from cleaner.scoring.data.remote import Address
from cleaner.scoring.progress import Checkpoint, SplitProgress
from tests.support.images import make_image
from tests.support.learners import make_folder, make_learner, make_model

MEMORY = "memory://bucket/images"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset with two splits, a broken image, and what is none."""
    folder = tmp_path / "data"
    for split in ("train", "valid"):
        make_folder(folder / split)
    make_image(folder / "train" / "loose" / "deep" / "er" / "dog" / "one.PNG")
    (folder / "train/cat/cat_1.png").write_bytes(b"broken")
    (folder / "train/cat/notes.txt").write_text("no image")
    for hidden in (".cleaner-trash/cat/gone.png", "train/cat/.half.png"):
        make_image(folder / hidden)
    return folder


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, in which nothing may be left."""
    folder = Path(tempfile.mkdtemp())  # `tmp_path` may be too long for the sockets of reader processes
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
    folder.rmdir()


@pytest.fixture
def memory(data: Path) -> Iterator[Any]:
    """The same dataset in the memory of this process."""
    files = fsspec.filesystem("memory")
    files.put(str(data), "/bucket/images", recursive=True)
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def learn(data: Path) -> fastai.Learner:
    return make_learner(data / "train")


def assert_same(found: cleaner.Scan, expected: cleaner.Scan) -> None:
    """Same samples and counts; losses within 1e-5, since batches are put together in another order."""
    assert [(s.split, s.label, s.rank, s.path, s.predicted) for s in found.samples] == [
        (s.split, s.label, s.rank, s.path, s.predicted) for s in expected.samples
    ]
    assert [s.loss for s in found.samples] == pytest.approx([s.loss for s in expected.samples], abs=1e-5)
    assert (found.cells, found.scored) == (expected.cells, expected.scored)
    assert [(u.split, u.label, u.path) for u in found.unreadable] == [
        (u.split, u.label, u.path) for u in expected.unreadable
    ]


def scan(learn: Any, data: str | Path, out: Path, **options: Any) -> cleaner.Scan:
    return cleaner.scan_folder(learn, data, out, **{"k": 4, "progress": False, "workers": 0, **options})


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize(
    ("address", "options"),
    [
        (MEMORY, {}),
        (f"{MEMORY}//", {}),
        (MEMORY, {"fast": True}),
        ("file://DATA", {"workers": 2}),
    ],
)
def test_a_scan_of_an_address_equals_that_of_the_folder(
    learn: Any, data: Path, tmp_path: Path, address: str, options: dict[str, Any]
) -> None:
    expected = scan(learn, data, tmp_path / "folder")
    found = scan(learn, address.replace("DATA", str(data)), tmp_path / "address", **options)
    assert_same(found, expected)
    assert [u.path for u in found.unreadable] == ["train/cat/cat_1.png"]
    assert "temporary" not in found.unreadable[0].error


@pytest.mark.usefixtures("memory")
def test_the_address_stands_in_the_scan_as_it_was_given(learn: Any, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    scan(learn, f"{MEMORY}/", out)
    assert json.loads((out / "scan.json").read_text())["root"] == MEMORY
    found = cleaner.load(out)
    assert found.address == found.place == MEMORY
    assert_same(scan(learn, MEMORY, out), found)  # the same dataset
    with pytest.raises(CleanerError, match=f"scan of another dataset, '{MEMORY}'"):
        scan(learn, data, out)
    with pytest.raises(CleanerError, match=rf"another dataset.* this one is '{MEMORY}/train'"):
        scan(learn, f"{MEMORY}/train", out)


@pytest.mark.usefixtures("memory")
def test_review_and_apply_take_a_copy_of_the_images_and_say_so(learn: Any, data: Path, tmp_path: Path) -> None:
    found = scan(learn, MEMORY, tmp_path / "out")
    with pytest.raises(CleanerError, match=f"scanned at '{MEMORY}', and the review needs files; give .* root=DIR"):
        Session(found)
    with pytest.raises(CleanerError, match=f"scanned at '{MEMORY}'; pass root="):
        cleaner.Interpretation(found)[0]
    first = found.samples[0]
    assert cleaner.Review(found, root=data).session.scan.root == data
    assert cleaner.Interpretation(found, first.split, root=data)[0].path.is_file()
    cleaner.Manifest(found.manifest_path).append(Decision(first.path, Action.DELETE, first.label))
    with pytest.raises(CleanerError, match="or a copy or mount of images at an address"):
        cleaner.apply(found.manifest_path, MEMORY)
    with pytest.raises(CleanerError, match=f"folder '{MEMORY}' is not there; give the folder as data="):
        cleaner.cleaned([first.path], found.manifest_path)
    report = cleaner.apply(found.manifest_path, data)
    assert [each.source for each in report.done] == [first.path]
    assert f"'{MEMORY}'" in report.notes[0]


def test_labels_are_read_from_all_names_of_the_address(tmp_path: Path, memory: Any) -> None:
    folder = make_folder(tmp_path / "of 7", vocab=("cat", "dog"))
    loaders = fastai.ImageDataLoaders.from_path_re(
        folder, fastai.get_image_files(folder), r"of 7/([^/]+)/", num_workers=0, item_tfms=fastai.Resize(16), bs=4
    )
    learn = fastai.Learner(loaders, make_model(2), loss_func=fastai.CrossEntropyLossFlat())
    memory.put(str(folder), "/some/of 7", recursive=True)
    assert_same(scan(learn, "memory://some/of 7", tmp_path / "out"), scan(learn, folder, tmp_path / "folder"))


def test_what_vanishes_or_is_too_large_or_a_pipe_costs_an_entry(
    learn: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(data / "valid/dog/pipe.png")
    (data / "valid/dog/large.png").write_bytes(bytes(5000))
    monkeypatch.setattr(remote, "MAX_BYTES", 4999)
    fetched, gone = Address.fetched, "valid/cat/cat_3.png"

    def fetched_too_late(self: Address, path: str) -> Any:
        if path == gone:
            (data / gone).unlink()
        return fetched(self, path)

    monkeypatch.setattr(Address, "fetched", fetched_too_late)
    monkeypatch.setattr(api, "local", lambda place: place)  # local files, by a file system that is asked for them
    found = scan(learn, f"file://{data}", tmp_path / "out")
    reasons = {u.path: u.error for u in found.unreadable if u.split == "valid"}
    assert reasons.keys() == {gone, "valid/dog/large.png", "valid/dog/pipe.png"}
    assert reasons[gone].startswith("FileNotFoundError")
    assert reasons["valid/dog/large.png"] == "it has 5000 bytes or more; files of up to 4999 are read"
    assert "named pipe" in reasons["valid/dog/pipe.png"]
    assert sum(found.scored.values()) == 2 * 21 + 1 - 2


def test_a_file_of_unknown_size_is_copied_no_further_than_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless:
        size = None
        read = staticmethod(bytes)

    monkeypatch.setattr(remote, "MAX_BYTES", 3 * remote._BLOCK)
    with open(tmp_path / "copy", "wb") as target, pytest.raises(OSError, match="files of up to"):
        remote._copy(Endless(), target)
    assert (tmp_path / "copy").stat().st_size == 4 * remote._BLOCK


@pytest.mark.usefixtures("memory")
def test_a_stopped_scan_of_an_address_goes_on(
    learn: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(out: str) -> None:
        cleaner.scan_folder(learn, MEMORY, tmp_path / out, k=5, progress=False, workers=0)

    run("unbroken")
    update, left = SplitProgress.update, [5]

    def stop_soon(part: Any, batch: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        update(part, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SplitProgress, "update", stop_soon)
        patch.setattr(Checkpoint, "save_if_due", Checkpoint.save)
        run("stopped")
    assert (tmp_path / "stopped/checkpoint").exists()
    run("stopped")
    for name in ("top_losses.csv", "confusion.csv", "unreadable.csv", "classes.csv"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


@pytest.mark.usefixtures("memory")
def test_a_listing_is_in_order_and_no_more_than_a_folder_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = []
    ls = type(fsspec.filesystem("memory")).ls

    def counting(self: Any, path: str, **options: Any) -> Any:
        listed.append(path)
        # What object stores say: a folder is an object too.
        return [{"name": f"{path}/", "type": "directory", "size": 0}, *reversed(ls(self, path, **options))]

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "ls", counting)
    walk = Address.from_text(MEMORY).image_files("", lambda folder: "train" in folder, lambda _path: None)
    first = next(walk)
    assert first == "train/bear/bear_0.png"
    assert len(listed) == 3
    rest = list(walk)
    assert [first, *rest] == sorted([first, *rest])
    assert len(rest) == 21
    assert not any("valid" in path or "/." in path for path in listed)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://nothing/here", "there is no image in 'memory://nothing/here'"),
        ("memory://bucket/images/train/cat/cat_0.png", "there is no image in"),
        ("memory://bucket/images/valid/cat", "all images in .* have the label 'cat'"),
        ("nothing://bucket", "'nothing://bucket' cannot be used .*a folder, or an address that fsspec knows"),
        ("ftp://anna:secret@host/images", "holds a password"),
        ("simplecache::ftp://anna:secret@host/images", "holds a password"),
    ],
)
@pytest.mark.usefixtures("memory")
def test_an_address_that_cannot_be_scanned_is_refused(learn: Any, tmp_path: Path, address: str, message: str) -> None:
    with pytest.raises(CleanerError, match=message) as refused:
        scan(learn, address, tmp_path / "out")
    assert "secret" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_without_the_package_of_an_address_the_line_that_installs_it_is_named(
    learn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.split(".")[0] in ("s3fs", "paramiko"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    for address, package in (("s3://bucket/images", "s3fs"), ("sftp://host/images", "paramiko")):
        with pytest.raises(CleanerError, match=rf"{address}' needs a package .*: pip install {package}$"):
            scan(learn, address, tmp_path / "out")


def test_a_folder_that_cannot_be_listed_ends_the_scan(
    learn: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: Any
) -> None:
    ls = type(memory).ls

    def refusing(self: Any, path: str, **options: Any) -> Any:
        if path.endswith("valid/dog"):
            raise PermissionError("not yours")
        return ls(self, path, **options)

    monkeypatch.setattr(type(memory), "ls", refusing)
    with pytest.raises(CleanerError, match=rf"folder 'valid/dog' of '{MEMORY}' cannot be listed .*not yours"):
        scan(learn, MEMORY, tmp_path / "out")


def test_what_takes_a_folder_only_says_so(learn: Any, data: Path, tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match=r"is an address, and a label table needs a folder"):
        cleaner.scan_table(learn, MEMORY, tmp_path / "labels.csv", tmp_path / "out")
    block = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.RegressionBlock), get_items=fastai.get_image_files, get_y=lambda _: 0.5
    )
    loaders = block.dataloaders(data / "valid", num_workers=0, item_tfms=fastai.Resize(16))
    regression = fastai.Learner(
        loaders, nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 1)), loss_func=fastai.MSELossFlat()
    )
    with pytest.raises(CleanerError, match="need a learner that classifies"):
        scan(regression, MEMORY, tmp_path / "out")


def test_an_address_inside_of_an_archive(learn: Any, data: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "images"), "zip", tmp_path, "data")
    expected = scan(learn, data, tmp_path / "folder")
    assert_same(scan(learn, f"zip://data::file://{tmp_path}/images.zip", tmp_path / "out", workers=1), expected)


def test_the_root_of_an_archive_is_scanned(learn: Any, data: Path, tmp_path: Path) -> None:
    expected = scan(learn, data, tmp_path / "folder")
    shutil.make_archive(str(tmp_path / "ds"), "zip", data)
    found = scan(learn, f"zip://::{tmp_path}/ds.zip", tmp_path / "out")
    assert_same(found, expected)


def test_a_file_address_is_its_folder(learn: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote.Address, "fetched", None)  # no file is copied
    found = scan(learn, f"file://{data}", tmp_path / "out")
    assert (found.root, found.address) == (data, "")
    assert [u.path for u in found.unreadable] == ["train/cat/cat_1.png"]
