"""The commands: what they print, and the exit status."""

from __future__ import annotations

import errno
import io
import json
import logging
import math
import os
import re
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cleaner
from cleaner import __version__
from cleaner.cli import main
from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.issues import ISSUES
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Sample, Unreadable
from cleaner.core.scan import Scan
from cleaner.core.terminal import printable

ODD = "cat/two\nlines 😀 <b>.png"
TIME = "2026-01-31T12:00:00Z"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset in `data`, its scan in `scan`, and nothing decided; the current folder is the one that holds them."""
    for path in ("cat/1.png", ODD, "dog/2.png", "dog/1.png"):
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / path).write_bytes(path.encode())
    samples = (
        Sample("train", "cat", 1, ODD, math.nan, "dog", 0.5),
        Sample("train", "cat", 2, "cat/1.png", 3.25, "dog", 0.98765),
        Sample("valid", "dog", 1, "dog/2.png", 12.0, "cat", 1.0),
    )
    scored, cells = {"train": 9, "valid": 9}, {"train": {("cat", "dog"): 2}, "valid": {}}
    Scan(tmp_path / "data", ("cat", "dog"), ("train", "valid"), 5, scored, samples, cells).write(tmp_path / "scan")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def decide(path: str, action: Action, new_label: str = "") -> None:
    """As the app does, which writes the hash of what it shows."""
    file = Path("data", path)
    sha256 = sha256_of(file) if file.is_file() else ""
    Manifest("scan/decisions.csv").append(Decision(path, action, new_label=new_label, sha256=sha256, decided_at=TIME))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit status of a command, and what it printed to stdout and to stderr."""
    status = main(arguments)
    return status, *capsys.readouterr()


APPLY = ("apply", "scan/decisions.csv", "--data", "data")


@pytest.mark.usefixtures("folder")
def test_show_prints_the_highest_losses(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "show", "scan")
    assert (status, err) == (0, "")
    assert out == (
        "split  label  rank  loss     predicted  confidence  decision  path\n"
        "train  cat    1     nan      dog        0.500                 cat/two\\nlines 😀 <b>.png\n"
        "valid  dog    1     12.0000  cat        1.000                 dog/2.png\n"
        "train  cat    2     3.2500   dog        0.988                 cat/1.png\n"
    )


@pytest.mark.usefixtures("folder")
def test_show_prints_what_is_decided_and_carried_out(capsys: pytest.CaptureFixture[str]) -> None:
    decide("dog/2.png", Action.RELABEL, "cat")
    decide("cat/1.png", Action.DELETE)
    run(capsys, *APPLY)
    decide(ODD, Action.UNSURE)
    shown = run(capsys, "show", "scan")[1].splitlines()[1:]
    decided = [re.search(r"(unsure|(relabel cat|delete), carried out on \d{4}-\d\d-\d\d)  ", line) for line in shown]
    assert all(decided), shown
    assert run(capsys, "show", "scan", "--undecided")[1].count("\n") == 1  # the header


@pytest.mark.usefixtures("folder")
def test_show_undecided_goes_on_below_the_decided_ones(capsys: pytest.CaptureFixture[str]) -> None:
    decide(ODD, Action.KEEP)
    out = run(capsys, "show", "scan", "-n", "1", "--undecided")[1]
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["dog/2.png"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (["-n", "1"], ["cat/two\\nlines 😀 <b>.png"]),
        (["--split", "valid"], ["dog/2.png"]),
        (["--label", "cat", "-n", "9"], ["cat/two\\nlines 😀 <b>.png", "cat/1.png"]),
        (["--split", "valid", "--label", "cat"], []),
    ],
)
def test_show_prints_the_requested_split_class_and_number(
    options: list[str], paths: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, "show", "scan", *options)
    assert status == 0
    assert [line.split(maxsplit=6)[6] for line in out.splitlines()[1:]] == paths


@pytest.mark.usefixtures("folder")
def test_apply_and_undo_print_what_was_moved(capsys: pytest.CaptureFixture[str]) -> None:
    decide(ODD, Action.RELABEL, "dog")
    decide("dog/2.png", Action.KEEP)
    decide("cat/1.png", Action.RELABEL, "dog")
    status, out, err = run(capsys, *APPLY)
    (journal,) = Path("scan").absolute().glob("journal-*")
    assert (status, err) == (0, "")
    assert out == (
        "action   from                      to\n"
        "relabel  cat/two\\nlines 😀 <b>.png  dog/two\\nlines 😀 <b>.png\n"
        "relabel  cat/1.png                 dog/1_1.png\n"
        "2 moved, 0 in conflict\n"
        f"To take it back: cleaner undo {journal}\n"
    )
    status, out, err = run(capsys, "undo", str(journal))
    assert (status, err) == (0, "")
    assert out.splitlines()[1].split() == ["relabel", "dog/1_1.png", "cat/1.png"]
    assert out.endswith("\n2 moved back, 0 in conflict\n")
    assert Path("data", ODD).is_file()
    assert run(capsys, "undo", str(journal)) == (0, "0 moved back, 0 in conflict\n", "")


