"""Cursor and selection of a page of five cards, and of a page without any."""

from __future__ import annotations

import pytest

from cleaner.core.errors import CleanerError
from cleaner.review.selection import Selection


@pytest.fixture
def selection() -> Selection:
    return Selection("abcde")


def test_the_cursor_stays_on_the_page(selection: Selection) -> None:
    selection.move(-1)
    assert selection.path == "a"
    selection.move(2)
    assert selection.targets == ["c"]
    selection.move(99)
    assert (selection.path, selection.selected) == ("e", frozenset())


def test_an_extended_move_selects_from_where_it_began(selection: Selection) -> None:
    selection.move(1)
    selection.move(2, extend=True)
    assert (selection.cursor, selection.targets) == (3, ["b", "c", "d"])
    selection.move(-3, extend=True)
    assert selection.targets == ["a", "b"]
    selection.point("d", extend=True)
    assert selection.targets == ["b", "c", "d"]
    selection.point("e")
    assert (selection.targets, selection.selected) == (["e"], frozenset())


def test_cards_are_selected_and_deselected_one_by_one(selection: Selection) -> None:
    selection.toggle()
    selection.toggle_at("d")
    assert (selection.cursor, selection.targets) == (3, ["a", "d"])
    selection.toggle_at("a")
    assert selection.targets == ["d"]
    selection.toggle_at("d")
    assert selection.targets == ["d"]  # nothing is selected: the cursor's card
    assert selection.selected == frozenset()


def test_all_cards_are_selected_and_deselected(selection: Selection) -> None:
    selection.move(2)
    selection.toggle_all()
    assert selection.targets == ["a", "b", "c", "d", "e"]
    selection.toggle_all()
    assert selection.targets == ["c"]


def test_a_page_without_cards_has_no_target() -> None:
    empty = Selection([])
    empty.move(3, extend=True)
    empty.toggle()
    empty.toggle_all()
    assert (empty.path, empty.targets, empty.selected, empty.cursor) == ("", [], frozenset(), 0)


def test_a_card_of_another_page_and_a_move_beyond_any_page_are_refused(selection: Selection) -> None:
    for refused in (lambda: selection.point("z"), lambda: selection.toggle_at("z"), lambda: selection.move(10**9)):
        with pytest.raises(CleanerError):
            refused()
    assert (selection.cursor, selection.selected) == (0, frozenset())
