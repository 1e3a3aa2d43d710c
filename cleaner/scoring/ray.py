"""The same pass, spread over a Ray cluster: workers score shards of a split, the driver merges what they found.

Ray Data does all the scheduling: it starts the workers, hands out the shards as they are asked for, replaces a worker
that dies and has its shard scored again. What comes back of a shard are the samples that may be among the highest
losses, and counts; both merge to what one pass over everything gives.
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
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
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
from cleaner.scoring.checkpoint import Found, Part, fingerprint, shape_of
from cleaner.scoring.fatal_files import FatalFiles, warn_of_fatal
from cleaner.scoring.sources import Source

if TYPE_CHECKING:
    from cleaner.scoring.sources import Candidates, Spreadable, Wanted

__all__ = ["Cluster", "Scorer", "Spread", "session", "shard_size", "take_in"]

# A shard takes a worker some seconds to some minutes; of a small dataset each worker gets several.
_LARGEST_SHARD = 4096
_SHARDS_A_WORKER = 8
# Ray Data keeps statistics of each shard for as long as it runs, some 5 KB: of a huge dataset the shards are larger, so
# that they are no more than this.
_MOST_SHARDS = 4096

_log = logging.getLogger("cleaner")

Listing = Callable[[], Iterator[Any]]


@dataclass(frozen=True)
class Cluster:
    """Where a scan is spread to.

    Attributes:
        address: of a running Ray cluster, such as `auto` or `ray://head:10001`; None to use the one that this process
            is connected to, or else to start one on this machine for as long as the scan takes.
        num_workers: processes that score; None for one a GPU, or, where there is none, one a core.
        gpus_per_worker: GPUs that each of them gets, 0.5 to share one between two; None for one where there are any.

    Raises:
        CleanerError: a number makes no sense.
    """

    address: str | None = None
    num_workers: int | None = None
    gpus_per_worker: float | None = None

    def __post_init__(self) -> None:
        number, share = self.num_workers, self.gpus_per_worker
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise CleanerError(f"num_workers is {number!r}; a whole number of at least 1 is accepted")
        if share is not None and (isinstance(share, bool) or not isinstance(share, (int, float)) or not share >= 0):
            raise CleanerError(f"gpus_per_worker is {share!r}; a number of at least 0 is accepted, such as 1 or 0.5")


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


class Spread(Source):
    """A source whose samples are scored by the workers of a cluster; otherwise it is the source.

    Args:
        source: what is scored; it is sent to every worker.
        team: the workers.
    """

    def __init__(self, source: Spreadable, team: _Team) -> None:
        self._source, self._team = source, team
        self.root, self.address, self.left_out = source.root, source.address, source.left_out
        self.vocab, self.splits = source.vocab, source.splits
        self.settings: dict[str, Any] = {**source.settings, "engine": "ray", "workers": team.workers}
        self.ways = source.ways
        self.task, self.label_delim = source.task, source.label_delim

    def identity(self) -> dict[str, Any]:
        """What must be the same for a scan to go on, here or on one machine."""
        return self._source.identity()

    def count(self, split: str) -> int:
        """Number of samples in the split, readable or not."""
        return self._source.count(split)

    def paths(self, split: str) -> Iterator[str]:
        """The paths of the split's samples, in the order in which they are taken in."""
        return self._source.paths(split)

    def given(self, split: str, paths: Container[str]) -> dict[str, tuple[str, ...]]:
        """All labels that each of these samples carries."""
        return self._source.given(split, paths)

    def drawn(self, split: str, paths: Container[str]) -> Iterator[tuple[str, bytes]]:
        """A JPEG of each of these samples with its target, drawn here."""
        return self._source.drawn(split, paths)

    def score(
        self,
        split: str,
        consume: Callable[[ScoredBatch | ScoredLabels], None],
        *,
        skip: int = 0,
        fast: bool = False,
        only: Wanted | None = None,
        candidates: Candidates | None = None,
    ) -> None:
        """Score samples and hand all that is known of each to `consume`; for some samples, not for a whole dataset."""
        del candidates  # what is scored again is read again: it may be on any machine
        keys = list(self._source.keys(split, only))[skip:]
        shards = _Shards(partial(iter, keys), split, self._shard(len(keys)), fast)
        for found in self._found(shards, k=max(1, len(keys))):
            consume(found.survivors)

    def found(self, part: Part, fast: bool) -> Iterator[Found]:
        """What the workers find in the shards of what is left of a split, in the order of the shards."""
        count = self._source.count(part.split)
        listing = _Rest(self._source.listing(part.split), part.seen)
        yield from self._found(_Shards(listing, part.split, self._shard(count - part.seen), fast), part.heaps.k)

    def _shard(self, count: int) -> int:
        return shard_size(count, self._team.workers)

    def _found(self, shards: _Shards, k: int) -> Iterator[Found]:
        import ray

        # Each worker unpacks it once; it stays here until the last of them could have to be replaced.
        parcel = ray.put(_packed(self._source))
        for number, found in enumerate(_results(shards, parcel, k, self._team)):
            if found.error:
                raise CleanerError(found.error)
            if found.number != number:
                raise RuntimeError(f"shard {found.number} came where shard {number} was due")
            for kind, way in found.ways.items():
                self.ways.setdefault(kind, way)
            yield found


