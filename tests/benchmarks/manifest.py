"""`python -m tests.benchmarks.manifest`: open, extend, query and export a manifest of a million rows.

Each line has the time of one call, and its processor time, which is less if others use the machine or the call waits
for the disk. The last line has the memory of the process after opening, and its peak. `--rows N` measures another size;
with `--quoted` each label has a comma, so that the rows cannot be checked together.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cleaner.core.manifest import Manifest
from cleaner.core.manifest_rows import COLUMNS
from cleaner.core.records import Action, Decision, Sample
from cleaner.core.standing import Standing
from cleaner.core.tasks import SINGLE_LABEL

CLASSES, REVIEWERS = 1000, ("anna", "ben", "carl")
T = TypeVar("T")


def make_manifest(path: Path, count: int, quoted: bool) -> None:
    """Write rows as the review does: one decision about each file, by three reviewers."""
    chance = random.Random(1)
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\r\n")
        for n in range(count):
            label, other = (f"n{m % CLASSES:08d}" for m in (n, n + 1))
            action = chance.choice(("keep", "delete", "relabel", "unsure"))
            new = other if action == "relabel" else ""
            named = f'"{label}, or so"' if quoted else label
            time_ = f"2026-01-{1 + n % 28:02d}T{n % 24:02d}:{n % 60:02d}:{n // 7 % 60:02d}.{n % 1000:03d}Z"
            file.write(
                f"train/{label}/{label}_{n}.JPEG,{action},{named},{new},train,{chance.random() * 10:.9g},{other},"
                f"{chance.getrandbits(256):064x},{REVIEWERS[n % 3]},{time_}\r\n"
            )


def timed(what: str, call: Callable[[], T]) -> T:
    begun, worked = time.perf_counter(), time.process_time()
    result = call()
    begun, worked = time.perf_counter() - begun, time.process_time() - worked
    print(f"{what:44} {1000 * begun:10,.1f} ms, {1000 * worked:10,.1f} ms of work", flush=True)
    return result


def memory() -> float:
    """Return the current memory of the process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(path: Path, count: int) -> None:
    before = memory()
    print(f"{count:,} rows, {path.stat().st_size / 2**20:,.0f} MiB")
    manifest = timed("open", lambda: Manifest.existing(path))
    opened = memory()
    names = [f"train/n{n % CLASSES:08d}/n{n % CLASSES:08d}_{n}.JPEG" for n in range(0, count, max(1, count // 200))]
    samples = {name: Sample("train", name.split("/")[1], 1, name, 1.0, "n00000001", 0.9) for name in names}
    standing = Standing(samples, SINGLE_LABEL, "", path.parent, path.parent)
    timed("hold the decisions against the files, on opening", lambda: standing.update(manifest.standing()))
    timed("look for removed and reordered rows", lambda: manifest.edits)
    timed(f"what stands for {len(names)} cards", lambda: [manifest.standing().get(name) for name in names])
    other = timed("open it again, as another reviewer", lambda: Manifest(path))
    for number in range(3):
        decision = Decision(names[number], Action.KEEP, reviewer="anna", decided_at="2026-02-01T12:00:00Z")
        expected = {decision.path: manifest.standing().get(decision.path)}
        timed("decide on one card", lambda d=decision, b=expected: manifest.append(d, expected=b))
        timed("hold the decision against its file", lambda: standing.update(manifest.standing()))
        timed("the other reviewer takes it in", other.refresh)
    del other
    timed("what apply asks for: the last row of each", manifest.latest)
    timed("export", lambda: manifest.export(path.with_name("out.csv")))
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory: {before:,.0f} MiB before, {opened:,.0f} MiB when open, {highest:,.0f} MiB at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--quoted", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "decisions.csv")
        make_manifest(path, options.rows, options.quoted)
        measure(path, options.rows)


if __name__ == "__main__":
    main()
