"""Counted: malformed messages of the page, odd images, and commands on damaged files, all random with fixed seeds.

Each test has a short count, which always runs, and a long one. To run each of the long ones alone, with its figures:

    pytest -m long tests/test_counts.py -k messages   2,000 malformed messages
    pytest -m long tests/test_counts.py -k images     1,000 odd images
    pytest -m long tests/test_counts.py -k commands   10,000 commands on damaged files
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import random
import shutil
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jupyter_client.session import json_packer
from PIL import Image

from cleaner.apply import apply
from cleaner.cli import main
from cleaner.core.files import RefusedFile, sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Sample, Unreadable
from cleaner.core.rounds import remember
from cleaner.core.safe_images import FORMATS, check_image, opened_image
from cleaner.core.scan import Scan
from cleaner.core.suffixes import IMAGE_SUFFIXES
from cleaner.review.protocol import DECIDING, MESSAGES
from cleaner.review.thumbnails import make_thumbnail
from tests.support.folders import TIME, Tree, make, tree
from tests.support.malformed import TABLE, VALUES, broken, places
from tests.support.messages import OF_PAGE
from tests.support.odd_images import HARMFUL, HARMLESS, write_harmful_image
from tests.support.review_page import Page


def counts(short: int, long: int) -> list[Any]:
    """The parameters of a test that counts."""
    return [pytest.param(short, id="short"), pytest.param(long, id="long", marks=pytest.mark.long)]


# Messages of the page


DEEPEST = 400  # Python's reader of JSON takes about twice as many, on a stack that is empty
CHANGING = {*DECIDING, "restore", "accept"}


def said_to(page: Page, message: Any) -> dict[str, Any]:
    """Send a message as JSON, and return its one reply as the page gets it."""
    page.replies.clear()
    reply = page.say(json.loads(json.dumps(message)))
    return json.loads(json_packer(reply).decode(errors="replace"))


def random_json(chance: random.Random, depth: int = 0) -> Any:  # noqa: C901
    """A value of any JSON type: empty, huge, deep, nested, or of characters that trouble programs."""
    if depth < 4 and chance.random() < 0.2:
        items = [random_json(chance, depth + 1) for _ in range(chance.randrange(4))]
        return items if chance.random() < 0.5 else {chance.choice("abc\0"): item for item in items}
    kind = chance.randrange(9)
    if kind == 0:
        return chance.choice([None, True, False])
    if kind == 1:
        return chance.choice([0, -1, 1, 5, 2**31, 2**63, -(2**64), 10**30, 10**400])
    if kind == 2:
        return chance.choice([0.0, -0.5, 1.5, 1e308, math.nan, math.inf, -math.inf])
    if kind == 3:
        return chance.choice(["", " ", "\0", "\ud800", "\n\r\t", "\x1b[2J", "<img src=x onerror=alert(1)>", "é\u202e"])
    if kind == 4:
        return chance.choice(["../../etc/passwd", "/etc", "train/cat", "train/cat/none.png", "=1+1", "constructor"])
    if kind == 5:
        return "".join(map(chr, (chance.randrange(0x11000) for _ in range(chance.randrange(30)))))
    if kind == 6:
        return chance.choice("x\0é\ud800[") * chance.choice([1001, 70_000, 10**6])
    if kind == 7:
        value: Any = chance.choice([[], {}, "x", None])
        for _ in range(chance.choice([10, DEEPEST])):
            value = [value] if chance.random() < 0.5 else {"a": value}
        return value
    return chance.choice(OF_PAGE)


def random_message(chance: random.Random, page: Page) -> Any:
    """A message of a known kind with any values in its fields, or, more rarely, of no kind, without an id, or none."""
    if chance.random() < 0.05:
        return random_json(chance)
    kind, makes_sense = chance.choice([*sorted(MESSAGES), "decide", "decide"]), chance.choice([0.4, 0.95])
    shown = {"version": page.version, "paths": page.review.session.paths[:2]}
    make_sense = {name: [] for name in MESSAGES[kind]}
    for message in OF_PAGE:
        for name in make_sense.keys() & message.keys():
            make_sense[name].append(shown.get(name, message[name]))
    message = {"kind": kind, "id": chance.randrange(10**6)}
    for name in sorted(make_sense):
        if chance.random() < 0.9:
            message[name] = chance.choice(make_sense[name]) if chance.random() < makes_sense else random_json(chance)
    if chance.random() < 0.1:
        message[chance.choice(["kind", "id"])] = random_json(chance)
    if chance.random() < 0.1:
        message[chance.choice(["more", "__class__", "", "message", "page", "\ud800"])] = random_json(chance)
    if chance.random() < 0.05:
        del message[chance.choice(sorted(message))]
    return message


def assert_valid(row: Decision, scan: Scan) -> None:
    assert row.path in scan.by_path()
    assert (row.action is Action.RELABEL) == bool(row.new_label)
    assert row.new_label in ("", *scan.vocab)


@pytest.mark.parametrize("count", counts(60, 2000))
def test_malformed_messages_get_an_error_or_an_answer_and_only_valid_decisions_are_written(
    count: int, scan: Scan, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, page, said, began = random.Random("messages"), Page(scan), Counter(), time.perf_counter()
    manifest = Manifest(scan.manifest_path)
    page.ask("ready")
    before, data = len(manifest.rows()), tree(scan.root)
    while said["error"] < count:
        message = random_message(chance, page)
        reply = said_to(page, message)
        said[reply["kind"]] += 1
        rows = Manifest(scan.manifest_path).rows()
        if reply["kind"] == "error":
            assert 0 < len(reply["message"]) <= 1000
            assert len(rows) == before, str(message)[:300]
        else:
            assert reply["id"] == message["id"], str(message)[:300]
            assert len(rows) == before or message["kind"] in CHANGING, str(message)[:300]
        for row in rows[before:]:
            assert_valid(row, scan)
        before = len(rows)
    assert tree(scan.root) == data
    assert not Manifest(scan.manifest_path).warnings
    assert page.ask("ready")["kind"] == "page"
    page.ask("open", label="cat", split="train")
    page.ask("filter", show="all", order="loss")
    assert page.ask("decide", paths=["train/cat/cat_01.png"], action="unsure")["kind"] == "done"
    assert Manifest(scan.manifest_path).standing()["train/cat/cat_01.png"].action is Action.UNSURE
    for lists in page.lists:
        json_packer(lists)
    with capsys.disabled():
        seconds = time.perf_counter() - began
        print(f"\n{said.total()} messages in {seconds:.0f} s: {dict(said)}, {before} rows of valid decisions")


# Odd images


SAVED: dict[str, list[dict[str, Any]]] = {
    "JPEG": [{}, {"progressive": True}, {"optimize": True, "quality": 20}, {"comment": b"x" * 300}],
    "PNG": [{}, {"compress_level": 0}, {"dpi": (1, 1)}],
    "TIFF": [{}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}, {"compression": "tiff_deflate"}],
    "WEBP": [{}, {"lossless": True}],
    "JPEG2000": [{}, {"tile_size": (16, 16)}, {"irreversible": True}],
    "TGA": [{}, {"compression": "tga_rle"}],
}
MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16", "I", "F")
CONTAINERS = ("ICO", "ICNS", "EPS", "PDF", "DDS", "SGI", "IM", "BLP", "AVIF")
SUFFIXES = sorted(IMAGE_SUFFIXES)
# No regular files, larger than a megabyte, or slow to make.
NOT_DAMAGED = (
    "pipe.png",
    "socket.png",
    "zero.png",
    "circle.png",
    "sparse.tif",
    "text.png",
    "container.jpg",
    "stars.png",
)


def whole_images(folder: Path) -> dict[str, bytes]:
    """Images in all formats that are opened, in others, and files that were made to do harm."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    found: dict[str, bytes] = {}
    for kind in (*FORMATS, *CONTAINERS):
        for number, options in enumerate(SAVED.get(kind, [{}])):
            for mode in MODES:
                buffer = io.BytesIO()
                # Each format has modes of its own; Pillow was built without some of the formats.
                with suppress(OSError, ValueError, KeyError):
                    Image.fromarray(pixels).convert("L" if mode == "I;16" else mode).convert(mode).save(
                        buffer, kind, **options
                    )
                    found[f"{kind} {mode} {number}"] = buffer.getvalue()
    for name in (*HARMFUL, *HARMLESS):
        if name not in NOT_DAMAGED:
            found[name] = write_harmful_image(name, folder).read_bytes()
            (folder / name).unlink()
    assert {name.split()[0] for name in found} >= {*FORMATS}
    return found


