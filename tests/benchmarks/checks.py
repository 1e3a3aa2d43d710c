"""`python -m tests.benchmarks.checks`: `cleaner check` beside CleanVision, its memory, and its cost in a scan.

`--cleanvision PYTHON` names the interpreter of an environment that has CleanVision; by default it is this one, and
CleanVision is left out where it is missing. Both run in turns, in three rounds, each in a process of its own with two
workers, and the median counts. `--only NAME` measures one section. `million` is the search of copies alone, among made
records in a file: `--sizes 100000 300000` measures other numbers than 100,000 and a million, which takes an hour.
`recall` is that of the search with an index beside brute force, among 200,000 images made of CIFAR-10.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from cleaner.checks.neighbours import Vectors
from tests.benchmarks import datasets
from tests.benchmarks.copies import made_records
from tests.benchmarks.memory import memory_now, reset_peak

PHOTOS, WORKERS, ROUNDS = 1000, 2, 3
MEMORY_SIZES = (1_000, 10_000, 100_000)
RECORD_SIZES = (100_000, 1_000_000)
RECALL_IMAGES = 200_000
# Made records that are written at once, and one in so many that is a noisy copy of the one before.
_WRITTEN, _COPIED = 10_000, 100

_CLEANVISION = """
import sys, time
from cleanvision import Imagelab
lab = Imagelab(data_path=sys.argv[1], verbose=False)
start = time.perf_counter()
lab.find_issues(n_jobs=2, verbose=False)
print(time.perf_counter() - start)
"""


def measured(folder: Path, out: Path) -> None:
    """Check a folder in this process; print the time and the peak memory as JSON."""
    import cleaner
    import cleaner.checks.run  # not measured

    before = reset_peak()
    with AnonymousPeak() as peak:
        start = time.perf_counter()
        report = cleaner.check(folder, out, workers=WORKERS, progress=False)
        seconds = time.perf_counter() - start
    memory = {"peak_mib": memory_now("VmHWM") - before, "anonymous_mib": peak.mib}
    print(json.dumps({"seconds": seconds, **memory, "images": report.images, "counts": dict(report.counts)}))


def row(folder: Path) -> dict[str, float]:
    """Check a folder in a new process."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "tests.benchmarks.checks", "--measure", str(folder), f"{out}/scan"]
        result: dict[str, float] = json.loads(_output(command).splitlines()[-1])
    return result


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout.strip()


def speed_section(folder: Path, options: argparse.Namespace) -> None:
    data = datasets.photos(folder / "photos", PHOTOS)
    print(f"\n{PHOTOS} real photos, {WORKERS} workers")
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(row(data))
        try:
            theirs.append(float(_output([options.cleanvision, "-c", _CLEANVISION, str(data)]).splitlines()[-1]))
        except RuntimeError as error:
            print(f"  CleanVision is left out: {str(error).splitlines()[-1]}")
            break
    seconds = statistics.median(each["seconds"] for each in ours)
    print(f"  cleaner check  {PHOTOS / seconds:8.1f} images/s  {ours[0]['counts']}")
    if theirs:
        print(f"  CleanVision    {PHOTOS / statistics.median(theirs):8.1f} images/s")
        print(f"  {statistics.median(theirs) / seconds:.1f} x, by medians of {ROUNDS} rounds")


def memory_section(folder: Path, options: argparse.Namespace) -> None:
    print("\nPeak memory above the start, different small images")
    for size in options.sizes or MEMORY_SIZES:
        found = row(different_images(folder, size))
        print(
            f"  {size:9,} images  {found['peak_mib']:8.1f} MiB of any kind, {found['anonymous_mib']:.1f} MiB without "
            f"pages of files  {size / found['seconds']:8.1f} images/s  {found['counts']}",
            flush=True,
        )


def different_images(folder: Path, n: int) -> Path:
    """Write `n` different images of 32 x 32 pixels in class folders."""
    root = folder / f"different{n}"
    for number, pixels in enumerate(different_pixels(folder, n)):
        path = root / f"class_{number % datasets.SMALL_CLASSES:04d}" / f"image_{number:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
    return root


def different_pixels(folder: Path, n: int) -> Iterator[np.ndarray]:
    """Yield `n` different pictures, uint8 [32, 32, 3]: small images, then means of two of them, one turned."""
    originals = datasets.small_images(folder / f"originals{n}", min(n, 10_000), 10)
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in sorted(originals.rglob("*.jpg"))])
    yield from pixels
    random = np.random.default_rng(0)
    for _ in range(len(pixels), n):
        one, other = random.choice(len(pixels), 2, replace=False)
        mean = pixels[one].astype(np.uint16) + np.rot90(pixels[other], random.integers(4))
        yield (mean // 2).astype(np.uint8)


def million_section(folder: Path, options: argparse.Namespace) -> None:
    print("\nfind_copies alone, among made records in a file")
    for size in options.sizes or RECORD_SIZES:
        file = folder / f"records{size}.bin"
        write_records(file, size)
        found = json.loads(_output([sys.executable, "-m", "tests.benchmarks.checks", "--find", str(file)]))
        print(
            f"  {size:9,} records  {found['seconds']:7.0f} s  {found['anonymous_mib']:6.1f} MiB above the start, "
            f"without pages of files; {found['groups']:,} groups of {size // _COPIED - 1:,} made pairs",
            flush=True,
        )
        file.unlink()


def write_records(file: Path, n: int) -> None:
    """Write the records of `n` made pictures, a few of which are copies."""
    with open(file, "wb") as out:
        for start in range(0, n, _WRITTEN):
            out.write(made_records(min(_WRITTEN, n - start), seed=start).tobytes())


def found_in(file: Path) -> None:
    """Find the copies among records in a file; print time and memory as JSON."""
    from cleaner.checks.records import RECORD
    from cleaner.checks.similar import find_copies

    records = np.memmap(file, RECORD, "r")
    find_copies(records[:3000], _no_image)  # what libraries take once
    with AnonymousPeak() as peak:
        start = time.perf_counter()
        groups = find_copies(records, _no_image)
        seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "anonymous_mib": peak.mib, "groups": len(groups)}))