def lose_the_last_decision() -> None:
    """Save the manifest without its last row, as a spreadsheet that was opened before that one was taken."""
    path = Path("scan/decisions.csv")
    rows = path.read_bytes().splitlines(keepends=True)
    path.with_name("other").write_bytes(b"".join(rows[:-1]))
    path.with_name("other").replace(path)


@pytest.mark.usefixtures("folder")
def test_apply_refuses_a_manifest_that_lost_decisions(capsys: pytest.CaptureFixture[str]) -> None:
    decide("cat/1.png", Action.DELETE)
    decide("cat/1.png", Action.KEEP)
    lose_the_last_decision()
    lost = "1 decision is missing: 'cat/1.png' (keep)"

    assert lost in run(capsys, "show", "scan")[2]
    status, _, err = run(capsys, "export", "scan/decisions.csv", "--out", "final.csv")
    assert status == 1
    assert lost in err
    status, out, err = run(capsys, *APPLY)
    assert status == 1
    assert lost in err
    assert "--accept-edited" in err
    assert "would be moved" in out
    assert Path("data/cat/1.png").exists()
    with pytest.raises(CleanerError, match="1 decision is missing"):
        cleaner.apply("scan/decisions.csv", "data")
    assert Path("data/cat/1.png").exists()

    status, out, _ = run(capsys, *APPLY, "--accept-edited")
    assert status == 0
    assert not Path("data/cat/1.png").exists()
    err = run(capsys, *APPLY)[2]
    assert "edited outside" not in err  # what was accepted is not asked again
    assert "1 decision was carried out on " in err


@pytest.mark.usefixtures("folder")
def test_apply_prints_what_it_left_alone_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    decide("cat/no\tne.png", Action.DELETE)
    decide("dog/2.png", Action.DELETE)
    status, out, _ = run(capsys, *APPLY)
    assert status == 1
    assert "1 moved, 1 in conflict\naction  path            left alone because\n" in out
    assert "delete  cat/no\\tne.png  the file is gone\n" in out
    (journal,) = Path("scan").glob("journal-*")
    Path("data/dog/2.png").write_text("of somebody else")
    status, out, _ = run(capsys, "undo", str(journal))
    assert status == 1
    assert "0 moved back, 1 in conflict\n" in out
    assert Path("data/dog/2.png").read_text() == "of somebody else"


@pytest.mark.usefixtures("folder")
def test_a_dry_run_prints_what_would_be_moved_and_moves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    decide("cat/1.png", Action.RELABEL, "dog")
    status, out, _ = run(capsys, *APPLY, "--dry-run")
    assert status == 0
    assert out == (
        "action   from       to\n"
        "relabel  cat/1.png  dog/1_1.png\n"
        "label  new label  images\n"
        "cat    dog        1\n"
        "1 would be moved, 0 in conflict\n"
    )
    decide("cat/none.png", Action.DELETE)
    status, out, _ = run(capsys, *APPLY, "--dry-run")
    assert status == 1
    assert "1 would be moved, 1 in conflict\n" in out
    assert Path("data/cat/1.png").is_file()
    assert list(Path("scan").glob("journal-*")) == []


@pytest.mark.usefixtures("folder")
def test_json_has_the_journal_what_was_done_and_the_conflicts(capsys: pytest.CaptureFixture[str]) -> None:
    decide(ODD, Action.RELABEL, "dog")
    decide("cat/none.png", Action.DELETE)
    done = [{"source": ODD, "target": ODD.replace("cat", "dog"), "action": "relabel", "decided_at": TIME}]
    conflicts = [{"path": "cat/none.png", "action": "delete", "reason": "the file is gone"}]
    status, out, err = run(capsys, *APPLY, "--dry-run", "--json")
    summary = [{"from": "cat", "to": "dog", "count": 1}]
    report = {"summary": summary, "conflicts": conflicts}
    assert (status, json.loads(out), err) == (1, {"journal": None, "planned": done, **report}, "")
    status, out, err = run(capsys, *APPLY, "--json")
    journal = str(next(Path("scan").absolute().glob("journal-*")))
    assert (status, json.loads(out), err) == (1, {"journal": journal, "done": done, **report}, "")
    status, out, _ = run(capsys, *APPLY, "--json")
    assert (status, json.loads(out)) == (1, {"journal": None, "done": [], "summary": [], "conflicts": conflicts})


