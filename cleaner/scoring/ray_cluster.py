"""The engine on a Ray cluster: workers run the same loop on shards of a split, the driver merges their results.

Ray Data schedules: it starts the workers, hands out the shards as they are asked for, replaces a worker that dies and
has its shard scored again. The result of a shard is the samples that may be among the highest losses, and counts; both
merge to what one pass over everything gives.
"""

from __future__ import annotations

import builtins
import io
import logging
import os
import pickle
import shutil
import tempfile
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

import numpy as np

from cleaner.core.errors import CleanerError
from cleaner.core.records import ScoredBatch, ScoredLabels
from cleaner.core.tally import Tally
from cleaner.core.topk import TopLosses
from cleaner.scoring.engine import Engine, ScanJob, check_all_scored, score
from cleaner.scoring.fatal_files import FatalFiles, warn_of_fatal
from cleaner.scoring.progress import SplitProgress

if TYPE_CHECKING:
    from cleaner.scoring.data.reader import Dataset, Key

__all__ = ["Cluster", "RayEngine", "ShardResult", "ShardScorer", "session", "shard_size"]

# A shard takes a worker some seconds to some minutes; a small dataset gives each worker several.
_MAX_SHARD_SIZE = 4096
_SHARDS_PER_WORKER = 8
# Ray Data keeps some 5 KB of statistics per shard: a huge dataset has larger shards, not more than these.
_MAX_SHARDS = 4096

_log = logging.getLogger("cleaner")

Listing = Callable[[], Iterator[Any]]


@dataclass(frozen=True)
class Cluster:
    """Where a scan runs.

    Attributes:
        address: of a running Ray cluster, such as `auto` or `ray://head:10001`; None for the one that this process is
            connected to, or else to start one on this machine for the duration of the scan.
        num_workers: processes that score; None for one per GPU, or, without GPUs, one per core.
        gpus_per_worker: GPUs of each of them, 0.5 to share one between two; None for one if there are any.
    """

    address: str | None = None
    num_workers: int | None = None
    gpus_per_worker: float | None = None

    def __post_init__(self) -> None:
        number, share = self.num_workers, self.gpus_per_worker
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise CleanerError(f"num_workers is {number!r}; pass a whole number of at least 1")
        if share is not None and (isinstance(share, bool) or not isinstance(share, (int, float)) or not share >= 0):
            raise CleanerError(f"gpus_per_worker is {share!r}; pass a number of at least 0, such as 1 or 0.5")


@dataclass(frozen=True)
class _Team:
    """The workers: how many, and what each of them gets of the cluster."""

    workers: int
    cpus: int
    gpus: float

    @property
    def readers(self) -> int:
        """Processes that read images for a worker; one with a single core reads them itself."""
        return 0 if self.cpus == 1 else self.cpus


@dataclass(frozen=True)
class ShardResult:
    """What was found in a shard of a split.

    Attributes:
        number: of the shard, from 0.
        n: number of samples, readable or not.
        survivors: the samples that may be among the highest losses, and all unreadable ones.
        counts: over all samples, as `Tally.to_arrays` gives them.
        names: fingerprint of the paths.
        backends: as in `ScanProgress`.
        error: why the scan cannot go on, for people; else empty.
    """

    number: int
    n: int
    survivors: ScoredBatch
    counts: Mapping[str, Any]
    names: int
    backends: Mapping[str, str]
    error: str = ""


class RayEngine(Engine):
    """Scores on the workers of a cluster; the job is sent to each of them."""

    def __init__(self, job: ScanJob, team: _Team) -> None:
        super().__init__(job)
        self._team = team
        self.settings: Mapping[str, Any] = {"engine": "ray", "workers": team.workers}

    def score_remaining(
        self, dataset: Dataset, progress: SplitProgress, fast: bool, report: Callable[[int], None]
    ) -> None:
        """Merge what the workers find in what is left of a split, in the order of the shards."""
        size = shard_size(dataset.count - progress.seen, self._team.workers)
        listing = _SkippedListing(dataset.listing(), progress.seen)
        for result in self._results(_Shards(listing, dataset.split, size, fast), progress.heaps.k):
            progress.merge(result.survivors, Tally.from_arrays(progress.tally.n_classes, result.counts), result.names)
            warn_of_fatal(result.survivors.unreadable)
            report(result.n)

    def score_keys(
        self, dataset: Dataset, keys: Iterable[Key], update: Callable[[ScoredBatch | ScoredLabels], None]
    ) -> None:
        """Score single samples; they are few, so all of their results are sent."""
        listed = list(keys)
        size = shard_size(len(listed), self._team.workers)
        shards = _Shards(partial(iter, listed), dataset.split, size, fast=False)
        for result in self._results(shards, k=max(1, len(listed))):
            update(result.survivors)

    def _results(self, shards: _Shards, k: int) -> Iterator[ShardResult]:
        import ray

        # Each worker unpickles it once; it is kept until the last of them could have to be replaced.
        pickled_job = ray.put(_pickled(self.job))
        for number, result in enumerate(_shard_results(shards, pickled_job, k, self._team)):
            if result.error:
                raise CleanerError(result.error)
            if result.number != number:
                raise RuntimeError(f"the result of shard {result.number} came, expected that of shard {number}")
            for kind, name in result.backends.items():
                self.job.scorer.selector.names.setdefault(kind, name)
            yield result


