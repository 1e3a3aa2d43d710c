"""Which classes are confused most, told from sparse confusion counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["most_confused"]


def most_confused(cells: Mapping[tuple[str, str], int], vocab: Iterable[str], n: int) -> list[str]:
    """All labels where there are no more than `n`, else those of the highest wrong cells, pair beside pair."""
    labels = list(vocab)
    if len(labels) <= n:
        return labels
    found: dict[str, None] = {}
    wrong = ((count, pair) for pair, count in cells.items() if pair[0] != pair[1])
    for _, pair in sorted(wrong, key=lambda cell: (-cell[0], cell[1])):
        if len(found.keys() | set(pair)) <= n:
            found.update(dict.fromkeys(pair))
    return list(found)
