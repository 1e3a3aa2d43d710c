"""Steps that are undone and redone, without a manifest."""

from __future__ import annotations

from cleaner.core.records import Action, Decision
from cleaner.review.undo_redo import Step, UndoRedo

ANNA_KEEPS = Decision("1.png", Action.KEEP, reviewer="anna")
ANNA_DELETES = Decision("1.png", Action.DELETE, reviewer="anna")
BEN_KEEPS = Decision("1.png", Action.KEEP, reviewer="ben")
UNDECIDED = Decision("1.png", Action.UNDO, reviewer="anna")


def step(before: Decision | None, after: Decision | None) -> Step:
    return Step("train", "cat", {"1.png": before}, {"1.png": after})


def rows_back(step: Step) -> list[Decision]:
    return step.rows_back("1.png", lambda path: UNDECIDED)


def test_a_file_that_nobody_decided_since_is_unchanged() -> None:
    done = Step("train", "cat", {"1.png": None, "2.png": None}, {"1.png": ANNA_KEEPS, "2.png": None})
    assert done.unchanged({"1.png": ANNA_KEEPS}) == ["1.png", "2.png"]
    assert done.unchanged({"1.png": BEN_KEEPS}) == ["2.png"]
    assert done.unchanged({"1.png": ANNA_KEEPS, "2.png": BEN_KEEPS}) == ["1.png"]


def test_the_reverse_of_a_step_holds_only_the_files_taken_back() -> None:
    done = Step("train", "cat", {"1.png": None, "2.png": BEN_KEEPS}, {"1.png": ANNA_KEEPS, "2.png": ANNA_KEEPS})
    assert done.reversed(["1.png"]) == step(ANNA_KEEPS, None)


def test_rows_restore_the_decision_before_and_its_reviewer() -> None:
    assert rows_back(step(None, ANNA_KEEPS)) == [UNDECIDED]
    assert rows_back(step(ANNA_KEEPS, ANNA_DELETES)) == [ANNA_KEEPS]
    assert rows_back(step(ANNA_KEEPS, None)) == [ANNA_KEEPS]
    assert rows_back(step(BEN_KEEPS, ANNA_DELETES)) == [UNDECIDED, BEN_KEEPS]


def test_a_new_step_leaves_nothing_to_redo() -> None:
    first, second = step(None, ANNA_KEEPS), step(ANNA_KEEPS, ANNA_DELETES)
    history = UndoRedo()
    history.add(first)
    history.undone.append(history.done.pop().reversed(["1.png"]))
    history.add(second)
    assert (history.done, history.undone) == ([second], [])
