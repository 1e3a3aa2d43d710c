"""`python -m tests.benchmarks.apply`: apply and undo on large datasets.

It applies and undoes 100,000 decisions on a dataset in class folders, and 10,000 on a label table of a million rows.
Each row of the output is measured in its own process: the time of the call and the peak memory of that process.
`--only NAME` measures one section.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cleaner.apply import apply
from cleaner.apply.execute import undo
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan

FILES, ROWS, OF_ROWS, CLASSES = 100_000, 1_000_000, 10_000, 100
TIME = "2026-01-31T12:00:00Z"


def label(n: int) -> str:
    return f"class_{n % CLASSES:03d}"


def make_files(root: Path, count: int) -> None:
    for n in range(CLASSES):
        (root / label(n)).mkdir(parents=True)
    for n in range(count):
        (root / label(n) / f"{n:06d}.png").write_bytes(b"image %d" % n)


def decide(folder: Path, count: int) -> None:
    """Decide to delete half of the files, and to relabel the other half."""
    labels = tuple(map(label, range(CLASSES)))
    scan = Scan(folder / "data", labels, ("train",), 1, {"train": 0}, (), {"train": {}}).write(folder / "scan")
    decisions = []
    for n in range(count):
        path = f"{label(n)}/{n:06d}.png"
        action, new = (Action.DELETE, "") if n % 2 else (Action.RELABEL, label(n + 1))
        sha256 = sha256_of(folder / "data" / path)
        decisions.append(Decision(path, action, label(n), new, sha256=sha256, decided_at=TIME))
    Manifest(scan.manifest_path).append(*decisions)


def make_folders(folder: Path) -> None:
    make_files(folder / "data", FILES)
    decide(folder, FILES)


def make_csv(folder: Path) -> None:
    make_files(folder / "data", OF_ROWS)
    decide(folder, OF_ROWS)
    with open(folder / "labels.csv", "w", newline="") as file:
        file.write("fname,label,note\r\n")
        file.writelines(f'{label(n)}/{n:06d}.png,{label(n)},"note, {n}"\r\n' for n in range(ROWS))


def make_plain_csv(folder: Path) -> None:
    make_csv(folder)
    table = folder / "labels.csv"
    table.write_bytes(table.read_bytes().replace(b'"note, ', b"note ").replace(b'"', b""))


def make_parquet(folder: Path) -> None:
    import pandas as pd

    make_csv(folder)
    pd.read_csv(folder / "labels.csv").to_parquet(folder / "labels.parquet")


SECTIONS: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "folders": (make_folders, None),
    "csv": (make_plain_csv, "labels.csv"),
    "csv in quotes": (make_csv, "labels.csv"),
    "parquet": (make_parquet, "labels.parquet"),
}


def measured(folder: str, step: str, table: str) -> None:
    """Run one call in this process, and print its time and peak memory as JSON."""
    begun = time.perf_counter()
    if step == "apply":
        report = apply(
            Path(folder, "scan", "decisions.csv"), Path(folder, "data"), Path(folder, table) if table else None
        )
    else:
        report = undo(next(Path(folder, "scan").glob("journal-*.jsonl")))
    seconds = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"s": seconds, "MiB": memory, "done": len(report.done), "conflicts": len(report.conflicts)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SECTIONS)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measured(*options.measure)
        return
    for name, (make, table) in SECTIONS.items():
        if options.only not in (None, name):
            continue
        folder = Path(tempfile.mkdtemp())
        try:
            make(folder)
            for step in ("apply", "undo"):
                command = [sys.executable, "-m", "tests.benchmarks.apply", "--measure", str(folder), step, table or ""]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found = json.loads(done.stdout)
                print(
                    f"{name:14} {step:6} {found['s']:6.1f} s {found['MiB']:6.0f} MiB "
                    f"{found['done']:7,} done, {found['conflicts']} in conflict",
                    flush=True,
                )
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
