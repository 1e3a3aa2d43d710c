"""Seconds per decision."""

from __future__ import annotations

from cleaner.review.pace import Pace


def test_pauses_are_left_out_of_the_seconds_per_decision() -> None:
    moments = iter([0.0, 2.0, 6.0, 1000.0, 1004.0])
    pace = Pace(lambda: next(moments))
    assert pace.seconds is None
    pace.decided(1)
    assert pace.seconds == 2
    pace.decided(3)  # three at once, in four seconds
    assert pace.seconds == 1.5
    pace.decided(1)  # after a pause, which is left out
    assert pace.seconds == 1.5
    pace.decided(1)
    assert pace.seconds == 2
