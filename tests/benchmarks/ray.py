"""A scan spread over a local Ray: `python -m tests.benchmarks.ray [--only SECTION]`; it asserts no times.

Sections: workers (1 and 2 workers of one thread each), driver (its memory against the number of samples), merge (what
64 workers find, through the real merge).
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cleaner.core.records import ScoredBatch
from cleaner.core.tally import Tally
from cleaner.core.topk import TopLosses
from cleaner.scoring import ray as spread
from cleaner.scoring.checkpoint import Found, Part
from tests.benchmarks import datasets

PHOTOS = 1000
CLASSES, K = 1000, 100
WORKERS, SHARD = 64, 4096


class Synthetic:
    """A source of random losses, as many as asked for, each sample named by its number."""

    task, label_delim, address = "single-label", "", ""
    vocab = tuple(f"class {n}" for n in range(CLASSES))
    splits = ("all",)
    root = Path("/")

    def __init__(self, n: int) -> None:
        self.n = n
        self.ways: dict[str, str] = {}
        self.settings: dict[str, Any] = {}

    def count(self, _split: str) -> int:
        return self.n

    def listing(self, _split: str) -> Callable[[], Iterator[int]]:
        return partial(iter, range(self.n))

    def settle_in(self, _device: Any, _workers: int) -> None:
        """Nothing to make ready."""

    def score_shard(
        self, _split: str, keys: Sequence[int], consume: Callable[[ScoredBatch], None], *, fast: bool
    ) -> None:
        del fast
        random = np.random.default_rng(keys[0])
        labels = random.integers(0, CLASSES, len(keys))
        predicted = np.where(random.random(len(keys)) < 0.9, labels, random.integers(0, CLASSES, len(keys)))
        losses = random.exponential(size=len(keys))
        paths = [f"folder/image_{key:09d}.jpg" for key in keys]
        consume(ScoredBatch(paths, labels, losses, predicted, np.full(len(keys), 0.5)))


# Each row in a process of its own.


def workers(n: int, folder: Path) -> dict[str, Any]:
    """Images/s of `n` workers with one thread each, and what they send to the driver."""
    import ray

    from cleaner.scoring import engine

    learn = datasets.photo_learner(folder)
    ray.init(num_cpus=n, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    times, sent = list[tuple[float, int]](), 0

    def take_in(source: Any, part: Part, fast: bool, arrived: Callable[[int], None]) -> None:
        nonlocal sent
        for found in source.found(part, fast):
            times.append((time.perf_counter(), found.n))
            sent += len(zlib.compress(pickle.dumps(found), 1))
            part.merge(found)
            arrived(found.n)

    source = spread_source(learn, folder)
    out = Path(tempfile.mkdtemp())
    start = time.perf_counter()
    with spread.session(spread.Cluster(num_workers=n)) as team:
        over = spread.Spread(source, team)
        engine.run(over, out / "scan", k=10, fast=False, resume=False, progress=False, take_in=take_in)
    seconds = time.perf_counter() - start
    shutil.rmtree(out)
    total = sum(count for _, count in times)
    # The first shards of all workers come with the start of the workers.
    begun, done = times[n - 1][0], sum(count for _, count in times[n:])
    return {
        "images": total,
        "seconds": seconds,
        "per_second": total / seconds,
        "steady_per_second": done / (times[-1][0] - begun),
        "bytes_per_image": sent / total,
        "ways": dict(source.ways),
    }


def spread_source(learn: Any, folder: Path) -> Any:
    from cleaner.scoring.sources.fastai import FastaiSource

    return FastaiSource.of_folder(learn, folder)


def driver(n: int, _folder: Path) -> dict[str, Any]:
    """Peak memory of the driver above the start, over `n` synthetic samples."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with spread.session(spread.Cluster()) as team:
        part = Part("all", TopLosses(CLASSES, K), Tally(CLASSES))
        source = spread.Spread(Synthetic(n), team)  # type: ignore[arg-type]
        before, start, sent = _peak(), time.perf_counter(), 0
        for found in source.found(part, fast=False):
            sent += len(zlib.compress(pickle.dumps(found), 1))
            part.merge(found)
        seconds = time.perf_counter() - start
    return {"samples": part.seen, "seconds": seconds, "mib": _peak() - before, "bytes_per_sample": sent / n}


def merge(n: int, _folder: Path) -> dict[str, Any]:
    """Time and memory of the driver for what `WORKERS` workers find in `n` samples each, without Ray between them."""
    source = Synthetic(0)
    team = [spread.Scorer(source, K) for _ in range(WORKERS)]  # type: ignore[arg-type]
    part = Part("all", TopLosses(CLASSES, K), Tally(CLASSES))
    seconds, sent, rounds = 0.0, 0, -(-n // SHARD)
    for number in range(rounds * WORKERS):
        keys = range(number * SHARD, (number + 1) * SHARD)
        parcel = zlib.compress(pickle.dumps(team[number % WORKERS].found(number, "all", keys, False)), 1)
        sent += len(parcel)
        start = time.perf_counter()
        found: Found = pickle.loads(zlib.decompress(parcel))
        part.merge(found)
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    kept = sum(len(part.heaps.of_class(label)) for label in range(CLASSES))
    cells = len(part.tally.result())
    seconds += time.perf_counter() - start
    # What the driver holds; the process also holds the 64 workers.
    held = len(pickle.dumps((part.heaps.to_arrays(), part.tally.to_arrays()))) / 2**20
    return {
        "samples": part.seen,
        "seconds": seconds,
        "us_per_sample": seconds / part.seen * 1e6,
        "held_mib": held,
        "bytes_per_sample": sent / part.seen,
        "kept": kept,
        "cells": cells,
    }


ROWS: dict[str, Callable[[int, Path], dict[str, Any]]] = {"workers": workers, "driver": driver, "merge": merge}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def row(section: str, n: int, folder: Path) -> dict[str, Any]:
    """Measure a row in a new process and print it."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.ray", "--measure", section, str(n), folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"  {section} {n}: " + ", ".join(f"{name} {_shown(value)}" for name, value in result.items()), flush=True)
    return result


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=ROWS)
    parser.add_argument("--samples", type=int, default=10_000_000, help="of each of the 64 workers of the merge")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        section, n, folder = options.measure
        print(json.dumps(ROWS[section](int(n), Path(folder))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        photos = Path(temporary)
        if options.only in (None, "workers"):
            photos = datasets.photos(photos / "photos", PHOTOS)
            one, two = (row("workers", n, photos) for n in (1, 2))
            for name in ("per_second", "steady_per_second"):
                print(f"  two workers: {two[name] / one[name]:.2f} x one ({name})")
        if options.only in (None, "driver"):
            for n in (500_000, 5_000_000):
                row("driver", n, photos)
        if options.only in (None, "merge"):
            for n in (options.samples // 10, options.samples):
                row("merge", n, photos)


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    main()
