"""Scans with a trained model: of a fastai learner's own data, a folder, a label table, or with a torch model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleaner.core.errors import CleanerError
from cleaner.core.label_table import label_rows
from cleaner.core.scan import Scan
from cleaner.scoring.engine import check_k_and_splits, run_on
from cleaner.scoring.sources.addresses import is_address

if TYPE_CHECKING:
    import torch
    from fastai.learner import Learner
    from torch import nn

    from cleaner.scoring.ray import Cluster

__all__ = ["scan", "scan_folder", "scan_model", "scan_table"]


def scan(
    learn: Learner,
    out: str | Path,
    *,
    k: int = 100,
    splits: Sequence[str] = ("train", "valid"),
    root: str | Path | None = None,
    fast: bool = False,
    reduced: bool = False,
    resume: bool = True,
    progress: bool = True,
    engine: str | Cluster = "local",
    decisions_from: str | Path | None = None,
) -> Scan:
    """Score the images of a fastai `Learner` and write the scan folder.

    Every split is scored with the validation transforms and the learner's own, unreduced loss, through the learner's
    own callbacks; the learner is left as it was found. The losses are those of
    `learn.get_preds(dl=learn.dls.test_dl(items, with_labels=True), with_loss=True)`.

    Of a learner that gives each image several labels, each image is in the category of each label, with the loss of
    that label; of one for any other task, such as segmentation, all images are in one category, with the mean of their
    loss, and what is kept is drawn with its target.

    Args:
        learn: a learner of images.
        out: the scan folder; created, or that of an earlier scan of the same dataset, whose decisions are kept.
        k: how many samples to keep of each split and label.
        splits: which of the learner's splits to scan, `train` and `valid`.
        root: the dataset's folder, to which paths are relative; by default the learner's `dls.path` if the images are
            below it and it is not the current folder, else the folder that all images have in common.
        fast: score in lower precision first, then what may be among the highest losses again in full. What is kept
            and its losses are the same; the counts of the confusion matrix are those of the first pass. Only for one
            label an image.
        reduced: decode JPEG files at 1/2, 1/4 or 1/8 of their size where that leaves the pixels that the learner needs.
            Quicker for large photos, but the pixels, and with them losses and ranks, are not quite the same.
        resume: go on with a scan in `out` that did not come to its end; False to start over.
        progress: show a progress bar.
        engine: `local`, in this process; `ray`, spread over the Ray cluster that this process is connected to, or over
            this machine; a `Cluster` to say where and how. What is found is the same.
        decisions_from: the scan folder of an earlier round whose decisions are taken over, where `out` is another one.
            A decision stands for the bytes it was taken about: a relabelled file is kept at its new place.

    Raises:
        CleanerError: an argument or the dataset cannot be used; nothing was written.
    """
    from cleaner.scoring.sources.fastai import FastaiSource

    check_k_and_splits(k, splits)
    source = FastaiSource.of_learner(learn, splits, root, reduced)
    options = {"k": k, "fast": fast, "resume": resume, "progress": progress, "decisions_from": decisions_from}
    return run_on(engine, source, Path(out), **options)


def scan_folder(
    learn: Learner,
    data: str | Path,
    out: str | Path,
    *,
    k: int = 100,
    fast: bool = False,
    reduced: bool = False,
    resume: bool = True,
    progress: bool = True,
    workers: int | None = None,
    batch_size: int | None = None,
    engine: str | Cluster = "local",
    decisions_from: str | Path | None = None,
) -> Scan:
    """Score the images of a folder or an address with a fastai `Learner`, perhaps an exported one, and write the scan.

    The labels are those that the learner itself reads from a file's path, such as the name of its folder. Images below
    `train`, `valid` or `test` are of the split of that name, all others of the split `all`.

    Args:
        learn: a learner of images, see `scan`.
        data: the dataset's folder, or an address that fsspec knows, as text, such as `s3://bucket/images`. Each image
            there is copied to the temporary folder while it is read; one that cannot be is an entry in `unreadable`.
        out: the scan folder; created, or that of an earlier scan of the same dataset, whose decisions are kept.
        k: how many samples to keep of each split and label.
        fast, reduced, resume: as in `scan`.
        progress: show a progress bar.
        workers: processes that read images, 0 for none beside this one; by default chosen by what the scan waits for.
        batch_size: images scored at once; by default that of the learner's own data loader.
        engine: as in `scan`; the workers must reach the folder under the same path, or the address.
        decisions_from: as in `scan`.

    Raises:
        CleanerError: an argument or the dataset cannot be used; nothing was written.
    """
    from cleaner.scoring.sources.fastai import FastaiSource

    check_k_and_splits(k, ("all",))
    reading: dict[str, Any] = {"workers": workers, "batch_size": batch_size, "reduced": reduced}
    if is_address(data):
        source = FastaiSource.of_address(learn, str(data), **reading)
    else:
        source = FastaiSource.of_folder(learn, Path(data), **reading)
    options = {"k": k, "fast": fast, "resume": resume, "progress": progress, "decisions_from": decisions_from}
    return run_on(engine, source, Path(out), **options)


def scan_model(
    model: nn.Module,
    dataset: Any,
    out: str | Path,
    *,
    k: int = 100,
    split: str = "all",
    loss_fn: Callable[..., Any] | None = None,
    vocab: Sequence[str] | None = None,
    paths: Any = None,
    root: str | Path | None = None,
    batch_size: int = 64,
    workers: int | None = None,
    device: str | torch.device | None = None,
    fast: bool = False,
    resume: bool = True,
    progress: bool = True,
    engine: str | Cluster = "local",
    decisions_from: str | Path | None = None,
) -> Scan:
    """Score the images of a plain torch model's dataset and write the scan folder.

    The model is run in evaluation mode and without gradients, and left as it was found. The dataset's own transform is
    what the model sees; it should be that of validation, since random changes of images are in the losses.

    Args:
        model: gives logits [n, n_classes] for a batch of images; the images are given in its own precision.
        dataset: a map-style dataset of `(image, label)`: a tensor, and the index of its class; or a mapping from the
            names of splits to datasets.
        out: the scan folder; created, or that of an earlier scan of the same dataset, whose decisions are kept.
        k: how many samples to keep of each split and label.
        split: what to call the split of a single dataset.
        loss_fn: called with logits and targets (int64 [n], indices into the vocabulary); the losses that a module or
            function gives with the reduction `none`, or by itself. One that gives one number whatever it is told is
            called for each sample alone, which is slower. By default cross-entropy.
        vocab: the labels, in the order of the model's outputs; by default the dataset's `classes`.
        paths: the file of each sample: a sequence, or a function of the sample's index, or a mapping from splits to
            these. Relative ones are below `root`, or, where that is not given, the current folder. By default those
            that the dataset lists in `samples`, `imgs` or `filepaths`, also inside of a `Subset`.
        root: the dataset's folder, to which the paths in the scan are relative; by default the dataset's `root`, or the
            folder that all images have in common.
        batch_size: images scored at once.
        workers: processes that read images, 0 for none beside this one; by default as many as there are cores.
        device: run a copy of the model there; by default the model is run where it is.
        fast, resume, progress, engine, decisions_from: as in `scan`.

    Raises:
        CleanerError: an argument or the dataset cannot be used; nothing was written.
    """
    from cleaner.scoring.sources.torch import TorchSource

    datasets = dict(dataset) if isinstance(dataset, Mapping) else {split: dataset}
    check_k_and_splits(k, tuple(datasets))
    source = TorchSource(
        model,
        datasets,
        loss_fn=loss_fn,
        vocab=vocab,
        paths=_by_split(paths, datasets),
        root=root,
        batch_size=batch_size,
        workers=workers,
        device=device,
    )
    options = {"k": k, "fast": fast, "resume": resume, "progress": progress, "decisions_from": decisions_from}
    return run_on(engine, source, Path(out), **options)


def _by_split(paths: Any, datasets: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if paths is None or (isinstance(paths, Mapping) and set(paths) == set(datasets)):
        return paths
    if len(datasets) == 1 and not isinstance(paths, Mapping):
        return dict.fromkeys(datasets, paths)
    raise CleanerError(
        f"paths is a {type(paths).__name__}{f' of {list(paths)[:20]}' if isinstance(paths, Mapping) else ''}; with the "
        f"splits {list(datasets)} a mapping from each of them to its paths is accepted"
    )


def scan_table(
    learn: Learner,
    data: str | Path,
    labels: str | Path,
    out: str | Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    k: int = 100,
    fast: bool = False,
    reduced: bool = False,
    resume: bool = True,
    progress: bool = True,
    workers: int | None = None,
    batch_size: int | None = None,
    engine: str | Cluster = "local",
    decisions_from: str | Path | None = None,
) -> Scan:
    """Score the images that a label table names, with a fastai `Learner`, an exported one for example.

    The labels are those in the table, whatever the learner was trained from; they are compared with its vocabulary as
    text, so that the `1` of the table is the number 1 of the learner. Splits are told by folders as in `scan_folder`.
    A row whose file is gone costs an entry in `unreadable`.

    Args:
        learn: a learner that classifies images with one label each, and opens them from files.
        data: the dataset's folder.
        labels: a `.csv`, `.tsv` or `.parquet` file with a row for each image. Its paths are relative to the dataset's
            folder, or, where there is no such file, to that of the table.
        out: the scan folder; created, or that of an earlier scan of the same dataset, whose decisions are kept.
        path_column, label_column: the table's columns with the paths and the labels; by default those with usual names.
        k: how many samples to keep of each split and label.
        fast, reduced, resume: as in `scan`.
        progress, workers, batch_size, engine, decisions_from: as in `scan_folder`.

    Raises:
        CleanerError: an argument, the table or the dataset cannot be used; nothing was written.
    """
    from cleaner.scoring.sources.fastai import FastaiSource

    check_k_and_splits(k, ("all",))
    if is_address(data):
        raise CleanerError(
            f"{str(data)!r} is an address; with a label table a folder is accepted: give a copy or mount of the images"
        )
    rows = label_rows(Path(labels), path_column, label_column)
    source = FastaiSource.of_table(learn, Path(data), rows, workers=workers, batch_size=batch_size, reduced=reduced)
    options = {"k": k, "fast": fast, "resume": resume, "progress": progress, "decisions_from": decisions_from}
    return run_on(engine, source, Path(out), **options)
