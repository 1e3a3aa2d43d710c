"""A scan spread over a local Ray: `python -m tests.benchmarks.ray [--only SECTION]`; it asserts no times.

Sections: workers (1 and 2 workers of one thread each; `--photos N`), driver (its memory against the number of samples),
merge (what 64 workers find in `--samples N` each, through the real merge).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
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
from cleaner.scoring.checkpoint import Part

from cleaner.core.records import ScoredBatch
from cleaner.core.tally import Tally
from cleaner.core.topk import TopLosses
from cleaner.scoring import ray as spread
from tests.benchmarks import datasets
from tests.benchmarks.memory import memory_now, reset_peak

PHOTOS = 10_000
CLASSES, K = 1000, 100
ALIKE = 20
WORKERS, SHARD = 64, 4096
DRIVER_SAMPLES = (5_000_000, 20_000_000, 40_000_000)


class Synthetic:
    """A source of random losses, as many as asked for, each sample named by its number.

    One in ten is taken for a class that is like its own: were it any class, the cells of the confusion matrix, at most
    as many as classes times classes, would go on to fill up for millions of samples.
    """

    task, label_delim, address = "single-label", "", ""
    vocab = tuple(f"class {n}" for n in range(CLASSES))
    splits = ("all",)
    root = Path("/")

    def __init__(self, n: int) -> None:
        self.n = n
        self.ways: dict[str, str] = {}
        self.readers: dict[str, Any] = {}
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
        alike = (labels + random.integers(1, ALIKE + 1, len(keys))) % CLASSES
        predicted = np.where(random.random(len(keys)) < 0.9, labels, alike)
        losses = random.exponential(size=len(keys))
        paths = [f"folder/image_{key:09d}.jpg" for key in keys]
        consume(ScoredBatch(paths, labels, losses, predicted, np.full(len(keys), 0.5)))


# Each row in a process of its own.


def workers(n: int, folder: Path) -> dict[str, Any]:
    """Images/s of `n` workers with one thread each, and what they send to the driver."""
    import ray

    from cleaner.scoring import engine

    learn = datasets.photo_learner(folder.with_name("trained"))
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
        before, start, sent = reset_peak(), time.perf_counter(), 0
        for found in source.found(part, fast=False):
            sent += len(zlib.compress(pickle.dumps(found), 1))
            part.merge(found)
        seconds = time.perf_counter() - start
    return {"samples": part.seen, "seconds": seconds, "mib": memory_now("VmHWM") - before, "bytes_per_sample": sent / n}


def merge(n: int, _folder: Path) -> dict[str, Any]:
    """Time and memory of the driver for what `WORKERS` workers find in `n` samples each, without Ray between them."""
    part = Part("all", TopLosses(CLASSES, K), Tally(CLASSES))
    before, cpu, sent = reset_peak(), time.process_time(), 0
    start = time.perf_counter()
    for parcel in _parcels(-(-n // SHARD)):
        sent += len(parcel)
        part.merge(pickle.loads(zlib.decompress(parcel)))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "samples": part.seen,
        "clock_seconds": seconds,
        "driver_seconds": cpu,
        "driver_us_per_sample": cpu / part.seen * 1e6,
        "driver_mib": memory_now("VmHWM") - before,
        "bytes_per_sample": sent / part.seen,
        "kept": sum(len(part.heaps.of_class(label)) for label in range(CLASSES)),
        "cells": len(part.tally.result()),
    }


def _parcels(rounds: int) -> Iterator[bytes]:
    """What `WORKERS` workers send in so many shards each; processes of their own play them."""
    context = multiprocessing.get_context("spawn")
    players = os.cpu_count() or 1
    parcels = context.Queue(maxsize=4 * players)
    team = [context.Process(target=_play, args=(range(i, WORKERS, players), rounds, parcels)) for i in range(players)]
    for player in team:
        player.start()
    for _ in range(rounds * WORKERS):
        yield parcels.get()
    for player in team:
        player.join()


def _play(numbers: range, rounds: int, parcels: Any) -> None:
    """Send what the workers of some numbers find, in turns."""
    workers = {number: spread.Scorer(Synthetic(0), K, Path("notes")) for number in numbers}  # type: ignore[arg-type]
    for done in range(rounds):
        for number, worker in workers.items():
            shard = done * WORKERS + number
            keys = range(shard * SHARD, (shard + 1) * SHARD)
            parcels.put(zlib.compress(pickle.dumps(worker.found(shard, "all", keys, False)), 1))


ROWS: dict[str, Callable[[int, Path], dict[str, Any]]] = {"workers": workers, "driver": driver, "merge": merge}


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
    parser.add_argument("--photos", type=int, default=PHOTOS, help="of the section workers")
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
            datasets.photos(photos / "trained")  # by which the model is trained, once
            photos = datasets.photos(photos / "photos", options.photos)
            one, two = (row("workers", n, photos) for n in (1, 2))
            for name in ("per_second", "steady_per_second"):
                print(f"  two workers: {two[name] / one[name]:.2f} x one ({name})")
        if options.only in (None, "driver"):
            for n in DRIVER_SAMPLES:
                row("driver", n, photos)
        if options.only in (None, "merge"):
            for n in (options.samples // 10, options.samples):
                row("merge", n, photos)


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    main()