def _no_image(at: int) -> Image.Image:
    raise FileNotFoundError(at)


class AnonymousPeak:
    """The peak of this process's memory above that at the beginning, looked at 50 times a second.

    Pages of files are not counted, as the system takes them back when it needs memory: records are such.
    """

    mib = 0.0

    def __enter__(self) -> AnonymousPeak:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(memory_now("RssAnon"),))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self, before: float) -> None:
        while not self._ended.wait(0.02):
            self.mib = max(self.mib, memory_now("RssAnon") - before)


def recall_section(folder: Path, options: argparse.Namespace) -> None:
    """Compare the pairs that the search with an index finds for some images with those of brute force."""
    from cleaner.checks.neighbours import nearest_by_index, unit_blocks

    for size in options.sizes or [RECALL_IMAGES]:
        records = described_records(folder, size)
        asked = np.sort(np.random.default_rng(0).choice(size, 3000, replace=False))
        print(f"\n{size:,} different small images: pairs of {len(asked):,} of them that the search with an index finds")
        searches = (("colours", "colours", 0.5), ("mirrored", "colours", 0.5), ("hash", "hash", 0.6875))
        for queries, vectors, floor in searches:
            of = [partial(unit_blocks, records, np.arange(size), name) for name in (queries, vectors)]
            start = time.perf_counter()
            indexed = np.concatenate(list(nearest_by_index(*of, size, 3, floor)))
            seconds = time.perf_counter() - start
            exact = brute_force(*of, asked, size, floor)
            found = cosines_of(*of, indexed[np.isin(indexed[:, 0], asked)])
            shares = (recall(found, exact, least) for least in (floor, 0.9))
            print(f"  {queries:9} {', of a cosine above .9 '.join(shares)}; {seconds:.0f} s", flush=True)


def recall(found: dict[int, list[float]], exact: dict[int, list[float]], least: float) -> str:
    """Return for how many exact neighbours with such a cosine one as near was found; of equal ones any counts."""
    wanted = got = 0
    for at, cosines in exact.items():
        near = [*sorted(found.get(at, []), reverse=True), *[-1.0] * 3]
        pairs = [
            (cosine, one) for cosine, one in zip(sorted(cosines, reverse=True), near, strict=False) if cosine > least
        ]
        wanted += len(pairs)
        got += sum(one > cosine - 1e-4 for cosine, one in pairs)
    return f"{got / max(1, wanted):.4f} of {wanted:,}"


def cosines_of(queries: Vectors, vectors: Vectors, pairs: np.ndarray) -> dict[int, list[float]]:
    """Return the cosines of pairs by their first image."""
    found: dict[int, list[float]] = {}
    for one, other in pairs.tolist():
        found.setdefault(one, []).append(float(queries(one, one + 1)[0] @ vectors(other, other + 1)[0]))
    return found


def described_records(folder: Path, n: int) -> np.ndarray:
    """Return records of different small images with their descriptors and hashes alone."""
    from cleaner.checks.descriptors import dct_hash, descriptor, without_border
    from cleaner.checks.records import RECORD

    records = np.zeros(n, RECORD)
    for at, pixels in enumerate(different_pixels(folder, n)):
        bare = without_border(Image.fromarray(pixels))
        records["hash"][at], records["descriptor"][at] = dct_hash(bare), descriptor(bare)
    return records


def brute_force(queries: Vectors, vectors: Vectors, asked: np.ndarray, n: int, floor: float) -> dict[int, list[float]]:
    """Return the cosines of some queries to their three nearest vectors, by a full sort."""
    found = {}
    everything = vectors(0, n)
    for at in asked.tolist():
        cosines = everything @ queries(at, at + 1)[0]
        cosines[at] = -1
        found[at] = [float(cosine) for cosine in np.partition(cosines, -3)[-3:] if cosine > floor]
    return found


def scan_section(folder: Path, _options: argparse.Namespace) -> None:
    """Compare the time of the check with that of the scan of the same photos, in turns."""
    from tests.benchmarks import scan

    data = datasets.photos(folder / "scanned", PHOTOS)
    print(f"\n{PHOTOS} real photos, resnet18 at 224 px: cleaner scan --check beside cleaner scan")
    scan.row("bare loop", "photos", data)  # trains the model
    scans, checks = [], []
    for _ in range(ROUNDS):
        scans.append(scan.row("cleaner.scan", "photos", data)["seconds"])
        checks.append(row(data)["seconds"])
    share = statistics.median(checks) / statistics.median(scans)
    print(f"  scan {statistics.median(scans):.1f} s, check {statistics.median(checks):.1f} s: {share:.0%} more")


SECTIONS: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "speed": speed_section,
    "memory": memory_section,
    "scan": scan_section,
    "million": million_section,
    "recall": recall_section,
}


def main() -> None:
    """Run the sections; with `--measure` or `--find`, one measurement for the process that started this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SECTIONS, action="append")
    parser.add_argument("--cleanvision", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "OUT"))
    parser.add_argument("--sizes", nargs="+", type=int, metavar="N")
    parser.add_argument("--find", type=Path, metavar="RECORDS")
    options = parser.parse_args()
    if options.find:
        found_in(options.find)
        return
    if options.measure:
        measured(*map(Path, options.measure))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only or SECTIONS:
            SECTIONS[name](Path(folder), options)


if __name__ == "__main__":
    main()
