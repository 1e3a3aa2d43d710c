"""The engine on a Ray cluster: workers run the same loop on shards of a split, the driver merges their results.

Ray Data starts the workers, hands out shards on demand, and replaces a worker that dies: its shard is scored again. The
result of a shard is counts, and the samples that may be among the highest losses. Merged they equal those of one pass.
"""

from __future__ import annotations

import builtins
import io
import logging
import os
import pickle
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from cleaner.core.errors import CleanerError
from cleaner.core.kept_samples import KeptSamples
from cleaner.core.records import ScoredBatch, joined
from cleaner.core.tally import Tally
from cleaner.scoring.data.checks import check_number
from cleaner.scoring.engine import Engine, ScanJob, check_all_scored, score
from cleaner.scoring.fatal_files import FatalFiles, warn_if_fatal
from cleaner.scoring.progress import SplitProgress

if TYPE_CHECKING:
    from cleaner.scoring.data.reader import Dataset, Key
    from cleaner.scoring.model.scorer import Scored

__all__ = ["Cluster", "RayEngine", "ShardResult", "ShardScorer", "session", "shard_size"]

# A shard takes a worker some seconds to some minutes; a small dataset gives each worker several.
_MAX_SHARD_SIZE, _SHARDS_PER_WORKER = 4096, 8
# A GPU with 16 readers scores some 2,000 images/s, and each shard starts its readers anew: half a minute of work.
_MAX_GPU_SHARD_SIZE = 65_536
# Ray Data keeps some 5 KB of statistics per shard, so shards of a huge dataset are larger.
_MAX_SHARDS = 4096

_log = logging.getLogger("cleaner")


@dataclass(frozen=True)
class Cluster:
    """The cluster on which a scan runs.

    Attributes:
        address: of a running Ray cluster, such as `auto` or `ray://head:10001`; None for the one that this process is
            connected to, or else to start one on this machine for the duration of the scan.
        num_workers: processes that score; None for one per GPU, or, without GPUs, one per core.
        gpus_per_worker: GPUs of each worker, 0.5 to share one between two; None for one if there are any.

    Examples:
        >>> cluster = cleaner.Cluster(address="auto", num_workers=16)  # cleaner.scan(learn, "scan", engine=cluster)
        >>> cluster.num_workers
        16
    """

    address: str | None = None
    num_workers: int | None = None
    gpus_per_worker: float | None = None

    def __post_init__(self) -> None:
        check_number("num_workers", self.num_workers, min_value=1)
        gpus = self.gpus_per_worker
        if gpus is not None and (isinstance(gpus, bool) or not isinstance(gpus, (int, float)) or not gpus >= 0):
            raise CleanerError(f"gpus_per_worker is {gpus!r}; pass a number of at least 0, such as 1 or 0.5")


@dataclass(frozen=True)
class _Team:
    """The number of workers, and the cores and GPUs of each."""

    workers: int
    cpus: int
    gpus: float


@dataclass(frozen=True)
class ShardResult:
    """The result of shard `number` of a split, with `n` samples, readable or not.

    Attributes:
        survivors: the samples that may be among the highest losses or in the audit sample, and all unreadable ones.
        as_labelled: those that may be typical.
        counts: counts over all samples, from `Tally.to_arrays`.
        names: fingerprint of the paths.
        exact: as in `SplitProgress`.
        backends: as in `ScanProgress`.
        device: description of the device that scored it.
        error: largest error of a loss in the trial of the worker's fast backend.
    """

    number: int
    n: int
    survivors: ScoredBatch
    as_labelled: ScoredBatch
    counts: Mapping[str, Any]
    names: int
    exact: bool
    backends: Mapping[str, str]
    device: str
    error: float


