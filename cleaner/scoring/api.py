"""Scans with a trained model: of a fastai learner's own data, a folder, a label table, or with a torch model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleaner.core.arguments import as_path, described, is_learner, table_path, unexpected
from cleaner.core.errors import CleanerError
from cleaner.core.files import image_files
from cleaner.core.label_table import label_rows
from cleaner.core.scan import Scan
from cleaner.core.scan_files import DESCRIPTION
from cleaner.scoring.data.checks import check_number
from cleaner.scoring.data.remote import is_address, local
from cleaner.scoring.engine import AUTO, ScanOptions, run

if TYPE_CHECKING:
    import torch
    from fastai.learner import Learner
    from torch import nn

    from cleaner.scoring.data.fastai_data import FastaiData
    from cleaner.scoring.model.targets import Targets
    from cleaner.scoring.ray_cluster import Cluster

__all__ = ["scan", "scan_folder", "scan_model", "scan_table"]


def scan(
    learn: Learner,
    out: str | Path,
    *,
    k: int | str = AUTO,
    splits: Sequence[str] = ("train", "valid"),
    root: str | Path | None = None,
    workers: int | None = None,
    batch_size: int | None = None,
    views: int = 1,
    fast: bool = False,
    resume: bool = True,
    progress: bool = True,
    engine: str | Cluster = "local",
    decisions_from: str | Path | None = None,
    features: bool = False,
) -> Scan:
    """Score the images of a fastai `Learner` and write the scan folder.

    Every split is scored with the validation transforms and the learner's own, unreduced loss, through the learner's
    own callbacks; the learner is left as it was. The losses are those of
    `learn.get_preds(dl=learn.dls.test_dl(items, with_labels=True), with_loss=True)`.

    With several labels per image, each image is ranked in the category of every label, by the loss of that label. For
    any other task, such as segmentation, all images are in one category, ranked by their mean loss, and the kept ones
    are rendered with their targets.

    Args:
        learn: a learner of images.
        out: the scan folder; created, or that of an earlier scan of the same dataset, whose decisions are kept.
        k: number of samples to keep per split and label. By default, `auto`, as many as make 100,000 in all, and at
            least 100; with `fast` or for tasks without labels 100.
        splits: which of the learner's splits to scan, `train` and `valid`.
        root: the dataset's folder, to which paths are relative; by default the learner's `dls.path` if the images are
            below it and it is not the current folder, else the common folder of all images.
        workers: processes that read images, 0 to read in this one; by default as many as there are cores, whatever
            the learner's own loaders have.
        batch_size: images scored at once; by default that of the learner's own data loader.
        views: the loss is the mean over this many copies of each image, 1 to 9, each shifted by about a tenth of the
            side. A label that the model memorised does not survive a shift, so its loss is high again. The prediction
            is that of the mean probabilities; the time grows with the number of views.
        fast: score in lower precision first, then score possible top losses again in full. The kept samples and their
            losses are the same; the counts of the confusion matrix are those of the first pass. One label per image
            only.
        resume: continue an unfinished scan in `out`; False to start over.
        progress: show a progress bar.
        engine: `local`, in this process; `ray`, on the Ray cluster that this process is connected to, or on this
            machine; a `Cluster` to say where and how. The results are the same.
        decisions_from: the scan folder of an earlier round whose decisions are taken over, if `out` is another one. A
            decision holds for the bytes that it was about: a file that was relabelled is kept at its new place.
        features: keep the last feature map of each image, pooled to 4 x 4, in half precision, in the scan folder: 16 KB
            an image for a resnet18, 64 KB for a resnet50. `cleaner.check` then finds outliers, and the page shows the
            nearest images. Only in this process, without `fast`, and without quicker variants of the model.

    Raises:
        CleanerError: an argument or the dataset cannot be used; nothing was written.

    Examples:
        >>> scan = cleaner.scan(learn, "new", k=5, progress=False)
        >>> scan.scored
        {'train': 15, 'valid': 6}
    """
    from cleaner.scoring.data.fastai_data import from_learner
    from cleaner.scoring.model.fastai_model import fastai_job

    out = _out_path("cleaner.scan(learn, out)", learn, out)
    options = _options(k, views, fast, resume, progress, decisions_from, features)
    check_number("batch_size", batch_size, min_value=1)
    _check_splits(splits)
    open_data = partial(from_learner, splits=splits, root=root, batch_size=batch_size)
    job = fastai_job(learn, open_data, workers, views=views)
    return run(job, out, options, engine)


def scan_folder(
    learn: Learner,
    data: str | Path,
    out: str | Path,
    *,
    k: int | str = AUTO,
    views: int = 1,
    fast: bool = False,
    resume: bool = True,
    progress: bool = True,
    workers: int | None = None,
    batch_size: int | None = None,
    device: str | torch.device | None = "auto",
    engine: str | Cluster = "local",
    decisions_from: str | Path | None = None,
    features: bool = False,
) -> Scan:
    """Score the images of a folder or an address with a fastai `Learner`, such as an exported one.

    The labels are those that the learner itself reads from a file's path, such as the name of its folder. Images below
    `train`, `valid` or `test` are in the split of that name, all others in the split `all`.

    Args:
        learn: a learner of images, see `scan`.
        data: the dataset's folder, or an address that fsspec knows, as text, such as `s3://bucket/images`. Each image
            there is copied to the temporary folder while it is read; those that cannot be are listed as unreadable.
        out, k, views, fast, resume, progress, decisions_from, features: as in `scan`.
        workers, batch_size: as in `scan`.
        device: where to score, such as `cuda:1`; the learner stays where it is. `auto` for the accelerator of this
            machine, if there is one; None for the learner's own device.
        engine: as in `scan`; the workers must reach the folder at the same path, or the address.

    Raises:
        CleanerError: an argument or the dataset cannot be used; nothing was written.

    Examples:
        >>> cleaner.scan_folder(learn, "images", "new", progress=False).scored
        {'all': 21}
    """
    from cleaner.scoring.data.fastai_data import from_address, from_folder
    from cleaner.scoring.model.fastai_model import fastai_job

    data, out = _data_path(learn, data), _out_path("cleaner.scan_folder(learn, data, out)", learn, out)
    options = _options(k, views, fast, resume, progress, decisions_from, features)
    check_number("batch_size", batch_size, min_value=1)
    data = local(data)
    if not is_address(data):
        _check_order(data, out)
    open_data: Callable[[Learner, Targets], FastaiData] = (
        partial(from_address, data=str(data), batch_size=batch_size)
        if is_address(data)
        else partial(from_folder, data=Path(data), batch_size=batch_size)
    )
    job = fastai_job(learn, open_data, workers, _own_device(device, engine), views)
    return run(job, out, options, engine)


def scan_table(
    learn: Learner,
    data: str | Path,
    labels: str | Path,
    out: str | Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    k: int | str = AUTO,
    views: int = 1,
    fast: bool = False,
    resume: bool = True,
    progress: bool = True,
    workers: int | None = None,
    batch_size: int | None = None,
    device: str | torch.device | None = "auto",
    engine: str | Cluster = "local",
    decisions_from: str | Path | None = None,
    features: bool = False,
) -> Scan:
    """Score the images that a label table names, with a fastai `Learner`, such as an exported one.

    The labels are those in the table, whatever the learner was trained from; they are compared with its vocabulary as
    text, so the `1` of the table is the number 1 of the learner. Splits follow from folders as in `scan_folder`. A row
    whose file does not exist is listed as unreadable.

    Args:
        learn: a learner that classifies images with one label each, and opens them from files.
        data: the dataset's folder.
        labels: a `.csv`, `.tsv` or `.parquet` file with a row per image. Its paths are relative to the dataset's
            folder, or, if there is no such file, to that of the table.
        path_column, label_column: the table's columns of paths and labels; by default those with usual names.
        out, k, views, fast, resume, progress, decisions_from, features: as in `scan`.
        workers, batch_size, device, engine: as in `scan_folder`.

    Raises:
        CleanerError: an argument, the table or the dataset cannot be used; nothing was written.

    Examples:
        >>> cleaner.scan_table(learn, "images", "labels.csv", "new", progress=False).scored
        {'all': 21}
    """
    from cleaner.scoring.data.fastai_table import from_table
    from cleaner.scoring.model.fastai_model import fastai_job

    data, out = _data_path(learn, data), _out_path("cleaner.scan_table(learn, data, labels, out)", learn, out)
    labels = table_path(labels)
    options = _options(k, views, fast, resume, progress, decisions_from, features)
    check_number("batch_size", batch_size, min_value=1)
    data = local(data)
    if is_address(data):
        raise CleanerError(
            f"{str(data)!r} is an address, and a label table needs a folder; pass a copy or mount of the images"
        )
    rows = label_rows(labels, path_column, label_column)
    open_data = partial(from_table, data=Path(data), rows=rows, batch_size=batch_size)
    job = fastai_job(learn, open_data, workers, _own_device(device, engine), views)
    return run(job, out, options, engine)


def scan_model(
    model: nn.Module,
    dataset: Any,
    out: str | Path,
    *,
    k: int | str = AUTO,
    split: str = "all",
    loss_fn: Any = None,
    vocab: Sequence[Any] | None = None,
    paths: Any = None,
    root: str | Path | None = None,
    batch_size: int = 64,
    workers: int | None = None,
    device: str | torch.device | None = None,
    views: int = 1,
    fast: bool = False,
    resume: bool = True,
    progress: bool = True,
    engine: str | Cluster = "local",
    decisions_from: str | Path | None = None,
    features: bool = False,
) -> Scan:
    """Score the images of a plain torch model's dataset and write the scan folder.

    The model runs in evaluation mode and without gradients, and is left as it was. It sees the images as the dataset's
    own transform makes them; that should be the transform of validation, as random changes show in the losses.

    Args:
        model: returns logits [n, n_classes] for a batch of images, which are converted to the model's precision.
        dataset: a map-style dataset of `(image, label)`: a tensor, and the index of its class; or a mapping from the
            names of splits to datasets.
        out, k, views, fast, resume, progress, engine, decisions_from, features: as in `scan`.
        split: name of the split of a single dataset.
        loss_fn: called with logits and targets (int64 [n], indices into the vocabulary). A module or function gives
            one loss per sample, with the reduction `none` if it takes one. One that returns one number per batch is
            evaluated one sample at a time, which is slower. By default cross-entropy.
        vocab: the labels, in the order of the model's outputs; by default the dataset's `classes`.
        paths: the file of each sample: a sequence, or a function of the sample's index, or a mapping from splits to
            these. Relative paths are below `root`, or else the current folder. By default those that the dataset lists
            in `samples`, `imgs` or `filepaths`, also inside of a `Subset`.
        root: the dataset's folder, to which the paths in the scan are relative; by default the dataset's `root`, or the
            common folder of all images.
        batch_size: images scored at once.
        workers: processes that read images, 0 to read in this one; by default as many as there are cores.
        device: run a copy of the model there, `auto` for the accelerator of this machine; by default the model runs
            where it is.

    Raises:
        CleanerError: an argument or the dataset cannot be used; nothing was written.

    Examples:
        >>> scan = cleaner.scan_model(model, dataset, "new", progress=False)
        >>> scan.vocab
        ('bear', 'cat', 'dog')
    """
    from cleaner.scoring.model.torch_model import torch_job

    out = _out_path("cleaner.scan_model(model, dataset, out)", model, out)
    if not is_learner(model) and (hasattr(dataset, "state_dict") or isinstance(dataset, str)):
        advice = "the order is cleaner.scan_model(model, dataset, out)"
        raise unexpected("a map-style dataset of (image, label), or one per split, as dataset", dataset, advice)
    options = _options(k, views, fast, resume, progress, decisions_from, features)
    datasets = dict(dataset) if isinstance(dataset, Mapping) else {split: dataset}
    _check_splits(tuple(datasets))
    job = torch_job(
        model,
        datasets,
        loss_fn=loss_fn,
        vocab=vocab,
        paths=_paths_by_split(paths, datasets),
        root=root,
        batch_size=batch_size,
        workers=workers,
        device=_own_device(device, engine),
        views=views,
    )
    return run(job, out, options, engine)


def _out_path(call: str, first: Any, out: Any) -> Path:
    """Return the path of the scan folder; say where arguments are in another order than in `call`."""
    if isinstance(first, (str, Path)) and (is_learner(out) or hasattr(out, "state_dict")):
        raise CleanerError(f"expected the model first, got {described(first)}; the order is {call}")
    return as_path("out", out, "the path of a scan folder")


def _data_path(learn: Any, data: Any) -> str | Path:
    if is_learner(data):
        raise CleanerError(f"expected the learner first, got {described(learn)}; the order is learn, data, …, out")
    if not isinstance(data, (str, os.PathLike)):
        raise unexpected("the path of the dataset's folder as data", data, "pass the folder that holds the images")
    return data if isinstance(data, str) else Path(data)


def _check_order(data: str | Path, out: Path) -> None:
    """Refuse a scan folder and a dataset's folder that were given for each other."""
    holds_images = out.is_dir() and next(image_files(out), None) is not None
    if holds_images and not (out / DESCRIPTION).exists() and not os.path.isdir(data):
        raise CleanerError(
            f"there is no folder {str(data)!r}, and {str(out)!r} holds images; data comes before out: "
            "cleaner.scan_folder(learn, data, out)"
        )


