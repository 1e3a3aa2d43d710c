"""A scan that was stopped, in whatever way and wherever, goes on and ends with the files of an unbroken one."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.scoring import checkpoint, engine
from cleaner.scoring.sources.fastai import FastaiSource
from tests.scoring.learners import make_folder, make_learner

RESULTS = ("top_losses.csv", "confusion.csv", "classes.csv", "unreadable.csv")


def results(scan: Path) -> dict[str, bytes]:
    return {name: (scan / name).read_bytes() for name in RESULTS}


def run(learn: Any, data: Path, out: Path, **options: Any) -> None:
    source = FastaiSource.of_folder(learn, data, workers=0)
    source.ways["exact"] = "plain"  # the last digits depend on the way, and which is quickest on the moment
    defaults = {"k": 5, "fast": False, "resume": True, "progress": False, "save_every": 0.0}
    engine.run(source, out, **{**defaults, **options})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for split in ("train", "valid"):
        make_folder(folder / split)
    (folder / "train/cat/cat_1.png").write_bytes(b"broken")
    return folder


@pytest.fixture(autouse=True)
def always_save(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save after every batch, however long that takes."""
    ticks = itertools.count(step=1000)
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: next(ticks))


class Stops:
    """Stops a scan by raising after a number of batches."""

    def __init__(self, after: int, error: type[BaseException]) -> None:
        self.left, self.error = after, error

    def __call__(self, batch: object) -> None:
        if self.left == 0:
            raise self.error
        self.left -= 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_stopped_after_each_batch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    learn = make_learner(data / "train")
    run(learn, data, tmp_path / "unbroken")
    update = checkpoint.Part.update
    for after in range(12):
        stops = Stops(after, error)
        out = tmp_path / f"out{after}"
        with monkeypatch.context() as patch, pytest.raises(error):
            patch.setattr(checkpoint.Part, "update", lambda part, batch, s=stops: (s(batch), update(part, batch)))
            run(learn, data, out)
        assert not (out / "scan.json").exists()
        assert (out / "checkpoint").exists() == (after > 0)
        run(learn, data, out)
        assert results(out) == results(tmp_path / "unbroken")
        assert not (out / "checkpoint").exists()


def test_what_was_scored_is_not_scored_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = make_learner(data / "train")
    seen: list[str] = []
    update = checkpoint.Part.update

    def counting(part: Any, batch: Any) -> None:
        if len(seen) >= 12 and "stopped" not in seen:
            seen.append("stopped")
            raise KeyboardInterrupt
        seen.extend(batch.paths)
        update(part, batch)

    monkeypatch.setattr(checkpoint.Part, "update", counting)
    with pytest.raises(KeyboardInterrupt):
        run(learn, data, tmp_path / "out")
    run(learn, data, tmp_path / "out")
    seen.remove("stopped")
    assert len(seen) == len(set(seen)) == 41


def stopped(learn: Any, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = checkpoint.Part.update
    stops = Stops(3, KeyboardInterrupt)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint.Part, "update", lambda part, batch: (stops(batch), update(part, batch)))
        run(learn, data, out)


def test_a_checkpoint_of_something_else_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    learn = make_learner(data / "train")
    stopped(learn, data, out, monkeypatch)
    saved = (out / "checkpoint/progress.npz").read_bytes()
    with pytest.raises(CleanerError, match=r"another k \(5, this one has 6\).*--no-resume"):
        run(learn, data, out, k=6)
    other = make_learner(data / "train")
    other.model[0].weight.data += 1
    with pytest.raises(CleanerError, match="another learner"):
        run(other, data, out)
    with pytest.raises(CleanerError, match="another dataset"):
        run(learn, data / "train", out)
    with pytest.raises(CleanerError, match="another fast"):
        run(learn, data, out, fast=True)
    assert (out / "checkpoint/progress.npz").read_bytes() == saved

    path = data / "train/bear/bear_0.png"
    path.rename(path.with_name("bear_00.png"))
    with pytest.raises(CleanerError, match="not those that the unfinished scan began with"):
        run(learn, data, out)
    run(learn, data, out, resume=False)
    assert (out / "scan.json").exists()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"not a zip", None])
def test_a_damaged_checkpoint_is_refused(
    damage: bytes | None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    learn = make_learner(data / "train")
    stopped(learn, data, out, monkeypatch)
    file = out / "checkpoint/progress.npz"
    file.write_bytes(file.read_bytes()[:500] if damage is None else damage)
    with pytest.raises(CleanerError, match="cannot be read"):
        run(learn, data, out)
    run(learn, data, out, resume=False)


SCRIPT = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from cleaner.scoring import checkpoint, engine
from cleaner.scoring.learner_file import load_learner
from cleaner.scoring.sources.fastai import FastaiSource
learner, data, out = map(Path, sys.argv[1:])
checkpoint._SHARE = 1e9  # save whenever a batch is done
source = FastaiSource.of_folder(load_learner(learner, trust=True), data, workers=1)
source.ways["exact"] = "plain"
print("scanning", flush=True)
engine.run(source, out, k=5, fast=False, resume=True, progress=False, save_every=0.0)
"""


@pytest.mark.long
def test_kill_at_random_moments(tmp_path: Path) -> None:
    """20 times kill -9 at a random moment, and the same command until it ends."""
    data = make_folder(tmp_path / "data", per_class=700)
    make_learner(data).export(tmp_path / "learner.pkl")
    script = tmp_path / "scan.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script, tmp_path / "learner.pkl", data]
    subprocess.run([*command, tmp_path / "unbroken"], check=True, stdout=subprocess.DEVNULL)
    random.seed(0)
    kills = 0
    while kills < 20:
        out = tmp_path / f"out{kills}"
        while not (out / "scan.json").exists():
            process = subprocess.Popen([*command, out], stdout=subprocess.PIPE)
            process.stdout.readline()
            try:
                process.wait(random.uniform(0, 3))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
        assert results(out) == results(tmp_path / "unbroken")
        assert not (out / "checkpoint").exists()
    print(f"{kills} kills")


def test_checkpoints_cost_little(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a save that took a second the next one is due at the latest after `every`, and not before 100 seconds."""
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    keeper = checkpoint.Keeper(tmp_path / "out", {}, 2, 5)
    saves: list[float] = []

    def save(*_: object) -> None:
        saves.append(now[0])
        now[0] += 0.1

    monkeypatch.setattr(keeper, "save", save)
    for _ in range(1000):
        now[0] += 0.1
        keeper.save_if_due([], {}, "")
    gaps = [later - earlier for earlier, later in itertools.pairwise(saves)]
    assert saves[0] <= 5.2
    assert min(gaps) >= 0.1 / 0.01
    assert max(gaps) <= 30.2


def test_resuming_by_the_public_function(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = make_learner(data / "train")
    update = checkpoint.Part.update
    stops = Stops(3, KeyboardInterrupt)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint.Part, "update", lambda part, batch: (stops(batch), update(part, batch)))
        cleaner.scan(learn, tmp_path / "out", k=3, progress=False)
    assert (tmp_path / "out/checkpoint").exists()
    again = cleaner.scan(learn, tmp_path / "out", k=3, progress=False)
    whole = cleaner.scan(learn, tmp_path / "whole", k=3, progress=False)
    assert {s.path: s.loss for s in again.samples} == pytest.approx({s.path: s.loss for s in whole.samples}, abs=1e-5)
    assert again.cells == whole.cells