@pytest.mark.usefixtures("folder")
def test_export_writes_the_decisions_that_stand(capsys: pytest.CaptureFixture[str]) -> None:
    decide("cat/1.png", Action.KEEP)
    decide("dog/2.png", Action.KEEP)
    decide("cat/1.png", Action.DELETE)
    decide("dog/2.png", Action.UNDO)
    assert run(capsys, "export", "scan/decisions.csv", "--out", "out.csv") == (0, "1 decisions: out.csv\n", "")
    assert [(row.path, row.action) for row in Manifest("out.csv").rows()] == [("cat/1.png", Action.DELETE)]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", [APPLY, (*APPLY, "--dry-run", "--json"), ("export", APPLY[1], "--out", "o.csv")])
def test_a_torn_row_is_reported_with_exit_status_1(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    decide("cat/1.png", Action.KEEP)
    with open("scan/decisions.csv", "a") as file:
        file.write("dog/2.png,delete")
    before = Path("scan/decisions.csv").read_bytes()
    for _ in range(2):
        status, out, err = run(capsys, *command)
        assert status == 1
        assert err.startswith(f"cleaner {command[0]}: ")
        assert "torn" in err
        assert "dog/2.png,delete" in err
        assert "torn" not in out
    assert Path("scan/decisions.csv").read_bytes() == before
    assert Path("data/dog/2.png").is_file()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["show", "none"], "none"),
        (["show", "data"], "scan.json"),
        (["show", "scan", "--split", "test"], "'test'"),
        (["show", "scan", "--label", "cow"], "'cow'"),
        (["show", "scan", "-n", "0"], "n is 0"),
        (["serve", "none", "--no-browser"], "none"),
        (["export", "none.csv", "--out", "out.csv"], "none.csv"),
        (["export", "data", "--out", "out.csv"], "data"),
        (["apply", "none.csv", "--data", "data"], "none.csv"),
        (["export", "scan/decisions.csv", "--out", "scan/decisions.csv"], "not an earlier export"),
        (["export", "scan/decisions.csv", "--out", "scan/scan.json"], "not an earlier export"),
        (["export", "scan/decisions.csv", "--out", "none/out.csv"], "'none/out.csv' cannot be written"),
        (["export", "scan/note.txt", "--out", "out.csv"], "note.txt"),
        (["apply", "scan/note.txt", "--data", "data"], "note.txt"),
        (["apply", "scan/note.txt", "--data", "data", "--dry-run"], "note.txt"),
        (["apply", "scan/decisions.csv", "--data", "none"], "none"),
        (["apply", "scan/decisions.csv", "--data", "none", "--dry-run", "--json"], "none"),
        (["apply", "scan/bad.csv", "--data", "data"], "bad.csv', line 2, column 'action'"),
        (["undo", "none.jsonl"], "none.jsonl"),
        (["undo", "scan/scan.json"], "scan.json"),
        (["scan", "--learner", "none.pkl", "--data", "data", "--out", "new"], "none.pkl"),
        (["scan", "--learner", "scan/scan.json", "--data", "data", "--out", "new"], "learn.export()"),
        (["demo", "--dir", "data", "--no-serve"], "data"),
    ],
)
def test_bad_input_exits_with_2_and_the_reason(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    decide("cat/1.png", Action.DELETE)
    Path("scan/bad.csv").write_text("path,action\ncat/1.png,drop\n")
    Path("scan/note.txt").write_text("buy milk")
    before = {file: file.read_bytes() for file in Path("scan").iterdir()}
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"cleaner {arguments[0]}: ")
    assert named in err
    assert "Traceback" not in err
    assert Path("data/cat/1.png").is_file()
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["show"],
        ["show", "scan", "-n", "many"],
        ["apply"],
        ["export", "scan/decisions.csv"],
        ["undo"],
        ["scan", "--data", "data", "--out", "new"],
        ["serve", "scan", "--port", "http"],
        ["show", "scan", "--frobnicate"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: cleaner" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_what_an_installation_without_torch_lacks_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'fastai'", name="fastai")

    monkeypatch.setattr("cleaner.scoring.learner_file.scan_file", lacking)
    status, _, err = run(capsys, "scan", "--learner", "l.pkl", "--data", "data", "--out", "new")
    assert (status, err) == (2, "cleaner scan: fastai is needed and not installed: pip install image-label-cleaner\n")


