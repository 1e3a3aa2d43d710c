"""Exported learners: files that run code when they are loaded, so that the user must trust them first."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan
from cleaner.scoring.api import scan_folder, scan_table
from cleaner.scoring.trusted import is_trusted, remember

if TYPE_CHECKING:
    from fastai.learner import Learner

    from cleaner.scoring.ray_cluster import Cluster

__all__ = ["load_learner", "scan_file"]

# Of a zip archive and of a pickle: what torch.save() writes, and wrote before version 1.6.
_BEGINNINGS = (b"PK\3\4", b"\x80")


def scan_file(
    learner: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    k: int,
    trust: bool,
    fast: bool = False,
    resume: bool = True,
    workers: int | None = None,
    batch_size: int | None = None,
    labels: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    engine: str | Cluster = "local",
    decisions_from: str | Path | None = None,
) -> Scan:
    """`scan_folder`, or with `labels` `scan_table`, with the learner in a file that `learn.export()` wrote.

    Args:
        trust: the code in the learner's file may run, now and later.
        others: as there.
    """
    if labels is None and (path_column or label_column):
        raise CleanerError("a path column or a label column was named, and no label table; name that too: --labels")
    learn = load_learner(learner, trust)
    scan: Callable[..., Scan] = scan_folder
    if labels is not None:
        scan = partial(scan_table, labels=labels, path_column=path_column, label_column=label_column)
    options: dict[str, Any] = {"workers": workers, "batch_size": batch_size, "engine": engine}
    options["decisions_from"] = decisions_from
    return scan(learn, data, out=out, k=k, fast=fast, resume=resume, **options)


def load_learner(file: str | Path, trust: bool) -> Learner:
    """The learner in a file that `learn.export()` wrote.

    Nothing in the file is unpacked before it is trusted: a small archive can inflate to gigabytes. With `trust` the
    user is not asked again about a file with these bytes. The file is read once: the bytes that were hashed are those
    that are loaded. It takes its size in memory twice while that is done.
    """
    file = Path(file)
    data = _bytes_of(file)
    sha256 = hashlib.sha256(data).hexdigest()
    if not (trust or is_trusted(sha256)):
        raise CleanerError(
            f"{str(file)!r} is a learner file, and loading it runs whatever code is in it. Its sha256 is {sha256}. "
            "If you made it, or trust who did and how it came to you, say so with --trust; you are asked only once "
            "about a file with these bytes"
        )
    found = _without_code(data)
    learn = _loaded(file, data) if found is None else _checked(file, found)
    if trust:
        remember(sha256, file.name)
    return learn


def _bytes_of(file: Path) -> bytes:
    if not file.is_file():
        raise CleanerError(f"there is no learner file {str(file)!r}; it is what learn.export() writes")
    try:
        data = file.read_bytes()
    except (OSError, MemoryError) as error:
        raise CleanerError(f"the learner file {str(file)!r} cannot be read: {error or 'it is too large'}") from error
    if not data.startswith(_BEGINNINGS):
        raise _refusal(file, ValueError("it begins as no such file does"))
    return data


def _without_code(data: bytes) -> object | None:
    """What torch loads of a file without running code of it; None where that is nothing."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's about its own parts
        try:
            found: object = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except Exception:  # noqa: BLE001 - whatever it is: there is code in the file, or it is none that torch knows
            return None
    return found


def _loaded(file: Path, data: bytes) -> Learner:
    with warnings.catch_warnings():
        # torch's about its own parts, and fastai's about pickle: the user has trusted the file.
        warnings.simplefilter("ignore")
        import fastai.learner
        from fastai.vision import all as _  # noqa: F401 - gives learners the methods that load_learner calls

        try:
            learn = fastai.learner.load_learner(io.BytesIO(data))
        except UnboundLocalError:
            raise _refusal(file, _swallowed(data)) from None
        except Exception as error:
            raise _refusal(file, error) from error
    return _checked(file, learn)


def _checked(file: Path, found: object) -> Learner:
    import fastai.learner

    if not isinstance(found, fastai.learner.Learner):
        raise CleanerError(
            f"{str(file)!r} holds a {type(found).__name__} and no learner, as torch.save() writes it; "
            "what learn.export() writes is accepted"
        )
    return found


def _swallowed(data: bytes) -> Exception:
    """What kept fastai from loading a file: it passes over an import that fails and stumbles later."""
    import torch

    try:
        torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
    except Exception as error:  # noqa: BLE001 - returned
        return error
    return ValueError("fastai could not load it")


def _refusal(file: Path, error: Exception) -> CleanerError:
    reason = (str(error).strip().splitlines() or ["no reason given"])[-1].strip()
    if isinstance(error, (AttributeError, ModuleNotFoundError)) and (
        "get attribute" in reason or "No module" in reason
    ):
        return CleanerError(
            f"{str(file)!r} needs a function or class that is not here: {reason}. Put it in a module, import it from "
            "there, export the learner again, and run this where the module can be imported"
        )
    return CleanerError(
        f"{str(file)!r} is not a learner that learn.export() wrote (learn.save() writes only weights), or one of "
        f"another version of fastai or torch: {type(error).__name__}: {reason}"
    )
