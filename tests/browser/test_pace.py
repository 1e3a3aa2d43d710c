"""How many keys a review takes."""

from __future__ import annotations

from cleaner.core.scan import Scan
from tests.support.browser_app import App, standing
from tests.support.hosts import wait_until

LABELS = ("cat", "dog", "fox")


def test_three_classes_take_hardly_more_keys_than_decisions_and_one_to_change_the_class(
    cats: App, served_scan: Scan
) -> None:
    keys, changes = 0, 0
    for label in LABELS:
        if label != "cat":
            cats.press("]")
            changes += 1
            cats.wait_title(label)
        cats.wait_at(f"{label}_01.png")
        decided = 0
        while decided < 35:
            names = cats.names()
            for number, _ in enumerate(names):
                cats.press(("Enter", "k", "d", "s")[number % 4])
                keys += 1
            decided += len(names)
            cats.end.wait_for()
            if decided < 35:
                cats.press("ArrowRight")
                keys += 1
                cats.wait_at(f"{label}_{decided + 1:02d}.png")
    wait_until(lambda: len(standing(served_scan)) == 105)
    assert changes == len(LABELS) - 1
    assert keys + changes <= 1.2 * 105
    actions = [action.split()[0] for action in standing(served_scan).values()]
    assert {action: actions.count(action) >= 20 for action in actions} == dict.fromkeys(
        ["relabel", "keep", "delete", "unsure"], True
    )
