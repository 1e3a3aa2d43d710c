"""Malformed inputs of every kind, more than three hundred: each is told, and no file of the dataset is changed."""

from __future__ import annotations

import io
import json
import math
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cleaner.apply import apply
from cleaner.cli import main
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Sample, Unreadable
from cleaner.core.scan import Scan, load
from cleaner.review.thumbnails import make_thumbnail
from tests.support.folders import TIME, Tree, make, tree
from tests.support.images import make_image
from tests.support.issue_rows import group, with_issues
from tests.support.malformed import TABLE, broken
from tests.support.messages import OF_PAGE
from tests.support.review_page import Page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset with a label table, its scan, a manifest that can be carried out, and the journals of two applies."""
    for path in ("cat/1.png", "cat/2.png", "dog/1.png"):
        make(tmp_path / "data" / path)
    (tmp_path / "data" / "labels.csv").write_bytes(TABLE)
    sample = Sample("train", "cat", 1, "cat/1.png", 2.5, "dog", 0.9)
    bad = Unreadable("train", "dog", "dog/2.png", "it is torn")
    cells = {"train": {("cat", "dog"): 2, ("dog", "dog"): 1}}
    scan = Scan(tmp_path / "data", ("cat", "dog"), ("train",), 1, {"train": 3}, (sample,), cells, (bad,))
    manifest = Manifest(scan.write(tmp_path / "scan").manifest_path)
    for path, action, new in (("cat/1.png", Action.RELABEL, "dog"), ("dog/1.png", Action.DELETE, "")):
        sha256 = sha256_of(tmp_path / "data" / path)
        manifest.append(Decision(path, action, path[:3], new, sha256=sha256, decided_at=TIME))
    return tmp_path


def manifests(folder: Path) -> tuple[Path, list[list[str]]]:
    manifest = folder / "scan" / "decisions.csv"
    plain = ["apply", str(manifest), "--data", str(folder / "data"), "--dry-run"]
    of_table = [*plain, "--labels", str(folder / "data" / "labels.csv")]
    return manifest, [plain, of_table, ["export", str(manifest), "--out", str(folder / "out.csv")]]


def tables(folder: Path) -> tuple[Path, list[list[str]]]:
    table = folder / "labels.csv"
    command = ["apply", str(folder / "scan" / "decisions.csv"), "--data", str(folder / "data"), "--labels", str(table)]
    return table, [
        [*command, "--dry-run"],
        [*command, "--dry-run", "--path-column", "fname", "--label-column", "label"],
    ]


def parquets(folder: Path) -> tuple[Path, list[list[str]]]:
    table, commands = tables(folder)
    renamed = table.with_suffix(".parquet")
    return renamed, [[part.replace(str(table), str(renamed)) for part in command] for command in commands]


def scans(name: str) -> Callable[[Path], tuple[Path, list[list[str]]]]:
    def of(folder: Path) -> tuple[Path, list[list[str]]]:
        apply_command = ["apply", str(folder / "scan" / "decisions.csv"), "--data", str(folder / "data"), "--dry-run"]
        return folder / "scan" / name, [["show", str(folder / "scan")], apply_command]

    return of


def journals(of_table: bool) -> Callable[[Path], tuple[Path, list[list[str]]]]:
    """A journal of which only a damaged copy is looked at, of a dataset that nothing was done to."""

    def of(folder: Path) -> tuple[Path, list[list[str]]]:
        labels = folder / "data" / "labels.csv" if of_table else None
        before = sorted(folder.rglob("*"))
        report = apply(folder / "scan" / "decisions.csv", folder / "data", labels=labels)
        assert report.journal is not None
        assert sorted(folder.rglob("*")) != before
        return report.journal, [["trash", str(report.journal)], ["undo", "--yes", str(report.journal)]]

    return of


KINDS: dict[str, tuple[Callable[[Path], tuple[Path, list[list[str]]]], int]] = {
    "manifest": (manifests, 70),
    "table": (tables, 70),
    "parquet": (parquets, 15),
    "scan.json": (scans("scan.json"), 45),
    "top_losses.csv": (scans("top_losses.csv"), 30),
    "confusion.csv": (scans("confusion.csv"), 20),
    "unreadable.csv": (scans("unreadable.csv"), 15),
    "classes.csv": (scans("classes.csv"), 15),
    "journal of folders": (journals(of_table=False), 10),
    "journal of a table": (journals(of_table=True), 10),
}


def contents_of(found: Tree) -> list[bytes]:
    """The bytes of every image, wherever it lies."""
    return sorted(file[0] for path, file in found.items() if isinstance(file, tuple) and path.endswith(".png"))


IMAGES = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "webp.png": "WEBP"}
EACH_IMAGE = 10
NO_VALUES: list[Any] = [None, 2.5, math.nan, -(10**30), [], ["page"], {}, {"a": [[[1]]]}, "x" * 10**6, "\0", "../cat"]
# Where some of these make sense.
ANY_VALUE: dict[str, list[Any]] = {
    "text": ["\0", "../cat"],
    "name": ["\0", "../cat"],
    "at": ["x" * 10**6, "\0", "../cat"],  # not on the page, so the cursor stays
    "page_size": [-(10**30)],
    "pixels": [-(10**30)],
    "columns": [-(10**30)],
    "rows": [-(10**30)],
}


def messages(make_sense: list[dict[str, Any]]) -> Iterator[Any]:
    """Messages of which none makes sense."""
    yield from (None, "ready", [], {}, {"id": 1}, *({"kind": value, "id": 1} for value in NO_VALUES))
    for message in make_sense:
        yield message  # without an id
        yield from ({**message, "id": wrong} for wrong in (None, "1", True, 1.5, [1]))
        yield {**message, "id": 1, "more": "x" * 10**7}
        for field in sorted(message.keys() - {"kind"}):
            values = [value for value in NO_VALUES if value not in ANY_VALUE.get(field, [])]
            yield from ({**message, "id": 1, field: value} for value in values)


def damaged_images() -> Iterator[tuple[str, bytes]]:
    """Names and bytes of images that are torn, changed in a few bytes, or put together wrongly."""
    chance = random.Random("images")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))
    for suffix, kind in IMAGES.items():
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        whole = buffer.getvalue()
        for number in range(EACH_IMAGE):
            data, at = bytearray(whole), chance.randrange(len(whole))
            if number % 3 == 0:
                del data[at:]
            elif number % 3 == 1:
                # Also in the header, which says how large the image is and where its parts are.
                for place in [chance.randrange(64), *(chance.randrange(len(data)) for _ in range(4))]:
                    data[place] = chance.randrange(256)
            else:
                data[at : at + chance.randrange(100)] = chance.randbytes(chance.randrange(100))
            yield f"{number}.{suffix}", bytes(data)


def damaged_learners(whole: bytes) -> Iterator[bytes]:
    """Learner files that are torn, and files of other kinds. Changed bytes of a pickle could mean anything."""
    yield from (whole[: len(whole) * part // 8] for part in range(8))
    yield from (b"\0" * 1000, b"not a learner\n", b"\x80\x05.", whole[1000:], whole + b"PK\x05\x06" + bytes(18))
    yield from (pickle.dumps(value) for value in (None, {"model": 1}, ["a"], "learner", b"bytes"))
    for member in ("data.pkl", "version", "byteorder", ""):
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(buffer, "w") as new:
            for name in old.namelist():
                if member and not name.endswith(member):
                    new.writestr(name, old.read(name))
                elif member == "data.pkl":
                    new.writestr(name, old.read(name)[:500])
        yield buffer.getvalue()


def test_more_than_three_hundred_malformed_inputs_are_tested() -> None:
    counts = {kind: count for kind, (_, count) in KINDS.items()}
    counts["image"] = len(list(damaged_images()))
    counts["message"] = len(list(messages(OF_PAGE)))
    assert counts["image"] == len(IMAGES) * EACH_IMAGE
    assert counts["message"] > 300
    assert sum(counts.values()) > 600


@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_input_is_reported_and_changes_no_file(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare, count = KINDS[kind]
    path, commands = prepare(folder)
    good = path.read_bytes() if path.is_file() else TABLE
    before, statuses = tree(folder / "data"), dict.fromkeys((0, 1, 2), 0)
    damages = broken(good, random.Random(kind))
    for _ in range(count):
        damage = next(damages)
        path.write_bytes(damage)
        for command in commands:
            (folder / "out.csv").unlink(missing_ok=True)
            status = main(command)
            out, err = capsys.readouterr()
            assert status in (0, 1, 2), damage
            assert "Traceback" not in out + err, damage
            assert status == 0 or out or err, damage
            assert status != 2 or err.startswith(f"cleaner {command[0]}: "), damage
            statuses[status] += 1
            if command[0] == "undo" and status != 2:
                # What is left of a journal may still be one, whose moves are undone.
                assert contents_of(tree(folder / "data")) == contents_of(before), damage
                break
            assert tree(folder / "data") == before, damage
        if tree(folder / "data") != before:
            break
    with capsys.disabled():
        print(f"\n{count} damages of {kind}: {json.dumps(statuses)} by exit status")
    assert statuses[2] >= count // 4


def learner_of(folder: Path) -> Path:
    """An exported learner that knows the classes of the dataset."""
    from tests.support.learners import make_folder, make_learner

    make_learner(make_folder(folder / "known")).export(folder / "learner.pkl")
    return folder / "learner.pkl"


def scan_command(learner: Path, folder: Path, *more: str) -> list[str]:
    paths = ["--learner", str(learner), "--data", str(folder / "data"), "--out", str(folder / "new")]
    return ["scan", *paths, "--trust", "--workers", "0", *more]


def test_a_damaged_learner_is_reported_and_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learner = learner_of(folder)
    damages, before = list(damaged_learners(learner.read_bytes())), tree(folder / "data")
    # Whatever can be loaded is refused for the number.
    assert main(scan_command(learner, folder, "-k", "0")) == 2
    assert "k is 0" in capsys.readouterr().err
    for damage in damages:
        learner.write_bytes(damage)
        assert main(scan_command(learner, folder, "-k", "0")) == 2, damage[:100]
        said = capsys.readouterr()
        assert said.err.startswith("cleaner scan: "), damage[:100]
        assert "Traceback" not in said.err + said.out
        assert not (folder / "new").exists()
    assert tree(folder / "data") == before
    with capsys.disabled():
        print(f"\n{len(damages)} damages of a learner file: all with exit status 2")


def test_damaged_images_are_scored_or_listed_and_have_a_card(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat/good.png", "dog/good.png"):
        make_image(folder / "data" / name)
    names = []
    for name, data in damaged_images():
        (folder / "data" / "cat" / name).write_bytes(data)
        names.append(f"cat/{name}")
    before = tree(folder / "data")
    assert main(scan_command(learner_of(folder), folder)) == 0
    assert "Traceback" not in capsys.readouterr().err
    scan = load(folder / "new")
    reasons = {unreadable.path: unreadable.error for unreadable in scan.unreadable}
    scored = {sample.path for sample in scan.samples}
    assert {*names, "cat/good.png", "dog/good.png"} <= scored | reasons.keys()
    assert not scored & reasons.keys()
    assert all(reasons.values())
    for name in names:
        thumbnail = make_thumbnail(folder / "data" / name, 32)
        assert bool(thumbnail.data) != bool(thumbnail.error), name
    assert tree(folder / "data") == before
    with capsys.disabled():
        print(f"\n{len(names)} damages of images: {len(reasons.keys() & set(names))} could not be read")
    assert len(reasons.keys() & set(names)) >= len(names) // 4


def test_an_invalid_message_gets_an_error_and_changes_nothing(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    page = Page(scan)
    page.ask("ready")
    session, wrong, before = page.review.session, list(messages(OF_PAGE)), tree(scan.root.parent)
    state = session.view, session.reviewer, page.version
    for message in wrong:
        reply = page.say(message)
        assert reply["kind"] == "error", repr(message)[:200]
        assert 0 < len(reply["message"]) <= 1000
        assert (session.view, session.reviewer, page.version) == state, repr(message)[:200]
    assert tree(scan.root.parent) == before
    with capsys.disabled():
        print(f"\n{len(wrong)} messages that make no sense: each got an error")


def test_the_messages_that_malformed_ones_are_made_of_can_be_carried_out_in_their_order(scan: Scan) -> None:
    page = Page(with_issues(scan, group("copy", 1, ["train/cat/cat_01.png", "train/cat/cat_02.png"])))
    for message in OF_PAGE:
        version = {"version": page.version} if "version" in message else {}
        reply = page.say({**message, **version, "id": 1})
        assert reply["kind"] != "error", message