def odd_image(whole: dict[str, bytes], chance: random.Random) -> bytes:  # noqa: C901
    """The bytes of an image that is torn, changed, put together wrongly, or says that it is huge."""
    data, kind = bytearray(whole[chance.choice(sorted(whole))]), chance.randrange(10)
    at = chance.randrange(min(len(data), 200))  # in the header
    if kind == 0:
        del data[chance.randrange(len(data)) :]
    elif kind == 1:
        for _ in range(chance.choice([1, 1, 3, 20])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == 2:
        for _ in range(chance.choice([1, 4])):
            data[chance.randrange(min(len(data), 64))] = chance.randrange(256)
    elif kind == 3:
        number = chance.choice([0, 1, 2**15, 16_384, 65_535, 2**20, 2**31 - 1, 2**31, 2**32 - 1])
        data[at : at + 4] = struct.pack(chance.choice("<>") + "I", number)
    elif kind == 4:
        data[at : at + chance.randrange(100)] = chance.randbytes(chance.randrange(100))
    elif kind == 5:
        other = whole[chance.choice(sorted(whole))]
        data[chance.randrange(len(data)) :] = other[chance.randrange(len(other)) :]
    elif kind == 6:
        return chance.choice([b"", b"\0", b"not an image\n", bytes(1000), chance.randbytes(1000), b"\xff\xd8\xff"])
    elif kind == 7:
        return gzip.compress(data)
    elif kind == 8:
        data[: chance.randrange(20)] = b""
    return bytes(data)


def reason_of(path: Path) -> str:
    """Decode an image in one of the ways that a scan does; why that fails, or nothing."""
    try:
        with opened_image(path) as image:
            image.size  # noqa: B018
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return str(error) or type(error).__name__
    return ""


def peak() -> int:
    """Bytes of memory that this process has held at most; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("count", counts(60, 1000))
def test_odd_images_are_read_or_refused_with_a_reason(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, whole, said, began = random.Random("odd images"), whole_images(tmp_path), Counter(), time.perf_counter()
    slowest, before = (0.0, ""), peak()
    for number in range(count):
        data = odd_image(whole, chance)
        path = tmp_path / f"{number}{chance.choice(SUFFIXES)}"
        path.write_bytes(data)
        since = time.perf_counter()
        with suppress(RefusedFile):
            check_image(str(path))
        refused, thumbnail = reason_of(path), make_thumbnail(path, 64)
        slowest = max(slowest, (time.perf_counter() - since, f"{number} {data[:12]!r}"))
        assert bool(thumbnail.data) != bool(thumbnail.error), number
        assert not (refused and thumbnail.data), number
        if thumbnail.data:
            with Image.open(io.BytesIO(thumbnail.data)) as small:
                assert (small.format, max(small.size) <= 64) == ("JPEG", True)
        assert path.read_bytes() == data
        said["an image" if thumbnail.data else "not opened" if refused else "not decoded"] += 1
        path.unlink()
    grown = (peak() - before) / 2**30
    with capsys.disabled():
        print(f"\n{count} odd images in {time.perf_counter() - began:.0f} s, {grown:.2f} GiB: {dict(said)}; {slowest=}")
    assert min(said.values()) > count // 50
    assert grown < 4.5  # what the largest image that is decoded takes in the most wasteful format


# Commands on damaged files


@dataclass
class Folder:
    """A dataset, its label table and its scan of two rounds, in a state that `build` makes again and again."""

    path: Path
    state: str
    before: dict[str, Tree] = field(default_factory=dict)
    journals: list[Path] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def scan(self) -> Path:
        return self.path / "scan"

    @property
    def manifest(self) -> Path:
        return self.scan / "decisions.csv"

    @property
    def table(self) -> Path:
        return self.data / "labels.csv"

    def build(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
            make(self.data / name, f"bytes of {name}")
        self.table.write_bytes(TABLE)
        os.utime(self.table, ns=(10**18, 10**18))
        scan = self._scan(2.5, "2026-01-30")
        manifest = Manifest(scan.write(self.scan).manifest_path)
        for path, action, new in (("cat/1.png", Action.RELABEL, "dog"), ("dog/1.png", Action.DELETE, "")):
            sha256 = sha256_of(self.data / path)
            manifest.append(Decision(path, action, path[:3], new, sha256=sha256, decided_at=TIME))
        remember(self.scan)
        self._scan(1.5, "2026-02-01").write(self.scan)
        if self.state != "decided":
            labels = self.table if self.state == "table" else None
            report = apply(self.manifest, self.data, labels=labels)
            assert report.done
        self.journals = sorted(self.scan.glob("journal-*.jsonl"))
        self.before = self.now()

    def _scan(self, loss: float, day: str) -> Scan:
        samples = (Sample("train", "cat", 1, "cat/1.png", loss, "dog", 0.9),)
        bad = Unreadable("train", "dog", "dog/2.png", "it is torn")
        cells = {"train": {("cat", "dog"): 2, ("dog", "dog"): 1}}
        return Scan(
            self.data, ("cat", "dog"), ("train",), 1, {"train": 3}, samples, cells, (bad,),
            started=f"{day}T12:00:00Z", finished=f"{day}T13:00:00Z",
        )  # fmt: skip

    def now(self) -> dict[str, Tree]:
        found = {"data": tree(self.data), "scan": {}}
        for path in self.scan.rglob("*"):
            if path.is_file() and not path.name.endswith(".lock"):
                found["scan"][str(path.relative_to(self.scan))] = path.read_bytes()
        return found

    def commands(self) -> list[list[str]]:
        scan, manifest, labels = str(self.scan), str(self.manifest), ["--labels", str(self.table)]
        carry_out = ["apply", manifest, "--data", str(self.data)]
        if self.state == "table":
            carry_out += labels
        common = [["show", scan], ["history", scan], ["export", manifest, "--out", str(self.path / "out.csv")]]
        common += [[*carry_out, "--dry-run"], carry_out]
        if self.state == "decided":
            return [*common, [*carry_out, *labels, "--dry-run"], [*carry_out, *labels]]
        (journal,) = map(str, self.journals)
        return [*common, ["undo", "--yes", journal], ["trash", journal]]

    def files(self) -> list[Path]:
        """What is damaged: all of the scan folder, and the label table."""
        return [self.scan / name for name in sorted(self.before["scan"])] + [self.table]


def damaged(data: bytes, anyhow: Iterator[bytes], chance: random.Random) -> bytes:
    """A file that is damaged in any way, or, where it is of JSON, with another value in one of its fields."""
    if data.startswith(b"{") and chance.random() < 0.5:
        try:
            lines = [json.loads(data)]
        except ValueError:
            lines = [json.loads(line) for line in data.splitlines()]
        *before, last = chance.choice(list(places(lines)))
        inner: Any = lines
        for key in before:
            inner = inner[key]
        inner[last] = chance.choice(VALUES)
        return "".join(json.dumps(line) + "\n" for line in lines).encode()
    return next(anyhow)


def images_in(found: Tree) -> Counter[bytes]:
    """The bytes of the images of a dataset, and how often each is there."""
    return Counter(file[0] for path, file in found.items() if isinstance(file, tuple) and not path.endswith(".csv"))


def assert_nothing_is_lost(before: dict[str, Tree], after: dict[str, Tree], command: str) -> None:
    assert images_in(after["data"]) == images_in(before["data"])
    table, kept = before["data"]["labels.csv"], set(after["scan"].values())
    if after["data"].get("labels.csv") == table:
        return
    assert command in ("apply", "undo")
    # What undo takes away is what apply had made of the table that undo puts back.
    assert (
        table[0] in kept if command == "apply" else after["data"]["labels.csv"][0] in {*kept, *before["scan"].values()}
    )


def run_on_damaged(folder: Folder, damages: dict[Path, bytes], command: list[str], said: Callable[[], Any]) -> int:
    """Run a command and check what it says and changes; its exit status."""
    before = folder.now()
    what = (command[0], folder.state, {path.name: data[:2000] for path, data in damages.items()})
    try:
        status = main(command)
    except Exception as error:
        raise AssertionError(f"{error!r} of {what}") from error
    out, err = said()
    assert status in (0, 1, 2), what
    assert "Traceback" not in out + err, what
    assert status == 0 or out or err, what
    after = folder.now()
    if status == 2:
        assert err.startswith(f"cleaner {command[0]}: "), what
        assert after["data"] == before["data"], what
    if command[0] not in ("apply", "undo") or "--dry-run" in command:
        assert after["data"] == before["data"], what
    assert_nothing_is_lost(before, after, command[0])
    return status


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", counts(63, 10_000))
def test_commands_on_damaged_files_report_them_and_lose_nothing(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, statuses, began, done = random.Random("commands"), Counter(), time.perf_counter(), 0
    faults: list[str] = []
    folders = [Folder(tmp_path / state, state) for state in ("decided", "folders", "table")]
    ways: dict[tuple[str, str], Iterator[bytes]] = {}
    while done < count:
        folder = folders[done % len(folders)]
        folder.build()
        for command in folder.commands():
            # The names and bytes of what is damaged are the same for all commands of a round.
            if command == folder.commands()[0]:
                damages = {}
                for path in chance.sample(folder.files(), chance.choice([1, 1, 1, 2])):
                    whole = path.read_bytes()
                    anyhow = ways.setdefault((folder.state, path.name), broken(whole or b"x\n", chance))
                    damages[path] = damaged(whole, anyhow, chance)
            for path, data in damages.items():
                path.write_bytes(data)
            intact = folder.now()
            try:
                statuses[command[0], run_on_damaged(folder, damages, command, capsys.readouterr)] += 1
            except AssertionError as error:
                faults.append(str(error)[:1000])
            done += 1
            if folder.now() != intact:
                folder.build()
    with capsys.disabled():
        by_status = {status: sum(n for (_, each), n in statuses.items() if each == status) for status in (0, 1, 2)}
        print(f"\n{done} commands on damaged files in {time.perf_counter() - began:.0f} s: {by_status} by exit status")
    assert faults == []
    assert by_status[2] >= count // 10
