"""Journals with a value of every JSON type in every field: each is told, without a traceback, and nothing changes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cleaner.apply import apply
from cleaner.cli import main
from cleaner.core.errors import CleanerError
from tests.support.folders import Place, delete, relabel, tree
from tests.support.malformed import VALUES, places

TEXTS = ("new_label", "decided_at", "written", "name", "label", "cell")
PATHS = ("source", "target", "path")
NUMBERS = ("size", "modified", "inode", "place", "mode")
LISTS = ("folders", "left", "removed")
# The first shows only whose journal it is, and nothing reads the others.
ANY = ("signature", "at")
MISSING = object()


def makes_sense(field: str, value: Any) -> bool:
    """Whether a value is one that the field may have, so that the journal is another one and not damaged."""
    if field in TEXTS:
        return (isinstance(value, str) and value != "\ud800") or (field == "cell" and value in (None, MISSING))
    if field in PATHS:
        return value in ("x", "x" * 5000)
    if field in NUMBERS:
        least, most = (-1 if field == "modified" else 0), (0o7777 if field == "mode" else 2**63)
        return type(value) is int and least <= value <= most
    if field in LISTS:
        texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return texts or (field == "removed" and value is MISSING)
    if field == "data":
        return value == "/"
    # An empty state is no field of an operation, but an operation without it is one.
    return field in ANY


def damages(lines: list[Any]) -> Iterator[tuple[tuple[Any, ...], Any, str]]:
    """Each way to a field, a value that makes no sense there, and the journal with it."""
    for way in places(lines):
        *before, last = way
        field = next(key for key in reversed(way) if isinstance(key, str)) if any(map(str, way[1:])) else ""
        for value in [*VALUES, MISSING] if isinstance(last, str) else VALUES:
            item_fits = isinstance(last, int) and before and before[-1] in LISTS and isinstance(value, str)
            if makes_sense(field, value) or (item_fits and (field != "folders" or value in ("x", "x" * 5000))):
                continue
            changed = copy.deepcopy(lines)
            inner: Any = changed
            for key in before:
                inner = inner[key]
            if value is MISSING:
                del inner[last]
            else:
                inner[last] = value
            yield way, value, "".join(json.dumps(line) + "\n" for line in changed)


@pytest.mark.parametrize("step", [pytest.param(11, id="short"), pytest.param(1, id="long", marks=pytest.mark.long)])
@pytest.mark.parametrize("of_table", [False, True])
def test_a_value_of_any_type_in_any_field_is_told_and_changes_nothing(
    of_table: bool, step: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path)
    table = place.root / "labels.csv"
    table.write_bytes(b"path,label\ncat/1.png,cat\ncat/2.png,cat\ndog/1.png,dog\n")
    place.decide(delete("cat/1.png"), relabel("cat/2.png", "dog"))
    labels = table if of_table else None
    done = apply(place.manifest, place.root, labels=labels).journal
    lines = [json.loads(line) for line in done.read_text().splitlines()]
    if not of_table:
        lines.append({"removed": [lines[1]["target"]], "at": ""})
    before = tree(place.root)
    dry = ["apply", str(place.manifest), "--data", str(place.root), "--dry-run"]
    commands = [["undo", "--yes", str(done)], ["trash", str(done)], ["trash", "--empty", "--yes", str(done)], dry]
    if of_table:
        commands[3] = [*dry, "--labels", str(table)]
    faults, count = [], 0
    for way, value, text in islice(damages(lines), 0, None, step):
        done.write_text(text)
        for command in commands:
            count += 1
            try:
                status = main(command)
            except Exception as error:  # noqa: BLE001
                status = repr(error)
            said = capsys.readouterr().err
            if status != 2 or not said.startswith(f"cleaner {command[0]}: ") or tree(place.root) != before:
                faults.append((command[0], way, repr(value)[:50], status))
    with capsys.disabled():
        print(f"\n{count} commands on damaged journals, {len(faults)} faults, tracebacks in "
              f"{len({way for _, way, _, status in faults if isinstance(status, str)})} fields")  # fmt: skip
    assert faults == []
    assert count > 2000 // step


@pytest.mark.parametrize("of_table", [False, True])
def test_a_damaged_journal_of_a_table_does_not_stop_an_apply_on_folders_nor_the_other_way_round(
    of_table: bool, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    table = place.root / "labels.csv"
    table.write_bytes(b"path,label\ncat/1.png,cat\ncat/2.png,cat\ndog/1.png,dog\n")
    place.decide(relabel("cat/2.png", "dog"))
    damaged = apply(place.manifest, place.root, labels=table if of_table else None).journal
    damaged.write_text(damaged.read_text().replace('"relabel"', '"rename"'))
    place.decide(delete("cat/1.png"))
    with pytest.raises(CleanerError, match=re.escape(str(damaged))):
        apply(place.manifest, place.root, labels=table if of_table else None)
    done = apply(place.manifest, place.root, labels=None if of_table else table).done
    assert "cat/1.png" in [change.path for change in done]
    # Nobody can say what a journal is about whose first line is damaged.
    damaged.write_text("{}\n")
    for labels in (None, table):
        with pytest.raises(CleanerError, match=re.escape(str(damaged))):
            apply(place.manifest, place.root, labels=labels)