class RayEngine(Engine):
    """Scores on the workers of a cluster; the job is sent to each of them."""

    def __init__(self, job: ScanJob, team: _Team) -> None:
        super().__init__(job)
        self._team = team
        # The workers report the name of their device.
        self.settings = {"engine": "ray", "workers": team.workers, "device": "cuda" if team.gpus else "cpu"}

    def score_remaining(
        self, dataset: Dataset, progress: SplitProgress, fast: bool, report: Callable[[int], None]
    ) -> None:
        """Score what is left of a split; results are merged in the order of the shards."""
        size = shard_size(dataset.count - progress.seen, self._team)
        shards = partial(_pickled_shards, dataset.listing(), progress.seen, size, dataset.split, fast)
        for result in self._results(shards, progress.kept.highest.k, progress.kept.key):
            counts = Tally.from_arrays(progress.tally.n_classes, result.counts)
            progress.merge(result.survivors, result.as_labelled, counts, result.names, result.exact)
            for item in result.survivors.unreadable:
                warn_if_fatal(item.path, item.error)
            report(result.n)

    def score_keys(self, dataset: Dataset, keys: Iterable[Key], update: Callable[[Scored], None]) -> None:
        """Score single samples; they are few, so all of their results are sent."""
        listed = list(keys)
        size = shard_size(len(listed), self._team)
        shards = partial(_pickled_shards, partial(iter, listed), 0, size, dataset.split, False)
        for result in self._results(shards, k=max(1, len(listed))):
            update(result.survivors)

    def _results(self, shards: Callable[[], Iterator[bytes]], k: int, key: int = 0) -> Iterator[ShardResult]:
        """Yield the results of the workers, in the order of the shards."""
        import ray.data

        # Each worker unpickles the job once. The reference keeps it for workers that replace others.
        pickled_job, name, team = ray.put(_pickled(self.job)), uuid4().hex, self._team
        rows = _ray_dataset(shards).map(
            _Worker,
            compute=ray.data.ActorPoolStrategy(size=team.workers),
            fn_constructor_args=(pickled_job, k, key, team, name),
            num_cpus=team.cpus,
            num_gpus=team.gpus,
        )
        try:
            for number, row in enumerate(rows.iter_rows()):
                result = pickle.loads(zlib.decompress(row["result"]))  # noqa: S301 - from our own workers
                if isinstance(result, CleanerError):
                    raise result
                if result.number != number:
                    raise RuntimeError(f"expected the result of shard {number}, got that of shard {result.number}")
                self.settings["device"] = result.device
                selector = self.job.scorer.selector
                selector.names.update(result.backends | selector.names)
                selector.error = max(selector.error, result.error)
                yield result
        except ray.exceptions.RayError as error:
            raise CleanerError(f"the workers could not go on: {error}") from error
        finally:
            # Workers of this machine that were stopped leave notes; on other machines a folder of some bytes stays.
            shutil.rmtree(_notes_folder(name), ignore_errors=True)