def shard_size(count: int, workers: int) -> int:
    """How many of `count` samples a worker is given at once."""
    several_each = -(-count // (workers * _SHARDS_A_WORKER))
    return max(1, min(_LARGEST_SHARD, several_each), -(-count // _MOST_SHARDS))


def take_in(spread: Spread, part: Part, fast: bool, arrived: Callable[[int], None]) -> None:
    """Take what the workers find in the rest of a split into `part`, and say of how many samples each time."""
    for found in spread.found(part, fast):
        part.merge(found)
        warn_of_fatal(found.survivors.unreadable)
        arrived(found.n)


@contextmanager
def session(cluster: Cluster) -> Iterator[_Team]:
    """Connected to the cluster; one that was started for this is gone afterwards, also after an error or Ctrl-C.

    Raises:
        CleanerError: Ray is not installed, or there is no cluster at the address, or it is too small.
    """
    # Neither reports on its users nor progress bars of its own.
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
        # Ray raises plain exceptions, too.
        reason = " ".join(str(error).split())
        if address is None:
            raise CleanerError(f"Ray did not start on this machine: {reason}") from error
        raise CleanerError(
            f"there is no Ray cluster at {address!r} ({reason}); give the address that `ray start --head` printed, "
            "or none to start one on this machine"
        ) from error


def _team(ray: Any, cluster: Cluster) -> _Team:
    there = ray.cluster_resources()
    cores, devices = int(there.get("CPU", 1)), there.get("GPU", 0.0)
    gpus = float(min(1.0, devices) if cluster.gpus_per_worker is None else cluster.gpus_per_worker)
    workers = cluster.num_workers or (int(devices / gpus) if gpus else cores) or 1
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for each in range(cores // workers, 0, -1):
        if sum(_fitting(node, each, gpus) for node in nodes) >= workers:
            return _Team(workers, each, gpus)
    raise CleanerError(
        f"{workers} workers with {gpus:g} GPUs each were asked for, and the cluster has {cores} cores and {devices:g} "
        f"GPUs on {len(nodes)} machines; each worker takes at least one core"
    )


def _fitting(node: Mapping[str, float], cpus: int, gpus: float) -> int:
    """How many workers with so much each there is room for on a machine; else Ray would wait for a larger one."""
    by_cores = int(node.get("CPU", 0) / cpus)
    return min(by_cores, int(node.get("GPU", 0) / gpus)) if gpus else by_cores


@dataclass(frozen=True)
class _Rest:
    """A listing without its first samples."""

    listing: Listing
    skip: int

    def __call__(self) -> Iterator[Any]:
        return islice(self.listing(), self.skip, None)


@dataclass(frozen=True)
class _Shards:
    """The keys of a split in lists, made one after the other as they are asked for."""

    listing: Listing
    split: str
    size: int
    fast: bool

    def __iter__(self) -> Iterator[bytes]:
        keys = self.listing()
        number = 0
        while some := list(islice(keys, self.size)):
            yield pickle.dumps((number, self.split, some, self.fast))
            number += 1


def _results(shards: _Shards, parcel: Any, k: int, team: _Team) -> Iterator[Found]:
    """What the workers say of each shard, in order."""
    from ray.data import ActorPoolStrategy
    from ray.exceptions import RayError

    name = uuid4().hex
    dataset = _dataset(shards).map_batches(
        _Worker,
        batch_size=1,
        compute=ActorPoolStrategy(size=team.workers),
        fn_constructor_args=(parcel, k, team.cpus, team.readers, team.gpus > 0, name),
        num_cpus=team.cpus,
        num_gpus=team.gpus,
    )
    try:
        for row in dataset.iter_rows():
            yield pickle.loads(zlib.decompress(row["found"]))  # noqa: S301 - from our own workers
    except RayError as error:
        raise CleanerError(f"the workers could not go on: {error}") from error
    finally:
        # What workers of this machine that were stopped have left; a folder of some bytes stays on others.
        shutil.rmtree(_notes_of(name), ignore_errors=True)


def _notes_of(name: str) -> Path:
    """Return the folder on this machine for notes of a pass."""
    return Path(tempfile.gettempdir()) / f"cleaner-{name}"


def _dataset(shards: _Shards) -> Any:
    """The shards as a Ray dataset that is read as its rows are asked for, one shard a row."""
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

            nothing_known = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ray.data.ReadTask(read, nothing_known)]

    # Walking a folder takes no core from the workers.
    dataset = ray.data.read_datasource(Shards(), num_cpus=0, concurrency=1)
    dataset.context.execution_options.preserve_order = True
    dataset.context.target_max_block_size = 1  # bytes: each row is handed on as soon as it is there
    dataset.context.enable_progress_bars = False
    return dataset


class _Worker:
    """What Ray calls with shards, in a process of its own.

    Args:
        parcel: where Ray keeps the source, as `_packed` made it.
        k: samples to keep of each class.
        cpus: cores that it may use.
        readers: processes that read images for it.
        gpu: whether it has one.
        name: of this pass; the workers of a machine note what they read in a folder of this name.
    """

    def __init__(self, parcel: Any, k: int, cpus: int, readers: int, gpu: bool, name: str) -> None:
        import ray
        import torch

        torch.set_num_threads(cpus)
        source: Spreadable = pickle.loads(ray.get(parcel))  # noqa: S301 - from our own driver
        source.settle_in(torch.device("cuda" if gpu else "cpu"), readers)
        self._scorer = Scorer(source, k, _notes_of(name))

    def __call__(self, batch: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
        found = (self._scorer.found(*pickle.loads(shard)) for shard in batch["shard"])  # noqa: S301 - from our driver
        return {"found": [zlib.compress(pickle.dumps(each), 1) for each in found]}


class Scorer:
    """Scores shards; what it has seen in earlier ones keeps what is not among the highest losses from being sent.

    That is safe since whatever was seen in earlier shards was sent, or will be scored again.

    Args:
        source: what is scored.
        k: samples to keep of each class.
        notes: folder for notes of what is read. A worker that replaces one that was ended on the same machine finds
            them there, and passes over the file at fault.
    """

    def __init__(self, source: Spreadable, k: int, notes: Path) -> None:
        self._source, self._k, self._notes = source, k, notes
        self._heaps: dict[str, TopLosses] = {}

    def found(self, number: int, split: str, keys: Sequence[Any], fast: bool) -> Found:
        """What is found in the shard of that number."""
        notes = self._notes / f"shard-{number}"
        readers = {name: reader for name, reader in self._source.readers.items() if name == split}
        fatal_files = FatalFiles(notes, readers, lambda _split: keys)

        def attempt(resume: bool) -> Found:
            fatal_files.find(resume)
            with fatal_files.noting():
                return self._scored(number, split, keys, fast)

        try:
            return fatal_files.score_past(attempt, resume=True)
        except Exception as failed:  # noqa: BLE001 - raised here it would come out as a page of Ray's own traces
            _log.exception("shard %d of %r failed", number, split)
            error = str(failed) if isinstance(failed, CleanerError) else _told(failed)
        finally:
            shutil.rmtree(notes, ignore_errors=True)
            with suppress(OSError):  # other workers have notes in it
                self._notes.rmdir()
        nothing = Tally(shape_of(self._source)[0]).to_arrays()
        return Found(number, 0, _together([]), nothing, 0, dict(self._source.ways), error)

    def _scored(self, number: int, split: str, keys: Sequence[Any], fast: bool) -> Found:
        n_classes, _ = shape_of(self._source)
        # Taken out meanwhile: heaps of a shard that is not finished would keep it from being sent the next time.
        heaps = self._heaps.pop(split, None) or TopLosses(n_classes, self._k)
        tally, survivors = Tally(n_classes), list[ScoredBatch]()
        names = n = 0

        def consume(batch: ScoredBatch | ScoredLabels) -> None:
            nonlocal names, n
            rows = batch.to_rank()
            survivors.append(rows.select(heaps.reached(rows)))
            heaps.update(rows)
            tally.update(batch.to_count())
            names = fingerprint([*batch.paths, *(item.path for item in batch.unreadable)], names)
            n += len(batch.paths) + len(batch.unreadable)

        self._source.score_shard(split, keys, consume, fast=fast)
        self._heaps[split] = heaps
        return Found(number, n, _together(survivors), tally.to_arrays(), names, dict(self._source.ways))


def _told(error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"a worker could not go on ({type(error).__name__}: {reason}); its log has the traceback"


def _together(batches: Sequence[ScoredBatch]) -> ScoredBatch:
    return ScoredBatch(
        [path for batch in batches for path in batch.paths],
        np.concatenate([np.empty(0, np.int64), *(batch.labels for batch in batches)]),
        np.concatenate([np.empty(0), *(batch.losses for batch in batches)]),
        np.concatenate([np.empty(0, np.int64), *(batch.predicted for batch in batches)]),
        np.concatenate([np.empty(0), *(batch.confidences for batch in batches)]),
        [item for batch in batches for item in batch.unreadable],
    )


def _packed(source: Spreadable) -> bytes:
    """The source as bytes; functions of a notebook are packed whole, those of a module by their names.

    Raises:
        CleanerError: it cannot be sent to another process.
    """
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            # Ray puts a function of its own in the place of `print`, which a learner holds on to to log with.
            if isinstance(obj, BuiltinFunctionType) and getattr(builtins, obj.__name__, obj) is not obj:
                return getattr, (builtins, obj.__name__)
            return super().reducer_override(obj)

    packed = io.BytesIO()
    try:
        Pickler(packed).dump(source)
    except Exception as error:
        raise CleanerError(
            f"the model and its data cannot be sent to the workers ({type(error).__name__}: {error}); "
            "remove callbacks and transforms that hold open files, locks or windows"
        ) from error
    return packed.getvalue()
