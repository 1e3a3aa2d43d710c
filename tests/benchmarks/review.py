"""`python -m tests.benchmarks.review`: the review in a real browser, beside fastai's widget, with bounds and results.

Times are measured inside the page, from the time stamp of the key or click until the last of the 30 new images is
decoded, or the cursor or the card has changed: they include no round trip of the driver. Between two actions is a
pause, in which a person would look at the images. The app and fastai's widget each run under Voila in their own
process, on the same photos. `--only NAME` measures one section; a figure outside of its bound says SHORT, and nothing
fails.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from cleaner.core.records import Sample
from cleaner.core.scan import Scan
from tests.benchmarks import datasets
from tests.support import hosts
from tests.support.browser_app import CHROMIUM_FLAGS

PAGE = 30
PAUSE = 1.0  # seconds between two actions
MIB = 2**20
LARGE_CLASSES, LARGE_KEPT = 1000, 100
OPENINGS = 5
CHANGES, FIRST = 500, 50
MEGAPIXELS, LARGE_PHOTOS, LARGE_PHOTO_CLASSES = (4000, 3000), 90, 7

# `arm` waits for an event of the page and then for its images; `armKey` waits for a key and then for its card.
WATCH = """
window.arm = ({ images, event, count }) => {
  const old = new Set(document.querySelectorAll(images));
  window.timed = new Promise((resolve) => {
    let start = null;
    document.addEventListener(event, (each) => { start = each.timeStamp; }, { capture: true, once: true });
    async function look() {
      const found = [...document.querySelectorAll(images)];
      const isThere = (image) => !old.has(image) && image.complete && image.naturalWidth > 0;
      if (start === null || found.length !== count || !found.every(isThere)) return;
      observer.disconnect();
      document.removeEventListener("load", look, true);
      await Promise.all(found.map((image) => image.decode()));
      resolve(performance.now() - start);
    }
    const observer = new MutationObserver(look);
    observer.observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["src"] });
    document.addEventListener("load", look, true);
  });
};
// The milliseconds until the cursor has moved, the card shows the decision, and the kernel has confirmed it.
window.armKey = (action) => {
  const path = document.querySelector(".cleaner-at").dataset.path;
  window.timed = new Promise((resolve) => {
    let start = null;
    const seen = {};
    document.addEventListener("keydown", (event) => { start = event.timeStamp; }, { capture: true, once: true });
    const observer = new MutationObserver(() => {
      if (start === null) return;
      const card = document.querySelector(`.cleaner-card[data-path="${CSS.escape(path)}"]`);
      const now = performance.now() - start;
      if (document.querySelector(".cleaner-at")?.dataset.path !== path) seen.cursor ??= now;
      if (action === "" || card?.dataset.decision === action) seen.card ??= now;
      if (seen.cursor === undefined || seen.card === undefined || card?.ariaBusy === "true") return;
      observer.disconnect();
      resolve({ ...seen, confirmed: now });
    });
    observer.observe(document, { subtree: true, childList: true, attributes: true });
  });
};
null;
"""
# A slow network: what the page sends arrives later.
LATENCY = 150
SLOW = f"""
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {{ setTimeout(() => send.call(this, data), {LATENCY}); }};
"""
OURS, FASTAI = ".cleaner-card img", "img"
OPENED = "n => document.querySelectorAll('.cleaner-list')[n].ariaCurrent === 'true'"
# On which a page has 30 cards, as many as fastai's widget shows.
SCREEN = {"width": 1280, "height": 1130}

FASTAI_NOTEBOOK = """
from fastai.vision.all import *
from fastai.vision.widgets import ImageClassifierCleaner

loaders = ImageDataLoaders.from_folder({folder!r}, valid_pct=0.1, seed=0, bs=64, num_workers=0, item_tfms=Resize(32))
layers = nn.Conv2d(3, 8, 3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, loaders.c)
learn = Learner(loaders, nn.Sequential(*layers), loss_func=CrossEntropyLossFlat())
ImageClassifierCleaner(learn, max_n={shown})
"""


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        what: name of the figure.
        asked: the bound, as text; empty without one.
        seen: the result, as text.
        ok: whether the result is within the bound.
    """

    what: str
    asked: str
    seen: str
    ok: bool = True