def _options(
    k: int | str,
    views: int,
    fast: bool,
    resume: bool,
    progress: bool,
    decisions_from: str | Path | None,
    features: bool,
) -> ScanOptions:
    """Return the options of a scan; what its samples are ranked by says over how many views."""
    ranked_by = "loss" if views == 1 else f"mean loss of {views} views"
    return ScanOptions(
        k=k,
        fast=fast,
        resume=resume,
        progress=progress,
        decisions_from=decisions_from,
        ranked_by=ranked_by,
        features=features,
    )


def _paths_by_split(paths: Any, datasets: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if paths is None or (isinstance(paths, Mapping) and set(paths) == set(datasets)):
        return paths
    if len(datasets) == 1 and not isinstance(paths, Mapping):
        return dict.fromkeys(datasets, paths)
    raise CleanerError(
        f"paths is a {type(paths).__name__}{f' of {list(paths)[:20]}' if isinstance(paths, Mapping) else ''}; with the "
        f"splits {list(datasets)} pass a mapping from each of them to its paths"
    )


def _own_device(device: str | torch.device | None, engine: str | Cluster) -> str | torch.device | None:
    """Return the device of a scan in this process; workers of a cluster have the GPUs that Ray gives them."""
    if engine == "local":
        return device
    if device is None or str(device) in ("auto", "cpu"):
        return None
    raise CleanerError(
        f"device is {str(device)!r}, and the workers of a cluster run on the GPUs that Ray gives them; leave it out, "
        "or set gpus_per_worker"
    )


def _check_splits(splits: Sequence[str]) -> None:
    if isinstance(splits, str) or not splits or not all(splits) or len(set(splits)) != len(splits):
        raise CleanerError(f"splits is {splits!r}; pass a sequence of different names such as ('train', 'valid')")
