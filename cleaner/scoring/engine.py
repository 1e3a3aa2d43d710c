"""The engine: it owns the only loop over samples, and writes what the loop finds to a scan folder."""

from __future__ import annotations

import logging
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from tqdm.auto import tqdm

from cleaner.core.errors import CleanerError
from cleaner.core.features import FEATURE_FILES, FeatureWriter
from cleaner.core.journal import count_journals
from cleaner.core.kept_samples import AUDITED
from cleaner.core.records import ClassLosses, Sample, Typical, now
from cleaner.core.rounds import check_decisions_from, remember, take_over
from cleaner.core.scan import LazyRecords, Scan
from cleaner.core.scan_files import ScanFiles, writing
from cleaner.core.scan_guard import check_out, inside_dataset, vocab_change
from cleaner.core.scan_tables import alternatives_to_json, label_to_json
from cleaner.core.suffixes import as_text
from cleaner.core.tasks import MULTI_LABEL, OTHER, SINGLE_LABEL, drawn_file, split_labels
from cleaner.core.terminal import printable
from cleaner.core.topk import Kept
from cleaner.scoring import rescore
from cleaner.scoring.fatal_files import FatalFiles
from cleaner.scoring.memorised import memorised_advice
from cleaner.scoring.progress import CHECKPOINT, Checkpoint, ScanProgress, SplitProgress, resume_from

if TYPE_CHECKING:
    from torch import Tensor

    from cleaner.scoring.data.reader import Dataset, Key, PathBatch
    from cleaner.scoring.features import FeatureKeeper
    from cleaner.scoring.input_cache import InputCache
    from cleaner.scoring.model.scorer import Arrays, Scored, Scorer
    from cleaner.scoring.ray_cluster import Cluster

__all__ = [
    "AUTO",
    "DatasetInfo",
    "Engine",
    "ScanJob",
    "ScanOptions",
    "collect",
    "finish",
    "given_labels",
    "held_folder",
    "on_host",
    "progress_bar",
    "run",
    "score",
]

AUTO = "auto"
"""Value of `k` for a number that fits the dataset."""

_log = logging.getLogger(__name__)
_Record = TypeVar("_Record")
# `k="auto"` keeps as many samples per split and class as make this many rows in all, and at least so many.
_ROWS, _MIN_K = 100_000, 100
_LIBRARIES = ("image-label-cleaner", "torch", "torchvision", "fastai", "numpy", "pillow")


