"""A scan that was stopped, in whatever way and wherever, goes on and ends with the files of an unbroken one."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.core.changed_files import ChangedFiles
from cleaner.core.errors import CleanerError
from cleaner.core.kept_samples import KeptSamples
from cleaner.core.records import ScoredLabels, Unreadable
from cleaner.core.scan import load
from cleaner.core.tally import Tally
from cleaner.scoring import engine, progress
from cleaner.scoring.data.fastai_data import from_folder
from cleaner.scoring.engine import DatasetInfo, ScanOptions
from cleaner.scoring.model.fastai_model import fastai_job
from tests.support.crashes import killed_in
from tests.support.learners import make_folder, make_learner
from tests.support.torch_models import TRANSFORM, scan_model

RESULTS = ("top_losses.csv", "confusion.csv", "classes.csv", "unreadable.csv")


def results(scan: Path) -> dict[str, bytes]:
    return {name: (scan / name).read_bytes() for name in RESULTS}


def run(learn: Any, data: Path, out: Path, **options: Any) -> None:
    job = fastai_job(learn, partial(from_folder, data=data, batch_size=None), workers=0)
    job.scorer.selector.names["exact"] = "plain"  # the last digits depend on the backend
    engine.run(job, out, ScanOptions(**{"k": 5, "progress": False, "save_every": 0.0, **options}))


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
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(ticks))


class Stops:
    """Stops a scan by raising after a number of batches."""

    def __init__(self, after: int, error: type[BaseException]) -> None:
        self.left, self.error = after, error

    def __call__(self, batch: object) -> None:
        if self.left == 0:
            raise self.error
        self.left -= 1


def test_stopped_after_each_batch(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = make_learner(data / "train")
    run(learn, data, tmp_path / "unbroken")
    update = progress.SplitProgress.update
    for after in range(12):
        error = (KeyboardInterrupt, MemoryError)[after % 2]
        stops = Stops(after, error)
        out = tmp_path / f"out{after}"
        with monkeypatch.context() as patch, pytest.raises(error):
            patch.setattr(
                progress.SplitProgress, "update", lambda part, batch, s=stops: (s(batch), update(part, batch))
            )
            run(learn, data, out)
        assert not (out / "scan.json").exists()
        assert (out / "checkpoint").exists() == (after > 0)
        run(learn, data, out)
        assert results(out) == results(tmp_path / "unbroken")
        assert not (out / "checkpoint").exists()


def test_what_was_scored_is_not_scored_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = make_learner(data / "train")
    seen: list[str] = []
    update = progress.SplitProgress.update

    def counting(part: Any, batch: Any) -> None:
        if len(seen) >= 12 and "stopped" not in seen:
            seen.append("stopped")
            raise KeyboardInterrupt
        seen.extend(batch.paths)
        update(part, batch)

    monkeypatch.setattr(progress.SplitProgress, "update", counting)
    with pytest.raises(KeyboardInterrupt):
        run(learn, data, tmp_path / "out")
    run(learn, data, tmp_path / "out")
    seen.remove("stopped")
    assert len(seen) == len(set(seen)) == 41


def stopped(learn: Any, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = progress.SplitProgress.update
    stops = Stops(3, KeyboardInterrupt)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(progress.SplitProgress, "update", lambda part, batch: (stops(batch), update(part, batch)))
        run(learn, data, out)


def stopped_late(learn: Any, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> set[str]:
    """Stop a scan in its second split; gives the paths that are in the checkpoint."""
    seen: set[str] = set()
    update = progress.SplitProgress.update
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def counting(part: Any, batch: Any) -> None:
            if len(seen) >= 24:
                raise KeyboardInterrupt
            update(part, batch)
            seen.update(batch.paths, (item.path for item in batch.unreadable))

        patch.setattr(progress.SplitProgress, "update", counting)
        run(learn, data, out, **options)
    return seen


def put(file: Path, other: Path) -> None:
    """Replace a file as a copy program does that keeps the times: those of the new one are old."""
    part = file.with_name(".part")
    shutil.copy2(other, part)
    os.replace(part, file)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("k", [3, 50])
def test_files_that_were_replaced_between_kill_and_resume_are_scored_as_they_are(
    fast: bool, k: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of kept ones and others, and of what could not be read before or cannot be read now."""
    learn, out = make_learner(data / "train"), tmp_path / "out"
    for number, path in enumerate(sorted(data.rglob("*.png"))):
        os.utime(path, ns=(10**18, 10**18 + number))
    seen = sorted(stopped_late(learn, data, out, monkeypatch, k=k, fast=fast))
    broken, changed = "train/cat/cat_1.png", [path for path in seen if path != "train/cat/cat_1.png"][::4]
    before = tmp_path / "before"
    shutil.copytree(data, before)
    for number, path in enumerate(changed):
        put(data / path, before / changed[number - 1])
    put(data / broken, before / seen[1])
    put(data / seen[2], before / broken)

    run(learn, data, out, k=k, fast=fast)
    run(learn, data, tmp_path / "whole", k=k, fast=fast)
    resumed, whole = load(out), load(tmp_path / "whole")
    assert resumed.settings["changed_before_resume"] == {
        split: sum(path.startswith(split) for path in {*changed, broken, seen[2]})
        for split in ("train", "valid")
        if any(path.startswith(split) for path in changed)
    }
    assert "changed_before_resume" not in whole.settings
    assert resumed.unreadable == whole.unreadable
    assert [item.path for item in resumed.unreadable] == [seen[2]]
    for split, label in itertools.product(whole.splits, whole.vocab):
        right, found = whole.kept(split, label), resumed.kept(split, label)
        # Where a kept one ranks lower now, the one that it had pushed out is not known.
        assert len(right) - len(found) <= sum(path.startswith(f"{split}/{label}") for path in changed)
        if k == 50:
            assert len(right) == len(found)
        for one, other in zip(right, found, strict=False):
            assert (one.path, one.predicted, one.rank) == (other.path, other.predicted, other.rank)
            assert one.loss == pytest.approx(other.loss, abs=1e-5)
    # One that could not be read is counted now; one that cannot be read any more still is.
    assert sum(resumed.scored.values()) == sum(whole.scored.values()) + 1