def at_most(what: str, seen: float, bound: float, unit: str, more: str = "") -> Figure:
    """Return the row of a number with an upper bound."""
    return Figure(what, f"<= {bound:g} {unit}", f"{seen:.4g} {unit}{more}", seen <= bound)


# The datasets.


def write_scan(root: Path, out: Path, paths: Mapping[str, Sequence[str]]) -> Path:
    """Write the scan folder of a dataset; `paths` are those of the kept samples by label."""
    vocab, samples, cells = tuple(paths), [], {}
    for number, (label, kept) in enumerate(paths.items()):
        for rank, path in enumerate(kept, start=1):
            predicted = vocab[(number + 1 + rank % 5) % len(vocab)]
            cells[label, predicted] = cells.get((label, predicted), 0) + 1
            samples.append(Sample("train", label, rank, path, 10 - rank / (1 + len(kept)), predicted, 0.9))
    k = max(map(len, paths.values()))
    Scan(root, vocab, ("train",), k, {"train": len(samples)}, samples, {"train": cells}).write(out)
    return out


def scan_of(root: Path, out: Path) -> Path:
    """Write the scan of a dataset in class folders, with every image kept."""
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir())
    return write_scan(root, out, {f.name: [f"{f.name}/{p.name}" for p in sorted(f.iterdir())] for f in folders})


def photos(folder: Path, n: int) -> Path:
    """Write photos in ten class folders; the first thousand all look different."""
    originals = sorted(datasets.photos(folder.with_name(f"{folder.name}-originals"), 250).rglob("*.jpg"))
    turns = [None, *(Image.Transpose(number) for number in range(3))]
    paths: list[Path] = []
    for number in range(n):
        label = number % datasets.PHOTO_CLASSES
        paths.append(folder / f"class_{label:04d}" / f"image_{number:07d}.jpg")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        round_, which = divmod(number, len(originals))
        if round_ >= len(turns):
            os.link(paths[number % (len(turns) * len(originals))], paths[-1])
            continue
        with Image.open(originals[which]) as image:
            how = turns[round_]
            (image if how is None else image.transpose(how)).save(paths[-1], quality=90)
    return folder


def large_scan(folder: Path) -> Path:
    """Write a scan of a thousand classes with a hundred samples each; only files of the first ten classes exist."""
    root = photos(folder / "few", 10 * LARGE_KEPT)
    labels = [f"class_{number:04d}" for number in range(LARGE_CLASSES)]
    there = {label: sorted(p.name for p in (root / label).iterdir()) for label in labels[:10]}
    missing = [f"image_{number:07d}.jpg" for number in range(LARGE_KEPT)]
    paths = {label: [f"{label}/{name}" for name in there.get(label, missing)] for label in labels}
    return write_scan(root, folder / "large-scan", paths)


