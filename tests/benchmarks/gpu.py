"""`python -m tests.benchmarks.gpu`: reading, model and scan on an accelerator, beside fastai's `get_preds`.

Every section prints a table; `--json FILE` writes all figures. `--quick` takes less than ten minutes on a GPU machine.
`--tiny` takes seconds on a CPU: it shows that the benchmark runs, and its figures mean nothing.

Rows that are compared run in alternating rounds in this process, and the medians count.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torchvision
from fastai.vision import all as fastai
from torch import Tensor, nn

import cleaner
from cleaner.core.scan import Scan
from cleaner.scoring.data.fastai_data import from_folder
from cleaner.scoring.data.reader import read
from cleaner.scoring.model import backends
from cleaner.scoring.model.fastai_model import fastai_job
from cleaner.scoring.progress import SplitProgress
from tests.benchmarks import datasets
from tests.benchmarks.memory import memory_now

K = 10
GOAL = 0.9
"""Share of the slower of reading and model that a scan should reach."""

DTYPES = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}
Row = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """A learner whose scan is measured beside `get_preds`.

    Attributes:
        name: its name in the tables.
        model: a torchvision model; an empty name stands for the learner's own.
        precision: a key of `DTYPES`, by fastai's own callback.
        presized: images are read at twice the size, and the batch transforms resize them on the device.
    """

    name: str
    model: str = ""
    precision: str = "fp32"
    presized: bool = False


VARIANTS = (
    Variant("fp32"),
    Variant("fp16", precision="fp16"),
    Variant("bf16", precision="bf16"),
    Variant("presized, fp16", precision="fp16", presized=True),
)
LARGE = Variant("resnet50, fp32", "resnet50")
LARGEST = Variant("vit_b_16, fp32", "vit_b_16")


@dataclass(frozen=True)
class Plan:
    """The sizes of a run.

    Attributes:
        images, size, batch_size: number of images, their edge in pixels, and images per batch.
        readers: numbers of worker processes; the scans use the largest.
        models: torchvision models that run alone; the tiny run has one of its own.
        batch_sizes: batch sizes for the model alone.
        variants: learners that are scanned.
        rounds: rounds of rows that are compared.
        runs: runs of a model of which the median counts.
        memory_images, memory_batch_size, every: images in the memory section, images per batch, batches between rows.
    """

    images: int
    size: int
    batch_size: int
    readers: tuple[int, ...]
    models: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    variants: tuple[Variant, ...]
    rounds: int
    runs: int
    memory_images: int
    memory_batch_size: int
    every: int


FULL = Plan(
    images=20_000, size=224, batch_size=64, readers=(8, 16), models=("resnet18", "resnet50", "vit_b_16"),
    batch_sizes=(16, 64, 256, 512), variants=(*VARIANTS, LARGE, LARGEST), rounds=5, runs=30,
    memory_images=60_000, memory_batch_size=64, every=50,
)  # fmt: skip
QUICK = Plan(
    images=3_000, size=224, batch_size=64, readers=(8, 16), models=("resnet18", "vit_b_16"),
    batch_sizes=(64, 256), variants=(*VARIANTS, LARGE), rounds=3, runs=10,
    memory_images=10_000, memory_batch_size=32, every=50,
)  # fmt: skip
TINY = Plan(
    images=64, size=32, batch_size=16, readers=(1,), models=("small",),
    batch_sizes=(4, 16), variants=VARIANTS[:3:2], rounds=1, runs=2,
    memory_images=64, memory_batch_size=8, every=4,
)  # fmt: skip


@dataclass
class Bench:
    """A plan on a device; images are written once.

    Attributes:
        readers: the plan's numbers of worker processes, at most one per core.
        folder: a temporary folder.
    """

    plan: Plan
    device: torch.device
    folder: Path
    readers: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.readers = tuple(sorted({min(n, _cores()) for n in self.plan.readers}))

    @property
    def images(self) -> Path:
        """The folder of images."""
        data = self.folder / "images"
        if not data.exists() and self.plan is TINY:
            datasets.small_images(data, self.plan.images, datasets.PHOTO_CLASSES)
        elif not data.exists():
            datasets.photos(data, self.plan.images)
        return data

    def learner(self, variant: Variant = VARIANTS[0]) -> fastai.Learner:
        """Return the learner of a variant, on the device."""
        size = self.plan.size
        normalize = fastai.Normalize.from_stats(*fastai.imagenet_stats)
        options = {
            "device": self.device, "bs": self.plan.batch_size, "num_workers": max(self.readers),
            "item_tfms": fastai.Resize(2 * size if variant.presized else size),
            "batch_tfms": [*fastai.aug_transforms(size=size), normalize] if variant.presized else normalize,
        }  # fmt: skip
        if self.plan is TINY:
            learn = datasets.small_learner(self.images, datasets.PHOTO_CLASSES, **options)
        else:
            learn = datasets.photo_learner(self.images, **options)
        if variant.model:
            learn.model = self.model(variant.model)
        {"fp32": lambda: None, "fp16": learn.to_fp16, "bf16": learn.to_bf16}[variant.precision]()
        learn.model.eval()
        return learn

    def model(self, name: str) -> nn.Module:
        """Return a model with random weights, on the device."""
        if self.plan is TINY:
            made = datasets.small_model(datasets.PHOTO_CLASSES)
        else:
            made = getattr(torchvision.models, name)(weights=None, num_classes=datasets.PHOTO_CLASSES)
        return made.to(self.device).eval()

    def scan(self, learn: fastai.Learner, **options: Any) -> Scan:
        """Scan the images with a learner, into a new folder."""
        usual = {"k": K, "progress": False, "workers": max(self.readers), "batch_size": self.plan.batch_size}
        out = Path(tempfile.mkdtemp(dir=self.folder)) / "scan"
        return cleaner.scan_folder(learn, self.images, out, **{**usual, "device": str(self.device), **options})

    def get_preds(self, learn: fastai.Learner, **options: Any) -> Any:
        """Score the images by fastai's own `get_preds`, with as many readers and images per batch."""
        items = fastai.get_image_files(self.images)
        loader = learn.dls.test_dl(items, with_labels=True, bs=self.plan.batch_size, num_workers=max(self.readers))
        return learn.get_preds(dl=loader, with_loss=True, **options)


