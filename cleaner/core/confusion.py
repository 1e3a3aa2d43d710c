"""The most confused classes, from sparse confusion counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["most_confused_labels"]


def most_confused_labels(cells: Mapping[tuple[str, str], int], vocab: Iterable[str], max_labels: int) -> list[str]:
    """Return at most `max_labels` labels: all of them, or those of the highest wrong cells, pair beside pair."""
    labels = list(vocab)
    if len(labels) <= max_labels:
        return labels
    chosen: dict[str, None] = {}
    wrong = ((count, pair) for pair, count in cells.items() if pair[0] != pair[1])
    for _, pair in sorted(wrong, key=lambda cell: (-cell[0], cell[1])):
        if len(chosen.keys() | set(pair)) <= max_labels:
            chosen.update(dict.fromkeys(pair))
    return list(chosen)
