"""`python -m tests.benchmarks.interpret`: the interpretation of a scan beside fastai's, with a thousand classes.

Each row is measured in its own process, which scores the images and computes the confusion matrix, the most confused
classes, the report and the top losses: its time, and its peak memory above that before. fastai asks for classes² x
images bytes, and then for eight times that; a limit of memory protects the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks import datasets
from tests.benchmarks.memory import memory_now, reset_peak

SIZES = (100, 300, 10_000)
LIMIT_GIB = 6
TOP = 9


def fastais(learn: Any, _out: Path) -> dict[str, Any]:
    from fastai.interpret import ClassificationInterpretation

    interp = ClassificationInterpretation.from_learner(learn)
    losses, _ = interp.top_losses(TOP)
    text = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(text):
        warnings.simplefilter("ignore")
        interp.print_classification_report()
    matrix = interp.confusion_matrix()
    interp.most_confused(2)
    return {"losses": losses.tolist(), "matrix": _digest(matrix.tolist()), "report": _digest(_words(text.getvalue()))}


def ours(learn: Any, out: Path) -> dict[str, Any]:
    import cleaner

    interp = cleaner.Interpretation(cleaner.scan(learn, out, splits=("valid",), progress=False))
    losses, _ = interp.top_losses(TOP)
    interp.most_confused(2)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        interp.print_classification_report()
    matrix = _digest(interp.confusion_matrix().tolist())
    return {"losses": losses.tolist(), "matrix": matrix, "report": _digest(_words(text.getvalue()))}


ROWS: dict[str, Callable[[Any, Path], dict[str, Any]]] = {
    "fastai ClassificationInterpretation": fastais,
    "cleaner.scan and Interpretation": ours,
}


def _words(text: str) -> list[float | str]:
    """Return words and numbers of a report; scikit-learn writes counts as floats if no prediction is right."""
    return [float(word) if word[0].isdigit() else word for word in text.split()]


def _digest(data: object) -> int:
    return zlib.crc32(repr(data).encode())


def _learner(folder: Path, n: int) -> Any:
    """Return a learner with the first `n` images for validation, and one image of each class for training."""
    from fastai.vision import all as fastai

    files = sorted(fastai.get_image_files(folder), key=lambda file: file.name)
    learn = datasets.small_learner(folder)
    loaders = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock),
        get_y=fastai.parent_label,
        splitter=fastai.IndexSplitter(range(n)),
    ).dataloaders(files[:n] + files[-datasets.SMALL_CLASSES :], path=folder, bs=64, num_workers=2)
    learn.dls = loaders
    return learn


def measure(name: str, n: int, limit_gib: float, folder: Path, out: Path) -> None:
    """Run a row, and print its time and peak memory, or its error, as JSON."""
    learn = _learner(folder, n)
    before = reset_peak()
    reserved = int((memory_now("VmSize") + limit_gib * 1024) * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (reserved, reserved))
    start = time.perf_counter()
    try:
        found = ROWS[name](learn, out)
    except (MemoryError, RuntimeError) as error:
        found = {"died": str(error).splitlines()[0]}
    peak = memory_now("VmHWM") - before
    print(json.dumps({"seconds": time.perf_counter() - start, "peak_mib": peak, **found}))


def row(name: str, n: int, limit_gib: float, folder: Path) -> dict[str, Any]:
    """Measure a row in a new process."""
    out = Path(tempfile.mkdtemp(dir=folder.parent)) / "scan"
    options = [name, str(n), str(limit_gib), folder, out]
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.interpret", "--measure", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    died = f"  died: {result['died']}" if "died" in result else ""
    print(f"  {name:36} {result['seconds']:7.1f} s  {result['peak_mib']:9.1f} MiB{died}", flush=True)
    return result


def compare(limit_gib: float, folder: Path) -> None:
    """Measure both at each size, and compare their results."""
    classes = datasets.SMALL_CLASSES
    data = datasets.small_images(folder / "images", max(SIZES) + classes)
    for n in SIZES:
        asked = classes**2 * n
        print(f"\n{n} images, {classes} classes; {classes}² x {n} are {asked / 1e9:.1f} GB, eight times that "
              f"{8 * asked / 1e9:.1f} GB; the limit is {limit_gib:g} GiB above the start")  # fmt: skip
        theirs, mine = (row(name, n, limit_gib, data) for name in ROWS)
        if "died" not in theirs and "died" not in mine:
            apart = max(abs(a - b) for a, b in zip(theirs["losses"], mine["losses"], strict=True))
            same = {what: theirs[what] == mine[what] for what in ("matrix", "report")}
            print(f"  the same confusion matrix: {same['matrix']}, the same report: {same['report']}, "
                  f"top losses apart by at most {apart:.1e}")  # fmt: skip


def main() -> None:
    """Run the comparison, or one row for the process that asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit-gib", type=float, default=LIMIT_GIB, help="memory that a process may allocate")
    parser.add_argument("--measure", nargs=5, metavar=("ROW", "N", "LIMIT", "FOLDER", "OUT"))
    options = parser.parse_args()
    if options.measure:
        name, n, limit_gib, folder, out = options.measure
        measure(name, int(n), float(limit_gib), Path(folder), Path(out))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options.limit_gib, Path(folder))


if __name__ == "__main__":
    main()
