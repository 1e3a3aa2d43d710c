"""Which decisions become moves, and why the others are left alone."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.apply import plan as plan_module
from cleaner.apply.file_moves import FolderLabels, MovePlanner
from cleaner.apply.plan import AppliedChange, Plan
from cleaner.core.files import MAX_BYTES, TRASH, sha256_of
from cleaner.core.records import Action, Decision
from tests.support.odd_images import write_harmful_image

TRASH_FOLDER = f"{TRASH}/journal-x"
TIME = "2026-01-31T12:00:00Z"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two splits with two classes each, and an image that has none."""
    for path in ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "valid/cat/1.png", "valid/dog/9.png"):
        make(tmp_path / "data" / path)
    make(tmp_path / "data" / "0.png")
    return tmp_path / "data"


def make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(str(path).encode())


def delete(path: str, **changes: Any) -> Decision:
    return Decision(**{"path": path, "action": Action.DELETE, "decided_at": TIME, **changes})


def relabel(path: str, new_label: str, **changes: Any) -> Decision:
    return Decision(**{"path": path, "action": Action.RELABEL, "new_label": new_label, "decided_at": TIME, **changes})


def as_decided(root: Path, decision: Decision) -> Decision:
    """With the hash that the app writes, unless there is one, or nobody says when it was decided."""
    if decision.sha256 or not decision.decided_at or not os.path.isfile(root / decision.path):
        return decision
    return replace(decision, sha256=sha256_of(root / decision.path))


def plan_of(
    root: Path, *decisions: Decision, known: tuple[str, ...] | None = None, earlier: tuple[AppliedChange, ...] = ()
) -> Plan:
    decided = [as_decided(root, decision) for decision in decisions]
    return MovePlanner(decided, FolderLabels(root, known), TRASH_FOLDER, earlier).plan()


def carry_out(root: Path, decision: Decision) -> AppliedChange:
    """Do by hand what a plan says; gives what the journal says of it."""
    (operation,) = plan_of(root, decision).operations
    (root / operation.target).parent.mkdir(parents=True, exist_ok=True)
    (root / operation.source).rename(root / operation.target)
    return AppliedChange(operation, Path("/scan 1/journal-x.jsonl"))


def targets(plan: Plan) -> dict[str, str]:
    return {operation.source: operation.target for operation in plan.operations}


def test_deleted_files_go_to_the_trash_and_relabelled_ones_to_the_folder_of_their_class(root: Path) -> None:
    plan = plan_of(root, delete("train/cat/1.png"), relabel("valid/cat/1.png", "dog"), delete("0.png"))
    assert targets(plan) == {
        "train/cat/1.png": f"{TRASH_FOLDER}/train/cat/1.png",
        "valid/cat/1.png": "valid/dog/1.png",
        "0.png": f"{TRASH_FOLDER}/0.png",
    }
    assert plan.conflicts == ()
    assert plan.folders == (TRASH, TRASH_FOLDER, f"{TRASH_FOLDER}/train", f"{TRASH_FOLDER}/train/cat")


def test_only_delete_and_relabel_move_anything(root: Path) -> None:
    others = [Decision("train/cat/1.png", action) for action in (Action.KEEP, Action.UNSURE, Action.UNDO)]
    assert plan_of(root, *others) == Plan(())


def test_a_decision_that_was_carried_out_before_is_not_planned_again(root: Path) -> None:
    decision = as_decided(root, delete("train/cat/1.png"))
    done = carry_out(root, decision)
    assert plan_of(root, decision, earlier=(done,)) == Plan(())


def test_a_file_that_came_back_is_left_alone_until_it_is_decided_about_again(root: Path) -> None:
    decision = as_decided(root, delete("train/cat/1.png"))
    done = carry_out(root, decision)
    make(root / "train/cat/1.png")
    plan = plan_of(root, decision, earlier=(done,))
    assert plan.operations == ()
    assert "was deleted by 'journal-x.jsonl', and there is a file again" in plan.conflicts[0].reason
    later = replace(decision, decided_at="2026-02-01T12:00:00Z")
    other = relabel("train/cat/1.png", "dog")
    keep = Decision("train/cat/1.png", Action.KEEP, decided_at=TIME)
    assert list(targets(plan_of(root, later, earlier=(done,)))) == ["train/cat/1.png"]
    assert targets(plan_of(root, other, earlier=(done,))) == {"train/cat/1.png": "train/dog/1_1.png"}
    assert plan_of(root, keep, earlier=(done,)) == Plan(())