@dataclass(frozen=True)
class DatasetInfo:
    """The description of a dataset in a scan; fields as in `Scan`."""

    root: Path
    vocab: tuple[str, ...]
    splits: tuple[str, ...]
    address: str = ""
    task: str = SINGLE_LABEL
    label_delim: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ScanJob:
    """A model and its data, ready to be scanned.

    Attributes:
        info: the dataset.
        datasets: the samples of each split, in the order of `info.splits`.
        scorer: the model.
        workers: number of processes that read images; None for as many as there are cores.
        settings: how the data is read, for `scan.json`.
        identity: what must be equal for a scan to be resumed, besides the scorer's own.
    """

    info: DatasetInfo
    datasets: Mapping[str, Dataset]
    scorer: Scorer
    workers: int | None
    settings: Mapping[str, Any]
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class ScanOptions:
    """Options of a scan; see `cleaner.scan`. `save_every` is the longest time in seconds between two checkpoints."""

    k: int | str = AUTO
    fast: bool = False
    resume: bool = True
    progress: bool = True
    decisions_from: str | Path | None = None
    save_every: float = 30.0
    ranked_by: str = "loss"
    features: bool = False

    def __post_init__(self) -> None:
        is_number = isinstance(self.k, int) and not isinstance(self.k, bool) and self.k >= 1
        if not is_number and self.k != AUTO:
            raise CleanerError(f"k is {self.k!r}; pass a whole number of at least 1, or {AUTO!r}")
        if self.fast and self.features:
            raise CleanerError(
                "a fast scan runs variants of the model that show no features; leave out fast=True or features=True"
            )

    def samples_per_class(self, info: DatasetInfo) -> int:
        """Return how many samples are kept per split and class: `k`, or for `auto` see `cleaner.scan`."""
        if isinstance(self.k, int):
            return self.k
        is_small = self.fast or info.task == OTHER  # a fast scan scores them twice; others are drawn, one by one
        return _MIN_K if is_small else max(_MIN_K, _ROWS // (len(info.splits) * len(info.vocab)))

    def audit_key(self, out: Path) -> int:
        """Return the key of the audit sample of a scan in `out`: another one for each round.

        A sample whose errors were found and corrected would say nothing about those that are left.
        """
        return sum(count_journals(Path(folder)) for folder in (out, self.decisions_from) if folder is not None)

    def empty_split(self, split: str, info: DatasetInfo, out: Path, count: int | None) -> SplitProgress:
        """Return the progress of a split of `count` samples, if known, before the first one."""
        k = self.samples_per_class(info)
        return SplitProgress.empty(split, info, k if count is None else min(k, max(1, count)), self.audit_key(out))


class Engine:
    """Scores the samples of a job in this process. A cluster's engine overrides `score_remaining` and `score_keys`.

    Attributes:
        job: the job.
        features: keeps the features of all samples that are scored; None to keep none.
        settings: for `scan.json`.
    """

    def __init__(self, job: ScanJob, features: FeatureKeeper | None = None) -> None:
        from cleaner.scoring.model.devices import describe

        self.job, self.features = job, features
        self.settings: dict[str, Any] = {"device": describe(job.scorer.device)}
        self._caches: dict[str, InputCache] = {}

    def score_remaining(
        self, dataset: Dataset, progress: SplitProgress, fast: bool, report: Callable[[int], None]
    ) -> None:
        """Score the rest of a split into `progress`; `report` gets the number of samples each time."""

        def update(batch: Scored) -> None:
            progress.update(batch)
            progress.exact = progress.exact and not (fast and self.job.scorer.selector.is_lower_precision)
            report(len(batch.paths) + len(batch.unreadable))

        keys = islice(dataset.keys(), progress.seen, None)
        through = self._new_cache(progress).add_from if fast else iter
        self._score(dataset, keys, update, fast=fast, through=through)
        check_all_scored(progress.seen, dataset.count, dataset.split)

    def score_keys(self, dataset: Dataset, keys: Iterable[Key], update: Callable[[Scored], None]) -> None:
        """Score single samples again with the exact backend."""
        self._score(dataset, keys, update)

    def score_paths(self, dataset: Dataset, paths: set[str], update: Callable[[Scored], None]) -> None:
        """Score single samples again with the exact backend, without reading those that the fast pass kept."""
        from cleaner.scoring.data.reader import PathBatch

        cache = self._caches.get(dataset.split)
        if cache is not None and (kept := paths & cache.paths):
            batches = cache.batches(kept, dataset.batch_size)
            if self.job.scorer.device.type == "cuda":
                batches = map(PathBatch.pin_memory, batches)
            score_batches(dataset, self.job.scorer, batches, update)
            paths = paths - kept
        if paths:
            self.score_keys(dataset, dataset.filtered_keys(rescore.among(paths)), update)

    def _score(self, dataset: Dataset, keys: Iterable[Key], update: Callable[[Scored], None], **how: Any) -> None:
        score(dataset, self.job.scorer, keys, update, workers=self.job.workers, features=self.features, **how)

    def _new_cache(self, progress: SplitProgress) -> InputCache:
        """Return an empty cache for a split; all splits share its size, as they are scored before any is rescored."""
        from cleaner.scoring.input_cache import MAX_BYTES, InputCache

        cache = InputCache(lambda: progress.kept.highest.paths(), MAX_BYTES // len(self.job.datasets))
        self._caches[progress.split] = cache
        return cache


def score(
    dataset: Dataset,
    scorer: Scorer,
    keys: Iterable[Key],
    update: Callable[[Scored], None],
    *,
    workers: int | None,
    fast: bool = False,
    through: Callable[[Iterator[PathBatch]], Iterator[PathBatch]] = iter,
    features: FeatureKeeper | None = None,
) -> None:
    """Read and score samples.

    Args:
        dataset: the split.
        scorer: the model.
        keys: which samples.
        update: takes each scored batch, in order.
        workers: number of processes that read images; see `read`.
        fast: run the quickest backend, not the quickest one that gives the same losses.
        through: passes the batches on, as they were read.
        features: keeps the features of the samples.
    """
    from cleaner.scoring.data.reader import lost_workers, read
    from cleaner.scoring.model.devices import made_current

    device = scorer.device
    # Closed, as an error would keep the workers for as long as somebody holds its traceback, such as a notebook.
    with lost_workers(), made_current(device), closing(read(dataset, keys, workers, device.type)) as batches:
        score_batches(dataset, scorer, through(batches), update, fast, features)


def score_batches(
    dataset: Dataset,
    scorer: Scorer,
    batches: Iterator[PathBatch],
    update: Callable[[Scored], None],
    fast: bool = False,
    features: FeatureKeeper | None = None,
) -> None:
    """Score batches of a split: the only loop over samples. Arguments as in `score`."""
    from cleaner.scoring.model.devices import made_current, memory_explained
    from cleaner.scoring.model.scorer import scored_batch

    device = scorer.device
    # Tapped before the session, which looks whether the model has hooks.
    tapping = features.tapping(scorer.model) if features else nullcontext()
    placed = memory_explained(device, dataset.batch_size), made_current(device)
    with placed[0], placed[1], tapping, scorer.session(dataset, fast) as session:
        start = features.keeping(session) if features else session
        unscored = partial(scored_batch, [], arrays=[np.empty(0), np.empty(0), *[np.empty((0, 1))] * 2])
        pending = (on_host(*start(b)) if b.paths else partial(unscored, b.unreadable) for b in batches)
        # Each batch is taken after the next one was started: a GPU then never waits for a copy to the host.
        for arrived, _next in pairwise(chain(pending, [None])):
            update(arrived())  # type: ignore[misc]  # only the last is None


def on_host(results: Sequence[Tensor], record: Callable[[Arrays], _Record]) -> Callable[[], _Record]:
    """Start to copy the results of a batch to the host; the function that is returned waits for their record."""
    if not results[0].is_cuda:
        return partial(record, [(t.float() if t.element_size() == 2 else t).cpu().numpy() for t in results])
    import torch

    copies = [torch.empty(t.shape, dtype=torch.float64, pin_memory=True) for t in results]
    for copied, result in zip(copies, results, strict=True):
        copied.copy_(result.double(), non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(results[0].device))

    def arrived() -> _Record:
        event.synchronize()
        return record([copied.numpy() for copied in copies])

    return arrived


def check_all_scored(n: int, expected: int, split: str) -> None:
    """Check that as many samples were scored as were counted."""
    if n != expected:
        raise CleanerError(
            f"{n} samples of {split!r} were scored, {expected} were expected: files were added or removed meanwhile. "
            "Scan again when the dataset no longer changes"
        )


def collect(batches: Iterable[Scored], progress: SplitProgress, total: int | None, shown: bool) -> None:
    """Take batches that were scored elsewhere into `progress`, with a progress bar if `shown`."""
    with progress_bar(f"scan {progress.split}", total, 0, shown) as bar:
        for batch in batches:
            progress.update(batch)
            bar.update(len(batch.paths))
    progress.done = True


def run(job: ScanJob, out: Path, options: ScanOptions, engine: str | Cluster = "local") -> Scan:
    """Score every split of a job and write the scan folder `out`; arguments as in `cleaner.scan`."""
    _check_fast(job, options.fast)
    if engine == "local":
        with held_folder(out, job.info, options) as files:
            return _run(Engine(job, _feature_keeper(files, options)), files, options)
    if options.features:
        raise CleanerError("features are kept by a scan in this process only; leave out engine= or features=True")
    from cleaner.scoring import ray_cluster

    if engine != "ray" and not isinstance(engine, ray_cluster.Cluster):
        raise CleanerError(f"engine is {engine!r}; pass 'local', 'ray' or a cleaner.Cluster")
    cluster = ray_cluster.Cluster() if isinstance(engine, str) else engine
    with held_folder(out, job.info, options) as files, ray_cluster.session(cluster) as team:
        return _run(ray_cluster.RayEngine(job, team), files, options)


def _check_fast(job: ScanJob, fast: bool) -> None:
    if fast and job.info.task != SINGLE_LABEL:
        raise CleanerError(f"a fast scan needs one label per image, the task is {job.info.task!r}; leave out fast")
    for split, dataset in job.datasets.items() if fast else ():
        if dataset.repeated:
            raise CleanerError(
                f"{dataset.repeated} items of {split!r} name a file that an earlier item names. A fast scan tells "
                "samples apart by their files; leave out fast, or list each file once"
            )


def _feature_keeper(files: ScanFiles, options: ScanOptions) -> FeatureKeeper | None:
    if not options.features:
        return None
    from cleaner.scoring.features import FeatureKeeper

    return FeatureKeeper(FeatureWriter(files.folder / CHECKPOINT / "features"))


@contextmanager
def held_folder(out: Path, info: DatasetInfo, options: ScanOptions) -> Iterator[ScanFiles]:
    """Hold the scan folder for as long as a scan takes."""
    subject = (out, info.address or info.root, info.vocab, info.task)
    check_out(*subject)  # before anything is written, even a lock
    if options.decisions_from is not None:
        check_decisions_from(options.decisions_from, out, info.task)
    with writing(out) as files:
        check_out(*subject)  # another scan may have ended before the lock was taken
        inside = "" if info.address else inside_dataset(out, info.root)
        for text in filter(None, (vocab_change(out, info.vocab), inside)):
            _log.warning("%s", printable(text))
        try:
            remember(out)
        except CleanerError as error:
            _log.warning("the history will lack the scan that this one replaces: %s", printable(str(error)))
        yield files


def _run(engine: Engine, files: ScanFiles, options: ScanOptions) -> Scan:
    """Run the engine's job in a held scan folder."""
    job = engine.job
    k, key = options.samples_per_class(job.info), options.audit_key(files.folder)
    heap_size = rescore.candidates_per_class(k) if options.fast else k
    heap_size = min(heap_size, max(1, *(dataset.count for dataset in job.datasets.values())))
    identity = _identity(job, options, k, key)
    features = engine.features.writer if engine.features else None
    checkpoint = Checkpoint(files.folder, identity, job.info, heap_size, key, options.save_every, features)
    fatal_files = FatalFiles(checkpoint.folder, job.datasets)
    if options.progress and job.info.left_out:
        _log.warning(
            "left out files whose suffix is not known to be that of an image: %s. If some of them are images, rename "
            "them to the suffix of their format, such as .jpg",
            as_text(job.info.left_out),
        )
    changed: dict[str, set[str]] = {}

    def attempt(resume: bool) -> ScanProgress:
        """Score the rest; repeated without the file at fault if the system ends a worker."""
        progress = resume_from(checkpoint, job, resume)
        changed.update(progress.changed)
        fatal_files.find(resume)
        seen = sum(split.seen for split in progress.splits)
        images_left = sum(dataset.count for dataset in job.datasets.values()) - seen
        job.scorer.selector.images_left = images_left * job.scorer.views
        with fatal_files.noting():
            for split in progress.splits:
                _score_changed(split, engine, progress.changed[split.split])
            for name in job.datasets:
                split = progress.begin(SplitProgress.empty(name, job.info, heap_size, key))
                if not split.done:
                    _score_split(split, engine, options, k, partial(checkpoint.save_if_due, progress))
            for split in progress.splits if options.fast else ():
                progress.rescored[split.split] = rescore.rescore(engine, split, k)
        return progress

    progress = fatal_files.score_past(attempt, options.resume)
    if advice := memorised_advice(progress.splits, job.info.task, job.scorer.views):
        _log.warning("%s", advice)
    settings = _settings(engine, progress, options, changed)
    if engine.features:
        settings["features"] = _add_features(engine.features.writer, files)
    if job.info.task == OTHER:
        settings["drawn"] = _draw(job, progress.splits, files, options.progress)
    scan = finish(job.info, progress, files, options, settings, partial(given_labels, job.datasets, job.info))
    checkpoint.remove()
    return scan


def _add_features(writer: FeatureWriter, files: ScanFiles) -> int:
    """Add the features to a scan; return the number of values of each sample."""
    for file in writer.finish():
        files.add(file)
    return writer.shape[1]


def _settings(
    engine: Engine, progress: ScanProgress, options: ScanOptions, changed: Mapping[str, set[str]]
) -> dict[str, Any]:
    """Return how the job was run, for `scan.json`; `changed` are the files that were scored again."""
    job = engine.job
    settings = {**job.settings, **job.scorer.settings, **engine.settings, "ways": job.scorer.selector.names}
    if any(changed.values()):
        # Their losses are right; the counts over all samples have what was found first.
        settings["changed_before_resume"] = {split: len(paths) for split, paths in changed.items() if paths}
    if options.fast:
        settings["fast"] = progress.rescored
    return settings


def _identity(job: ScanJob, options: ScanOptions, k: int, key: int) -> dict[str, Any]:
    """Return what must be equal for a scan to be resumed."""
    info = job.info
    return {
        "k": k,
        "number of applies": key,
        "dataset": info.address or info.root.as_posix(),
        "fast": options.fast,
        "features": options.features,
        "splits": info.splits,
        "vocabulary": info.vocab,
        "task": info.task,
        "number of views": job.scorer.views,
        "number of samples": {split: dataset.count for split, dataset in job.datasets.items()},
        **job.scorer.identity(),
        **job.identity,
    }


def _score_changed(progress: SplitProgress, engine: Engine, changed: set[str]) -> None:
    """Score again the files that changed after they were scored."""
    if changed:
        uncounted = progress.forget(changed)
        dataset = engine.job.datasets[progress.split]
        keys = dataset.filtered_keys(lambda path, _label: path in changed)
        engine.score_keys(dataset, keys, partial(progress.update_again, uncounted=uncounted))


def _score_split(
    progress: SplitProgress, engine: Engine, options: ScanOptions, k: int, save: Callable[[], None]
) -> None:
    """Score the rest of a split, with a progress bar and checkpoints."""
    dataset, begun = engine.job.datasets[progress.split], progress.seen
    # An earlier run may have gone on as an exact scan.
    fast = options.fast and not (begun and progress.exact) and rescore.may_pay(k, progress, dataset.count)
    with progress_bar(f"scan {dataset.split}", dataset.count, begun, options.progress) as bar:

        def report(n: int) -> None:
            bar.update(n)
            save()
            if fast and not progress.exact and begun < rescore.SEEN_BEFORE_CHECK * dataset.count <= progress.seen:
                rescore.check_pays(progress, k, dataset.count, engine.job.scorer.selector.error)

        if begun < dataset.count and not _finished(engine, dataset, progress, fast, report):
            progress.start_over()
            bar.reset()
            engine.score_remaining(dataset, progress, False, report)
    progress.done = True


def _finished(
    engine: Engine, dataset: Dataset, progress: SplitProgress, fast: bool, report: Callable[[int], None]
) -> bool:
    """Score the rest of a split; False if a fast pass was given up, whose readers have ended then."""
    try:
        engine.score_remaining(dataset, progress, fast, report)
    except rescore.NotFasterError as error:
        _log.warning("%s", error)
        return False
    return True


def progress_bar(name: str, total: int | None, initial: int, shown: bool, unit: str = "img") -> tqdm[Any]:
    """Return a progress bar."""
    return tqdm(total=total, initial=initial, unit=unit, desc=printable(name), disable=not shown)


def _draw(job: ScanJob, splits: list[SplitProgress], files: ScanFiles, shown: bool) -> int:
    """Render each kept sample with its target into the scan folder; return how many could be rendered."""
    files.make("drawn")
    count = 0
    for progress in splits:
        dataset, kept = job.datasets[progress.split], {kept.path for kept in progress.kept.highest.of_class(0)}
        with progress_bar(f"draw {progress.split}", len(kept), 0, shown) as bar:
            for key in dataset.filtered_keys(rescore.among(kept)):
                if data := job.scorer.draw(dataset, key):
                    files.write(f"drawn/{drawn_file(files.folder, dataset.name(key)).name}", data)
                    count += 1
                bar.update()
    return count


GivenLabels = Callable[[str, set[str]], Mapping[str, tuple[str, ...]]]
"""Looks up all labels of the samples of a split with some paths."""


def finish(
    info: DatasetInfo,
    progress: ScanProgress,
    files: ScanFiles,
    options: ScanOptions,
    settings: Mapping[str, Any],
    labels_of: GivenLabels = lambda _split, _paths: {},
) -> Scan:
    """Write what was found to a held scan folder."""
    splits = progress.splits
    for split in splits:
        split.kept.settle()
    unreadable = [item for split in splits for item in sorted(split.unreadable, key=lambda u: u.path)]
    if not any(split.scored for split in splits):
        first = unreadable[0]
        raise CleanerError(
            f"none of the {len(unreadable)} images is readable; the first, {first.path!r}: {first.error}"
        )
    scan = Scan(
        **vars(info),
        k=options.samples_per_class(info),
        scored={split.split: split.scored for split in splits},
        samples=LazyRecords(lambda: (s for split in splits for s in _samples(split, info, labels_of))),
        # Without labels, only the kept samples are rendered with their targets, and others cannot be judged.
        typical=() if info.task == OTHER else LazyRecords(lambda: (t for s in splits for t in _typical(s, info))),
        audit=()
        if info.task == OTHER
        else LazyRecords(lambda: (each for s in splits for each in _audit_sample(s, info, labels_of))),
        cells={split.split: _confusion_cells(split, info) for split in splits},
        unreadable=tuple(unreadable),
        losses=tuple(losses for split in splits for losses in _class_losses(split, info.vocab)),
        ranked_by=options.ranked_by,
        settings=settings,
        versions=_versions(),
        started=progress.started,
        finished=now(),
    ).write_to(files)
    for name in () if options.features else FEATURE_FILES:
        (files.folder / name).unlink(missing_ok=True)  # those of the scan that this one replaced
    if options.decisions_from is not None:
        take_over(scan, options.decisions_from)
    return scan


def _samples(progress: SplitProgress, info: DatasetInfo, labels_of: GivenLabels) -> Iterator[Sample]:
    return _as_samples(progress, info, labels_of, progress.kept.highest.of_class)


def _audit_sample(progress: SplitProgress, info: DatasetInfo, labels_of: GivenLabels) -> Iterator[Sample]:
    """Yield the audit sample in its random order; what a second pass has found since does not belong to it."""
    highest, unreadable = progress.kept.highest, {item.path for item in progress.unreadable}

    def of_class(index: int) -> list[Kept]:
        drawn = progress.kept.audit.of_class(index)
        elsewhere = unreadable | highest.paths_of(index) if drawn else unreadable
        return [kept for kept in drawn if kept.path not in elsewhere][:AUDITED]

    return _as_samples(progress, info, labels_of, of_class)


def _as_samples(
    progress: SplitProgress, info: DatasetInfo, labels_of: GivenLabels, of_class: Callable[[int], list[Kept]]
) -> Iterator[Sample]:
    # With several labels per image the model may predict "not this label", the last class.
    predictions, names = (*info.vocab, ""), [label_to_json(label) for label in info.vocab]
    given: Mapping[str, tuple[str, ...]] = {}
    if info.task == MULTI_LABEL:
        classes = map(of_class, range(len(info.vocab)))
        given = labels_of(progress.split, {kept.path for kept_here in classes for kept in kept_here})
    for index, label in enumerate(info.vocab):
        # A file listed twice with one label, as where rare classes are oversampled, is reviewed once.
        unique: dict[str, Kept] = {}
        for kept in of_class(index):
            unique.setdefault(kept.path, kept)
        for rank, kept in enumerate(unique.values(), start=1):
            alternatives = alternatives_to_json(names, kept.alternatives)
            fields = (kept.path, kept.loss, predictions[kept.predicted], kept.confidence)
            yield Sample(progress.split, label, rank, *fields, given.get(kept.path, ()), alternatives)


def _typical(progress: SplitProgress, info: DatasetInfo) -> Iterator[Typical]:
    for index, label in enumerate(info.vocab):
        for rank, kept in enumerate(progress.kept.typical.of_class(index), start=1):
            yield Typical(progress.split, label, rank, kept.path, kept.loss)


def given_labels(
    datasets: Mapping[str, Dataset], info: DatasetInfo, split: str, paths: set[str]
) -> dict[str, tuple[str, ...]]:
    """Look up all labels of some samples; of a file that is listed twice, those of the first item."""
    dataset, found = datasets[split], dict[str, tuple[str, ...]]()
    for key in dataset.filtered_keys(rescore.among(paths)):
        name = dataset.name(key)
        if name not in found:
            found[name] = split_labels(dataset.label(key), info.label_delim)
    return found


def _confusion_cells(progress: SplitProgress, info: DatasetInfo) -> dict[tuple[str, str], int]:
    """Return the confusion counts; only with one label per image is one label taken for another."""
    cells = progress.tally.result() if info.task == SINGLE_LABEL else ()
    return {(info.vocab[cell.label], info.vocab[cell.predicted]): cell.n for cell in cells}


def _class_losses(progress: SplitProgress, vocab: tuple[str, ...]) -> Iterator[ClassLosses]:
    for tally in progress.tally.classes():
        yield ClassLosses(progress.split, vocab[tally.label], *tally[1:])


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "platform": sys.platform}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # scored without it
    return versions
