"""`python -m tests.benchmarks.predictions --cleanlab PYTHON`: predictions ranked by cleaner and by cleanlab.

Each row is measured in a process of its own, in alternating rounds: the time of the call, and the peak of the memory
that is not mapped from files. The predictions are such a file, as those of a large dataset are. PYTHON is that of an
environment with cleanlab, as both need not fit together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

_COMMON = """
import json, re, sys, threading, time
import numpy as np

peak = 0
def watch():
    global peak
    while True:
        peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]))
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
folder = sys.argv[1]
probs = np.load(folder + "/probs.npy", mmap_mode="r")
labels = np.load(folder + "/labels.npy")
"""
_END = """
print(json.dumps({"seconds": time.perf_counter() - begin, "MiB": peak / 1024}))
"""
_CLEANER = """
import cleaner
vocab = [f"class {number}" for number in range(probs.shape[1])]
names, paths = [vocab[label] for label in labels], [f"{number}.jpg" for number in range(len(labels))]
begin = time.perf_counter()
cleaner.scan_arrays(names, probs, paths, vocab, folder + "/scan", root=folder, progress=False)
"""
_CLEANLAB = """
from cleanlab.filter import find_label_issues
begin = time.perf_counter()
find_label_issues(labels, np.asarray(probs), return_indices_ranked_by="self_confidence", n_jobs=2)
"""


def make(folder: Path, n: int, n_classes: int) -> None:
    """Write predictions of samples of which a tenth carry a wrong label."""
    random = np.random.default_rng(0)
    labels = random.integers(0, n_classes, n)
    true = np.where(random.random(n) < 0.1, random.integers(0, n_classes, n), labels)
    probs = random.random((n, n_classes), dtype=np.float32)
    probs[np.arange(n), true] += 60 * random.random(n, dtype=np.float32)
    np.save(folder / "probs.npy", probs / probs.sum(1, keepdims=True))
    np.save(folder / "labels.npy", labels)


def measured(python: str, code: str, folder: Path) -> dict[str, float]:
    command = [python, "-W", "ignore", "-c", _COMMON + code + _END, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cleanlab", metavar="PYTHON", help="of an environment with cleanlab")
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = {"cleaner": (sys.executable, _CLEANER)}
    if options.cleanlab:
        rows["cleanlab"] = (options.cleanlab, _CLEANLAB)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.samples, options.classes)
        rounds = [{name: measured(*row, Path(folder)) for name, row in rows.items()} for _ in range(options.rounds)]
    for name in rows:
        figures = {key: statistics.median(each[name][key] for each in rounds) for key in ("seconds", "MiB")}
        print(f"{name:10} {figures['seconds']:6.2f} s {figures['MiB']:6.0f} MiB")


if __name__ == "__main__":
    main()