@pytest.mark.parametrize(
    "later",
    [
        *(Decision("train/cat/1.png", action) for action in (Action.KEEP, Action.UNSURE, Action.UNDO)),
        delete("train/cat/1.png"),
        relabel("train/cat/1.png", "cow"),
        relabel("train/cat/1.png", "dog", decided_at="2026-02-01T12:00:00Z"),
    ],
)
def test_a_conflict_about_a_moved_file_names_the_undo_command(later: Decision, root: Path) -> None:
    done = carry_out(root, relabel("train/cat/1.png", "dog"))
    plan = plan_of(root, later, earlier=(done,))
    assert plan.operations == ()
    assert [(c.path, c.action) for c in plan.conflicts] == [("train/cat/1.png", later.action.value)]
    assert plan.conflicts[0].reason == (
        "it was moved to 'train/dog/1_1.png' by 'journal-x.jsonl'; "
        "`cleaner undo '/scan 1/journal-x.jsonl'` takes that back"
    )


def test_a_name_that_an_earlier_apply_made_free_is_not_given_to_another_file(root: Path) -> None:
    done = carry_out(root, delete("train/cat/1.png"))
    plan = plan_of(root, relabel("train/dog/1.png", "cat"), earlier=(done,))
    assert targets(plan) == {"train/dog/1.png": "train/cat/1_1.png"}


def test_a_file_that_became_readable_since_the_decision_is_left_alone(root: Path) -> None:
    unseen = delete("train/cat/1.png")
    by_hand = delete("train/cat/2.png", decided_at="")
    plan = MovePlanner([unseen, by_hand], FolderLabels(root, None), TRASH_FOLDER).plan()
    assert list(targets(plan)) == ["train/cat/2.png"]
    assert "could not be read when it was decided" in plan.conflicts[0].reason


def test_a_file_that_is_unreadable_now_and_was_when_decided_is_moved(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(plan_module, "sha256_of", refuse)
    plan = MovePlanner([delete("train/cat/1.png")], FolderLabels(root, None), TRASH_FOLDER).plan()
    assert list(targets(plan)) == ["train/cat/1.png"]


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (delete("train/cat/none.png"), "the file is gone"),
        (relabel("train/cat/none.png", "dog"), "the file is gone"),
        (delete("train/none/1.png"), "the file is gone"),
        (delete("0.png/below.png"), "the file is gone"),
        (delete("loop/1.png"), "the file is gone"),
        (delete("train/cat"), "no regular file"),
        (delete("pipe.png"), "no regular file"),
        (delete("broken.png"), "no regular file"),
        (delete("socket.png"), "no regular file"),
        (delete("zero.png"), "no regular file"),
        (delete("circle.png"), "no regular file"),
        (delete("long.png"), "no regular file"),
        (relabel("train/cat/1.png", "x" * 300), "no class"),
        (delete("train/cat/1.png", sha256="0" * 64), "its bytes changed"),
        (relabel("train/cat/1.png", "dog", sha256="0" * 64), "its bytes changed"),
        (relabel("train/cat/1.png", "cow"), "no class 'cow'"),
        (relabel("train/cat/1.png", "0.png"), "no class '0.png'"),
        (relabel("train/cat/1.png", "dog", label="cow"), "its folder is 'cat', not its label 'cow'"),
        (relabel("train/cat/1.png", "cat", label="cat"), "has the label 'cat' already"),
        (relabel("train/cat/1.png", "cat"), "has the label 'cat' already"),
        (relabel("0.png", "train"), "is no class"),
        (delete("out/1.png"), "leads out of the dataset"),
        (relabel("out/1.png", "train"), "leads out of the dataset"),
        (relabel("train/cat/1.png", "away"), "leads out of the dataset"),
        *(
            (relabel("train/cat/1.png", label), "no folder can be called")
            for label in ["../x", "..", ".", "a/b", "/", "/etc", "a\\b", "a\0b", TRASH, f"{TRASH}/x", ".git", ".hidden"]
        ),
    ],
)
@pytest.mark.parametrize("known", [None, ("cat", "dog", "../x", "..", ".", "a/b", "/etc", TRASH, ".git")])
def test_a_decision_that_cannot_be_carried_out_is_left_alone(
    decision: Decision, reason: str, known: tuple[str, ...] | None, root: Path
) -> None:
    make(root.parent / "elsewhere" / "1.png")
    (root / "out").symlink_to(root.parent / "elsewhere")
    (root / "train" / "away").symlink_to("../../elsewhere")
    (root / "loop").symlink_to("loop")
    (root / "broken.png").symlink_to("nowhere")
    (root / "long.png").symlink_to("x" * 300)
    (root / "train" / ".git").mkdir()
    for name in ("pipe.png", "socket.png", "zero.png", "circle.png"):
        write_harmful_image(name, root)
    plan = plan_of(root, decision, delete("valid/cat/1.png"), known=known)
    assert [(c.path, c.action) for c in plan.conflicts] == [(decision.path, decision.action.value)]
    assert reason in plan.conflicts[0].reason
    assert list(targets(plan)) == ["valid/cat/1.png"]