# What measures.


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pick_device(name: str) -> torch.device:
    """Return a device by its name; `auto` is the accelerator, if torch finds one."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def wall_seconds(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of a call and of what it gave the device."""
    wait_for(device)
    start = time.perf_counter()
    call()
    wait_for(device)
    return time.perf_counter() - start


def device_seconds(call: Callable[[], object], device: torch.device, runs: int) -> float:
    """Return the median time of a call that the device runs, by CUDA events where there are any, after a warm-up."""
    for _ in range(3):
        call()
    if device.type != "cuda":
        return statistics.median(wall_seconds(call, device) for _ in range(runs))
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(runs)]
    for begin, end in events:
        begin.record()
        call()
        end.record()
    wait_for(device)
    return statistics.median(begin.elapsed_time(end) / 1e3 for begin, end in events)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Return the context in which fastai's callbacks run a model in a precision."""
    dtype = DTYPES[precision]
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


@contextlib.contextmanager
def after_each_batch(act: Callable[[], object]) -> Iterator[None]:
    """Call a function whenever a scan has the results of a batch."""
    update = SplitProgress.update

    def updated(progress: SplitProgress, batch: Any) -> None:
        update(progress, batch)
        act()

    SplitProgress.update = updated  # type: ignore[method-assign]
    try:
        yield
    finally:
        SplitProgress.update = update  # type: ignore[method-assign]


