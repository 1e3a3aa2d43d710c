"""The page about the files of a scan folder names each file, column and key."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

import cleaner
from tests.support.learners import make_folder, make_learner
from tests.support.scans import make_label_scan

PAGE = Path(__file__).parents[2] / "docs/formats.md"
CODE = frozenset(re.findall(r"`([^`\n]+)`", PAGE.read_text(encoding="utf-8")))
# How the page writes the names of files that differ from scan to scan.
SHOWN_AS = [
    (r"journal-[^.]+\.jsonl", "journal-….jsonl"),
    (r"journal-[^.]+\.labels\.csv", "journal-….labels.csv"),
    (r".*\.lock", "*.lock"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan folder with nearly all files that there are."""
    place = tmp_path_factory.mktemp("formats")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        make_folder(Path("images"), per_class=12)
        learn = make_learner(Path("images"))
        for _ in range(2):
            scan = cleaner.scan(learn, "scan", k=2, features=True, progress=False, workers=0)
        cleaner.check("images", "scan", workers=0, progress=False)
        scan.decide("cat/cat_0.png", "delete")
        cleaner.apply(scan)
        scan.decide("dog/dog_1.png", "relabel", "bear")
        names = [path.relative_to("images").as_posix() for path in Path("images").rglob("*/*.png")]
        Path("labels.csv").write_text("fname,label\n" + "".join(f"{name},{name.split('/')[0]}\n" for name in names))
        cleaner.apply(scan, labels="labels.csv")
        make_label_scan(Path("several").absolute(), Path("scan_of_several").absolute())
    return place / "scan"


def test_each_file_is_named(folder: Path) -> None:
    for file in folder.iterdir():
        shown = next((text for pattern, text in SHOWN_AS if re.fullmatch(pattern, file.name)), file.name)
        assert shown in CODE, file.name


def test_each_column_is_named(folder: Path) -> None:
    for file in (*folder.glob("[!j]*.csv"), folder.parent / "scan_of_several/top_losses.csv"):
        with open(file, encoding="utf-8", newline="") as lines:
            assert set(next(csv.reader(lines))) <= CODE, file.name


def test_each_key_is_named(folder: Path) -> None:
    assert json.loads((folder / "scan.json").read_text(encoding="utf-8")).keys() <= CODE
    for file in (*folder.glob("journal-*.jsonl"), folder / "history.jsonl"):
        for line in file.read_text(encoding="utf-8").splitlines():
            assert json.loads(line).keys() <= CODE, file.name