def shard_size(count: int, workers: int) -> int:
    """Return how many of `count` samples are a shard."""
    several_each = -(-count // (workers * _SHARDS_PER_WORKER))
    return max(1, min(_MAX_SHARD_SIZE, several_each), -(-count // _MAX_SHARDS))


@contextmanager
def session(cluster: Cluster) -> Iterator[_Team]:
    """Connect to the cluster; one that this starts is shut down afterwards, also after an error or Ctrl-C."""
    # No reports about users.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _imported()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, cluster.address)
    try:
        yield _team(ray, cluster)
    finally:
        if ours:
            ray.shutdown()


def _imported() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise CleanerError(
            f"the engine 'ray' needs Ray, which is not installed here ({error}): pip install 'image-cleaner[ray]'"
        ) from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            ray.init(include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except Exception as error:
        # Ray raises plain exceptions too.
        reason = " ".join(str(error).split())
        if address is None:
            raise CleanerError(f"Ray did not start on this machine: {reason}") from error
        raise CleanerError(
            f"there is no Ray cluster at {address!r} ({reason}). Pass the address that `ray start --head` printed, or "
            "none to start one on this machine"
        ) from error


def _team(ray: Any, cluster: Cluster) -> _Team:
    resources = ray.cluster_resources()
    cores, devices = int(resources.get("CPU", 1)), resources.get("GPU", 0.0)
    gpus = float(min(1.0, devices) if cluster.gpus_per_worker is None else cluster.gpus_per_worker)
    workers = cluster.num_workers or (int(devices / gpus) if gpus else cores) or 1
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for each in range(cores // workers, 0, -1):
        if sum(_workers_on(node, each, gpus) for node in nodes) >= workers:
            return _Team(workers, each, gpus)
    raise CleanerError(
        f"the cluster has {cores} cores and {devices:g} GPUs on {len(nodes)} machines, too few for {workers} workers "
        f"with {gpus:g} GPUs each; each worker takes at least one core"
    )


def _workers_on(node: Mapping[str, float], cpus: int, gpus: float) -> int:
    """Return how many workers fit on a machine; Ray would wait for a larger machine for one that does not."""
    by_cores = int(node.get("CPU", 0) / cpus)
    return min(by_cores, int(node.get("GPU", 0) / gpus)) if gpus else by_cores


@dataclass(frozen=True)
class _SkippedListing:
    """A listing without its first keys."""

    listing: Listing
    skip: int

    def __call__(self) -> Iterator[Any]:
        return islice(self.listing(), self.skip, None)


@dataclass(frozen=True)
class _Shards:
    """The keys of a split in lists, made one by one on demand."""

    listing: Listing
    split: str
    size: int
    fast: bool

    def __iter__(self) -> Iterator[bytes]:
        keys = self.listing()
        number = 0
        while shard := list(islice(keys, self.size)):
            yield pickle.dumps((number, self.split, shard, self.fast))
            number += 1


def _shard_results(shards: _Shards, pickled_job: Any, k: int, team: _Team) -> Iterator[ShardResult]:
    """Yield the workers' results, in the order of the shards."""
    from ray.data import ActorPoolStrategy
    from ray.exceptions import RayError

    name = uuid4().hex
    dataset = _ray_dataset(shards).map_batches(
        _Worker,
        batch_size=1,
        compute=ActorPoolStrategy(size=team.workers),
        fn_constructor_args=(pickled_job, k, team.cpus, team.readers, team.gpus > 0, name),
        num_cpus=team.cpus,
        num_gpus=team.gpus,
    )
    try:
        for row in dataset.iter_rows():
            yield pickle.loads(zlib.decompress(row["result"]))  # noqa: S301 - from our own workers
    except RayError as error:
        raise CleanerError(f"the workers could not go on: {error}") from error
    finally:
        # Workers of this machine that were stopped leave notes; on other machines a folder of some bytes stays.
        shutil.rmtree(_notes_folder(name), ignore_errors=True)


def _notes_folder(name: str) -> Path:
    """Return the folder on this machine for notes of a pass."""
    return Path(tempfile.gettempdir()) / f"cleaner-{name}"


def _ray_dataset(shards: _Shards) -> Any:
    """Return the shards as a Ray dataset, one shard per row, that is read on demand."""
    import pyarrow as pa
    import ray.data
    from ray.data.block import BlockMetadata

    class Shards(ray.data.Datasource):  # type: ignore[misc]
        def estimate_inmemory_data_size(self) -> None:
            return None

        def get_read_tasks(self, *_args: Any, **_options: Any) -> list[Any]:
            def read() -> Iterator[Any]:
                for shard in shards:
                    yield pa.table({"shard": [shard]})

            unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ray.data.ReadTask(read, unknown)]

    # Walking a folder takes no core from the workers.
    dataset = ray.data.read_datasource(Shards(), num_cpus=0, concurrency=1)
    dataset.context.execution_options.preserve_order = True
    dataset.context.target_max_block_size = 1  # bytes: each row is handed on at once
    dataset.context.enable_progress_bars = False
    return dataset


class _Worker:
    """The process that Ray calls with shards.

    Args:
        pickled_job: reference to the job in Ray's store.
        k: samples to keep of each class.
        cpus: cores that it may use.
        readers: processes that read images for it.
        gpu: whether it has one.
        name: of this pass; the workers of a machine note what they read in a folder of this name.
    """

    def __init__(self, pickled_job: Any, k: int, cpus: int, readers: int, gpu: bool, name: str) -> None:
        import ray
        import torch

        torch.set_num_threads(cpus)
        job: ScanJob = pickle.loads(ray.get(pickled_job))  # noqa: S301 - from our own driver
        job.scorer.to(torch.device("cuda" if gpu else "cpu"))
        self._scorer = ShardScorer(job, k, readers, _notes_folder(name))

    def __call__(self, batch: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
        results = (self._scorer.score(*pickle.loads(shard)) for shard in batch["shard"])  # noqa: S301 - as above
        return {"result": [zlib.compress(pickle.dumps(result), 1) for result in results]}


class ShardScorer:
    """Scores shards. What it saw in earlier shards decides which samples can be among the highest losses.

    That is safe: the results of earlier shards were sent, or those shards will be scored again.

    Args:
        job: what is scored.
        k: samples to keep of each class.
        readers: number of processes that read images.
        notes: folder for notes of what is being read. A worker that replaces one that was ended on the same machine
            finds them there, and leaves out the file at fault.
    """

    def __init__(self, job: ScanJob, k: int, readers: int, notes: Path) -> None:
        self._job, self._k, self._readers, self._notes = job, k, readers, notes
        self._heaps: dict[str, TopLosses] = {}

    def score(self, number: int, split: str, keys: Sequence[Any], fast: bool) -> ShardResult:
        """Return the result of the shard with a number."""
        notes = self._notes / f"shard-{number}"
        fatal_files = FatalFiles(notes, {split: self._job.datasets[split]}, lambda _split: keys)

        def attempt(resume: bool) -> ShardResult:
            fatal_files.find(resume)
            with fatal_files.noting():
                return self._score(number, split, keys, fast)

        try:
            return fatal_files.score_past(attempt, resume=True)
        except Exception as failure:  # noqa: BLE001 - raised here it would come out as a page of Ray's traces
            _log.exception("shard %d of %r failed", number, split)
            error = str(failure) if isinstance(failure, CleanerError) else _failure(failure)
        finally:
            shutil.rmtree(notes, ignore_errors=True)
            with suppress(OSError):  # other workers have notes in it
                self._notes.rmdir()
        counts = self._empty(split).tally.to_arrays()
        return ShardResult(number, 0, _joined([]), counts, 0, dict(self._job.scorer.selector.names), error)

    def _score(self, number: int, split: str, keys: Sequence[Any], fast: bool) -> ShardResult:
        progress = self._empty(split)
        # Taken out meanwhile: heaps of an unfinished shard would hold back its samples the next time.
        progress.heaps = self._heaps.pop(split, progress.heaps)
        survivors = list[ScoredBatch]()

        def update(batch: ScoredBatch | ScoredLabels) -> None:
            rows = batch.to_rank()
            survivors.append(rows.select(progress.heaps.reached(rows)))
            progress.update(batch)

        score(self._job.datasets[split], self._job.scorer, keys, update, workers=self._readers, fast=fast)
        self._heaps[split] = progress.heaps
        check_all_scored(progress.seen, len(keys), split)
        counts, backends = progress.tally.to_arrays(), dict(self._job.scorer.selector.names)
        return ShardResult(number, progress.seen, _joined(survivors), counts, progress.names, backends)

    def _empty(self, split: str) -> SplitProgress:
        return SplitProgress.empty(split, self._job.info, self._k)


def _failure(error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"a worker could not go on ({type(error).__name__}: {reason}); its log has the traceback"


def _joined(batches: Sequence[ScoredBatch]) -> ScoredBatch:
    return ScoredBatch(
        [path for batch in batches for path in batch.paths],
        np.concatenate([np.empty(0, np.int64), *(batch.labels for batch in batches)]),
        np.concatenate([np.empty(0), *(batch.losses for batch in batches)]),
        np.concatenate([np.empty(0, np.int64), *(batch.predicted for batch in batches)]),
        np.concatenate([np.empty(0), *(batch.confidences for batch in batches)]),
        [item for batch in batches for item in batch.unreadable],
    )


def _pickled(job: ScanJob) -> bytes:
    """Pickle a job: functions of a notebook as a whole, those of a module by their names."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            # Ray replaces `print`, which learners keep a reference to for logging.
            if isinstance(obj, BuiltinFunctionType) and getattr(builtins, obj.__name__, obj) is not obj:
                return getattr, (builtins, obj.__name__)
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
