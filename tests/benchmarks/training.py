"""`python -m tests.benchmarks.training`: what `ScanCallback` costs of an epoch.

A resnet18 is trained on photos, one epoch with the callback and one without in turns; the ratio is that of the medians.
A part of the cost, the description of the dataset and the scan folder, is paid once in a training and counts in full.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tests.benchmarks import datasets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    import cleaner

    with tempfile.TemporaryDirectory() as folder:
        learn = datasets.photo_learner(datasets.photos(Path(folder) / "photos", options.photos))
        learn.fit(1)  # warm
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for number in range(options.rounds):
            for with_callback in (False, True):
                begin = time.perf_counter()
                learn.fit(1, cbs=[cleaner.ScanCallback(Path(folder) / f"scan{number}")] if with_callback else [])
                seconds[with_callback].append(time.perf_counter() - begin)
    plain, collected = (statistics.median(seconds[kind]) for kind in (False, True))
    print(f"{options.photos} photos, an epoch: {plain:.2f} s, with ScanCallback {collected:.2f} s")
    print(f"{collected / plain - 1:+.1%}, by medians of {options.rounds} rounds")


if __name__ == "__main__":
    main()
