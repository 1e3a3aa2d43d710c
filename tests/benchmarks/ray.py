"""A scan on a local Ray cluster: `python -m tests.benchmarks.ray [--only SECTION]`; it asserts no times.

Sections: workers (1 and 2 workers of one thread each; `--photos N`), driver (its memory by the number of samples),
merge (results of 64 workers, from `--samples N` each, through the real merge).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cleaner.core.records import ScoredBatch
from cleaner.core.tally import Tally
from cleaner.scoring import ray_cluster
from cleaner.scoring.data.reader import PathBatch
from cleaner.scoring.engine import DatasetInfo, ScanJob
from cleaner.scoring.model.scorer import Started
from cleaner.scoring.progress import SplitProgress
from cleaner.scoring.ray_cluster import RayEngine, ShardResult, ShardScorer
from tests.benchmarks import datasets
from tests.benchmarks.memory import memory_now, reset_peak
from tests.support.made_up_job import MadeUpDataset, MadeUpScorer

PHOTOS = 10_000
CLASSES, K = 1000, 100
ALIKE = 20
WORKERS, SHARD = 64, 4096
DRIVER_SAMPLES = (5_000_000, 20_000_000, 40_000_000)


class SyntheticDataset(MadeUpDataset):
    """Samples with paths only, a whole shard per batch."""

    def __init__(self, n: int) -> None:
        super().__init__(np.empty(0), batch_size=SHARD)
        self.count = n

    def __getitems__(self, keys: list[int]) -> PathBatch:
        return PathBatch([f"folder/image_{key:09d}.jpg" for key in keys], [], np.array(keys))


class SyntheticScorer(MadeUpScorer):
    """Random losses, and predictions that confuse similar classes."""

    def __init__(self) -> None:
        super().__init__(None)

    def _start(self, _errs: bool, batch: PathBatch) -> Started:
        random = np.random.default_rng(batch.data[0])
        n = len(batch.paths)
        labels = random.integers(0, CLASSES, n)
        similar = (labels + random.integers(1, ALIKE + 1, n)) % CLASSES
        predicted = np.where(random.random(n) < 0.9, labels, similar)
        losses = random.exponential(size=n)
        record = ScoredBatch(batch.paths, labels, losses, predicted, np.full(n, 0.5))
        return Started([torch.empty(0)], lambda _arrays: record)


def synthetic_job(n: int) -> ScanJob:
    info = DatasetInfo(Path("data"), tuple(map(str, range(CLASSES))), ("all",))
    return ScanJob(info, {"all": SyntheticDataset(n)}, SyntheticScorer(), 0, {}, {})


def empty_progress(job: ScanJob) -> SplitProgress:
    return SplitProgress.empty("all", job.info, K)


def merge_into(progress: SplitProgress, result: ShardResult) -> None:
    progress.merge(result.survivors, Tally.from_arrays(progress.tally.n_classes, result.counts), result.names)


class MeasuredEngine(RayEngine):
    """Records when each shard arrives, and its number of bytes."""

    def __init__(self, job: ScanJob, team: Any) -> None:
        super().__init__(job, team)
        self.times, self.sent = list[tuple[float, int]](), 0

    def _results(self, shards: Any, k: int) -> Iterator[ShardResult]:
        for result in super()._results(shards, k):
            self.times.append((time.perf_counter(), result.n))
            self.sent += len(zlib.compress(pickle.dumps(result), 1))
            yield result


# Each row runs in its own process.


def workers(n: int, folder: Path) -> dict[str, Any]:
    """Measure the images/s of `n` workers with one thread each, and the bytes that they send to the driver."""
    import ray

    from cleaner.scoring.data.fastai_data import from_folder
    from cleaner.scoring.model.fastai_model import fastai_job

    learn = datasets.photo_learner(folder.with_name("trained"))
    ray.init(num_cpus=n, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    job = fastai_job(learn, partial(from_folder, data=folder, batch_size=None))
    progress = SplitProgress.empty("all", job.info, 10)
    start = time.perf_counter()
    with ray_cluster.session(ray_cluster.Cluster(num_workers=n)) as team:
        engine = MeasuredEngine(job, team)
        engine.score_remaining(job.datasets["all"], progress, fast=False, report=lambda _n: None)
    seconds = time.perf_counter() - start
    total = sum(count for _, count in engine.times)
    # The time of the first shards includes the start of the workers.
    begun, done = engine.times[n - 1][0], sum(count for _, count in engine.times[n:])
    return {
        "images": total,
        "seconds": seconds,
        "per_second": total / seconds,
        "steady_per_second": done / (engine.times[-1][0] - begun),
        "bytes_per_image": engine.sent / total,
        "ways": dict(job.scorer.selector.names),
    }


def driver(n: int, _folder: Path) -> dict[str, Any]:
    """Measure the peak memory of the driver above the start, for `n` synthetic samples."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with ray_cluster.session(ray_cluster.Cluster()) as team:
        job = synthetic_job(n)
        progress, engine = empty_progress(job), MeasuredEngine(job, team)
        before, start = reset_peak(), time.perf_counter()
        engine.score_remaining(job.datasets["all"], progress, fast=False, report=lambda _n: None)
        seconds = time.perf_counter() - start
    mib = memory_now("VmHWM") - before
    return {"samples": progress.seen, "seconds": seconds, "mib": mib, "bytes_per_sample": engine.sent / n}


def merge(n: int, _folder: Path) -> dict[str, Any]:
    """Measure the driver's time and memory for the results of `WORKERS` workers from `n` samples each, without Ray."""
    progress = empty_progress(synthetic_job(0))
    before, cpu, sent = reset_peak(), time.process_time(), 0
    start = time.perf_counter()
    for parcel in _parcels(-(-n // SHARD)):
        sent += len(parcel)
        merge_into(progress, pickle.loads(zlib.decompress(parcel)))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "samples": progress.seen,
        "clock_seconds": seconds,
        "driver_seconds": cpu,
        "driver_us_per_sample": cpu / progress.seen * 1e6,
        "driver_mib": memory_now("VmHWM") - before,
        "bytes_per_sample": sent / progress.seen,
        "kept": sum(len(progress.kept.highest.of_class(label)) for label in range(CLASSES)),
        "cells": len(progress.tally.result()),
    }


def _parcels(rounds: int) -> Iterator[bytes]:
    """Yield the results that `WORKERS` workers send in so many rounds of shards; a few processes simulate them."""
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
    """Simulate the workers with these numbers, in turns."""
    notes = Path(tempfile.mkdtemp())
    workers = {number: ShardScorer(synthetic_job(0), K, 0, notes / str(number)) for number in numbers}
    for done in range(rounds):
        for number, worker in workers.items():
            shard = done * WORKERS + number
            keys = range(shard * SHARD, (shard + 1) * SHARD)
            parcels.put(zlib.compress(pickle.dumps(worker.score(shard, "all", keys, False)), 1))


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
    parser.add_argument("--photos", type=int, default=PHOTOS, help="number of photos in the section workers")
    parser.add_argument("--samples", type=int, default=10_000_000, help="samples per worker in the section merge")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        section, n, folder = options.measure
        print(json.dumps(ROWS[section](int(n), Path(folder))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        photos = Path(temporary)
        if options.only in (None, "workers"):
            datasets.photos(photos / "trained")  # trains the model, once
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
