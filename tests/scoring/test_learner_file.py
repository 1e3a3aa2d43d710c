"""`cleaner scan` with files and datasets that people really give it: a clear message, exit 2, nothing written."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from fastai.vision import all as fastai
from PIL import Image

import cleaner
from cleaner.cli import main
from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.scan import load
from cleaner.scoring.learner_file import is_trusted, load_learner, remember, trusted_learners_path
from tests.support.images import make_image
from tests.support.learners import make_folder, make_learner, make_model


@pytest.fixture(autouse=True)
def settings_of_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with nothing trusted."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


@pytest.fixture
def learner(data: Path, tmp_path: Path) -> Path:
    make_learner(data).export(tmp_path / "learner.pkl")
    return tmp_path / "learner.pkl"


def scan(learner: Path, data: Path, out: Path, *more: str) -> int:
    return main(["scan", "--learner", str(learner), "--data", str(data), "--out", str(out), *more])


def test_a_trusted_learner_scans_a_folder(learner: Path, data: Path, tmp_path: Path) -> None:
    assert scan(learner, data, tmp_path / "scan", "--trust", "-k", "3", "--workers", "0", "--batch-size", "5") == 0
    found = load(tmp_path / "scan")
    assert (found.scored, found.k, len(found.samples)) == ({"all": 21}, 3, 9)
    assert scan(learner, data, tmp_path / "fast", "--trust", "-k", "3", "--workers", "0", "--fast", "--no-resume") == 0
    assert [s.path for s in load(tmp_path / "fast").samples] == [s.path for s in found.samples]


def test_a_learner_file_scans_an_address_and_the_review_is_told_to_need_a_folder(
    learner: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"zip://::{shutil.make_archive(str(tmp_path / 'images'), 'zip', data)}"
    arguments = ["--learner", str(learner), "--data", address, "--out", str(tmp_path / "scan")]
    assert main(["scan", *arguments, "--trust", "--workers", "0"]) == 0
    assert "scan --data DIR" in capsys.readouterr().out
    assert main(["serve", str(tmp_path / "scan"), "--no-browser"]) == 2
    assert f"scanned at '{address}'" in capsys.readouterr().err


def test_images_of_every_suffix_are_scored_and_what_is_left_out_is_told(
    learner: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with Image.open(data / "cat/cat_0.png") as image:
        for suffix, name in ((".webp", "WEBP"), (".jfif", "JPEG"), (".jp2", "JPEG2000")):
            image.save(data / f"cat/other{suffix}", name)
    for name in ("cat/a.heix", "dog/b.HEIX", "dog/none", "labels.csv"):
        (data / name).write_bytes(b"?")
    assert scan(learner, data, tmp_path / "scan", "--trust", "--workers", "0") == 0
    said = "24 images scored on cpu, 0 unreadable, left out 2 .heix, 1 without a suffix: "
    assert said in capsys.readouterr().out
    assert "2 .heix, 1 without a suffix" in caplog.text
    assert load(tmp_path / "scan").left_out == {".heix": 2, "": 1}
    assert json.loads((tmp_path / "scan/scan.json").read_text())["left_out"] == {".heix": 2, "": 1}


def test_what_is_left_out_is_counted_once_whatever_the_splits(data: Path, tmp_path: Path) -> None:
    learn = make_learner(data)
    for split in ("train", "test"):
        (tmp_path / "splits" / split).mkdir(parents=True)
        shutil.copytree(data / "cat", tmp_path / "splits" / split / "cat")
        shutil.copytree(data / "dog", tmp_path / "splits" / split / "dog")
    for name in ("train/cat/a.heix", "test/dog/none", "test/b.heix", "c.heix", "elsewhere/d.heix"):
        (tmp_path / "splits" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "splits" / name).write_bytes(b"?")
    found = cleaner.scan_folder(learn, tmp_path / "splits", tmp_path / "scan", progress=False, workers=0)
    assert (found.splits, found.left_out) == (("train", "test"), {".heix": 4, "": 1})
    found = cleaner.scan_folder(learn, f"file://{tmp_path}/splits", tmp_path / "other", progress=False, workers=0)
    assert (found.splits, found.left_out) == (("train", "test"), {".heix": 4, "": 1})


def test_a_folder_without_images_says_what_is_there(data: Path, tmp_path: Path) -> None:
    (tmp_path / "heix").mkdir()
    (tmp_path / "heix/a.heix").touch()
    with pytest.raises(CleanerError, match=r"no image in .*, only files that are not known to be images: 1 \.heix;"):
        cleaner.scan_folder(make_learner(data), tmp_path / "heix", tmp_path / "scan")


class Armed:
    """What runs code when it is unpickled: it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_learner_is_not_loaded_before_it_is_trusted(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, ran = tmp_path / "learner.pkl", tmp_path / "ran"
    torch.save({"weights": torch.zeros(3), "more": Armed(ran)}, file)
    assert scan(file, data, tmp_path / "scan") == 2
    said = capsys.readouterr().err
    assert "runs whatever code is in it" in said
    assert "--trust" in said
    assert sha256_of(file) in said
    assert not (tmp_path / "scan").exists()
    assert not ran.exists()
    assert scan(file, data, tmp_path / "scan", "--trust") == 2
    assert ran.exists()
    assert not trusted_learners_path().exists()  # it was no learner


def test_trust_is_asked_for_once_for_the_same_bytes(
    learner: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(load_learner(learner, trust=True), fastai.Learner)
    assert stat.S_IMODE(trusted_learners_path().stat().st_mode) == 0o600
    assert f"{sha256_of(learner)}  learner.pkl\n" in trusted_learners_path().read_text()
    elsewhere = learner.rename(tmp_path / "moved.pkl")
    assert isinstance(load_learner(elsewhere, trust=False), fastai.Learner)
    assert scan(elsewhere, data, tmp_path / "scan", "-k", "1", "--workers", "0") == 0
    before = trusted_learners_path().read_text()
    load_learner(elsewhere, trust=True)
    assert trusted_learners_path().read_text() == before
    elsewhere.write_bytes(elsewhere.read_bytes() + b"\0")
    assert scan(elsewhere, data, tmp_path / "other") == 2
    assert sha256_of(elsewhere) in capsys.readouterr().err


def test_what_is_loaded_is_what_was_hashed(learner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_learner(learner, trust=True)

    def swap(sha256: str) -> bool:
        torch.save(Armed(tmp_path / "ran"), learner)
        return is_trusted(sha256)

    monkeypatch.setattr("cleaner.scoring.learner_file.is_trusted", swap)
    assert isinstance(load_learner(learner, trust=False), fastai.Learner)
    assert not (tmp_path / "ran").exists()


def test_a_file_of_weights_is_told_once_it_is_trusted(tmp_path: Path) -> None:
    write_weights(tmp_path / "weights.pth")
    with pytest.raises(CleanerError, match="runs whatever code is in it"):
        load_learner(tmp_path / "weights.pth", trust=False)
    with pytest.raises(CleanerError, match=r"expected a learner in .*, got OrderedDict"):
        load_learner(tmp_path / "weights.pth", trust=True)
    assert not trusted_learners_path().exists()


def test_what_can_be_loaded_without_running_code_is(learner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a process that has told torch which classes are safe.
    found = load_learner(learner, trust=True)
    monkeypatch.setattr("torch.load", lambda *_, weights_only, **__: found if weights_only else pytest.fail("ran code"))
    assert load_learner(learner, trust=False) is found


def write_inflating(path: Path) -> None:
    """The weights of a model in a compressed archive, which torch reads too: a thousandth of their size."""
    torch.save({"weights": torch.zeros(2**24)}, path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def write_zeros(path: Path) -> None:
    """A pickle of 64 MB of zeros that torch takes for harmless, in a few bytes."""
    path.write_bytes(b"\x80\x02c__builtin__\nbytearray\nJ" + (2**26).to_bytes(4, "little") + b"\x85R.")


@pytest.mark.parametrize("write", [write_inflating, write_zeros])
def test_nothing_is_unpacked_before_it_is_trusted(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "learner.pkl")
    assert (tmp_path / "learner.pkl").stat().st_size < 2**17
    loaded: list[bool] = []
    load = torch.load
    monkeypatch.setattr("torch.load", lambda *args, **options: loaded.append(True) or load(*args, **options))
    with pytest.raises(CleanerError, match="runs whatever code is in it"):
        load_learner(tmp_path / "learner.pkl", trust=False)
    assert not loaded


SHA256 = "0123456789abcdef" * 4


def test_many_learners_are_remembered_whatever_their_names() -> None:
    for n, name in enumerate(("a.pkl", "two\nlines.pkl", "é  b", "", "\udcff", "#")):
        remember(f"{n:064x}", name)
        assert is_trusted(f"{n:064x}")
    assert not is_trusted(SHA256)
    assert trusted_learners_path().read_text().count("\n") == 7
    assert [path.name for path in trusted_learners_path().parent.iterdir()] == ["trusted-learners"]


def write_oddly(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and path.chmod(0o600)


def link_to_another(path: Path) -> None:
    path.with_name("another").write_text(f"{SHA256}  a.pkl\n")
    path.symlink_to("another")


def let_others_write(path: Path) -> None:
    path.write_text(f"{SHA256}  a.pkl\n")
    path.chmod(0o622)


def let_others_write_beside(path: Path) -> None:
    path.write_text(f"{SHA256}  a.pkl\n")
    path.parent.chmod(0o777)


@pytest.mark.parametrize(
    "make_odd",
    [
        write_oddly(f"{SHA256}  a.pkl\nbuy milk\n".encode()),
        write_oddly(f"{SHA256}  a.pkl\n{SHA256[:20]}".encode()),
        write_oddly(f"{SHA256.upper()}  a.pkl\n".encode()),
        write_oddly(b"\xff\n"),
        write_oddly(f"{SHA256}  a.pkl\n".encode() * 20_000),
        Path.mkdir,
        os.mkfifo,
        link_to_another,
        let_others_write,
        let_others_write_beside,
    ],
)
def test_an_odd_file_of_trust_is_not_believed_and_stays_and_that_is_told(
    make_odd: Callable[[Path], object], learner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trusted_learners_path()
    path.parent.mkdir(parents=True)
    make_odd(path)
    before = path.lstat()
    assert not is_trusted(SHA256)
    assert "the learners that you trusted before are unknown" in capsys.readouterr().err
    assert isinstance(load_learner(learner, trust=True), fastai.Learner)
    assert "cannot be remembered" in capsys.readouterr().err
    assert path.lstat() == before


def test_the_file_of_somebody_else_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    remember(SHA256, "a.pkl")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert not is_trusted(SHA256)


def test_a_user_without_a_home_is_asked_each_time(
    learner: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert isinstance(load_learner(learner, trust=True), fastai.Learner)
    assert "you have no home folder" in capsys.readouterr().err
    monkeypatch.setattr(Path, "home", lambda: Path("/nowhere"))
    assert trusted_learners_path() == Path("/nowhere/.config/cleaner/trusted-learners")


def test_a_learner_may_be_larger_than_an_image(
    learner: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = sha256_of(learner)
    monkeypatch.setattr(sha256_of, "__defaults__", (1000,))
    assert scan(learner, data, tmp_path / "scan") == 2
    assert said in capsys.readouterr().err


def write_text(path: Path) -> None:
    path.write_text("not a learner")


def write_weights(path: Path) -> None:
    torch.save(make_model().state_dict(), path)


def write_model(path: Path) -> None:
    torch.save(make_model(), path)


@pytest.mark.parametrize("write", [write_text, write_weights, write_model, Path.touch, Path.mkdir, lambda path: None])
def test_a_file_that_is_no_learner(
    write: object, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "file.pkl")
    assert scan(tmp_path / "file.pkl", data, tmp_path / "scan", "--trust") == 2
    said = capsys.readouterr().err
    assert "learn.export()" in said
    assert "notebook" not in said
    assert "Traceback" not in said
    assert not (tmp_path / "scan").exists()


def test_a_learner_that_needs_a_function_that_is_gone(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import types

    module = types.ModuleType("gone")
    exec("def label_of(path): return path.parent.name", module.__dict__)
    monkeypatch.setitem(__import__("sys").modules, "gone", module)
    module.label_of.__module__ = "gone"
    loaders = fastai.ImageDataLoaders.from_path_func(
        data, fastai.get_image_files(data), module.label_of, bs=4, num_workers=0, item_tfms=fastai.Resize(16)
    )
    learn = fastai.Learner(loaders, make_model(), loss_func=fastai.CrossEntropyLossFlat())
    import pickle

    learn.export(tmp_path / "learner.pkl", pickle_module=pickle)
    monkeypatch.delitem(__import__("sys").modules, "gone")
    assert scan(tmp_path / "learner.pkl", data, tmp_path / "scan", "--trust") == 2
    assert "where the module can be imported" in capsys.readouterr().err


def test_a_learner_made_from_a_table(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [path.relative_to(data).as_posix() for path in fastai.get_image_files(data)]
    frame = pd.DataFrame({"name": names, "kind": [name.split("/")[0] for name in names]})
    loaders = fastai.ImageDataLoaders.from_df(
        frame, data, fn_col="name", label_col="kind", bs=4, num_workers=0, item_tfms=fastai.Resize(16)
    )
    learn = fastai.Learner(loaders, make_model(), loss_func=fastai.CrossEntropyLossFlat())
    learn.export((tmp_path / "table.pkl").absolute())
    assert scan(tmp_path / "table.pkl", data, tmp_path / "scan", "--trust") == 2
    assert "reads labels from its rows" in capsys.readouterr().err


def test_images_of_different_sizes_for_a_learner_that_does_not_resize(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaders = fastai.ImageDataLoaders.from_folder(data, valid_pct=0.3, seed=0, bs=4, num_workers=0)
    learn = fastai.Learner(loaders, make_model(), loss_func=fastai.CrossEntropyLossFlat())
    learn.export((tmp_path / "plain.pkl").absolute())
    make_image(data / "cat" / "wide.png", size=(64, 20))
    assert scan(tmp_path / "plain.pkl", data, tmp_path / "scan", "--trust") == 2
    assert "item_tfms=Resize" in capsys.readouterr().err
    assert not (tmp_path / "scan" / "scan.json").exists()


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(
    learner: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert scan(learner, data, tmp_path / "file" / "scan", "--trust") == 2
    assert scan(learner, data, tmp_path / "file", "--trust") == 2
    said = capsys.readouterr().err
    assert "cannot be made" in said
    assert "scan all" not in said  # no progress bar


@pytest.mark.parametrize("more", [("-k", "0"), ("-k", "-5"), ("--workers", "-1"), ("--batch-size", "0")])
def test_numbers_that_make_no_sense(more: tuple[str, str], learner: Path, data: Path, tmp_path: Path) -> None:
    assert scan(learner, data, tmp_path / "scan", "--trust", *more) == 2


def test_more_samples_than_there_are_can_be_asked_for(learner: Path, data: Path, tmp_path: Path) -> None:
    assert scan(learner, data, tmp_path / "scan", "--trust", "-k", "1000000000000", "--workers", "0") == 0
    assert len(load(tmp_path / "scan").samples) == 21


def test_a_file_that_is_gone_is_listed(data: Path, tmp_path: Path) -> None:
    learn = make_learner(data)
    gone = learn.dls.train.items[0]
    gone.unlink()
    found = cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert [item.path for item in found.unreadable] == [gone.relative_to(data).as_posix()]
    assert "FileNotFoundError" in found.unreadable[0].error


def test_a_folder_that_cannot_be_listed_is_refused(
    learner: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import os

    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("cleaner.core.files.os.scandir", scandir)
    assert scan(learner, data, tmp_path / "scan", "--trust") == 2
    assert "cannot be listed (Permission denied)" in capsys.readouterr().err


def test_no_warning_about_the_future_of_torch_is_printed(learner: Path, data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cleaner", "scan", "--learner", learner, "--data", data, "--out", tmp_path / "new"]
    done = subprocess.run([*command, "--trust"], capture_output=True, text=True, check=True)
    assert "21 images scored" in done.stdout
    assert "FutureWarning" not in done.stderr
