"""`python -m tests.benchmarks.training`: what `ScanCallback` costs of an epoch.

A resnet18 is trained on photos, and a small network on small images. A training of three epochs with the callback and
one without take turns; each ratio is that of a pair, and their median counts. A part of the cost, the description of
the dataset and the scan folder, is paid once in a training, and counts in full.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import datasets

EPOCHS = 3


def seconds_of(learn: Any, out: Path | None) -> float:
    """Return the time of a training, with the callback if it gets a scan folder."""
    import cleaner

    begin = time.perf_counter()
    with learn.no_bar(), learn.no_logging():
        learn.fit(EPOCHS, 1e-4, cbs=[] if out is None else [cleaner.ScanCallback(out)])
    return time.perf_counter() - begin


def compare(name: str, learn: Any, folder: Path, rounds: int) -> None:
    """Measure pairs, and print each of them and their median."""
    seconds_of(learn, folder / "warm")
    ratios = list[float]()
    for number in range(rounds):
        # Each of the two comes first in half of the rounds.
        outs = [None, folder / f"scan{number}"][:: 1 if number % 2 else -1]
        seconds = {out is not None: seconds_of(learn, out) for out in outs}
        ratios.append(seconds[True] / seconds[False])
        print(f"  {seconds[False]:.2f} s, with ScanCallback {seconds[True]:.2f} s: {ratios[-1] - 1:+.1%}", flush=True)
    print(f"{name}: {statistics.median(ratios) - 1:+.1%}, median of {rounds} rounds of {EPOCHS} epochs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=160)
    parser.add_argument("--small", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        learn = datasets.small_learner(datasets.small_images(folder / "small", options.small))
        compare(f"{options.small} small images", learn, folder / "of_small", options.rounds)
        learn = datasets.photo_learner(datasets.photos(folder / "photos", options.photos))
        compare(f"{options.photos} photos", learn, folder / "of_photos", options.rounds)


if __name__ == "__main__":
    main()
