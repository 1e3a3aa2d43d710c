"""The benchmark for accelerators runs, here on the CPU and with tiny sizes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SECTIONS = ["reading", "model", "scan", "fast", "first batch", "busy", "memory"]
BACKENDS = {"plain", "traced", "channels-last"}


def figures_of(value: object) -> Iterator[float]:
    """Yield every figure below a value of the file of figures."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from figures_of(part)
    elif isinstance(value, float):
        yield value


@pytest.mark.timeout(300)
def test_each_section_of_the_gpu_benchmark_prints_figures(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.benchmarks.gpu",
        "--tiny",
        "--device",
        "cpu",
        "--json",
        file,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert list(figures) == ["machine", *SECTIONS]
    for name in SECTIONS:
        found = list(figures_of(figures[name]))
        assert found, name
        assert all(math.isfinite(figure) and figure >= 0 for figure in found), name
    assert len([line for line in done.stdout.splitlines() if line and not line.startswith(" ")]) == 1 + len(SECTIONS)
    assert {row["backend"] for row in figures["model"] if "images_per_second" in row} >= BACKENDS
    assert {row["goal"] for row in figures["scan"]} == {0.9}
    assert [row["same_kept_set"] for row in figures["fast"]] == [True, True]
    assert [row["batch"] for row in figures["memory"]] == [4, 8]