def shard_size(n: int, team: _Team) -> int:
    """Return the number of samples in a shard, for `n` samples in all."""
    max_size, per_worker = (_MAX_GPU_SHARD_SIZE, 1) if team.gpus else (_MAX_SHARD_SIZE, _SHARDS_PER_WORKER)
    return max(1, min(max_size, -(-n // (team.workers * per_worker))), -(-n // _MAX_SHARDS))


@contextmanager
def session(cluster: Cluster) -> Iterator[_Team]:
    """Connect to the cluster; one that this starts is shut down afterwards, also after an error or Ctrl-C."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report about users
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise CleanerError(
            f"the engine 'ray' needs Ray, which is not installed here ({error}): pip install 'image-label-cleaner[ray]'"
        ) from error
    is_ours = not ray.is_initialized()
    if is_ours:
        _connect(ray, cluster.address)
    try:
        yield _team(ray, cluster)
    finally:
        if is_ours:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    options: dict[str, Any] = {"include_dashboard": False} if address is None else {"address": address}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # Ray raises plain exceptions too
        problem = "Ray did not start on this machine" if address is None else f"there is no Ray cluster at {address!r}"
        raise CleanerError(
            f"{problem} ({' '.join(str(error).split())}). Start a cluster with `ray start --head` and pass the address "
            "that it prints"
        ) from error


def _team(ray: Any, cluster: Cluster) -> _Team:
    resources = ray.cluster_resources()
    cores, devices = int(resources.get("CPU", 1)), resources.get("GPU", 0.0)
    gpus = float(min(1.0, devices) if cluster.gpus_per_worker is None else cluster.gpus_per_worker)
    workers = cluster.num_workers or (int(devices / gpus) if gpus else cores) or 1
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for cpus in range(cores // workers, 0, -1):
        if sum(_workers_on(node, cpus, gpus) for node in nodes) >= workers:
            return _Team(workers, cpus, gpus)
    raise CleanerError(
        f"the cluster has {cores} cores and {devices:g} GPUs on {len(nodes)} machines, too few for {workers} workers "
        f"with {gpus:g} GPUs each; each worker takes at least one core"
    )


def _workers_on(node: Mapping[str, float], cpus: int, gpus: float) -> int:
    """Return how many workers fit on a machine; for one that does not fit, Ray would wait for a larger machine."""
    needs = {"CPU": cpus, "GPU": gpus}
    return min(int(node.get(kind, 0) / need) for kind, need in needs.items() if need)


def _pickled_shards(listing: Callable[[], Any], skip: int, size: int, split: str, fast: bool) -> Iterator[bytes]:
    """Yield the arguments of `ShardScorer.score` for each shard, without the first `skip` keys."""
    keys = islice(listing(), skip, None)
    for number, shard in enumerate(iter(lambda: list(islice(keys, size)), [])):
        yield pickle.dumps((number, split, shard, fast))


def _notes_folder(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"cleaner-{name}"


def _ray_dataset(shards: Callable[[], Iterator[bytes]]) -> Any:
    """Return the shards as a Ray dataset, one shard per row, that is read on demand."""
    import pyarrow as pa
    import ray.data
    from ray.data.block import BlockMetadata

    class Shards(ray.data.Datasource):  # type: ignore[misc]
        def estimate_inmemory_data_size(self) -> None:
            return None

        def get_read_tasks(self, *_args: Any, **_options: Any) -> list[Any]:
            unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ray.data.ReadTask(lambda: (pa.table({"shard": [shard]}) for shard in shards()), unknown)]

    # Walking a folder takes no core from the workers.
    dataset = ray.data.read_datasource(Shards(), num_cpus=0, concurrency=1)
    dataset.context.execution_options.preserve_order = True
    dataset.context.target_max_block_size = 1  # bytes: each row is handed on at once
    dataset.context.enable_progress_bars = False
    return dataset


class _Worker:
    """The process that Ray calls with shards."""

    def __init__(self, pickled_job: Any, k: int, key: int, team: _Team, name: str) -> None:
        import ray
        import torch

        torch.set_num_threads(team.cpus)
        job: ScanJob = pickle.loads(ray.get(pickled_job))  # noqa: S301 - from our own driver
        job.scorer.to(torch.device("cuda" if team.gpus else "cpu"))
        # With a single core the worker reads images itself.
        self._scorer = ShardScorer(job, k, key, team.cpus if team.cpus > 1 else 0, _notes_folder(name))

    def __call__(self, row: Mapping[str, bytes]) -> dict[str, bytes]:
        result = self._scorer.score(*pickle.loads(row["shard"]))  # noqa: S301 - as above
        return {"result": zlib.compress(pickle.dumps(result), 1)}


class ShardScorer:
    """Scores shards. The losses of earlier shards, which were sent, decide which samples can be among the highest.

    Args:
        job: the model and its data.
        k, key: as in `KeptSamples`.
        readers: number of processes that read images.
        notes: folder for notes of what is being read; the worker that replaces this one finds the fatal file there.
    """

    def __init__(self, job: ScanJob, k: int, key: int, readers: int, notes: Path) -> None:
        self._job, self._k, self._key, self._readers, self._notes = job, k, key, readers, notes
        self._kept: dict[str, KeptSamples] = {}

    def score(self, number: int, split: str, keys: Sequence[Any], fast: bool) -> ShardResult | CleanerError:
        """Score the shard with a number. An error is returned: raised, it would reach the user in Ray's traces."""
        notes = self._notes / f"shard-{number}"
        fatal_files = FatalFiles(notes, {split: self._job.datasets[split]}, lambda _split: keys)

        def attempt(resume: bool) -> ShardResult:
            fatal_files.find(resume)
            with fatal_files.noting():
                return self._score(number, split, keys, fast)

        try:
            return fatal_files.score_past(attempt, resume=True)
        except Exception as error:  # noqa: BLE001 - returned
            _log.exception("shard %d of %r failed", number, split)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            failure = CleanerError(f"a worker failed ({reason}); its log has the traceback")
            return error if isinstance(error, CleanerError) else failure
        finally:
            shutil.rmtree(notes, ignore_errors=True)
            with suppress(OSError):  # other workers have notes in it
                self._notes.rmdir()

    def _score(self, number: int, split: str, keys: Sequence[Any], fast: bool) -> ShardResult:
        from cleaner.scoring.model.devices import describe

        progress = SplitProgress.empty(split, self._job.info, self._k, self._key)
        # Taken out meanwhile: heaps of an unfinished shard would hold back its samples the next time.
        progress.kept = self._kept.pop(split, progress.kept)
        survivors, as_labelled = list[ScoredBatch](), list[ScoredBatch]()

        def update(batch: Scored) -> None:
            for found, reached in zip((survivors, as_labelled), progress.kept.reached(batch), strict=True):
                found.append(reached)
            progress.update(batch)

        score(self._job.datasets[split], self._job.scorer, keys, update, workers=self._readers, fast=fast)
        self._kept[split] = progress.kept
        check_all_scored(progress.seen, len(keys), split)
        counts, scorer = progress.tally.to_arrays(), self._job.scorer
        selector = scorer.selector
        exact = not (fast and selector.is_lower_precision)
        ran = exact, dict(selector.names), describe(scorer.device), selector.error
        return ShardResult(number, progress.seen, joined(survivors), joined(as_labelled), counts, progress.names, *ran)


def is_elsewhere(obj: Any) -> bool:
    """Return whether an object holds the numbers of tensors, and not in the memory of this machine."""
    import torch

    if isinstance(obj, torch.TypedStorage):
        obj = obj._untyped_storage  # its own attributes warn that torch will remove it
    return isinstance(obj, torch.UntypedStorage) and obj.device.type != "cpu"


def _pickled(job: ScanJob) -> bytes:
    """Pickle a job: functions of a notebook as a whole, those of a module by their names."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            # Ray replaces `print`, which learners keep a reference to for logging.
            if isinstance(obj, BuiltinFunctionType) and getattr(builtins, obj.__name__, obj) is not obj:
                return getattr, (builtins, obj.__name__)
            if is_elsewhere(obj):  # the worker may lack that device; it moves the model to its own
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # torch's about its storages, which it uses itself
                    return obj.cpu().__reduce_ex__(2)
            return super().reducer_override(obj)

    buffer = io.BytesIO()
    try:
        Pickler(buffer).dump(job)
    except Exception as error:
        raise CleanerError(
            f"the model and its data cannot be sent to the workers ({type(error).__name__}: {error}). "
            "Remove callbacks and transforms that hold open files, locks or windows"
        ) from error
    return buffer.getvalue()