def large_photos(folder: Path) -> Path:
    """Write photos like those of a phone, of twelve megapixels and some MB, in seven classes; few of them differ."""
    small = sorted(datasets.photos(folder.with_name("small"), 6).rglob("*.jpg"))
    random = np.random.default_rng(0)
    noise = random.normal(0, 5, (MEGAPIXELS[1], MEGAPIXELS[0], 1)).astype(np.int16)
    first = []
    for number, path in enumerate(small):
        enlarged = Image.open(path).convert("RGB").resize(MEGAPIXELS, Image.Resampling.BICUBIC)
        pixels = np.clip(np.asarray(enlarged, np.int16) + np.roll(noise, 1000 * number, axis=0), 0, 255)
        first.append(folder / f"original_{number}.jpg")
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(first[-1], quality=90)
    for number in range(LARGE_PHOTOS * LARGE_PHOTO_CLASSES):
        path = folder / f"class_{number % LARGE_PHOTO_CLASSES}" / f"image_{number:03d}.jpg"
        path.parent.mkdir(exist_ok=True)
        os.link(first[number // LARGE_PHOTO_CLASSES % len(first)], path)
    return folder


# The browser.


@contextmanager
def chromium() -> Iterator[Any]:
    """Run a headless Chromium: `CHROMIUM`, or the one on the PATH."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_executable(), args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def _executable() -> str:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or "chromium-browser"


@contextmanager
def our_page(scan: Path, before: str = "", screen: Mapping[str, int] = SCREEN) -> Iterator[tuple[Any, psutil.Process]]:
    """Open the app on a page of its own browser, after a script; yield the page and its kernel."""
    with hosts.voila(scan, scan) as host, chromium() as browser:
        page = browser.new_page(viewport=screen)
        page.set_default_timeout(hosts.PATIENCE)
        page.add_init_script(before)
        host.open(page)
        page.locator(".cleaner-list").nth(1).click()  # the first class
        page.wait_for_function(OPENED, arg=1)
        if screen is SCREEN:
            _wait_for_images(page, OURS)
        page.evaluate(WATCH)
        page.focus(".cleaner-at")
        yield page, host.kernels()[0]


@contextmanager
def fastai_page(folder: Path, data: Path) -> Iterator[Any]:
    """Open fastai's widget on a page of its own browser."""
    port = hosts.free_port()
    notebook = folder / "fastai.ipynb"
    hosts._write_notebook(notebook, FASTAI_NOTEBOOK.format(folder=str(data), shown=PAGE))
    command = [sys.executable, "-m", "voila", str(notebook), f"--port={port}", "--no-browser"]
    address = f"http://127.0.0.1:{port}/?token={hosts.TOKEN}"
    command += [f"--token={hosts.TOKEN}", "--Voila.log_level=ERROR"]
    with hosts._server(command, address), chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(hosts.PATIENCE)
        page.goto(address)
        _wait_for_images(page, FASTAI)
        page.evaluate(WATCH)
        yield page


def _wait_for_images(page: Any, images: str) -> None:
    page.wait_for_function(
        "([images, count]) => { const all = [...document.querySelectorAll(images)];"
        " return all.length === count && all.every((image) => image.complete && image.naturalWidth > 0); }",
        arg=[images, PAGE],
    )


def change(page: Any, images: str, event: str, act: Callable[[], Any], pause: float = PAUSE) -> float:
    """Return the milliseconds from an event until all of its images are decoded."""
    page.evaluate("window.arm", {"images": images, "event": event, "count": PAGE})
    act()
    taken: float = page.evaluate("window.timed")
    time.sleep(pause)
    return taken


def turn(page: Any, pause: float = PAUSE) -> float:
    """Turn to the next page by its key; return the milliseconds."""
    return change(page, OURS, "keydown", lambda: page.keyboard.press("n"), pause)


def open_class(page: Any, number: int, images: str = OURS, pause: float = PAUSE) -> float:
    """Open another class, by a click in the sidebar or by fastai's dropdown; return the milliseconds."""
    if images == OURS:
        row = page.locator(".cleaner-list").nth(1 + number)  # the first one is that of all classes
        return change(page, images, "click", row.click, pause)
    return change(page, images, "change", lambda: page.locator("select").first.select_option(index=number), pause)


def press(page: Any, key: str, action: str = "") -> dict[str, float]:
    """Return the milliseconds from a key until the cursor has moved, its card has changed, and that is confirmed."""
    page.evaluate("window.armKey", action)
    page.keyboard.press(key)
    taken: dict[str, float] = page.evaluate("window.timed")
    time.sleep(PAUSE / 3)
    return taken


def keep(page: Any) -> float:
    """Return the milliseconds from the key K until the kernel has confirmed it."""
    return press(page, "k", "keep")["confirmed"]


def wait_until_idle(process: psutil.Process) -> None:
    """Wait until a process has done nothing for half a second: then its prefetch is done."""
    before, still = -1.0, 0
    while still < 5:
        time.sleep(0.1)
        times = process.cpu_times()
        still = still + 1 if times.user + times.system == before else 0
        before = times.user + times.system


# The sections.


def pages_section(folder: Path) -> list[Figure]:
    """Measure page changes and keys beside fastai, on photos that the page did not show before."""
    data = photos(folder / "photos", 1000)
    with fastai_page(folder, data) as page:
        theirs = [open_class(page, number % 10, FASTAI) for number in range(1, 22)]
    turns, elsewhere, keys = [], [], []
    with our_page(scan_of(data, folder / "scan")) as (page, _):
        for number in (0, 3, 6, 9, 2, 5, 8):
            if number:
                elsewhere.append(open_class(page, number))
            turns += [turn(page), turn(page)]
        for number in (1, 4, 7):
            open_class(page, number)
            turns += [turn(page), turn(page)]
        following = [open_class(page, number) for number in range(9)]
        keys = [keep(page) for _ in range(PAGE)]
        open_class(page, 0)
        keys += [keep(page) for _ in range(PAGE)]
    base, seen = statistics.median(theirs), statistics.median(turns)
    return [
        Figure("fastai, another class: 30 images decoded", "", f"{base:.0f} ms{_spread(theirs)}"),
        at_most("next page (N): 30 images decoded", seen, 120, "ms", _spread(turns)),
        Figure("  of fastai's time", "<= 1/6", f"1/{base / seen:.1f}", seen <= base / 6),
        at_most("the class after it: 30 images decoded", statistics.median(following), 120, "ms", _spread(following)),
        Figure("a class elsewhere, not prefetched", "", f"{statistics.median(elsewhere):.0f} ms{_spread(elsewhere)}"),
        Figure("  of fastai's time", "", f"1/{base / statistics.median(elsewhere):.1f}"),
        at_most("key K to confirmed decision", statistics.median(keys), 50, "ms", _spread(keys)),
    ]


def keys_section(folder: Path) -> list[Figure]:
    """Measure keys at no latency and at 150 ms, and the keys for a hundred decisions across three classes."""
    scan = scan_of(photos(folder / "photos", 1000), folder / "scan")
    figures = []
    for latency, before in ((0, ""), (LATENCY, SLOW)):
        with our_page(scan, before) as (page, _):
            moves = [press(page, "ArrowRight")["cursor"] for _ in range(PAGE - 2)]
            open_class(page, 3)
            decisions = [press(page, "k", "keep") for _ in range(PAGE - 2)]
        for name, times, bound in (
            ("key → to cursor", moves, 16),
            ("key K to changed card", [each["card"] for each in decisions], 16),
            ("key K to confirmed decision", [each["confirmed"] for each in decisions], 50 + latency),
        ):
            figures.append(
                at_most(f"{name} at {latency} ms of latency", statistics.median(times), bound, "ms", _spread(times))
            )
        (scan / "decisions.csv").unlink()
    return [*figures, *hundred_decisions(scan)]


def hundred_decisions(scan: Path) -> list[Figure]:
    """Decide about a hundred images of three classes by keys alone, and count the keys."""
    pressed = {"decision": 0, "page": 0, "class": 0}

    def press_once(page: Any, key: str, what: str) -> None:
        page.keyboard.press(key)
        pressed[what] += 1

    with our_page(scan) as (page, _):
        started = time.perf_counter()
        decided = 0
        for number in range(3):
            press_once(page, "]", "class")
            page.wait_for_function(OPENED, arg=2 + number)
            for _ in range(34 if number else 32):
                if page.locator(".cleaner-end").count():
                    press_once(page, "ArrowRight", "page")
                    page.wait_for_function("!document.querySelector('.cleaner-end')")
                press_once(page, ("k", "Enter", "d", "s")[decided % 4], "decision")
                decided += 1
            page.wait_for_function("document.querySelector('.cleaner-saved').textContent === 'saved ✓'")
        seconds = time.perf_counter() - started
    rows = len((scan / "decisions.csv").read_text().splitlines()) - 1
    keys = sum(pressed.values()) / decided
    more = f" ({pressed['decision']} decisions, {pressed['page']} page turns, {pressed['class']} changes of class)"
    return [
        Figure("a hundred decisions by keys: rows in the manifest", "100", str(rows), rows == decided == 100),
        at_most("  keys per decision", keys, 1.2, "", more),
        at_most("  keys per change of class", pressed["class"] / 3, 1, ""),
        Figure("  time per decision, with the driver's round trips", "", f"{1000 * seconds / decided:.0f} ms"),
    ]


def screen_section(folder: Path) -> list[Figure]:
    """Count whole cards, and measure the share of the screen that is picture, from the DOM."""
    labels = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    data = photos(folder / "photos", 1000)
    folders = sorted(entry for entry in data.iterdir() if entry.is_dir())
    paths = {
        label: [f"{entry.name}/{p.name}" for p in sorted(entry.iterdir())]
        for label, entry in zip(labels, folders, strict=True)
    }
    scan = write_scan(data, folder / "scan", paths)
    figures = []
    for screen, cards, share in (
        ({"width": 1920, "height": 1080}, 50, 0.65),
        ({"width": 1280, "height": 900}, 24, None),
    ):
        with our_page(scan, screen=screen) as (page, _):
            seen = page.evaluate(SEEN)
        where = f"{screen['width']} x {screen['height']}"
        whole, picture = seen["whole"], seen["picture"]
        figures += [
            Figure(f"{where}: whole cards", f">= {cards}", str(whole), whole >= cards),
            Figure("  share of picture", f">= {share:.0%}" if share else "", f"{picture:.0%}", picture >= (share or 0)),
            at_most("  the first image begins at y =", seen["first"], 60, ""),
        ]
    return figures


SEEN = """
(() => {
  const boxes = [...document.querySelectorAll(".cleaner-card")].map((card) => card.getBoundingClientRect());
  const area = document.querySelector(".cleaner-images").getBoundingClientRect();
  const isWhole = (box) =>
    box.top >= area.top && box.bottom <= area.bottom && box.left >= area.left && box.right <= area.right;
  const pictures = [...document.querySelectorAll(".cleaner-picture")].map((picture) => picture.getBoundingClientRect());
  const seen = (box) => Math.max(0, Math.min(box.bottom, area.bottom) - Math.max(box.top, area.top)) * box.width;
  return {
    whole: boxes.filter(isWhole).length,
    picture: pictures.reduce((sum, box) => sum + seen(box), 0) / (innerWidth * innerHeight),
    first: Math.min(...pictures.map((box) => box.top)),
  };
})()
"""


def _spread(times: Sequence[float]) -> str:
    low, high = np.percentile(times, [5, 95])
    return f" (n={len(times)}, 5 %: {low:.0f}, 95 %: {high:.0f})"


def large_section(folder: Path) -> list[Figure]:
    """Measure a scan of a thousand classes, in a new process after the kernel's own imports, and in a real kernel."""
    scan = large_scan(folder)
    runs = [_opened(scan) for _ in range(OPENINGS)]
    parts = {name: statistics.median(run[name] for run in runs) for name in ("import", "load", "review", "page")}
    more = f" (load {parts['load']:.2f}, Review {parts['review']:.2f}, first page {parts['page']:.2f})"
    opening = parts["load"] + parts["review"] + parts["page"]
    with our_page(scan) as (page, kernel):
        turn(page)
        keys = [keep(page) for _ in range(PAGE - 1)]
        classes = [open_class(page, number) for number in range(1, 10)]
        resident = kernel.memory_info().rss / MIB
        libraries = Path(f"/proc/{kernel.pid}/maps").read_text()
    torch = "torch" in libraries or any(run["torch"] for run in runs)
    return [
        at_most("1,000 classes x 100: opened, first page sent", opening, 2, "s", more),
        Figure("  import cleaner.review.app, before that", "", f"{parts['import']:.2f} s"),
        at_most("  the kernel's process with it", resident, 200, "MiB"),
        Figure("  torch loaded", "no", "yes" if torch else "no", not torch),
        at_most("  key K to confirmed decision", statistics.median(keys), 50, "ms", _spread(keys)),
        at_most("  the class after it: 30 images decoded", statistics.median(classes), 120, "ms", _spread(classes)),
    ]


def _opened(scan: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.review", "--opening", str(scan)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def opening(scan: str) -> dict[str, Any]:
    """Open a scan as a kernel does after its start; return the seconds of each step.

    The steps are `cleaner.load`, `Review(...)`, and the reply to the page's first message, up to its handover
    to the channel.
    """
    importlib.import_module("ipykernel.kernelapp")
    importlib.import_module("ipykernel.ipkernel")

    times = [time.perf_counter()]
    import cleaner.review.app

    times.append(time.perf_counter())
    found = cleaner.load(scan)
    times.append(time.perf_counter())
    review = cleaner.Review(found)
    times.append(time.perf_counter())
    sent: list[Any] = []
    review.send = lambda content, buffers=None: sent.append(content)
    review._handle_custom_msg({"kind": "ready", "id": 1, "page_size": PAGE, "pixels": 180}, [])
    assert [each["kind"] for each in sent] == ["lists", "page"]
    times.append(time.perf_counter())
    steps = [after - before for before, after in itertools.pairwise(times)]
    return dict(zip(("import", "load", "review", "page"), steps, strict=True)) | {"torch": "torch" in sys.modules}


class BarePage:
    """A page of its own browser, without recording.

    The driver of the other sections makes the page keep all loaded data for inspection: over hundreds of pages that
    takes more memory than this benchmark measures.
    """

    def __init__(self, socket: Any, browser: psutil.Process) -> None:
        self._socket = socket
        self._browser = browser
        self._asked = 0

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            reply = json.loads(self._socket.recv())
            if reply.get("id") == self._asked:
                result: dict[str, Any] = reply["result"]
                return result

    def run(self, script: str) -> Any:
        """Run a script in the page and return its value, or that of its promise."""
        return self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)["result"].get(
            "value"
        )

    def change(self, act: str) -> None:
        """Run a script that shows 30 other images, and wait until they are decoded."""
        event = "keydown" if "KeyboardEvent" in act else "click"
        self.run(f"arm({{ images: '{OURS}', event: '{event}', count: {PAGE} }}); {act}; window.timed")

    def memory(self) -> tuple[float, float]:
        """Return the MiB of the page's process and of its JavaScript heap, after a garbage collection.

        A notification of low memory makes the process drop its caches of decoded images, whose size has its own limit
        and changes by about ten MiB from one second to the next.
        """
        for _ in range(3):
            self.send("HeapProfiler.collectGarbage")
            self.send("Memory.simulatePressureNotification", level="critical")
            time.sleep(1)
        self.send("Performance.enable")
        metrics = {each["name"]: each["value"] for each in self.send("Performance.getMetrics")["metrics"]}
        renderers = [p for p in self._browser.children(recursive=True) if "--type=renderer" in _command(p)]
        return max(p.memory_info().rss for p in renderers) / MIB, metrics["JSHeapUsedSize"] / MIB


@contextmanager
def bare_page(scan: Path, profile: Path) -> Iterator[tuple[BarePage, psutil.Process]]:
    """Open the app on a `BarePage`; yield the page and its kernel."""
    import websocket

    port = hosts.free_port()
    with hosts.voila(scan, scan) as host:
        words = host.server.cmdline()
        address = f"http://127.0.0.1:{words[words.index('--port') + 1]}/?token={hosts.TOKEN}"
        command = [_executable(), *CHROMIUM_FLAGS, f"--user-data-dir={profile}", f"--remote-debugging-port={port}"]
        process = subprocess.Popen([*command, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            socket = websocket.create_connection(_debugger(port), suppress_origin=True, timeout=hosts.PATIENCE / 1000)
            page = BarePage(socket, psutil.Process(process.pid))
            there = f"document.querySelectorAll('{OURS}').length === {PAGE}"
            page.send("Emulation.setDeviceMetricsOverride", **SCREEN, deviceScaleFactor=1, mobile=False)
            hosts.wait_until(lambda: page.run(there) is True)
            page.run("document.querySelectorAll('.cleaner-list')[1].click()")  # the first class
            opened = "document.querySelectorAll('.cleaner-list')[1].ariaCurrent === 'true'"
            hosts.wait_until(lambda: page.run(f"{opened} && {there}") is True)
            page.run(WATCH)
            yield page, host.kernels()[0]
            socket.close()
        finally:
            process.terminate()
            process.wait(60)


def _debugger(port: int) -> str:
    found: list[str] = []

    def look() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as reply:
            found.extend(each["webSocketDebuggerUrl"] for each in json.load(reply) if each["type"] == "page")
        return bool(found)

    hosts.wait_until(look)
    return found[0]


def long_section(folder: Path) -> list[Figure]:
    """Measure the growth of memory over five hundred page changes, each to files that were not shown before."""
    data = photos(folder / "many", CHANGES * PAGE)
    pages = CHANGES // datasets.PHOTO_CLASSES
    card = "document.querySelector('.cleaner-at')"
    key = f"{card}.dispatchEvent(new KeyboardEvent('keydown', {{ key: 'n', bubbles: true }}))"
    grown = {}
    with bare_page(scan_of(data, folder / "many-scan"), folder / "profile") as (page, kernel):
        for number in range(1, CHANGES + 1):
            label = number // pages % datasets.PHOTO_CLASSES
            of_label = f"document.querySelectorAll('.cleaner-list')[{1 + label}].click()"
            page.change(key if number % pages else of_label)
            if number in (FIRST, CHANGES):
                wait_until_idle(kernel)
                grown[number] = (kernel.memory_info().rss / MIB, *page.memory())
    names = ("the kernel's process", "the page's process", "the page's JavaScript heap")
    return [
        at_most(
            f"{CHANGES} page changes: {name}, growth after {FIRST}", after - before, 10, "MiB", f" (to {after:.0f})"
        )
        for name, before, after in zip(names, grown[FIRST], grown[CHANGES], strict=True)
    ]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def megapixels_section(folder: Path) -> list[Figure]:
    """Measure photos of twelve megapixels: a page that is not prefetched, and the next page after its prefetch."""
    data = large_photos(folder / "twelve")
    size = statistics.mean(path.stat().st_size for path in data.glob("original_*.jpg")) / 1e6
    first, following = [], []
    with our_page(scan_of(data, folder / "twelve-scan")) as (page, kernel):
        # Every other class: the one after the open one is prefetched too.
        for number in range(2, LARGE_PHOTO_CLASSES, 2):
            wait_until_idle(kernel)
            first.append(open_class(page, number, pause=0))
            for _ in range(2):
                wait_until_idle(kernel)
                following.append(turn(page, pause=0))
    what = f"12-megapixel photos of {size:.1f} MB"
    return [
        at_most(f"{what}: a page of 30, not prefetched", statistics.median(first), 1000, "ms", _spread(first)),
        at_most("  the next page, prefetched", statistics.median(following), 150, "ms", _spread(following)),
    ]


SECTIONS: dict[str, Callable[[Path], list[Figure]]] = {
    "pages": pages_section,
    "keys": keys_section,
    "screen": screen_section,
    "large": large_section,
    "long": long_section,
    "megapixels": megapixels_section,
}


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    print(f"\n{'what':62} {'asked':12} {'':6}seen")
    for figure in figures:
        mark = "" if not figure.asked else "ok" if figure.ok else "SHORT"
        print(f"{figure.what:62} {figure.asked:12} {mark:6}{figure.seen}")


def main() -> None:
    """Run the sections; with `--opening`, open a scan for the process that started this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SECTIONS, action="append")
    parser.add_argument("--opening", metavar="SCAN")
    options = parser.parse_args()
    if options.opening:
        print(json.dumps(opening(options.opening)))
        return
    figures: list[Figure] = []
    for name in options.only or SECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            found = SECTIONS[name](Path(folder))
        show(found)
        figures += found
    if len(figures) > len(found):
        show(figures)


if __name__ == "__main__":
    main()
