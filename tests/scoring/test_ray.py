"""A scan that is spread over a Ray cluster finds what a scan on one machine finds, whatever becomes of the workers."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fastai.learner import Callback
from hypothesis import given
from hypothesis import strategies as st

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.tally import Tally
from cleaner.scoring import engine, ray_cluster
from cleaner.scoring.engine import ScanJob
from cleaner.scoring.progress import Checkpoint, SplitProgress
from tests.support.fatal_scan import FATAL_WIDTH, SCANS, Ends
from tests.support.hosts import wait_until
from tests.support.images import make_image
from tests.support.learners import make_folder, make_learner, make_model
from tests.support.made_up_job import MadeUpDataset, MadeUpScorer, made_up_job


def numbers(n: int) -> ScanJob:
    """A job whose samples follow from their numbers; every seventh is unreadable."""
    keys = np.arange(n)
    dataset = MadeUpDataset(keys % 3, unreadable=range(0, n, 7))
    return made_up_job(dataset, MadeUpScorer((keys * 37 % 11).astype(float)))


@given(st.permutations(range(40)), st.integers(1, 9), st.integers(1, 6), st.integers(1, 4), st.randoms())
def test_the_results_of_shards_merge_to_those_of_one_pass(
    keys: list[int], size: int, k: int, workers: int, random: Any
) -> None:
    job = numbers(40)
    whole, merged = (SplitProgress.empty("all", job.info, k) for _ in range(2))
    engine.score(job.datasets["all"], job.scorer, keys, whole.update, workers=0)
    team = [ray_cluster.ShardScorer(job, k, 0, 0, Path("notes")) for _ in range(workers)]
    for number, begin in enumerate(range(0, len(keys), size)):
        result = random.choice(team).score(number, "all", keys[begin : begin + size], False)
        assert result.n == len(keys[begin : begin + size])
        counts = Tally.from_arrays(3, result.counts)
        merged.merge(result.survivors, result.as_labelled, counts, result.names, result.exact)
    for progress in (merged, whole):
        progress.kept.settle()
    for name in ("highest", "typical", "audit"):
        assert getattr(merged.kept, name).result() == getattr(whole.kept, name).result()
    assert merged.tally.result() == whole.tally.result()
    assert merged.tally.classes() == whole.tally.classes()
    assert {item.path for item in merged.unreadable} == {item.path for item in whole.unreadable}
    assert (merged.seen, merged.names) == (whole.seen, whole.names)


def test_later_shards_send_only_what_may_be_among_the_highest_losses() -> None:
    worker = ray_cluster.ShardScorer(numbers(2000), 2, 0, 0, Path("notes"))
    sent = [len(worker.score(n, "all", range(100 * n, 100 * n + 100), False).survivors.paths) for n in range(20)]
    assert sent[0] > 10
    assert max(sent[10:]) < sent[0]


@given(count=st.integers(0, 10**10), workers=st.integers(1, 500))
def test_shards_are_several_for_each_worker_and_never_many(count: int, workers: int) -> None:
    size = ray_cluster.shard_size(count, ray_cluster._Team(workers, cpus=1, gpus=0.0))
    shards = -(-count // size)
    assert shards <= 4096
    assert shards >= min(count, 4 * workers)
    assert size <= 4096 or shards > 2048


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def learn(tmp_path: Path) -> Any:
    return make_learner(make_folder(tmp_path / "data", per_class=15))


def assert_same(spread: Path, local: Path) -> None:
    """Same samples, also typical and audited ones, counts and unreadable files; numbers within 1e-5."""
    found, expected = cleaner.load(spread), cleaner.load(local)
    for samples, others in ((found.samples, expected.samples), (found.audit, expected.audit)):
        assert samples
        for sample, other in zip(samples, others, strict=True):
            assert (sample.split, sample.label, sample.rank) == (other.split, other.label, other.rank)
            assert (sample.path, sample.predicted) == (other.path, other.predicted)
            assert sample.loss == pytest.approx(other.loss, abs=1e-5)
            assert dict(sample.alternatives) == pytest.approx(dict(other.alternatives), abs=1e-4)
    assert [(t.split, t.label, t.rank, t.path) for t in found.typical] == [
        (t.split, t.label, t.rank, t.path) for t in expected.typical
    ]
    assert (found.cells, found.scored, found.unreadable) == (expected.cells, expected.scored, expected.unreadable)


@pytest.mark.usefixtures("cluster")
def test_a_spread_scan_equals_a_local_one_also_in_what_cannot_be_read(learn: Any, tmp_path: Path) -> None:
    broken = Path(learn.dls.train_ds.items[0])
    broken.write_bytes(b"no image")
    local = cleaner.scan(learn, tmp_path / "local", k=4, progress=False)
    scan = cleaner.scan(learn, tmp_path / "spread", k=4, progress=False, engine="ray")
    assert_same(tmp_path / "spread", tmp_path / "local")
    assert [item.path for item in scan.unreadable] == [broken.relative_to(local.root).as_posix()]
    assert scan.settings["engine"] == "ray"
    assert not (tmp_path / "spread" / "checkpoint").exists()


@pytest.mark.long
@pytest.mark.usefixtures("cluster")
def test_a_spread_scan_of_an_address_equals_that_of_the_folder(learn: Any, tmp_path: Path) -> None:
    Path(learn.dls.train_ds.items[0]).write_bytes(b"no image")
    cleaner.scan_folder(learn, learn.dls.path, tmp_path / "local", k=4, progress=False)
    address = f"local://{learn.dls.path}"
    scan = cleaner.scan_folder(learn, address, tmp_path / "spread", k=4, progress=False, engine="ray")
    assert_same(tmp_path / "spread", tmp_path / "local")
    assert scan.address == address
    assert len(scan.unreadable) == 1


@pytest.mark.usefixtures("cluster")
def test_a_fast_spread_scan_keeps_the_same(learn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaner.scan_folder(learn, learn.dls.path, tmp_path / "local", k=4, progress=False)
    one = cleaner.Cluster(num_workers=1)
    cleaner.scan_folder(learn, learn.dls.path, tmp_path / "spread", k=4, progress=False, fast=True, engine=one)
    assert_same(tmp_path / "spread", tmp_path / "local")


@pytest.mark.usefixtures("cluster")
def test_the_shard_of_a_worker_that_dies_is_scored_again(learn: Any, tmp_path: Path) -> None:
    died = tmp_path / "died"

    class DieOnce(Callback):  # type: ignore[misc]
        def before_batch(self) -> None:
            if os.getpid() != here and not died.exists():
                died.touch()
                os._exit(1)

    here = os.getpid()
    cleaner.scan(learn, tmp_path / "local", k=4, progress=False)
    learn.add_cb(DieOnce())
    cleaner.scan(learn, tmp_path / "spread", k=4, progress=False, engine="ray")
    assert died.exists()
    assert_same(tmp_path / "spread", tmp_path / "local")


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    "workers", [pytest.param(1, id="its reader dies", marks=pytest.mark.long), pytest.param(2, id="the worker dies")]
)
def test_a_file_that_ends_workers_is_passed_over_and_not_tried_for_ever(
    workers: int, learn: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, before = learn.dls.path, set(Path(tempfile.gettempdir()).glob("cleaner-*/shard-*"))
    (data / "cat/cat_7.png").unlink()
    make_image(data / "cat/cat_7.png", size=(FATAL_WIDTH, 20))
    expected = SCANS["torch"](Ends("raise", tmp_path), data, tmp_path / "local", workers=0)
    cluster = cleaner.Cluster(num_workers=workers)
    SCANS["torch"](Ends("kill", tmp_path, spared=os.getpid()), data, tmp_path / "spread", engine=cluster)
    scan = cleaner.load(tmp_path / "spread")
    assert (scan.scored, scan.cells) == (expected.scored, expected.cells)
    assert [(s.path, round(s.loss, 4)) for s in scan.samples] == [(s.path, round(s.loss, 4)) for s in expected.samples]
    assert [u.path for u in scan.unreadable] == ["cat/cat_7.png"]
    assert "ended by the system (signal 9)" in scan.unreadable[0].error
    assert "'cat/cat_7.png' cannot be read" in caplog.text
    assert set(Path(tempfile.gettempdir()).glob("cleaner-*/shard-*")) <= before


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("end", ["ray", pytest.param("local", marks=pytest.mark.long)])
def test_a_stopped_scan_of_a_cluster_is_resumed(
    learn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    cleaner.scan(learn, tmp_path / "local", k=4, progress=False)

    def stop_soon(checkpoint: Checkpoint, progress: Any) -> None:
        checkpoint.save(progress)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save_if_due", stop_soon)
        cleaner.scan(learn, tmp_path / "spread", k=4, progress=False, engine="ray")
    assert (tmp_path / "spread" / "checkpoint").exists()
    cleaner.scan(learn, tmp_path / "spread", k=4, progress=False, engine=end)
    assert_same(tmp_path / "spread", tmp_path / "local")


@pytest.mark.usefixtures("cluster")
def test_what_forbids_to_go_on_is_said_without_a_traceback(learn: Any, tmp_path: Path) -> None:
    learn.model = make_model(n_classes=5)
    with pytest.raises(CleanerError, match="the model's output has the shape"):
        cleaner.scan(learn, tmp_path / "spread", progress=False, engine="ray")

    class Fail(Callback):  # type: ignore[misc]
        def before_batch(self) -> None:
            raise ZeroDivisionError("of the callback")

    learn.add_cb(Fail())
    with pytest.raises(CleanerError, match=r"ZeroDivisionError.*of the callback"):
        cleaner.scan(learn, tmp_path / "spread", progress=False, engine="ray")
    assert not (tmp_path / "spread" / "scan.json").exists()


@pytest.mark.usefixtures("cluster")
def test_more_workers_than_there_are_cores_are_refused_and_not_waited_for(learn: Any, tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match=r"the cluster has 2 cores .* 3 workers"):
        cleaner.scan(learn, tmp_path / "spread", progress=False, engine=cleaner.Cluster(num_workers=3))
    with pytest.raises(CleanerError, match=r"0 GPUs .* 1 GPUs each"):
        cleaner.scan(learn, tmp_path / "spread", progress=False, engine=cleaner.Cluster(gpus_per_worker=1))


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "cpus"),
    [
        ([(4, 0)], 4, 0.0, 1),
        ([(4, 0)], 1, 0.0, 4),
        ([(4, 0), (4, 0)], 1, 0.0, 4),  # no machine has all eight
        ([(3, 0), (3, 0)], 3, 0.0, 1),  # with two each the third would have no room
        ([(16, 4)], 8, 0.5, 2),
        ([(16, 2), (16, 0)], 2, 1.0, 8),
    ],
)
def test_workers_take_no_more_than_the_machines_have_room_for(
    nodes: list[tuple[int, int]], workers: int, gpus: float, cpus: int
) -> None:
    class Ray:
        cluster_resources = staticmethod(lambda: {"CPU": sum(c for c, _ in nodes), "GPU": sum(g for _, g in nodes)})
        nodes = staticmethod(lambda: [{"Alive": True, "Resources": {"CPU": c, "GPU": g}} for c, g in nodes])

    team = ray_cluster._team(Ray, cleaner.Cluster(num_workers=workers, gpus_per_worker=gpus))
    assert (team.workers, team.cpus, team.gpus) == (workers, cpus, gpus)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_workers": 0}, "num_workers is 0"),
        ({"num_workers": 1.5}, "num_workers is 1.5"),
        ({"num_workers": True}, "num_workers is True"),
        ({"gpus_per_worker": -1}, "gpus_per_worker is -1"),
        ({"gpus_per_worker": float("nan")}, "gpus_per_worker is nan"),
        ({"gpus_per_worker": "one"}, "gpus_per_worker is 'one'"),
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CleanerError, match=message):
        cleaner.Cluster(**options)


def test_an_engine_that_is_none_is_refused(learn: Any, tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match=r"engine is 'spark'; pass 'local', 'ray' or a cleaner.Cluster"):
        cleaner.scan(learn, tmp_path / "scan", engine="spark")


def test_without_ray_the_line_that_installs_it_is_named(
    learn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_ray(name: str, *rest: Any, **options: Any) -> Any:
        if name.split(".")[0] == "ray":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(CleanerError, match=r"pip install 'image-label-cleaner\[ray\]'"):
        cleaner.scan(learn, tmp_path / "scan", engine="ray")


@pytest.mark.long
def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    code = """
import sys
import cleaner
from pathlib import Path
from fastai.learner import Callback
from tests.support.learners import make_folder, make_learner
class Wait(Callback):
    def __init__(self, begun):
        self.begun = begun
    def before_batch(self):
        import threading
        self.begun.touch()
        threading.Event().wait()  # until the process is ended
if __name__ == "__main__":
    learn = make_learner(make_folder(Path(sys.argv[1], "data")))
    learn.add_cb(Wait(Path(sys.argv[1], "begun")))
    cleaner.scan(learn, Path(sys.argv[1], "scan"), engine=cleaner.Cluster(num_workers=1), progress=False)
"""
    scan = subprocess.Popen([sys.executable, "-c", code, tmp_path], stderr=subprocess.DEVNULL)
    wait_until((tmp_path / "begun").exists)
    processes = psutil.Process(scan.pid).children(recursive=True)
    assert any("ray" in process.name() for process in processes)
    scan.send_signal(signal.SIGINT)
    assert scan.wait(120) != 0
    wait_until(lambda: not any(process.is_running() and process.status() != "zombie" for process in processes))


def test_ray_is_imported_only_where_it_is_asked_for() -> None:
    code = "import sys, cleaner.scoring.api, cleaner.scoring.ray_cluster; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
