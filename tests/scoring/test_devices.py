"""Scans on accelerators, with what is special about these emulated on the CPU; `tests/gpu` has the real ones."""

from __future__ import annotations

import io
import logging
import pickle
import re
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fastai.vision import all as fastai
from torch import Tensor, nn

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.scoring import engine, ray_cluster, rescore
from cleaner.scoring.data import reader
from cleaner.scoring.data.fastai_data import FastaiDataset, from_folder
from cleaner.scoring.fatal_files import LostReaderError
from cleaner.scoring.model import backends, devices
from cleaner.scoring.model.fastai_model import FastaiScorer, fastai_job
from cleaner.scoring.progress import SplitProgress
from tests.support.gpu import allow_autocast
from tests.support.learners import make_folder, make_learner, plain_losses
from tests.support.made_up_job import MadeUpDataset, MadeUpScorer, made_up_job

ELSEWHERE = torch.device("meta")
"""A device of another type than the CPU."""

PAYS = backends._pays  # which the other tests of scoring do not ask


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


def job_of(learn: fastai.Learner, data: Path, **options: Any) -> Any:
    return fastai_job(learn, lambda learn, targets: from_folder(learn, targets, data, None), **options)


# Reading


def pinned_as_by_torch_2_9(batch: Any) -> Any:
    """Pin as torch 2.1 to 2.9 do: tuples become lists."""
    if isinstance(batch, Tensor):
        return batch.pin_memory()
    if isinstance(batch, Mapping):
        return type(batch)({key: pinned_as_by_torch_2_9(part) for key, part in batch.items()})
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*map(pinned_as_by_torch_2_9, batch))
    if isinstance(batch, (tuple, list)):
        return list(map(pinned_as_by_torch_2_9, batch))
    return batch.pin_memory() if hasattr(batch, "pin_memory") else batch


def test_batch_transforms_are_applied_to_pinned_batches(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = make_learner(data, batch_tfms=fastai.Normalize.from_stats(*fastai.imagenet_stats))
    expected = plain_losses(learn, learn.dls.valid.items)
    loader, pinned = reader._loader, list[Tensor]()
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: pinned.append(self) or self.clone())
    monkeypatch.setattr(reader, "_loader", lambda *args: map(pinned_as_by_torch_2_9, loader(*args)))
    scan = cleaner.scan(learn, tmp_path / "scan", splits=["valid"], progress=False)
    assert pinned
    assert {Path(s.path).name: s.loss for s in scan.samples} == pytest.approx(expected, abs=1e-5)


def test_pinning_keeps_nested_tuples_lists_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self + 1)
    zero = torch.zeros(2)
    batch = reader.PathBatch(["a"], [], (zero, (zero, [zero]), {"mask": zero}, "text"))
    image, (first, rest), named, text = batch.pin_memory().data
    assert [float(x[0]) for x in (image, first, rest[0], named["mask"])] == [1, 1, 1, 1]
    assert (type(rest), text) == (list, "text")


class OnDevice(Tensor):
    """A tensor on a GPU, which a process that unpickles it would open."""

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise AssertionError("a device tensor is sent to a reader")


def test_readers_get_no_device_tensors(data: Path) -> None:
    learn = make_learner(data, batch_tfms=fastai.Normalize.from_stats(*fastai.imagenet_stats))
    dataset: FastaiDataset = job_of(learn, data).datasets["all"]
    normalize = next(step for step in dataset.dl.after_batch.fs if isinstance(step, fastai.Normalize))
    normalize.mean = normalize.mean.as_subclass(OnDevice)
    with pytest.raises(AssertionError, match="sent to a reader"):
        pickle.dumps(dataset)
    copied = pickle.loads(pickle.dumps(dataset.for_readers()))
    batch = copied.__getitems__(list(dataset.keys())[:3])
    assert batch.data[0].shape == (3, 3, 16, 16)
    assert dataset.dl.after_batch.fs