def test_nothing_is_moved_out_to_where_the_trash_is_a_link_to(root: Path) -> None:
    (root.parent / "elsewhere").mkdir()
    (root / TRASH).symlink_to("../elsewhere")
    plan = plan_of(root, delete("train/cat/1.png"))
    assert plan.operations == ()
    assert "leads out of the dataset" in plan.conflicts[0].reason


def test_the_bytes_are_those_that_were_decided_about(root: Path) -> None:
    good = sha256_of(root / "train/cat/1.png")
    plan = plan_of(root, delete("train/cat/1.png", sha256=good), delete("train/cat/2.png", sha256=good))
    assert list(targets(plan)) == ["train/cat/1.png"]
    assert [conflict.path for conflict in plan.conflicts] == ["train/cat/2.png"]


def test_a_file_that_cannot_be_read_is_left_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(plan_module, "sha256_of", refuse)
    plan = plan_of(root, delete("train/cat/1.png", sha256="0" * 64))
    assert plan.conflicts[0].reason == "it cannot be read: Permission denied"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["pipe.png", "zero.png"])
def test_a_file_that_becomes_a_pipe_or_a_device_during_the_check_is_left_alone(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_harmful_image(name, root)
    monkeypatch.setattr(os.path, "isfile", lambda path: True)
    plan = plan_of(root, delete(name, sha256="0" * 64))
    assert "no regular file" in plan.conflicts[0].reason


def test_a_file_that_is_too_large_to_be_looked_at_is_moved_as_decided(root: Path) -> None:
    os.truncate(root / "0.png", MAX_BYTES + 1)
    assert list(targets(MovePlanner([delete("0.png")], FolderLabels(root, None), TRASH_FOLDER).plan())) == ["0.png"]
    plan = plan_of(root, delete("0.png", sha256="0" * 64))
    assert "it cannot be read: it has" in plan.conflicts[0].reason


def test_a_class_of_the_scan_gets_a_folder_that_is_not_there_yet(root: Path) -> None:
    decisions = relabel("train/cat/1.png", "cow"), relabel("valid/cat/1.png", "dog")
    plan = plan_of(root, *decisions, known=("cat", "dog", "cow"))
    assert targets(plan) == {"train/cat/1.png": "train/cow/1.png", "valid/cat/1.png": "valid/dog/1.png"}
    assert plan.folders == ("train/cow",)


def test_a_folder_that_is_no_class_of_the_scan_gets_no_class_beside_it(root: Path) -> None:
    make(root / "images/Abyssinian_1.png")
    plan = plan_of(root, relabel("images/Abyssinian_1.png", "Bengal"), known=("Abyssinian", "Bengal"))
    assert plan.operations == ()
    assert "its folder is 'images', which is no class" in plan.conflicts[0].reason


def test_a_label_that_is_not_the_folder_is_left_alone_with_the_ways_that_there_are(root: Path) -> None:
    make(root / "cat_dog_1.png")
    make(root / "images/Abyssinian_1.png")
    (root / "Bengal").mkdir()
    decisions = [relabel("images/Abyssinian_1.png", "Bengal", label="Abyssinian"), relabel("cat_dog_1.png", "dog")]
    plan = plan_of(root, *decisions, known=("Abyssinian", "Bengal", "dog"))
    assert plan.operations == ()
    assert all(way in plan.conflicts[0].reason for way in ("name_pattern=REGEX", "labels=FILE", "cleaner.cleaned"))
    assert "lies in the dataset's folder itself" in plan.conflicts[1].reason


def test_a_class_may_be_called_delete(root: Path) -> None:
    make(root / "train" / "<Delete>" / "1.png")
    assert targets(plan_of(root, relabel("train/cat/2.png", "<Delete>"))) == {"train/cat/2.png": "train/<Delete>/2.png"}


def test_a_name_that_is_taken_gets_a_free_one(root: Path) -> None:
    make(root / "train/dog/1_1.png")
    make(root / "train/fox/1.png")
    make(root / "train/fox/no suffix")
    make(root / "train/dog/no suffix")
    decisions = [relabel(path, "dog") for path in ("train/cat/1.png", "train/fox/1.png", "train/fox/no suffix")]
    # The file that leaves does not free its name: its move may fail.
    plan = plan_of(root, *decisions, relabel("train/dog/1.png", "cat"))
    assert targets(plan) == {
        "train/cat/1.png": "train/dog/1_2.png",
        "train/fox/1.png": "train/dog/1_3.png",
        "train/fox/no suffix": "train/dog/no suffix_1",
        "train/dog/1.png": "train/cat/1_1.png",
    }


def test_a_broken_link_takes_a_name_too(root: Path) -> None:
    (root / "train/dog/2.png").symlink_to("nowhere")
    assert targets(plan_of(root, relabel("train/cat/2.png", "dog"))) == {"train/cat/2.png": "train/dog/2_1.png"}


def test_a_dataset_that_is_itself_a_link_and_links_inside_it_are_fine(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    (root / "train" / "kitten").symlink_to("cat")
    (root / "train/cat/linked.png").symlink_to(root.parent / "elsewhere.png")
    make(root.parent / "elsewhere.png")
    plan = plan_of(link, relabel("train/kitten/1.png", "dog"), delete("train/cat/linked.png"))
    assert plan.conflicts == ()
    assert list(targets(plan)) == ["train/kitten/1.png", "train/cat/linked.png"]


def test_a_file_that_was_decided_about_by_two_names_is_left_alone(root: Path) -> None:
    (root / "train" / "kitten").symlink_to("cat")
    (root / "also").symlink_to("train")
    two = (delete("train/cat/1.png"), relabel("train/kitten/1.png", "dog"))
    for second in (two[1], Decision("also/cat/1.png", Action.KEEP, decided_at=TIME)):
        plan = plan_of(root, two[0], second, delete("train/dog/1.png"))
        assert list(targets(plan)) == ["train/dog/1.png"]
        assert f"is also called {second.path!r}" in plan.conflicts[0].reason
    assert list(targets(plan_of(root, two[0], Decision("train/kitten/1.png", Action.UNDO)))) == ["train/cat/1.png"]


def test_two_names_of_one_folder_give_no_name_twice(root: Path) -> None:
    (root / "train" / "kitten").symlink_to("cat")
    make(root / "train/fox/9.png")
    plan = plan_of(root, relabel("train/fox/9.png", "kitten"), relabel("valid/dog/9.png", "cat"))
    assert targets(plan)["train/fox/9.png"] == "train/kitten/9.png"
    (root / "train/dog/9.png").write_text("9")
    plan = plan_of(root, relabel("train/fox/9.png", "kitten"), relabel("train/dog/9.png", "cat"))
    assert list(targets(plan).values()) == ["train/kitten/9.png", "train/cat/9_1.png"]


FOLDERS = ("cat", "dog", "kitten", "deep/cat", "loop/deep/dog", "out")


@given(data=st.data())
def test_no_file_and_no_name_is_in_two_operations_whatever_is_a_link(data: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name, "data")
        for n, path in enumerate(data.draw(st.lists(st.sampled_from(["cat", "dog", "deep/cat"]), max_size=8))):
            make(root / path / f"{n % 3}.png")
        for folder in ("cat", "dog", "deep/cat"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for link, to in (("kitten", "cat"), ("deep/dog", "../dog"), ("loop", "."), ("out", "..")):
            if data.draw(st.booleans()):
                (root / link).symlink_to(to)
        some = st.tuples(st.sampled_from(FOLDERS), st.integers(0, 2)).map(lambda parts: f"{parts[0]}/{parts[1]}.png")
        decisions = [
            data.draw(
                st.sampled_from([delete(path), relabel(path, "cat"), relabel(path, "kitten"), relabel(path, "new")])
            )
            for path in data.draw(st.lists(some, max_size=12, unique=True))
        ]
        plan = plan_of(root, *decisions, known=("cat", "kitten", "new"))
        sources, targets_ = (
            [os.path.join(os.path.realpath((root / path).parent), Path(path).name) for path in paths]
            for paths in ([o.source for o in plan.operations], [o.target for o in plan.operations])
        )
        assert len({*sources, *targets_}) == len(sources) + len(targets_)
        assert all(path.startswith(f"{os.path.realpath(root)}/") for path in sources + targets_)
        assert all(map(os.path.isfile, sources))
        assert not any(map(os.path.lexists, targets_))
        assert sorted([o.source for o in plan.operations] + [c.path for c in plan.conflicts]) == sorted(
            decision.path for decision in decisions
        )


def test_planning_changes_nothing(root: Path) -> None:
    before = sorted(root.rglob("*"))
    plan_of(root, delete("train/cat/1.png"), relabel("train/cat/2.png", "cow"), known=("cow",))
    assert sorted(root.rglob("*")) == before
