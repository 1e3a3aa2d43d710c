"""Which cards stand on which page, and that a group of copies is cut only if it is larger than a page."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.review.pages import Shape, group_starts, starts

SIZES = st.lists(st.integers(1, 30), max_size=40)
SHAPES = st.builds(Shape, st.integers(1, 8), st.integers(1, 6))


def rows_of(sizes: list[int], columns: int) -> int:
    """Return how many rows groups take: each one beside the last if it fits there, else in rows of its own."""
    rows = column = 0
    for size in sizes:
        if column and column + size <= columns:
            column += size
        else:
            rows += -(-size // columns)
            column = min(size, columns)
    return rows


def pages_of(sizes: list[int], shape: Shape) -> list[list[int]]:
    """Return the number of images of each group, or part of a group, on each page."""
    bounds = [*group_starts(sizes, shape), sum(sizes)]
    groups = [number for number, size in enumerate(sizes) for _ in range(size)]
    pages = [groups[first:last] for first, last in pairwise(bounds)]
    return [[page.count(group) for group in dict.fromkeys(page)] for page in pages]


@given(SIZES, SHAPES)
def test_each_page_of_groups_fits_the_screen(sizes: list[int], shape: Shape) -> None:
    pages = pages_of(sizes, shape)
    assert sum(sum(page) for page in pages) == sum(sizes)
    assert all(page and rows_of(page, shape.columns) <= shape.rows for page in pages)


@given(SIZES, SHAPES)
def test_only_a_group_that_is_larger_than_a_page_is_cut(sizes: list[int], shape: Shape) -> None:
    begins = {sum(sizes[:number]) for number in range(len(sizes))}
    inside = [start for start in group_starts(sizes, shape) if start not in begins]
    large = [(sum(sizes[:number]), size) for number, size in enumerate(sizes) if size > shape.size]
    assert inside == [first + at for first, size in large for at in range(shape.size, size, shape.size)]


@given(SIZES, SHAPES)
def test_a_page_takes_the_next_group_if_it_fits(sizes: list[int], shape: Shape) -> None:
    pages = pages_of(sizes, shape)
    for page, after in pairwise(pages):
        assert rows_of([*page, after[0]], shape.columns) > shape.rows


@pytest.mark.parametrize(
    ("sizes", "shape", "expected"),
    [
        ([], Shape(4, 2), []),
        ([2, 2, 2, 2], Shape(4, 2), [0]),
        ([2, 2, 2, 2, 2], Shape(4, 2), [0, 8]),
        ([3, 3, 3], Shape(4, 2), [0, 6]),  # two beside each other would need six columns
        ([2, 9, 2], Shape(4, 2), [0, 2, 10]),
        ([5, 2], Shape(5, 1), [0, 5]),
    ],
)
def test_groups_go_whole_to_the_next_page(sizes: list[int], shape: Shape, expected: list[int]) -> None:
    assert group_starts(sizes, shape) == expected


def test_other_lists_have_as_many_cards_on_each_page() -> None:
    assert starts(7, 3) == [0, 3, 6]
    assert starts(0, 3) == []