def test_files_are_read_by_workers_whatever_the_learner_has(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, workers = reader._loader, list[int]()
    monkeypatch.setattr(reader, "_loader", lambda *args: workers.append(args[-1]) or loader(*args))
    monkeypatch.setattr(reader, "cores", lambda: 3)
    learn = make_learner(data, num_workers=0)
    cleaner.scan(learn, tmp_path / "scan", splits=["valid"], progress=False)
    cleaner.scan(learn, tmp_path / "scan", splits=["valid"], progress=False, workers=0)
    assert workers == [3, 0]


@pytest.mark.parametrize(
    ("method", "script", "expected"),
    [
        ("fork", "cleaner.scan(learn, 'scan')", 2),
        ("spawn", "cleaner.scan(learn, 'scan')", 0),
        ("forkserver", "cleaner.scan(learn, 'scan')", 0),
        ("spawn", "if __name__ == '__main__':\n    cleaner.scan(learn, 'scan')", 2),
        ("spawn", None, 2),
    ],
)
def test_a_script_that_would_run_again_in_each_worker_reads_in_its_own_process(
    method: str,
    script: str | None,
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "script.py"
    file.write_text(script or "")
    monkeypatch.setattr(reader, "cores", lambda: 2)
    monkeypatch.setattr("multiprocessing.get_start_method", lambda allow_none: method)
    monkeypatch.setitem(
        reader.sys.modules, "__main__", SimpleNamespace(**({} if script is None else {"__file__": file}))
    )
    reader._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "cleaner"):
        assert [reader.default_workers(MadeUpDataset([0])) for _ in range(2)] == [expected] * 2
    assert len(caplog.messages) == (expected == 0)  # said once


def test_a_dataset_that_cannot_be_sent_is_read_in_this_process_unless_workers_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = MadeUpDataset([0, 1, 2, 0])
    dataset.local = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setattr(reader, "default_workers", lambda _dataset: 1)
    torch.multiprocessing.set_start_method("spawn", force=True)
    try:
        assert [len(batch.paths) for batch in reader.read(dataset, dataset.keys(), None)] == [3, 1]
        assert "so images are read in this one" in caplog.text
        with pytest.raises(CleanerError, match="workers=0"):
            list(reader.read(dataset, dataset.keys(), 1))
    finally:
        torch.multiprocessing.set_start_method(None, force=True)


@pytest.mark.parametrize(("device_type", "expected"), [("cpu", [10]), ("cuda", []), ("mps", [])])
def test_readers_step_back_only_where_the_model_needs_the_cores(
    device_type: str, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = list[int]()
    monkeypatch.setattr(reader.os, "nice", steps.append)
    monkeypatch.setattr(reader.atexit, "register", lambda close: close())
    with warnings.catch_warnings():
        reader.prepare_worker(MadeUpDataset([0]), device_type, 0)
    assert steps == expected


def test_a_reader_that_dies_while_its_batch_is_pinned_is_reported() -> None:
    with pytest.raises(LostReaderError, match="ended a process that reads images"), reader.lost_workers():
        raise RuntimeError("Pin memory thread exited unexpectedly")


# Devices


def test_auto_is_the_accelerator_unless_the_model_is_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(devices, "accelerator", lambda: ELSEWHERE)
    assert devices.find_device("auto", cpu) == ELSEWHERE
    assert devices.find_device("cpu", cpu) == devices.find_device(None, cpu) == cpu
    monkeypatch.setattr(devices, "accelerator", lambda: None)
    assert devices.find_device("auto", cpu) == cpu
    assert devices.find_device("auto", ELSEWHERE) == ELSEWHERE


def test_a_learner_on_the_cpu_is_scanned_on_the_accelerator_and_stays_where_it_was(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = make_learner(data, batch_tfms=None)
    model, attributes = learn.model, dict(learn.__dict__)
    monkeypatch.setattr(devices, "accelerator", lambda: ELSEWHERE)
    job = job_of(learn, data, device="auto")
    assert job.scorer.device == ELSEWHERE
    monkeypatch.setattr(FastaiScorer, "_start", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), job.scorer.session(job.datasets["all"], False) as start:
        assert {p.device for p in learn.model.parameters()} == {ELSEWHERE}
        assert learn.dls.device == ELSEWHERE
        start(None)
    assert learn.__dict__ == attributes
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert learn.dls.device == torch.device("cpu")


def test_the_device_stands_in_the_scan(data: Path, tmp_path: Path) -> None:
    assert cleaner.scan_folder(make_learner(data), data, tmp_path / "scan", progress=False).settings["device"] == "cpu"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "abacus"}, "torch cannot use the device 'abacus'.*'cuda:0'"),
        ({"device": "cuda:1", "engine": cleaner.Cluster()}, "run on the GPUs that Ray gives them"),
    ],
)
def test_a_device_that_cannot_be_used_is_refused(
    options: dict[str, Any], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(CleanerError, match=message):
        cleaner.scan_folder(make_learner(data), data, tmp_path / "scan", progress=False, **options)
    assert not (tmp_path / "scan").exists()


def test_the_device_of_the_model_is_the_current_one_while_batches_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    made_current = list[torch.device]()
    monkeypatch.setattr(torch.cuda, "device", lambda device: made_current.append(device) or nullcontext())
    with devices.made_current(torch.device("cuda:1")):
        assert made_current == [torch.device("cuda:1")]


def test_a_device_is_waited_for_before_the_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = list[str]()
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: waited.append(device.type))
    devices.synchronize(torch.device("mps"))
    devices.synchronize(torch.device("cpu"))
    assert waited == ["mps"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_a_half_precision_learner_that_fails_in_a_batch_leaves_autocast_off(
    error: BaseException, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails(fastai.Callback):
        def after_pred(self) -> None:
            assert torch.is_autocast_enabled("cpu")
            raise error

    allow_autocast("cpu", monkeypatch)
    learn = make_learner(data).to_bf16()
    learn.add_cb(Fails())
    with pytest.raises(type(error)):
        cleaner.scan(learn, tmp_path / "scan", progress=False, workers=0)
    assert not torch.is_autocast_enabled("cpu")
    assert devices._autocast_depth() == 0


# Backends


class Timed:
    """Models of given speeds, on a device that is no CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.sizes = 0.0, list[int]()
        monkeypatch.setattr(backends, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(backends, "synchronize", lambda _device: None)
        monkeypatch.setattr(backends, "_pays", lambda *_: True)

    def model(self, seconds_per_image: float) -> Any:
        def run(x: Tensor) -> Tensor:
            self.now += seconds_per_image * len(x)
            self.sizes.append(len(x))
            return x

        model = nn.Identity()
        model.forward = run
        return model


@pytest.mark.parametrize(("reading", "chosen"), [(0.0005, "way"), (0.002, "plain")])
def test_a_backend_is_tried_where_the_readers_are_quicker_than_the_model(
    reading: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = Timed(monkeypatch)
    monkeypatch.setattr(backends, "EXACT", {"way": lambda *_: timed.model(0.0003)})
    inputs = [torch.zeros(64, 5, device=ELSEWHERE)]
    found = backends.choose(timed.model(0.001), inputs, lambda _out, n: torch.zeros(n), reading=reading)
    assert found.name == chosen
    assert set(timed.sizes) == {2, 64}  # the whole batch is timed


@pytest.mark.parametrize(("error", "chosen"), [(0.002, "way"), (0.02, "plain")])
def test_a_backend_may_differ_from_the_model_as_much_as_the_model_from_itself(
    error: float, chosen: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As with TF32, where the order of sums depends on the size of the batch."""
    timed = Timed(monkeypatch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # of four images each
    monkeypatch.setattr(backends, "EXACT", {"way": lambda *_: lambda x: timed.model(0.0003)(x) + error + 0.0008 * 8})
    plain = timed.model(0.001)
    own = nn.Identity()
    own.forward = lambda x: plain(x) + 0.0008 * len(x)
    with caplog.at_level(logging.INFO, "cleaner"):
        found = backends.choose(own, [torch.zeros(8, 5)], lambda out, n: out[:n].sum(1) / 5)
    assert found.name == chosen
    assert "the model's losses differ from themselves by 0.0032" in caplog.text


def test_threads_run_microbatches_on_the_cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "run_microbatches", lambda *_: pytest.fail("threads on a device"))
    monkeypatch.setattr(torch.jit, "trace", lambda model, *_, **__: model)
    monkeypatch.setattr(torch.jit, "freeze", lambda model: model)
    model = nn.Conv2d(3, 4, 3).to(ELSEWHERE)
    assert backends.make("traced", model, [torch.zeros(2, 3, 8, 8, device=ELSEWHERE)])
    with pytest.raises(pytest.fail.Exception, match="threads on a device"), torch.no_grad():
        backends.make("traced", nn.Conv2d(3, 4, 3), [torch.zeros(2, 3, 8, 8)])


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), ["float16"]), ((8, 0), ["bfloat16", "tf32"])])
def test_the_lower_precision_is_one_that_the_gpu_computes_in(
    capability: tuple[int, int], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert backends.lower_precision(torch.device("cuda")) == expected
    assert backends.lower_precision(torch.device("mps")) == ["float16"]
    assert backends.lower_precision(torch.device("cpu")) == ["bfloat16", "int8"]


@torch.no_grad()
def test_sixteen_bits_leave_normalization_and_the_last_layer_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    traced, trace = list[nn.Module](), torch.jit.trace
    monkeypatch.setattr(
        torch.jit, "trace", lambda model, *args, **kw: traced.append(model) or trace(model, *args, **kw)
    )
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
    images = torch.randn(4, 3, 8, 8)
    assert backends.make("bfloat16", model, [images])(images).dtype == torch.float32
    assert {values.dtype for values in traced[0].state_dict().values()} == {torch.float32, torch.int64}
    with torch.autocast("cpu", torch.bfloat16):
        assert traced[0](images).dtype == torch.float32
        assert model(images).dtype == torch.bfloat16


def test_the_precision_of_matrix_products_is_restored() -> None:
    settings, seen = torch.backends.cuda.matmul, list[str]()
    before = settings.fp32_precision
    model = nn.Identity()
    model.forward = lambda _x: seen.append(settings.fp32_precision) or 1 / 0
    with pytest.raises(ZeroDivisionError):
        backends._tf32(model, [])(torch.zeros(1))
    assert seen == ["tf32"]
    assert settings.fp32_precision == before


@torch.no_grad()
def test_a_backend_that_this_torch_lacks_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backends, "_pays", lambda name, *_: name == "int8")
    monkeypatch.setitem(reader.sys.modules, "torch.ao.quantization", None)
    images = [torch.randn(4, 3, 8, 8)]
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
    found = backends.choose(model, images, lambda out, n: out[:n].sum(1), lambda: images)
    assert found.name == "plain"
    assert [m for m in caplog.messages if "int8: this version of torch lacks what it needs (ModuleNotFound" in m]