def test_what_did_not_change_is_not_scored_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn, out = make_learner(data / "train"), tmp_path / "out"
    stopped_late(learn, data, out, monkeypatch)
    again: list[str] = []
    monkeypatch.setattr(
        progress.SplitProgress, "update_again", lambda part, batch, uncounted: again.extend(batch.paths)
    )
    run(learn, data, out)
    assert again == []
    assert "changed_before_resume" not in load(out).settings


@pytest.mark.parametrize("way", ["the file", "its folder", "a folder above", "a link"])
def test_a_file_is_changed_whatever_brought_another_to_its_place(way: str, tmp_path: Path) -> None:
    for name in ("data", "other"):
        make_folder(tmp_path / name / "train", per_class=2)
    images = sorted((tmp_path / "data").rglob("*.png"))
    path, root = images[0].relative_to(tmp_path / "data"), tmp_path / "data"
    (root / "link.png").symlink_to(images[1])
    for file in tmp_path.rglob("*"):
        os.utime(file, ns=(10**18, 10**18), follow_symlinks=False)
    latest = max(file.lstat().st_ctime_ns for file in tmp_path.rglob("*"))
    files = ChangedFiles(root, latest)
    names = [file.relative_to(root).as_posix() for file in images]
    assert not any(map(files.has, [*names, "link.png", "sample 7", "train/none.png"]))

    while (tmp_path / "clock").touch() or (tmp_path / "clock").stat().st_mtime_ns <= latest:
        pass  # the clock of a file system stands still for some milliseconds
    part = {"the file": path, "its folder": path.parent, "a folder above": path.parent.parent}.get(way)
    if part is None:
        (root / "link.png").unlink()
        (root / "link.png").symlink_to(images[2])
    else:
        (root / part).rename(tmp_path / "old")
        (tmp_path / "other" / part).rename(root / part)
    files = ChangedFiles(root, latest)
    assert files.has("link.png" if part is None else path.as_posix())
    assert files.has(names[-1]) == (way == "a folder above")


