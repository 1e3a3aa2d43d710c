"""`python -m tests.benchmarks.checks`: `cleaner check` beside CleanVision, its memory, and its cost in a scan.

`--cleanvision PYTHON` names the interpreter of an environment that has CleanVision; by default it is this one, and
CleanVision is left out where it is missing. Both run in turns, in three rounds, each in a process of its own with two
workers, and the median counts. `--only NAME` measures one section.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import datasets
from tests.benchmarks.memory import memory_now, reset_peak

PHOTOS, WORKERS, ROUNDS = 1000, 2, 3
MEMORY_SIZES = (1_000, 10_000, 100_000)

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
    start = time.perf_counter()
    report = cleaner.check(folder, out, workers=WORKERS, progress=False)
    seconds = time.perf_counter() - start
    peak = memory_now("VmHWM") - before
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "images": report.images, "counts": dict(report.counts)}))


def row(folder: Path) -> dict[str, float]:
    """Check a folder in a new process."""
    out = Path(tempfile.mkdtemp()) / "scan"
    command = [sys.executable, "-m", "tests.benchmarks.checks", "--measure", str(folder), str(out)]
    result: dict[str, float] = json.loads(_output(command).splitlines()[-1])
    return result


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout.strip()


def speed_section(folder: Path, python: str) -> None:
    data = datasets.photos(folder / "photos", PHOTOS)
    print(f"\n{PHOTOS} real photos, {WORKERS} workers")
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(row(data))
        try:
            theirs.append(float(_output([python, "-c", _CLEANVISION, str(data)]).splitlines()[-1]))
        except RuntimeError as error:
            print(f"  CleanVision is left out: {str(error).splitlines()[-1]}")
            break
    seconds = statistics.median(each["seconds"] for each in ours)
    print(f"  cleaner check  {PHOTOS / seconds:8.1f} images/s  {ours[0]['counts']}")
    if theirs:
        print(f"  CleanVision    {PHOTOS / statistics.median(theirs):8.1f} images/s")
        print(f"  {statistics.median(theirs) / seconds:.1f} x, by medians of {ROUNDS} rounds")


def memory_section(folder: Path, _python: str) -> None:
    print("\nPeak memory above the start, small images")
    for size in MEMORY_SIZES:
        found = row(datasets.small_images(folder / f"small{size}", size))
        print(f"  {size:9,} images  {found['peak_mib']:8.1f} MiB  {size / found['seconds']:8.1f} images/s")


def scan_section(folder: Path, _python: str) -> None:
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


SECTIONS: dict[str, Callable[[Path, str], None]] = {
    "speed": speed_section,
    "memory": memory_section,
    "scan": scan_section,
}


def main() -> None:
    """Run the sections; with `--measure`, one check for the process that started this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SECTIONS, action="append")
    parser.add_argument("--cleanvision", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "OUT"))
    options = parser.parse_args()
    if options.measure:
        measured(*map(Path, options.measure))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only or SECTIONS:
            SECTIONS[name](Path(folder), options.cleanvision)


if __name__ == "__main__":
    main()
