"""`python -m tests.benchmarks.scan`: the scan beside fastai's own tools, a bare loop, and upper bounds of its speed.

Each row is measured in its own process: the time of the call, and the peak memory of that process above its memory at
the start of the call. Rows that are compared by a ratio run in turns, in three rounds, and the median time of each
counts: a machine that others use can be slower for minutes. `--only NAME` measures one section. The section `few`
compares the scan with `get_preds` on few photos, where its fixed costs show. The section `memory` writes
`figures/scan.png`.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import datasets
from tests.benchmarks.memory import memory_now, reset_peak

PHOTOS, PHOTOS_FEW, SMALL = 1000, 250, 10_000
MEMORY_SIZES = (5_000, 10_000, 20_000, 50_000)
STREAM = 10_000_000
K = 10
ROUNDS = 3


# The rows; each takes the learner and the scan folder, and returns further results to print.


def fastai_cleaner(learn: Any, _out: Path) -> dict[str, Any]:
    from fastai.vision.widgets import ImageClassifierCleaner

    ImageClassifierCleaner(learn)
    return {"images": len(learn.dls[0].dataset)}  # it scores a split when the user selects it, at first this one


def fastai_get_preds(learn: Any, _out: Path) -> dict[str, Any]:
    for split in (0, 1):
        items = learn.dls[split].dataset.items
        learn.get_preds(dl=learn.dls.test_dl(items, with_labels=True), with_loss=True)
    return {}


def bare_loop(learn: Any, _out: Path) -> dict[str, Any]:
    """Run the same loader and model, and keep nothing."""
    import torch

    learn.model.eval()
    with torch.no_grad():
        for split in (0, 1):
            for images, targets in learn.dls.test_dl(learn.dls[split].dataset.items, with_labels=True):
                learn.loss_func(learn.model(images), targets)
    return {}


def decode_alone(learn: Any, _out: Path) -> dict[str, Any]:
    for split in (0, 1):
        for _ in learn.dls.test_dl(learn.dls[split].dataset.items, with_labels=True):
            pass
    return {}


def model_alone(learn: Any, _out: Path, quicken: bool = False, fast: bool = False) -> dict[str, Any]:
    """Run the model on one batch repeatedly, for as many images as the dataset has."""
    import torch

    from cleaner.scoring.model import backends

    learn.model.eval()
    batch, targets = learn.dls.test_dl(learn.dls[0].dataset.items[:64], with_labels=True).one_batch()
    batch, targets = batch.as_subclass(torch.Tensor), targets.as_subclass(torch.Tensor)

    def losses(out: Any, n: int) -> Any:
        return torch.nn.functional.cross_entropy(out, targets[:n], reduction="none")

    with torch.no_grad():
        backend = backends.Backend("plain", learn.model, 0.0)
        if quicken:
            spread = (lambda: [batch[:16]]) if fast else None
            backend = backends.choose(learn.model, [batch[:16]], losses, spread)
        backend.model(batch)
        start = time.perf_counter()
        for _ in range(_count(learn) // 64):
            backend.model(batch)
    return {"seconds": (time.perf_counter() - start) * _count(learn) / (_count(learn) // 64 * 64), "way": backend.name}


def model_quickened(learn: Any, out: Path) -> dict[str, Any]:
    return model_alone(learn, out, quicken=True)


def model_fast(learn: Any, out: Path) -> dict[str, Any]:
    return model_alone(learn, out, quicken=True, fast=True)


def scan(learn: Any, out: Path, **options: Any) -> dict[str, Any]:
    import cleaner

    result = cleaner.scan_folder(learn, learn.dls.path, out, **{"k": K, "progress": False, **options})
    return {"ways": result.settings["ways"], "fast": result.settings.get("fast"), "unreadable": len(result.unreadable)}


def scan_fast(learn: Any, out: Path) -> dict[str, Any]:
    return scan(learn, out, fast=True)


def scan_k100(learn: Any, out: Path) -> dict[str, Any]:
    return scan(learn, out, k=100)


def _scan_with(
    backend: str | None, workers: int | None, batch_size: int | None = None, views: int = 1
) -> Callable[..., dict[str, Any]]:
    def run(learn: Any, out: Path) -> dict[str, Any]:
        from cleaner.scoring import engine
        from cleaner.scoring.data.fastai_data import from_folder
        from cleaner.scoring.model.fastai_model import fastai_job

        open_data = partial(from_folder, data=Path(learn.dls.path), batch_size=batch_size)
        job = fastai_job(learn, open_data, workers, views=views)
        if backend is not None:
            job.scorer.selector.names["exact"] = backend
        engine.run(job, out, engine.ScanOptions(k=K, resume=False, progress=False))
        return {"ways": job.scorer.selector.names}

    return run


CHOICES: dict[str, Callable[..., dict[str, Any]]] = {
    "plain, 2 workers": _scan_with("plain", 2),
    "plain, 1 worker": _scan_with("plain", 1),
    "channels-last, 1 worker": _scan_with("channels-last", 1),
    "fused, 2 workers": _scan_with("fused", 2),
    "traced, 0 workers": _scan_with("traced", 0),
    "traced, 1 worker": _scan_with("traced", 1),
    "traced, 2 workers": _scan_with("traced", 2),
    "traced, 1 worker, batches of 16": _scan_with("traced", 1, 16),
    "traced, 1 worker, batches of 128": _scan_with("traced", 1, 128),
    "chosen": _scan_with(None, None),
    "chosen, 2 views": _scan_with(None, None, views=2),
    "chosen, 4 views": _scan_with(None, None, views=4),
    "chosen, 8 views": _scan_with(None, None, views=8),
}
ROWS: dict[str, Callable[..., dict[str, Any]]] = {
    "fastai ImageClassifierCleaner": fastai_cleaner,
    "fastai get_preds": fastai_get_preds,
    "bare loop": bare_loop,
    "decode alone": decode_alone,
    "model alone": model_alone,
    "model alone, quickened": model_quickened,
    "model alone, fast": model_fast,
    "cleaner.scan": scan,
    "cleaner.scan, k=100": scan_k100,
    "cleaner.scan, fast": scan_fast,
    **CHOICES,
}


def _count(learn: Any) -> int:
    return sum(len(loader.dataset) for loader in learn.dls.loaders)


# One row, in its own process.


def measure(row: str, kind: str, folder: Path, out: Path) -> None:
    """Run a row, and print its time and peak memory as JSON."""
    logging.basicConfig(level=logging.WARNING)
    learn = {"photos": datasets.photo_learner, "small": datasets.small_learner}[kind](folder)
    if row == "fastai ImageClassifierCleaner":
        import fastai.vision.widgets  # imported here, so that its import is not measured

        fastai.vision.widgets.display = lambda *_: None  # only notebooks have it
    gc.collect()  # else a collection of all that was made so far, a quarter of a second, falls into some calls only
    before = reset_peak()
    start = time.perf_counter()
    found = ROWS[row](learn, out)
    seconds = time.perf_counter() - start
    peak = memory_now("VmHWM") - before
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "images": _count(learn), **found}))


def row(name: str, kind: str, folder: Path, out: Path | None = None) -> dict[str, Any]:
    """Measure a row in a new process."""
    out = out or Path(tempfile.mkdtemp(dir=folder.parent)) / "scan"
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.scan", "--measure", name, kind, folder, out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:] or f"the process of {name!r} ended with exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    result |= {"name": name, "per_second": result["images"] / result["seconds"], "out": out}
    extra = {key: result[key] for key in ("way", "ways", "fast", "unreadable") if result.get(key)}
    print(f"  {name:34} {result['per_second']:9.1f} images/s  {result['peak_mib']:8.1f} MiB  {extra or ''}", flush=True)
    return result


def rounds(names: list[str], kind: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Measure rows in turns; return the result of median time of each."""
    turns = [[row(name, kind, folder) for name in names] for _ in range(ROUNDS)]
    ordered = [sorted(results, key=itemgetter("seconds")) for results in zip(*turns, strict=True)]
    return {name: results[ROUNDS // 2] for name, results in zip(names, ordered, strict=True)}


def beside_get_preds(data: Path) -> dict[str, dict[str, Any]]:
    """Compare the exact and the fast scan of photos with fastai's `get_preds`."""
    rows = rounds(["fastai get_preds", "cleaner.scan", "cleaner.scan, fast"], "photos", data)
    base = rows["fastai get_preds"]["per_second"]
    for name in ("cleaner.scan", "cleaner.scan, fast"):
        kept = _compare(rows["cleaner.scan"]["out"], rows[name]["out"])
        print(f"  {name}: {rows[name]['per_second'] / base:.2f} x get_preds, by medians of {ROUNDS} rounds; {kept}")
    return rows


# The sections.


def photo_section(folder: Path) -> dict[str, Any]:
    print(f"\n{PHOTOS} real photos, resnet18 at 224 px, {os.cpu_count()} cores")
    data = datasets.photos(folder / "photos", PHOTOS)
    names = ["fastai ImageClassifierCleaner", "bare loop", "decode alone", "model alone"]
    names += ["model alone, quickened", "model alone, fast"]
    return {name: row(name, "photos", data) for name in names} | beside_get_preds(data)


def few_section(folder: Path) -> dict[str, Any]:
    print(f"\n{PHOTOS_FEW} real photos, resnet18 at 224 px, {os.cpu_count()} cores")
    data = datasets.photos(folder / "few", PHOTOS_FEW)
    row("bare loop", "photos", data)  # the first process trains the model, so its own times are those of a warm one
    return beside_get_preds(data)


def choice_section(folder: Path) -> dict[str, Any]:
    print("\nThe choices, each run on the photos")
    data = folder / "photos"
    if not data.exists():
        datasets.photos(data, PHOTOS)
    rows = {name: row(name, "photos", data) for name in CHOICES}
    for name, found in rows.items():
        print(f"  {name:34} {_compare(rows['plain, 2 workers']['out'], found['out'])}")
    return rows


def small_section(folder: Path) -> dict[str, Any]:
    print(f"\n{SMALL} small images, small model, {datasets.SMALL_CLASSES} classes")
    data = datasets.small_images(folder / "small", SMALL)
    names = ["fastai ImageClassifierCleaner", "fastai get_preds", "bare loop", "decode alone", "cleaner.scan, k=100"]
    rows = rounds(names, "small", data)
    speed = rows["cleaner.scan, k=100"]["per_second"]
    print(f"  {speed / rows['fastai ImageClassifierCleaner']['per_second']:.2f} x ImageClassifierCleaner")
    print(f"  {speed / rows['bare loop']['per_second']:.2f} x the bare loop")
    return rows


def broken_section(folder: Path) -> None:
    print(f"\n100 broken files among {SMALL}")
    whole = datasets.small_images(folder / "whole", SMALL)
    clean = row("cleaner.scan, k=100", "small", whole)
    paths = sorted(whole.rglob("*.jpg"))[:: SMALL // 100]
    learn_first = row("cleaner.scan, k=100", "small", whole)
    for path in paths:
        data = path.read_bytes()[:200]
        path.unlink()  # the file may have other hard links
        path.write_bytes(data)
    broken = row("cleaner.scan, k=100", "small", whole)
    base = min(clean["seconds"], learn_first["seconds"])
    print(f"  {broken['unreadable']} of {len(paths)} listed; {broken['seconds'] / base:.2f} x the time without them")


def memory_section(folder: Path) -> dict[str, list[dict[str, Any]]]:
    print(f"\nPeak memory above the start, {datasets.SMALL_CLASSES} classes")
    found: dict[str, list[dict[str, Any]]] = {"fastai ImageClassifierCleaner": [], "cleaner.scan, k=100": []}
    for size in MEMORY_SIZES:
        print(f"  {size} images")
        data = datasets.small_images(folder / f"memory{size}", size)
        for name, rows in found.items():
            rows.append(row(name, "small", data))
        shutil.rmtree(data)
    for name, rows in found.items():
        print(
            f"  {name}: {rows[-1]['peak_mib'] - rows[0]['peak_mib']:+.1f} MiB "
            f"from {MEMORY_SIZES[0]} to {MEMORY_SIZES[-1]} images"
        )
    return found


def stream_section(_folder: Path) -> None:
    """Measure heaps and tally alone, on samples that are generated on demand."""
    from cleaner.core.records import ScoredBatch
    from cleaner.core.tally import Tally
    from cleaner.core.topk import TopK, by_highest_loss

    classes, k, size = 1000, 100, 256
    print(f"\nA stream of {STREAM:,} samples, {classes} classes, k={k}, batches of {size}")
    random = np.random.default_rng(0)
    heaps, tally = TopK(classes, k, by_highest_loss), Tally(classes)
    checked: dict[int, list[tuple[float, str]]] = {0: [], 500: [], 999: []}
    seconds, memory = 0.0, []
    for start in range(0, STREAM, size):
        labels, losses = random.integers(0, classes, size), random.exponential(size=size)
        paths = [f"class/image_{number:08d}.jpg" for number in range(start, start + size)]
        batch = ScoredBatch(paths, labels, losses, random.integers(0, classes, size), losses / losses.max())
        begin = time.perf_counter()
        heaps.update(batch)
        tally.update(batch)
        seconds += time.perf_counter() - begin
        for label, rows in checked.items():
            rows.extend((-losses[i], paths[i]) for i in np.flatnonzero(labels == label))
        if start % (STREAM // 10 // size * size) == 0:
            memory.append(memory_now("VmRSS") - sum(map(len, checked.values())) * 150 / 2**20)
    equal = all([(-kept.loss, kept.path) for kept in heaps.of_class(c)] == sorted(r)[:k] for c, r in checked.items())
    print(f"  {seconds / STREAM * 1e6:.2f} µs a sample; equal to a full sort: {equal}")
    print(f"  memory at each tenth: {', '.join(f'{m:.0f}' for m in memory)} MiB")


def _compare(one: Path, other: Path) -> str:
    from cleaner.core.scan import load

    first, second = load(one), load(other)
    left = {(s.split, s.label, s.path): s.loss for s in first.samples}
    right = {(s.split, s.label, s.path): s.loss for s in second.samples}
    if first.splits != second.splits:
        left = {key[1:]: loss for key, loss in left.items()}
        right = {key[1:]: loss for key, loss in right.items()}
    shared = len(left.keys() & right.keys()) / max(1, len(left))
    largest = max((abs(left[key] - right[key]) for key in left.keys() & right.keys()), default=float("nan"))
    return f"{shared:.1%} of the kept set the same, largest loss difference {largest:.1e}"


def draw(memory: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Plot memory and time by the number of images."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
    for name, rows in memory.items():
        images = [found["images"] for found in rows]
        left.plot(images, [found["peak_mib"] for found in rows], "o-", label=name)
        right.plot(images, [found["seconds"] for found in rows], "o-", label=name)
    left.set(xlabel="images", ylabel="peak memory above the start, MiB")
    right.set(xlabel="images", ylabel="seconds")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.legend()
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"\n{path}")


SECTIONS: dict[str, Callable[[Path], Any]] = {
    "photos": photo_section,
    "few": few_section,
    "choices": choice_section,
    "small": small_section,
    "broken": broken_section,
    "memory": memory_section,
    "stream": stream_section,
}


def main() -> None:
    """Run the sections; with `--measure`, one row for the process that started this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SECTIONS, action="append")
    parser.add_argument("--measure", nargs=4, metavar=("ROW", "KIND", "FOLDER", "OUT"))
    options = parser.parse_args()
    if options.measure:
        name, kind, folder, out = options.measure
        measure(name, kind, Path(folder), Path(out))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only or SECTIONS:
            found = SECTIONS[name](Path(folder))
            if name == "memory":
                draw(found, Path("figures/scan.png"))


if __name__ == "__main__":
    main()
