"""Three hundred malformed inputs through the command line: each is told, and no file of the dataset is changed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cleaner.apply.execute import apply
from cleaner.cli import main
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Sample, Unreadable
from cleaner.core.scan import Scan
from tests.apply.test_execute import TIME, Tree, make, tree

TABLE = b'fname,label,note\r\ncat/1.png,cat,"a, b"\r\ncat/2.png,cat,\r\ndog/1.png,dog,x\r\n'


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


def broken(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """The bytes of a text file in ways that people, programs and disks break them; most of these make no sense."""
    lines = data.splitlines(keepends=True)
    middle = len(data) // 2
    yield b""
    yield b"\0" * 64
    yield b"\xff\xfe" + data
    yield data.decode().encode("utf-16")
    yield data[:middle] + b"\xff\xfe\xfd" + data[middle:]
    yield data[:middle] + b"\0" + data[middle:]
    yield b"".join(lines[1:])
    yield lines[0]
    yield lines[0].replace(b",", b";") + b"".join(lines[1:])
    yield data + b'"'
    yield data.replace(b"\n", b"\n\n\n") + b'"never closed\n1,2'
    yield b"<html><body>404 Not found</body></html>\n"
    yield b"PK\x03\x04" + bytes(chance.randrange(256) for _ in range(200))
    yield bytes(chance.randrange(256) for _ in range(300))
    yield b"[" * 100_000
    yield b"," * 5000
    yield data.replace(b",", b"\t")
    yield data.replace(b'"', b"'")
    yield lines[0] + b"".join(line.rstrip(b"\r\n") + b",more,and more\n" for line in lines[1:])
    yield lines[0] + b"".join(line.partition(b",")[2] for line in lines[1:])
    while True:
        kind, at = chance.randrange(4), chance.randrange(len(data))
        if kind == 0:
            yield data[:at]
        elif kind == 1:
            yield data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        elif kind == 2:
            until = min(len(data), at + chance.randrange(1, 40))
            yield data[:at] + data[until:]
        else:
            cells = data.split(b",")
            cells[chance.randrange(len(cells))] = chance.choice(
                [b"", b"-1", b"1e999", b"../../etc/passwd", b"/etc/passwd", b"x" * 70_000, b"\r", b'"', b"=1+1", b"{}"]
            )
            yield b",".join(cells)


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
        return report.journal, [["trash", str(report.journal)], ["undo", str(report.journal)]]

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


def test_there_are_three_hundred_cases() -> None:
    assert sum(count for _, count in KINDS.values()) == 300


@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_input_is_told_and_changes_no_file_of_the_dataset(
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