class ModelTimer(fastai.Callback):
    """Times the model in each batch, without hooks, which would keep a scan from its backends.

    The first batch is left out: a scan chooses its backend in it.
    """

    order = 5  # next to the model

    def __init__(self, device: torch.device) -> None:
        self.device, self.marks, self.since = device, list[tuple[Any, Any]](), 0.0

    def before_batch(self) -> None:
        self.begin = self._mark()

    def after_pred(self) -> None:
        self.marks.append((self.begin, self._mark()))
        self.since = self.since or time.perf_counter()

    def share_of_time(self) -> float:
        """Return the model's time as a share of the wall time since the first batch."""
        wait_for(self.device)
        wall = time.perf_counter() - self.since
        return sum(self._seconds(begin, end) for begin, end in self.marks[1:]) / wall

    def _mark(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _seconds(self, begin: Any, end: Any) -> float:
        return begin.elapsed_time(end) / 1e3 if self.device.type == "cuda" else end - begin


class FirstBatch(fastai.Callback):
    """Notes when `get_preds` has the results of its first batch."""

    order = 100  # after fastai has gathered the results

    def __init__(self) -> None:
        self.at = 0.0

    def after_batch(self) -> None:
        self.at = self.at or time.perf_counter()


@contextlib.contextmanager
def sampled_utilization(device: torch.device) -> Iterator[list[float]]:
    """Give a list that afterwards holds the utilization of a GPU in percent, as `nvidia-smi` samples it if present."""
    found: list[float] = []
    program = shutil.which("nvidia-smi")
    if device.type != "cuda" or program is None:
        yield found
        return
    properties = torch.cuda.get_device_properties(device)
    gpu = f"GPU-{properties.uuid}" if hasattr(properties, "uuid") else str(device.index or 0)
    command = [program, "-i", gpu, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield found
    finally:
        process.terminate()
        lines = process.communicate()[0].splitlines()
        found.extend(float(line) for line in lines if line.strip().isdigit())


# The sections; each returns the rows of its table.


def reading_section(bench: Bench) -> list[Row]:
    """Read and decode all images, without a model."""
    return [{"readers": n, "images_per_second": reading_rate(bench, bench.learner(), n)} for n in bench.readers]


def reading_rate(bench: Bench, learn: fastai.Learner, readers: int) -> float:
    """Return images per second of a scan's own reader, with the start of its processes."""
    open_data = partial(from_folder, data=bench.images, batch_size=bench.plan.batch_size)
    dataset = fastai_job(learn, open_data, readers).datasets["all"]
    start = time.perf_counter()
    n = sum(len(batch.paths) for batch in read(dataset, dataset.keys(), readers))
    return n / (time.perf_counter() - start)


def model_section(bench: Bench) -> list[Row]:
    """Run each model on one batch repeatedly, by each backend, in each precision and batch size."""
    rows = []
    for name, batch_size in product(bench.plan.models, bench.plan.batch_sizes):
        model = bench.model(name)
        inputs = torch.rand(batch_size, 3, bench.plan.size, bench.plan.size, device=bench.device)
        with torch.no_grad():
            expected = model(inputs)
        for precision in DTYPES:
            # A backend of lower precision is no use to a learner that has it already.
            names = ("plain", *backends.EXACT, *(backends.FAST if precision == "fp32" else ()))
            for backend in names:
                row = {"model": name, "batch_size": batch_size, "precision": precision, "backend": backend}
                rows.append({**row, **_backend_figures(bench, model, backend, inputs, expected, precision)})
    return rows


def _backend_figures(
    bench: Bench, model: nn.Module, backend: str, inputs: Tensor, expected: Tensor, precision: str
) -> Row:
    """Return the speed of a backend and its largest difference of a loss, or why it cannot run the model."""
    try:
        with torch.no_grad(), autocast(bench.device, precision):
            made = backends.make(backend, model, [inputs])
            losses = [output.float().log_softmax(1) for output in (made(inputs), expected)]
            seconds = device_seconds(lambda: made(inputs), bench.device, bench.plan.runs)
    except Exception as error:  # noqa: BLE001 - torch's compilers raise anything
        return {"failed": " ".join(f"{type(error).__name__}: {error}".split())[:60]}
    difference = float((losses[0] - losses[1]).abs().max())
    return {"milliseconds": seconds * 1e3, "images_per_second": len(inputs) / seconds, "difference": difference}


def scan_section(bench: Bench) -> list[Row]:
    """Scan with each learner beside `get_preds`, and compare with the slower of reading and model."""
    return [_scan_row(bench, variant) for variant in bench.plan.variants]


def _scan_row(bench: Bench, variant: Variant) -> Row:
    learn, n = bench.learner(variant), bench.plan.images
    calls = {"get_preds": partial(bench.get_preds, learn), "scan": partial(bench.scan, learn)}
    scan = bench.scan(learn)  # this and the next load what a process loads once
    bench.get_preds(learn)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(bench.plan.rounds):
        for name, call in calls.items():
            times[name].append(wall_seconds(call, bench.device))
    rates = {name: n / statistics.median(seconds) for name, seconds in times.items()}
    backend = scan.settings["ways"].get("exact", "plain")
    reading, model = (
        reading_rate(bench, learn, max(bench.readers)),
        model_rate(bench, learn, backend, variant.precision),
    )
    return {
        "learner": variant.name, "get_preds": rates["get_preds"], "scan": rates["scan"],
        "ratio": rates["scan"] / rates["get_preds"], "backend": backend, "reading": reading, "model": model,
        "share": rates["scan"] / min(reading, model), "goal": GOAL, "rounds": times,
    }  # fmt: skip


def model_rate(bench: Bench, learn: fastai.Learner, backend: str, precision: str) -> float:
    """Return images per second of the batch transforms and the model, by a backend and from a batch on the device."""
    items = fastai.get_image_files(bench.images)[: bench.plan.batch_size]
    loader = learn.dls.test_dl(items, with_labels=True, bs=len(items), num_workers=0)
    loader.before_iter()  # switches the transforms to validation
    batch = fastai.to_device(loader.do_batch([loader.do_item(number) for number in range(len(items))]), bench.device)
    with torch.no_grad(), autocast(bench.device, precision):
        made = backends.make(backend, learn.model, [loader.after_batch(batch)[0].as_subclass(Tensor)])
        run = lambda: made(loader.after_batch(batch)[0].as_subclass(Tensor))  # noqa: E731
        return len(items) / device_seconds(run, bench.device, bench.plan.runs)


def fast_section(bench: Bench) -> list[Row]:
    """Scan exactly and fast in alternating rounds, and compare what they keep."""
    rows = []
    for variant in bench.plan.variants[:2]:
        learn = bench.learner(variant)
        scans = {fast: bench.scan(learn, fast=fast) for fast in (False, True)}
        times: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(bench.plan.rounds):
            for fast, seconds in times.items():
                seconds.append(wall_seconds(partial(bench.scan, learn, fast=fast), bench.device))
        exact, fast = (bench.plan.images / statistics.median(times[fast]) for fast in (False, True))
        same, difference = compared(scans[False], scans[True])
        rows.append({
            "learner": variant.name, "exact": exact, "fast": fast, "ratio": fast / exact,
            "backend": scans[True].settings["ways"].get("fast", "plain"), "same_kept_set": same,
            "difference": difference,
        })  # fmt: skip
    return rows


def compared(exact: Scan, fast: Scan) -> tuple[bool, float]:
    """Return whether two scans kept the same samples, and the largest difference of a loss of those in both."""
    one, other = ({(s.split, s.label, s.path): s.loss for s in scan.samples} for scan in (exact, fast))
    both = one.keys() & other.keys()
    return one.keys() == other.keys(), max((abs(one[key] - other[key]) for key in both), default=float("nan"))


def first_batch_section(bench: Bench) -> list[Row]:
    """Time the way from the call to the results of the first batch."""
    learn, first = bench.learner(), FirstBatch()
    ended: list[float] = []
    start = time.perf_counter()
    bench.get_preds(learn, cbs=[first])
    rows = [{"call": "get_preds", "seconds": first.at - start}]
    for fast in (False, True):
        ended.clear()
        start = time.perf_counter()
        with after_each_batch(lambda: ended.append(time.perf_counter())):
            bench.scan(learn, fast=fast)
        rows.append({"call": "scan, fast" if fast else "scan", "seconds": ended[0] - start})
    return rows


def busy_section(bench: Bench) -> list[Row]:
    """Measure the share of the time in which the model runs; on CUDA also what `nvidia-smi` calls utilization."""
    rows = []
    for variant in bench.plan.variants:
        for name, call in (("get_preds", bench.get_preds), ("scan", bench.scan)):
            learn, timer = bench.learner(variant), ModelTimer(bench.device)
            learn.add_cb(timer)
            with sampled_utilization(bench.device) as sampled:
                call(learn)
                share = timer.share_of_time()
            utilization = statistics.mean(sampled) / 100 if sampled else None
            rows.append({"learner": variant.name, "call": name, "model": share, "nvidia-smi": utilization})
    return rows


def memory_section(bench: Bench) -> list[Row]:
    """Read the memory of this process and of the device during a scan of small images."""
    data = datasets.small_images(bench.folder / "small", bench.plan.memory_images, datasets.PHOTO_CLASSES)
    learn = datasets.small_learner(data, datasets.PHOTO_CLASSES, device=bench.device)
    rows: list[Row] = []
    batches: list[None] = []

    def note() -> None:
        batches.append(None)
        if len(batches) % bench.plan.every == 0:
            rows.append({"batch": len(batches), "process_mib": memory_now("VmRSS"), **_device_memory(bench.device)})

    with after_each_batch(note):
        cleaner.scan_folder(
            learn, data, bench.folder / "small scan", k=K, progress=False, workers=max(bench.readers),
            batch_size=bench.plan.memory_batch_size, device=str(bench.device),
        )  # fmt: skip
    return rows


def _device_memory(device: torch.device) -> Row:
    if device.type != "cuda":
        return {}
    kinds = {"allocated_mib": torch.cuda.memory_allocated, "reserved_mib": torch.cuda.memory_reserved}
    return {name: kind(device) / 2**20 for name, kind in kinds.items()}


SECTIONS: dict[str, tuple[str, Callable[[Bench], list[Row]]]] = {
    "reading": ("Reading alone, images/s", reading_section),
    "model": ("Model alone; difference is the largest of a loss from fp32", model_section),
    "scan": ("Scan beside get_preds, images/s; share is that of the slower of reading and model", scan_section),
    "fast": ("Fast scan beside exact scan, images/s", fast_section),
    "first batch": ("Seconds to the results of the first batch", first_batch_section),
    "busy": ("Share of the time in which the model runs", busy_section),
    "memory": ("Memory during a scan", memory_section),
}


# Output.


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Print rows with the columns that any of them has; lists and mappings are for the file of figures."""
    print(f"\n{title}")
    columns = list(dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, dict)))
    lines = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        print("  " + "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)), flush=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "" if value is None else str(value)


def machine(device: torch.device) -> Row:
    """Return what the figures depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": str(device), "name": name, "cores": _cores(), "torch": torch.__version__}


def _plan(options: argparse.Namespace) -> Plan:
    return TINY if options.tiny else QUICK if options.quick else FULL


def main() -> None:
    """Run the sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto (the accelerator, if there is one), cpu, cuda:0, mps")
    parser.add_argument("--quick", action="store_true", help="less than ten minutes on a GPU machine")
    parser.add_argument("--tiny", action="store_true", help="seconds on a CPU; the figures mean nothing")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="a section; may be repeated")
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    device = pick_device(options.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # events are recorded on the current device
    figures: dict[str, Any] = {"machine": machine(device)}
    print_table("Machine", [figures["machine"]])
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(_plan(options), device, Path(folder))
        for name in options.only or SECTIONS:
            title, section = SECTIONS[name]
            figures[name] = section(bench)
            print_table(title, figures[name])
            if options.json:  # after each section, so that a run that is stopped leaves its figures
                options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
