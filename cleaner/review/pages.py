"""Which cards of a list stand on which page; groups of copies are not cut where a page can hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Shape", "group_starts", "starts"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Number of cards in a row of the page, and of rows, in lists of issues."""

    columns: int
    rows: int

    @property
    def size(self) -> int:
        """Number of cards on a full page."""
        return self.columns * self.rows


def starts(count: int, page_size: int) -> list[int]:
    """Return the position of the first card of each page."""
    return list(range(0, count, page_size))


def group_starts(sizes: Iterable[int], shape: Shape) -> list[int]:
    """Return the position of the first card of each page of groups.

    A group stands in one row if it fits there, side by side with others, else in rows of its own. `js/src/places.ts`
    puts the groups of a page into the same rows.

    Args:
        sizes: numbers of images of the groups, in their order.
        shape: of a page.
    """
    found: list[int] = []
    position, row, column = 0, shape.rows, 0  # as if a page were full already
    for size in _pieces(sizes, shape.size):
        needed = -(-size // shape.columns)
        is_beside = needed == 1 and 0 < column <= shape.columns - size
        row += 0 if is_beside else needed
        if row > shape.rows:
            found.append(position)
            row, is_beside = needed, False
        column = column + size if is_beside else size if needed == 1 else shape.columns
        position += size
    return found


def _pieces(sizes: Iterable[int], most: int) -> Iterator[int]:
    """Cut the groups that are larger than a page."""
    for size in sizes:
        for start in range(0, size, most):
            yield min(most, size - start)