def test_a_checkpoint_of_version_0_1_goes_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn, out = make_learner(data / "train"), tmp_path / "out"
    with monkeypatch.context() as patch:
        dumps = json.dumps
        patch.setattr(json, "dumps", lambda value: dumps({key: value[key] for key in value if key != "begun"}))
        stopped(learn, data, out, monkeypatch)
    run(learn, data, out)
    run(learn, data, tmp_path / "whole")
    assert results(out) == results(tmp_path / "whole")


def change_identity(file: Path, **changes: Any) -> None:
    """Change the identity in a checkpoint; None removes an entry."""
    with np.load(file) as arrays:
        contents = dict(arrays)
    state = json.loads(contents["state"].tobytes())
    identity = {**state["identity"], **changes}
    state["identity"] = {name: value for name, value in identity.items() if value is not None}
    contents["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    np.savez(file, **contents)


def test_the_checkpoint_of_a_torch_model_by_an_earlier_version_is_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out, stops = ImageFolder(data / "train", TRANSFORM), tmp_path / "out", Stops(2, KeyboardInterrupt)
    update = progress.SplitProgress.update
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(progress.SplitProgress, "update", lambda part, batch: (stops(batch), update(part, batch)))
        scan_model(folder, out)
    # That version named no task, and the batch size of all splits together.
    change_identity(out / "checkpoint/progress.npz", **{"task": None, "batch size": 4})
    scan_model(folder, out)
    scan_model(folder, tmp_path / "whole")
    assert results(out) == results(tmp_path / "whole")


@pytest.mark.parametrize(("name", "value"), [("label table", "0a1b2c3d"), ("reduced decoding", True)])
def test_a_checkpoint_with_more_in_its_identity_is_refused(
    name: str, value: object, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, out = make_learner(data / "train"), tmp_path / "out"
    stopped(learn, data, out, monkeypatch)
    change_identity(out / "checkpoint/progress.npz", **{name: value})
    with pytest.raises(CleanerError, match=f"another {name}"):
        run(learn, data, out)
    change_identity(out / "checkpoint/progress.npz", **{"label table": "", "reduced decoding": False})
    run(learn, data, out)  # as earlier versions wrote it


def test_a_checkpoint_of_something_else_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    learn = make_learner(data / "train")
    stopped(learn, data, out, monkeypatch)
    saved = (out / "checkpoint/progress.npz").read_bytes()
    with pytest.raises(CleanerError, match=r"another k \(5, this one has 6\).*resume=False"):
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
    with pytest.raises(CleanerError, match="not those with which the unfinished scan began"):
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
from functools import partial
from pathlib import Path
from cleaner.scoring import engine, progress
from cleaner.scoring.data.fastai_data import from_folder
from cleaner.scoring.learner_file import load_learner
from cleaner.scoring.model.fastai_model import fastai_job
learner, data, out = map(Path, sys.argv[1:])
progress._MAX_SAVE_SHARE = 1e9  # save whenever a batch is done
job = fastai_job(load_learner(learner, trust=True), partial(from_folder, data=data, batch_size=None), workers=1)
job.scorer.selector.names["exact"] = "plain"
print("scanning", flush=True)
engine.run(job, out, engine.ScanOptions(k=5, progress=False, save_every=0.0))
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
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    keeper = progress.Checkpoint(tmp_path / "out", {}, DatasetInfo(tmp_path, ("a", "b"), ("all",)), 5)
    saves: list[float] = []

    def save(*_: object) -> None:
        saves.append(now[0])
        now[0] += 0.1

    monkeypatch.setattr(keeper, "save", save)
    for _ in range(1000):
        now[0] += 0.1
        keeper.save_if_due(progress.ScanProgress())
    gaps = [later - earlier for earlier, later in itertools.pairwise(saves)]
    assert saves[0] <= 5.2
    assert min(gaps) >= 0.1 / 0.01
    assert max(gaps) <= 30.2


def test_resuming_by_the_public_function(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = make_learner(data / "train")
    update = progress.SplitProgress.update
    stops = Stops(3, KeyboardInterrupt)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(progress.SplitProgress, "update", lambda part, batch: (stops(batch), update(part, batch)))
        cleaner.scan(learn, tmp_path / "out", k=3, progress=False)
    assert (tmp_path / "out/checkpoint").exists()
    again = cleaner.scan(learn, tmp_path / "out", k=3, progress=False)
    whole = cleaner.scan(learn, tmp_path / "whole", k=3, progress=False)
    assert {s.path: s.loss for s in again.samples} == pytest.approx({s.path: s.loss for s in whole.samples}, abs=1e-5)
    assert again.cells == whole.cells


def test_files_of_several_labels_that_are_scored_again_are_counted_once() -> None:
    """Also one that comes twice, of which the second is scored later."""
    part = progress.SplitProgress("all", KeptSamples(3, 5), Tally(3), rows=2)
    gone = Unreadable("all", "", "b.png", "it is torn")

    def labels(*paths: str, unreadable: tuple[Unreadable, ...] = ()) -> ScoredLabels:
        shape = (len(paths), 2)
        yes, numbers = np.ones(shape, bool), np.arange(len(paths) * 2, dtype=float).reshape(shape)
        return ScoredLabels(paths, yes, numbers, yes, numbers / 10, unreadable)

    part.update(labels("a.png", "c.png", unreadable=(gone,)))
    left = part.forget({"a.png", "b.png"})
    assert (part.seen, part.scored) == (2, 2)
    part.update_again(labels("b.png", "b.png", unreadable=(replace(gone, path="a.png"),)), left)
    assert (part.seen, part.scored, part.tally.unreadable) == (3, 3, 0)
    assert [item.path for item in part.unreadable] == ["a.png"]
    assert {kept.path for kept in part.kept.highest.of_class(0)} == {"b.png", "c.png"}
    left = part.forget({"a.png"})
    part.update_again(labels("a.png"), left)
    assert part.seen == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("count", [pytest.param(3, id="short"), pytest.param(200, id="long", marks=pytest.mark.long)])
def test_however_often_a_scan_is_killed_the_folder_has_the_old_or_the_new_one(
    count: int, data: Path, tmp_path: Path
) -> None:
    learn, out, chance = make_learner(data / "train"), tmp_path / "out", random.Random(3)
    run(learn, data, tmp_path / "whole")
    whole, expected, kills, ends, seen = results(tmp_path / "whole"), load(tmp_path / "whole"), 0, 0, set()

    def scan() -> None:
        torch.set_num_threads(1)  # a forked process has none of the threads that torch believes in
        run(learn, data, out)

    begin = time.perf_counter()
    assert not killed_in(scan, math.inf)
    longest = 1.5 * (time.perf_counter() - begin)  # on a busy machine too, some scans come to their end
    shutil.rmtree(out)
    while kills < count or not ends:
        if killed_in(scan, chance.uniform(0, longest)):
            kills += 1
        else:
            ends += 1
            assert results(out) == whole
            if ends % 2 == 0:
                shutil.rmtree(out)  # else the next one replaces it
        if (out / "scan.json").exists():
            found = load(out)  # its files may not be in their place yet
            seen.add(found.generation)
            assert (found.samples, found.cells, found.losses) == (expected.samples, expected.cells, expected.losses)
            assert found.unreadable == expected.unreadable
    print(f"\n{kills} scans were killed and {ends} came to their end; {len(seen)} scans were seen, all whole")
