"""`cleaner.check` and the command: what they find, write, keep and refuse, and that a kill costs little."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

import cleaner
from cleaner.checks import run
from cleaner.cli import main
from cleaner.core.errors import CleanerError
from cleaner.core.records import Sample
from cleaner.core.scan import Scan, load
from tests.support.loaded_packages import HEAVY, loaded_by

SIZE = (200, 150)


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A made-up photo: smooth random colours with edges, different for each seed."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    fine = Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8)).resize(size, Image.Resampling.NEAREST)
    return Image.blend(coarse, fine, 0.35)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """40 images in two splits and two classes, with one of each fault."""
    root = tmp_path / "data"
    for seed in range(40):
        split, label = ("train", "valid")[seed % 4 == 3], ("cat", "dog")[seed % 2]
        save(picture(seed), root / split / label / f"{seed:02d}.jpg", quality=92)
    # Copies: with different labels, across splits, within a class.
    shutil.copy(root / "train/cat/00.jpg", root / "train/dog/copy.jpg")
    save(picture(1).resize((120, 90)), root / "valid/dog/leak.jpg", quality=70)
    shutil.copy(root / "train/cat/04.jpg", root / "train/cat/04 again.jpg")
    save(Image.new("RGB", SIZE, (120, 130, 140)), root / "train/dog/empty.png")
    save(picture(50).point(lambda value: value // 12), root / "train/cat/dark.png")
    save(picture(51).filter(ImageFilter.GaussianBlur(12)), root / "train/cat/blurred.jpg")
    save(picture(52), root / "train/cat/wrong.png").rename(root / "train/cat/wrong.jpg")
    (root / "valid/dog/torn.jpg").write_bytes((root / "train/dog/05.jpg").read_bytes()[:300])
    (root / "train/notes.heix").write_text("no image")
    return root


def found(report: cleaner.checks.report.CheckReport, issue: str) -> set[str]:
    return {row.path for row in report.issues if row.issue == issue}


def test_each_fault_is_found(data: Path, tmp_path: Path) -> None:
    report = cleaner.check(data, tmp_path / "scan", workers=0, progress=False)
    assert found(report, "label-conflict") == {"train/cat/00.jpg", "train/dog/copy.jpg"}
    assert found(report, "leak") == {"train/dog/01.jpg", "valid/dog/leak.jpg"}
    assert found(report, "copy") == {"train/cat/04.jpg", "train/cat/04 again.jpg"}
    assert "train/dog/empty.png" in found(report, "one-colour")
    assert "train/cat/dark.png" in found(report, "dark")
    assert "train/cat/blurred.jpg" in found(report, "blurred")
    assert found(report, "wrong-suffix") == {"train/cat/wrong.jpg"}
    assert (report.images, report.unreadable) == (47, 1)
    assert report.classes == {"cat": 24, "dog": 23}


def test_the_rows_are_in_the_scan_folder_in_the_order_of_the_page(data: Path, tmp_path: Path) -> None:
    report = cleaner.check(data, tmp_path / "scan", workers=2, progress=False)
    scan = load(tmp_path / "scan")
    assert scan.issues == tuple(report.issues)
    assert [row.issue for row in scan.issues[:6]] == ["label-conflict"] * 2 + ["leak"] * 2 + ["copy"] * 2
    assert [row.group for row in scan.issues[:6]] == [1, 1, 2, 2, 3, 3]
    assert (scan.vocab, scan.splits, scan.task) == (("cat", "dog"), ("train", "valid"), "single-label")
    assert [each.path for each in scan.unreadable] == ["valid/dog/torn.jpg"]
    assert not (tmp_path / "scan/checking").exists()


def test_the_larger_copy_is_suggested_to_be_kept(data: Path, tmp_path: Path) -> None:
    report = cleaner.check(data, tmp_path / "scan", workers=0, progress=False)
    leak = [row for row in report.issues if row.issue == "leak"]
    assert [row.path for row in leak] == ["train/dog/01.jpg", "valid/dog/leak.jpg"]


def test_a_scan_in_the_folder_stays_as_it_is(data: Path, tmp_path: Path) -> None:
    before = Scan(
        root=data,
        vocab=("cat", "fox"),
        splits=("train",),
        k=5,
        scored={"train": 9},
        samples=(Sample("train", "cat", 1, "train/cat/00.jpg", 3.0, "fox", 0.9),),
        cells={"train": {("cat", "fox"): 9}},
    ).write(tmp_path / "scan")
    cleaner.check(data, tmp_path / "scan", workers=0, progress=False)
    scan = load(tmp_path / "scan")
    assert (scan.samples, scan.cells, scan.generation) == (before.samples, before.cells, before.generation)
    assert scan.issues
    # Its labels are those of the page, so others count as none.
    assert {row.label for row in scan.issues} == {"cat", ""}
    assert [each.path for each in scan.unreadable] == ["valid/dog/torn.jpg"]
    cleaner.check(data, tmp_path / "scan", workers=0, progress=False)
    assert load(tmp_path / "scan").unreadable == scan.unreadable


@pytest.mark.parametrize("name", ["data/../data", "data/", "./data", "linked"])
def test_the_dataset_of_a_scan_is_known_however_its_folder_is_written(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("linked").symlink_to(data)
    Scan(data, ("cat", "dog"), ("train",), 1, {"train": 0}, (), {"train": {}}).write(tmp_path / "scan")
    assert cleaner.check(name, tmp_path / "scan", progress=False).images == 47


def test_of_equal_copies_the_one_with_the_predicted_label_then_the_shortest_name_is_kept(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for seed in range(12):
        save(picture(seed), root / "dog" / f"{seed:02d}.png")
    for copied, copy in (("dog/03.png", "dog/03 (2).png"), ("dog/05.png", "cat/05.png")):
        (root / copy).parent.mkdir(exist_ok=True)
        shutil.copy(root / copied, root / copy)

    def kept() -> list[str]:
        report = cleaner.check(root, tmp_path / "scan", workers=0, progress=False)
        return [row.path for row in report.issues if row.detail == "suggested to be kept"]

    assert kept() == ["cat/05.png", "dog/03.png"]
    shutil.rmtree(tmp_path / "scan")
    sample = Sample("all", "dog", 1, "dog/05.png", 2.0, "dog", 0.9)
    Scan(root, ("cat", "dog"), ("all",), 1, {"all": 1}, (sample,), {"all": {}}).write(tmp_path / "scan")
    assert kept() == ["dog/05.png", "dog/03.png"]


def test_labels_come_from_a_table(data: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    names = [path.relative_to(data).as_posix() for path in sorted(data.rglob("0*.jpg"))]
    table.write_text("path,label\n" + "".join(f"{name},{'ab'[n % 2]}\n" for n, name in enumerate(names)))
    report = cleaner.check(data, tmp_path / "scan", labels=table, workers=0, progress=False)
    assert set(report.classes) == {"a", "b"}
    assert report.images == len(names)


def test_without_labels_all_but_label_conflicts_is_found(data: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in data.rglob("*.*"):
        shutil.copy(path, flat / f"{path.parent.name} {path.name}")
    report = cleaner.check(flat, tmp_path / "scan", workers=0, progress=False)
    assert not found(report, "label-conflict")
    assert len(found(report, "copy")) == 6
    assert load(tmp_path / "scan").task == "other"


@pytest.mark.parametrize("n", [1, 2])
def test_a_dataset_of_one_image_or_two_equal_ones_is_checked(n: int, tmp_path: Path) -> None:
    for number in range(n):
        save(picture(0), tmp_path / "data" / f"{number}.png")
    report = cleaner.check(tmp_path / "data", tmp_path / "scan", workers=0, progress=False)
    assert (report.images, len(found(report, "copy"))) == (n, 0 if n == 1 else 2)


BAD_INPUT = {
    "an empty folder": ({}, r"there is no image in .*data"),
    "no folder": ({"data": "missing"}, r"missing' is not a folder"),
    "an address": ({"data": "s3://bucket/images"}, r"is an address, and a check opens files"),
    "negative workers": ({"workers": -1}, r"workers is -1; expected a whole number of at least 0"),
    "a truth value": ({"input_size": True}, r"input_size is True; expected a whole number of at least 1"),
    "a column without a table": ({"label_column": "y"}, r"needs a label table"),
    "a table that is missing": ({"labels": "no.csv"}, r"no.csv"),
    "a folder with other files": ({"out": "data"}, r"is not a scan folder"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_refused_and_leaves_nothing_behind(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/notes.txt").write_text("no image")
    options, message = BAD_INPUT[case]
    with pytest.raises(CleanerError, match=message):
        cleaner.check(**{"data": "data", "out": "scan", "progress": False, **options})
    assert sorted(os.listdir(tmp_path)) == ["data"]
    assert os.listdir("data") == ["notes.txt"]


def test_a_scan_of_another_dataset_is_not_mixed_with_this_one(data: Path, tmp_path: Path) -> None:
    cleaner.check(data / "train", tmp_path / "scan", workers=0, progress=False)
    with pytest.raises(CleanerError, match="holds a scan of another dataset"):
        cleaner.check(data, tmp_path / "scan", workers=0, progress=False)


def test_a_killed_check_goes_on_where_it_was(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import os, signal, sys\n"
        "from cleaner.checks import measurements, run\n"
        "append, done = measurements.Measurements.append, []\n"
        "def kill(self, *arguments):\n"
        "    append(self, *arguments)\n"
        "    done.append(1)\n"
        "    if len(done) == 20:\n"
        "        self._flush()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "measurements.Measurements.append = kill\n"
        "run.check(sys.argv[1], sys.argv[2], workers=0, progress=False)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, data, tmp_path / "scan"], check=False)
    assert killed.returncode == -signal.SIGKILL
    read: list[str] = []
    measure = run.measure
    monkeypatch.setattr(run, "measure", lambda file: (read.append(file), measure(file))[1])
    resumed = cleaner.check(data, tmp_path / "scan", workers=0, progress=False)
    assert len(read) == 48 - 20
    whole = cleaner.check(data, tmp_path / "other", workers=0, progress=False)
    assert (resumed.issues, resumed.counts) == (whole.issues, whole.counts)


def test_a_file_that_changes_during_the_pass_is_no_crash(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, last = run.measure, data / "valid/dog/39.jpg"

    def shrinks(file: str) -> object:
        last.write_bytes(last.read_bytes()[: -(1 + time.monotonic_ns() % 3)] if last.stat().st_size > 900 else b"")
        return measure(file)

    monkeypatch.setattr(run, "measure", shrinks)
    report = cleaner.check(data, tmp_path / "scan", workers=0, progress=False)
    assert report.images + report.unreadable == 48


def test_the_summary_shows_examples_and_frames(data: Path, tmp_path: Path) -> None:
    report = cleaner.check(data, tmp_path / "scan", workers=0, progress=False)
    (data / "train/cat/00.jpg").unlink()
    text = report._repr_html_()
    assert "47 images checked, 1 unreadable" in text
    assert text.count("<img") > 5
    assert list(report.frame("leak").path) == ["train/dog/01.jpg", "valid/dog/leak.jpg"]
    assert len(report.frame()) == len(report.issues)
    assert report.shares().loc["dog", "leak"] == pytest.approx(2 / 23)
    with pytest.raises(CleanerError, match="no issue 'blurry'; expected one of label-conflict"):
        report.frame("blurry")


@pytest.mark.parametrize(("n_drawings", "is_doubted"), [(1, False), (24, True)])
def test_so_many_copies_that_they_may_be_none_are_doubted(n_drawings: int, is_doubted: bool, tmp_path: Path) -> None:
    for seed in range(24):
        save(picture(seed), tmp_path / "data" / "cat" / f"{seed:02d}.png")
    for number in range(n_drawings):
        save(picture(99), tmp_path / "data" / "cat" / f"drawing_{number:02d}.png")
    notes = cleaner.check(tmp_path / "data", tmp_path / "scan", workers=0, progress=False).notes()
    assert any("of the images are in groups of copies" in note for note in notes) is is_doubted


def test_names_of_files_are_escaped_in_the_summary(tmp_path: Path) -> None:
    for name in ("<b>&.png", "b.png"):
        save(picture(0), tmp_path / "data" / name)
    text = cleaner.check(tmp_path / "data", tmp_path / "scan", workers=0, progress=False)._repr_html_()
    assert "&lt;b&gt;&amp;.png" in text
    assert "<b>" not in text


def test_the_command_prints_the_issues_and_what_to_do_next(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "scan")
    assert main(["check", "--data", str(data), "--out", out, "--workers", "0"]) == 0
    printed = capsys.readouterr().out
    assert "Copies across splits" in printed
    assert f"Review them: cleaner serve {out}" in printed
    assert main(["show", out, "--issues", "-n", "2"]) == 0
    assert "train/dog/copy.jpg" in capsys.readouterr().out


def test_decisions_about_a_checked_folder_are_applied_and_undone(data: Path, tmp_path: Path) -> None:
    cleaner.check(data, tmp_path / "scan", workers=0, progress=False)
    scan = load(tmp_path / "scan")
    for row in (row for row in scan.issues if row.issue in ("leak", "copy", "label-conflict")):
        scan_session = cleaner.Review(scan, reviewer="anna").session
        if row.path in ("valid/dog/leak.jpg", "train/cat/04.jpg", "train/dog/copy.jpg"):
            scan_session.decide(row.path, "delete")
    applied = cleaner.apply(tmp_path / "scan/decisions.csv", data)
    assert len(applied.done) == 3
    again = cleaner.check(data, tmp_path / "scan", workers=0, progress=False)
    assert not {row.issue for row in again.issues} & {"leak", "copy", "label-conflict"}
    cleaner.undo(applied.journal)
    assert (data / "valid/dog/leak.jpg").exists()
    assert found(cleaner.check(data, tmp_path / "scan", workers=0, progress=False), "leak")


def test_a_scan_after_the_check_keeps_its_issues_and_has_no_round_before_it(data: Path, tmp_path: Path) -> None:
    cleaner.check(data, tmp_path / "scan", workers=0, progress=False)
    issues = load(tmp_path / "scan").issues
    names = [path.relative_to(data).as_posix() for path in sorted(data.rglob("[0-9]*.jpg"))]
    labels = ["cat" if "cat" in name else "dog" for name in names]
    probabilities = np.tile([0.6, 0.4], (len(names), 1))
    cleaner.scan_arrays(
        labels=labels, pred_probs=probabilities, paths=names, vocab=["cat", "dog"], out=tmp_path / "scan", root=data
    )
    assert load(tmp_path / "scan").issues == issues
    assert not (tmp_path / "scan/history.jsonl").exists()


def test_a_check_loads_no_torch(data: Path, tmp_path: Path) -> None:
    code = f"import cleaner\ncleaner.check({str(data)!r}, {str(tmp_path / 'scan')!r}, workers=2, progress=False)"
    assert not loaded_by(code) & HEAVY
    assert json.loads((tmp_path / "scan/scan.json").read_text())["settings"] == {"source": "check"}