@pytest.mark.usefixtures("folder")
def test_show_says_whether_a_scan_was_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert "not checked yet" in run(capsys, "show", "scan", "--issues")[1]
    ISSUES.write_beside(Path("scan"), ())
    assert "no issue was found" in run(capsys, "show", "scan", "--issues")[1]


def test_an_unknown_flag_shows_the_usage_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["apply", "scan", "--tabel", "labels.csv"])
    err = capsys.readouterr().err
    assert err.startswith("usage: cleaner apply ")
    assert err.endswith("cleaner apply: error: unrecognized arguments: --tabel labels.csv\n")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["apply", "--help"]])
def test_help_and_version_exit_with_0(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert (f"cleaner {__version__}" if arguments == ["--version"] else "usage: cleaner") in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_deciding_again_after_apply_exits_with_1_and_names_undo(capsys: pytest.CaptureFixture[str]) -> None:
    decide("cat/1.png", Action.DELETE)
    run(capsys, *APPLY)
    (journal,) = Path("scan").absolute().glob("journal-*")
    for action in (Action.KEEP, Action.UNDO):
        decide("cat/1.png", action)
        status, out, _ = run(capsys, *APPLY)
        assert status == 1
        assert "0 moved, 1 in conflict\n" in out
        assert f"it was deleted by {journal.name!r}; `cleaner undo {journal}` takes that back" in out
    assert run(capsys, "undo", str(journal))[0] == 0
    assert run(capsys, *APPLY)[0] == 0


@pytest.mark.usefixtures("folder")
def test_apply_to_a_label_table_prints_the_rows_and_undo_takes_them_back(capsys: pytest.CaptureFixture[str]) -> None:
    content = b"file,label\r\ncat/1.png,cat\r\ndog/2.png,dog\r\n"
    Path("labels.csv").write_bytes(content)
    decide("cat/1.png", Action.RELABEL, "dog")
    decide("dog/2.png", Action.DELETE)
    decide("dog/1.png", Action.DELETE)
    command = (*APPLY, "--labels", "labels.csv")
    status, out, _ = run(capsys, *command, "--dry-run")
    assert (status, "\n2 would be changed, 1 in conflict\n" in out) == (1, True)
    assert Path("labels.csv").read_bytes() == content
    status, out, err = run(capsys, *command)
    (journal,) = Path("scan").absolute().glob("journal-*.jsonl")
    assert (status, err) == (1, "")
    assert out == (
        "action   path       label  new label\n"
        "relabel  cat/1.png  cat    dog\n"
        "delete   dog/2.png  dog\n"
        "2 changed, 1 in conflict\n"
        "action  path       left alone because\n"
        "delete  dog/1.png  it is not in the table\n"
        f"To take it back: cleaner undo {journal}\n"
    )
    assert Path("labels.csv").read_bytes() == b"file,label\r\ncat/1.png,dog\r\n"
    assert Path("data/dog/2.png").is_file()
    status, out, _ = run(capsys, *command, "--json")
    assert (status, json.loads(out)["done"], len(json.loads(out)["conflicts"])) == (1, [], 1)
    status, out, err = run(capsys, "undo", str(journal))
    assert (status, err) == (0, "")
    assert out.endswith("\n2 changed back, 0 in conflict\n")
    assert Path("labels.csv").read_bytes() == content
    done = json.loads(run(capsys, *command, "--json", "--path-column", "file", "--label-column", "label")[1])["done"]
    row = {"path": "cat/1.png", "label": "cat", "new_label": "dog", "action": "relabel", "decided_at": TIME}
    assert done[0] == row


@pytest.mark.usefixtures("folder")
def test_apply_to_names_of_files_prints_the_moves(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/cat_1.png").write_text("a cat")
    decide("cat_1.png", Action.RELABEL, "dog")
    status, out, _ = run(capsys, *APPLY)
    assert (status, "0 moved, 1 in conflict" in out) == (1, True)
    status, out, _ = run(capsys, *APPLY, "--name-pattern", r"(.+)_\d+.png$", "--dry-run")
    assert (status, out.splitlines()[1].split()) == (0, ["relabel", "cat_1.png", "dog_1.png"])
    assert run(capsys, *APPLY, "--name-pattern", r"(.+)_\d+.png$")[0] == 0
    assert Path("data/dog_1.png").read_text() == "a cat"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--name-pattern", "("], "no regular expression"),
        (["--name-pattern", "(.+)_", "--labels", "labels.csv"], "got both"),
        (["--labels", "none.csv"], "none.csv"),
        (["--labels", "data"], "data"),
        (["--labels", "scan/decisions.csv"], "the table that the dataset has"),
        (["--labels", "labels.csv"], "['a', 'label']; none has a usual name for paths (fname, file,"),
        (["--labels", "labels.csv", "--path-column", "b"], "no column 'b'"),
        (["--path-column", "a"], "no label table"),
    ],
)
def test_an_unusable_label_table_exits_with_2(
    options: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    decide("cat/1.png", Action.DELETE)
    Path("labels.csv").write_text("a,label\ncat/1.png,cat\n")
    status, out, err = run(capsys, *APPLY, *options)
    assert (status, out) == (2, "")
    assert named in err
    assert Path("data/cat/1.png").is_file()


class Terminal(io.StringIO):
    """Where a person types."""

    def isatty(self) -> bool:
        return True


def deleted_two(capsys: pytest.CaptureFixture[str]) -> str:
    """The journal of an apply that deleted two files."""
    decide("cat/1.png", Action.DELETE)
    decide("dog/2.png", Action.DELETE)
    run(capsys, *APPLY)
    return str(next(Path("scan").absolute().glob("journal-*")))


@pytest.mark.usefixtures("folder")
def test_trash_lists_files_and_removes_none(capsys: pytest.CaptureFixture[str]) -> None:
    journal = deleted_two(capsys)
    status, out, err = run(capsys, "trash", journal)
    assert (status, err) == (0, "")
    assert out.splitlines()[1].split()[:2] == ["9", "cat/1.png"]
    assert out.endswith("\n2 files with 18 bytes in the trash, 0 left alone\n")
    assert run(capsys, "undo", journal)[0] == 0


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("typed", "removed"), [("yes\n", True), ("y\n", False), ("", False)])
def test_emptying_the_trash_asks_first(
    typed: str, removed: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = deleted_two(capsys)
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    status, out, _ = run(capsys, "trash", "--empty", journal)
    assert (status, "Type yes: " in out) == (0 if removed else 1, True)
    assert ("2 files with 18 bytes removed for good, 0 left alone" in out) == removed
    assert ("nothing was removed" in out) != removed
    status, out, _ = run(capsys, "undo", journal)
    assert (status, out.count("gone for good")) == ((1, 2) if removed else (0, 0))


@pytest.mark.usefixtures("folder")
def test_emptying_the_trash_without_a_terminal_needs_yes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = deleted_two(capsys)
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    status, _, err = run(capsys, "trash", "--empty", journal)
    assert (status, "--yes" in err) == (2, True)
    next(Path("data/.cleaner-trash").rglob("1.png")).write_text("of somebody else")
    status, out, _ = run(capsys, "trash", "--empty", "--yes", journal)
    assert (status, "1 files with 9 bytes removed for good, 1 left alone" in out) == (1, True)
    assert run(capsys, "trash", "none.jsonl")[0] == 2


@pytest.mark.usefixtures("folder")
def test_files_unreadable_when_decided_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data").rename("unmounted")
    decide("cat/1.png", Action.DELETE)
    Path("unmounted").rename("data")
    status, out, _ = run(capsys, *APPLY)
    assert status == 1
    assert "could not be read when it was decided" in out
    assert Path("data/cat/1.png").is_file()


@pytest.mark.usefixtures("folder")
def test_applying_to_another_folder_prints_a_note_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    Manifest("scan/decisions.csv").append(Decision("cat/1.png", Action.DELETE))
    Path("data").rename("moved")
    for option in (["--dry-run"], []):
        status, _, err = run(capsys, "apply", "scan/decisions.csv", "--data", "moved", *option)
        assert status == 0
        assert err.startswith("cleaner apply: ")
        assert "is not the folder that was scanned" in err


def test_printed_commands_can_be_pasted_into_a_shell(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = "scan of Zoë's $HOME"
    decide("cat/1.png", Action.DELETE)
    Path("scan").rename(odd)
    _, out, _ = run(capsys, "apply", f"{odd}/decisions.csv", "--data", "data")
    (journal,) = (folder / odd).glob("journal-*")
    assert shlex.split(out.splitlines()[-1]) == ["To", "take", "it", "back:", "cleaner", "undo", str(journal)]
    stub(
        monkeypatch,
        "cleaner.scoring.learner_file.scan_file",
        SimpleNamespace(scored={}, unreadable=(), address="", left_out={}, settings={"device": "cpu"}),
    )
    _, out, _ = run(capsys, *SCAN[:-1], odd)
    assert shlex.split(out.splitlines()[-1]) == ["Review", "them:", "cleaner", "serve", odd]


@pytest.mark.usefixtures("folder")
def test_a_read_only_folder_exits_with_2_and_advice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    decide("cat/1.png", Action.DELETE)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    status, out, err = run(capsys, *APPLY)
    assert (status, out) == (2, "")
    assert "make it writable" in err
    assert "Errno" not in err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("command", "status"),
    [(("show", "scan"), 0), ((*APPLY, "--dry-run"), 1), (APPLY, 1), (("undo", "scan/none"), 2)],
)
def test_a_closed_pipe_changes_neither_status_nor_messages(command: tuple[str, ...], status: int) -> None:
    decide("cat/none.png", Action.DELETE)
    decide("cat/1.png", Action.DELETE)
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from cleaner.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *command], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.returncode == status
    assert ("Errno" in done.stderr, "pipe" in done.stderr) == (status == 2, False)
    assert Path("data/cat/1.png").is_file() == (command != APPLY)


def stub(monkeypatch: pytest.MonkeyPatch, target: str, result: object = None) -> list[Any]:
    """Puts a function in the place of another; gives what it is called with. An exception as the result is raised."""
    calls: list[Any] = []

    def stubbed(*arguments: object, **options: object) -> object:
        calls.append((arguments, options))
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr(target, stubbed)
    return calls


SCAN = ["scan", "--learner", "l.pkl", "--data", "data", "--out", "new"]


def test_scan_passes_its_options_on_and_prints_what_to_do_next(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"scored": {"train": 7, "valid": 3}, "unreadable": (1, 2), "left_out": {}}
    result = SimpleNamespace(**counts, address="", settings={"device": "mps"})
    calls = stub(monkeypatch, "cleaner.scoring.learner_file.scan_file", result)
    status, out, err = run(
        capsys, *SCAN, "-k", "7", "--trust", "--workers", "3", "--batch-size", "5", "--device", "mps"
    )
    assert (status, err) == (0, "")
    assert out == "10 images scored on mps, 2 unreadable: new\nReview them: cleaner serve new\n"
    ((arguments, options),) = calls
    assert arguments == ("l.pkl", "data", "new")
    assert {"k": 7, "trust": True, "workers": 3, "batch_size": 5, "device": "mps"}.items() <= options.items()


@pytest.mark.parametrize(
    ("error", "status"),
    [(CleanerError("why"), 2), (OSError("why"), 1), (KeyboardInterrupt(), 130)],
)
def test_a_failed_scan_exits_with_2_and_the_reason(
    error: BaseException, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(monkeypatch, "cleaner.scoring.learner_file.scan_file", error)
    found, out, err = run(capsys, *SCAN)
    assert (found, out) == (status, "")
    assert (
        err.strip()
        == f"cleaner scan: {'stopped; the same command goes on from the last checkpoint' if status == 130 else 'why'}"
    )


def test_serve_and_demo_pass_their_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    serve = stub(monkeypatch, "cleaner.review.serve.serve")
    demo = stub(monkeypatch, "cleaner.demo.demo", result=0)
    serve_options = ["--data", "there", "--port", "1234", "--ip", "::1", "--token", "secret", "--no-browser"]
    serve_options += ["--theme", "dark", "--max-visitors", "7"]
    assert main(["serve", "scan", *serve_options]) == 0
    assert main(["demo", "--dir", "here", "--no-serve", "--port", "1234"]) == 0
    options = {"data": "there", "port": 1234, "ip": "::1", "token": "secret", "open_browser": False, "theme": "dark"}
    options |= {"max_visitors": 7, "blind": False}
    assert serve == [(("scan",), options)]
    assert demo == [(("here",), {"photos": False, "serve": False, "port": 1234})]


def in_new_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in an interpreter of its own, which prints the packages that it loaded to stderr."""
    code = "import sys\nfrom cleaner.cli import main\nstatus = main(sys.argv[1:])\n"
    code += "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)\nsys.exit(status)"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env={**os.environ, **environment}, check=False
    )


@pytest.mark.usefixtures("folder")
def test_show_export_apply_and_undo_load_nothing_heavy() -> None:
    decide("cat/1.png", Action.DELETE)
    heavy = {"torch", "torchvision", "fastai", "pandas", "ipywidgets", "anywidget", "voila", "matplotlib"}
    commands = [("show", "scan"), ("export", "scan/decisions.csv", "--out", "o.csv"), (*APPLY, "--dry-run"), APPLY]
    for command in commands:
        done = in_new_process(*command)
        assert done.returncode == 0, done.stderr
        assert not heavy & set(done.stderr.split()), command
    journal = next(Path("scan").glob("journal-*"))
    done = in_new_process("undo", str(journal))
    assert done.returncode == 0, done.stderr
    assert not heavy & set(done.stderr.split())
    assert Path("data/cat/1.png").is_file()


@pytest.mark.usefixtures("folder")
def test_names_that_the_terminal_cannot_show_are_shown_as_escapes() -> None:
    decide(ODD, Action.RELABEL, "dog")
    shown = in_new_process("show", "scan", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (shown.returncode, "two\\nlines \\U0001f600 <b>.png" in shown.stdout) == (0, True), shown.stderr
    planned = in_new_process(*APPLY, "--dry-run", "--json", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["planned"][0]["source"] == ODD


# Sets the title of the window, rings, colours, turns the order of what follows, ends lines.
HOSTILE = "\x1b]0;owned\x07 \x9b31m \u202e\u2066 \u2028\u2029\r\n\x7f\ufeff"
READABLE = "é猫\u3000😀می\u200cخواهم"
ODD_NAME = f"{HOSTILE}{READABLE}"


def steers(text: str) -> list[str]:
    """What a terminal takes for more than text, but for line ends."""
    return [c for c in text if c not in "\n\u200c" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")]


def make_hostile_scan(folder: Path) -> Scan:
    """A scan with such names for all that has one, its dataset, and decisions of which some cannot be carried out."""
    root = folder / f"data {HOSTILE}"
    label, other, split = f"cat {ODD_NAME}", f"dog {ODD_NAME}", f"train {ODD_NAME}"
    paths = [f"{label}/{n} {ODD_NAME}.png" for n in range(4)]
    for path in paths[:3]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    samples = tuple(Sample(split, label, n + 1, path, 3.0 - n, other, 0.5) for n, path in enumerate(paths))
    bad = (Unreadable(split, label, f"{ODD_NAME}.png", f"error {ODD_NAME}"),)
    about = {"ranked_by": f"margin {ODD_NAME}", "settings": {ODD_NAME: ODD_NAME}}
    scan = Scan(root, (label, other), (split,), 4, {split: 4}, samples, {split: {}}, bad, **about).write(
        folder / "scan"
    )
    manifest = Manifest(scan.manifest_path)
    for path, action in zip(paths, (Action.DELETE, Action.RELABEL, Action.RELABEL, Action.DELETE), strict=True):
        new = other if action is Action.RELABEL else ""
        sha256 = sha256_of(root / path) if (root / path).exists() else "0" * 64
        manifest.append(Decision(path, action, label, new, sha256=sha256, reviewer=ODD_NAME, decided_at=TIME))
    (root / paths[2]).write_bytes(b"changed")
    return scan


def test_text_from_files_does_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = make_hostile_scan(tmp_path)
    data, manifest = str(scan.root), str(scan.manifest_path)
    table = tmp_path / "table.csv"
    table.write_text(f'fname,label\r\na.png,"{ODD_NAME}"\r\nb.png,x\r\n', encoding="utf-8", newline="")
    probs = tmp_path / "probs.npy"
    np.save(probs, np.full((2, 2), 0.5))
    printed: list[str] = []

    def run_all(*commands: list[str]) -> None:
        for command in commands:
            status, out, err = run(capsys, *command)
            assert not steers(out + err), (command, out, err)
            assert (status, "Traceback" in err) in ((0, False), (1, False), (2, False))
            printed.append(out + err)

    scan_command = ["scan", "--pred-probs", str(probs), "--labels", str(table), "--data", data, "--out"]
    run_all(
        ["show", str(scan.folder)],
        ["show", str(scan.folder), "--label", "cow"],
        ["show", str(scan.folder), "--split", ODD_NAME],
        [*scan_command, str(scan.folder)],
        [*scan_command, str(tmp_path / "new"), "--vocab", manifest],
        ["apply", manifest, "--data", data, "--dry-run"],
        ["apply", manifest, "--data", data, "--dry-run", "--json"],
        ["apply", manifest, "--data", data],
    )
    assert json.loads(printed[-2])["conflicts"][0]["path"].endswith(f"{ODD_NAME}.png")
    assert printed[0].count("\n") == 5, "a line for the header and for each image"
    assert sum(READABLE in text for text in printed) >= 5
    assert "\\x1b]0;owned\\x07 \\x9b31m \\u202e\\u2066 \\u2028\\u2029\\r\\n\\x7f\\ufeff" in printed[0]
    (journal,) = tmp_path.glob("scan/journal-*")
    with open(manifest, "a", encoding="utf-8", newline="") as file:
        file.write(f'"torn {ODD_NAME}')
    run_all(
        ["trash", str(journal)],
        ["undo", str(journal)],
        ["trash", str(journal), "--empty", "--yes"],
        ["export", manifest, "--out", str(tmp_path / "out.csv")],
    )
    (tmp_path / "bad.csv").write_text(f"path,action\r\na.png,{ODD_NAME.strip()}\r\n", encoding="utf-8", newline="")
    for name, value in (("root", [ODD_NAME]), ("generation", ODD_NAME), ("task", ODD_NAME)):
        description = json.loads((scan.folder / "scan.json").read_text(encoding="utf-8"))
        (tmp_path / name).mkdir()
        (tmp_path / name / "scan.json").write_text(json.dumps({**description, name: value}))
        run_all(["show", str(tmp_path / name)])
    journal.write_text(json.dumps({"format": ODD_NAME}) + "\n", encoding="utf-8")
    run_all(
        ["undo", str(journal)],
        ["export", str(tmp_path / "bad.csv"), "--out", str(tmp_path / "other.csv")],
        ["show", f"nowhere {HOSTILE}"],
    )
    with pytest.raises(SystemExit):
        main(["show", "scan", f"--{ODD_NAME}"])
    assert not steers(capsys.readouterr().err)


@pytest.mark.parametrize("text", ["", "cat", READABLE, "non\u00a0breaking", "\\x1b", "שלום", "한국어"])
def test_ordinary_names_are_printed_as_they_are(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("number", [*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), 0xFEFF])
def test_characters_that_steer_are_escaped(number: int) -> None:
    assert printable(f"a{chr(number)}b") == f"a{chr(number).encode('unicode_escape').decode()}b"
    assert printable(f"a{chr(number)}b").isprintable()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scan", "--learner", "l.pkl", "--data", "data", "--out", "new"], "goes on from the last checkpoint"),
        (
            ["scan", "--learner", "l.pkl", "--data", "data", "--out", "new", "--no-resume"],
            "without --no-resume goes on",
        ),
        (["scan", "--pred-probs", "p.npy", "--labels", "l.csv", "--data", "d", "--out", "new"], "starts over"),
        (["check", "--data", "data", "--out", "new"], "the same command goes on from the last checkpoint"),
        (["demo", "--dir", "here"], "delete 'here' before you give the same command again"),
        (["apply", "scan"], "the same command does the rest"),
        (["undo", "journal"], "the same command does the rest"),
        (["show", "scan"], "stopped"),
    ],
)
def test_ctrl_c_ends_with_130_and_says_what_the_same_command_does(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object) -> int:
        raise KeyboardInterrupt

    for command in ("scan", "check", "demo", "apply", "undo", "show"):
        monkeypatch.setattr(f"cleaner.cli._{command}", stop)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (130, "")
    (line,) = err.strip().splitlines()
    assert line.startswith(f"cleaner {arguments[0]}: stopped")
    assert line.endswith(said) or said in line


@pytest.mark.usefixtures("folder")
def test_apply_and_export_take_the_scan_folder_alone(capsys: pytest.CaptureFixture[str]) -> None:
    decide("cat/1.png", Action.DELETE)
    status, out, err = run(capsys, "apply", "scan", "--dry-run")
    assert (status, "1 would be moved, 0 in conflict" in out, err) == (0, True, "")
    assert "\nlabel  new label  images\ncat    (deleted)  1\n" in out
    assert run(capsys, "export", "scan", "--out", "all.csv") == (0, "1 decisions: all.csv\n", "")
    status, out, _ = run(capsys, "apply", "scan", "--trash", "bin", "--json")
    report = json.loads(out)
    assert (status, report["summary"]) == (0, [{"from": "cat", "to": None, "count": 1}])
    assert Path(report["done"][0]["target"]).is_relative_to(Path("bin").absolute())


def test_what_the_package_logs_is_printed_in_the_words_of_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def log(_: object) -> int:
        logging.getLogger("cleaner.scoring.engine").warning("views=4 ranks %s", "many\x1b")
        return 0

    monkeypatch.setattr("cleaner.cli._scan", log)
    assert run(capsys, *SCAN) == (0, "", "cleaner scan: --views 4 ranks many\\x1b\n")
    assert not logging.getLogger("cleaner").handlers