@torch.no_grad()
@pytest.mark.parametrize("name", ["fused", "traced", "channels-last", "bfloat16", "int8"])
def test_no_warning_of_torch_about_its_future_reaches_the_user(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
    images = torch.randn(4, 3, 8, 8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        backends.make(name, model, [images])(images)
    assert [warning.message for warning in caught] == []


def test_a_backend_is_made_only_where_it_pays() -> None:
    plain, bfloat16 = backends.Backend("plain", nn.Identity(), 0.28), backends.Backend("bfloat16", nn.Identity(), 0.04)
    pays = {n: PAYS("fused", plain, 8, n) for n in (20, 100, 1000)}
    assert pays == {20: False, 100: True, 1000: True}
    assert {n: PAYS("int8", bfloat16, 8, n) for n in (1000, 10_000)} == {1000: False, 10_000: True}


def test_a_saved_backend_that_does_not_exist_here_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    selector = backends.BackendSelector()
    selector.names["exact"] = "tf32"
    model, images = nn.Identity().eval(), [torch.zeros(3, 2)]
    with caplog.at_level(logging.INFO, "cleaner"):
        found = selector.select(
            model, images, lambda out, n: out[:n, 0], MadeUpDataset([0]), lambda _data: images, fast=False
        )
    assert (found, selector.names) == (model, {"exact": "plain"})
    assert "tf32: not here" in caplog.text


# Fast scans


def test_a_split_that_was_scored_partly_in_lower_precision_is_scored_again() -> None:
    info = made_up_job(MadeUpDataset([0]), MadeUpScorer([1.0])).info
    progress, other = (SplitProgress.empty("all", info, 3) for _ in range(2))
    rows = made_up_rows()
    progress.merge(rows, rows, other.tally, 1, exact=True)
    assert progress.exact
    progress.merge(rows, rows, other.tally, 1, exact=False)
    progress.merge(rows, rows, other.tally, 1, exact=True)
    assert not progress.exact


def made_up_rows() -> Any:
    from cleaner.scoring.model.scorer import scored_batch

    return scored_batch([], [], [np.empty(0)] * 2 + [np.empty((0, 1))] * 2)


@pytest.mark.parametrize(("backend", "exact"), [("bfloat16", False), ("fused", True)])
def test_each_shard_reports_whether_its_losses_are_exact(backend: str, exact: bool, tmp_path: Path) -> None:
    job = made_up_job(MadeUpDataset([0, 1, 2, 0]), MadeUpScorer(np.arange(4.0), np.full(4, 0.1)))
    job.scorer.selector.names["fast"] = backend
    shards = ray_cluster.ShardScorer(job, 2, 0, 0, tmp_path / "notes")
    fast, again = (shards.score(0, "all", [0, 1, 2, 3], is_fast) for is_fast in (True, False))
    assert (fast.exact, again.exact) == (exact, True)
    assert fast.device == "cpu"


def test_a_fast_pass_that_would_score_too_many_twice_goes_on_as_an_exact_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backends, "_pays", lambda name, *_: name == "bfloat16")
    monkeypatch.setattr(backends, "_CLEARLY_FASTER", float("inf"))
    monkeypatch.setattr(rescore, "_MAX_SHARE", 0.5)
    monkeypatch.setattr(rescore, "may_pay", lambda *_: True)
    learn = make_learner(data)
    exact = cleaner.scan_folder(learn, data, tmp_path / "exact", k=5, progress=False)
    fast = cleaner.scan_folder(learn, data, tmp_path / "fast", k=5, progress=False, fast=True)
    assert re.search("a fast scan would score [0-9]+% of 'all' twice", caplog.text)
    assert fast.settings["fast"]["all"]["scored_twice"] == 0
    assert [(s.path, s.rank) for s in fast.samples] == [(s.path, s.rank) for s in exact.samples]
    assert fast.scored == exact.scored
    assert fast.cells == exact.cells


# Ray


def test_shards_of_gpus_are_half_a_minute_of_work() -> None:
    team = SimpleNamespace(workers=8, gpus=1.0)
    assert ray_cluster.shard_size(10_000_000, team) == 65_536
    assert ray_cluster.shard_size(80_000, team) == 10_000  # all of them have work


def test_tensors_of_a_gpu_travel_as_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    storages = torch.UntypedStorage, torch.TypedStorage
    assert ray_cluster.is_elsewhere(torch.zeros(2, device=ELSEWHERE).untyped_storage())
    assert not ray_cluster.is_elsewhere(torch.zeros(2).untyped_storage())
    moved = list[Any]()
    monkeypatch.setattr(ray_cluster, "is_elsewhere", lambda obj: isinstance(obj, storages) and not moved.append(obj))
    parameter = nn.Parameter(torch.arange(3.0))
    job: Any = {"parameter": parameter, "image": fastai.TensorImage(torch.ones(2)), "view": parameter[1:]}
    found = pickle.load(io.BytesIO(ray_cluster._pickled(job)))
    assert moved
    assert type(found["parameter"]) is nn.Parameter
    assert found["parameter"].tolist() == [0, 1, 2]
    assert type(found["image"]) is fastai.TensorImage
    assert found["view"].tolist() == [1, 2]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_fast_pass_whose_losses_overflow_keeps_what_an_exact_one_keeps(loss: float) -> None:
    losses = np.arange(10.0)
    job = made_up_job(MadeUpDataset([0] * 10), MadeUpScorer(losses, np.array([loss] * 2 + [0.0] * 8)))
    progress = SplitProgress.empty("all", job.info, 4)
    dataset = job.datasets["all"]
    engine.score(dataset, job.scorer, dataset.keys(), progress.update, workers=0, fast=True)
    progress.exact = False
    job.scorer.selector.error = loss
    rescore.rescore(engine.Engine(job), progress, 2)
    assert [kept.path for kept in progress.kept.highest.of_class(0)] == ["0009.png", "0008.png"]


@pytest.mark.parametrize(
    "loss",
    [
        fastai.CrossEntropyLossFlat(weight=torch.ones(3)),
        fastai.FocalLossFlat(weight=torch.ones(3)),
        fastai.LabelSmoothingCrossEntropyFlat(weight=torch.ones(3)),
        partial(nn.functional.cross_entropy, weight=torch.ones(3)),
    ],
    ids=["cross entropy", "focal", "smoothed", "partial"],
)
def test_class_weights_move_with_the_loss(loss: Any) -> None:
    moved = devices.copied_to(ELSEWHERE, loss)
    weight = moved.keywords["weight"] if isinstance(moved, partial) else moved.func.weight
    assert weight.device == ELSEWHERE


def test_a_worker_of_a_cluster_moves_the_loaders_for_good(data: Path) -> None:
    learn = make_learner(data, batch_tfms=None)
    scorer = job_of(learn, data).scorer
    scorer.to(ELSEWHERE)
    assert learn.dls.device == ELSEWHERE  # that of the process that sent it may not exist here
