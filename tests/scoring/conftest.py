"""What holds for all tests of scoring."""

from __future__ import annotations

import math

import pytest

from cleaner.scoring import rescore
from cleaner.scoring.model import backends


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are run plain, unless a test is about the ways: how busy the machine is must not change a last digit."""
    monkeypatch.setattr(backends, "_pays", lambda *_: False)
    # Nor what its processor has.
    monkeypatch.setattr(backends, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(backends, "cpu_prefers_8_bits", lambda: False)
    # Nor the few samples of a test whether it is worth to score fast.
    monkeypatch.setattr(rescore, "_MAX_SHARE", math.inf)
