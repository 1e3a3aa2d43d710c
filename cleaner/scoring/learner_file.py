"""Exported learners: files that run code when they are loaded, so that the user must trust them first."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.scan import Scan
from cleaner.scoring.engine import scan_folder

if TYPE_CHECKING:
    from fastai.learner import Learner

__all__ = ["load_learner", "scan_file"]


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
) -> Scan:
    """`scan_folder` with the learner in a file that `learn.export()` wrote; `trust`: its code may run.

    Raises:
        CleanerError: the file is not a learner or not trusted, or the dataset cannot be used; nothing was written.
    """
    learn = load_learner(learner, trust)
    return scan_folder(learn, data, out, k=k, fast=fast, resume=resume, workers=workers, batch_size=batch_size)


def load_learner(file: str | Path, trust: bool) -> Learner:
    """The learner in a file that `learn.export()` wrote.

    Raises:
        CleanerError: the file is not one, or it is not trusted.
    """
    file = Path(file)
    if not file.is_file():
        raise CleanerError(f"there is no learner file {str(file)!r}; it is what learn.export() writes")
    if not trust:
        raise CleanerError(
            f"{str(file)!r} is a learner file, and loading it runs whatever code is in it. If you made it, or trust "
            f"who did and how it came to you, say so with --trust. Its sha256 is {sha256_of(file, most=None)}"
        )
    with warnings.catch_warnings():
        # torch's about its own parts, and fastai's about pickle: the user has just trusted the file.
        warnings.simplefilter("ignore")
        import fastai.learner
        from fastai.vision import all as _  # noqa: F401 - gives learners the methods that load_learner calls

        try:
            learn = fastai.learner.load_learner(file)
        except UnboundLocalError:
            raise _refusal(file, _swallowed(file)) from None
        except Exception as error:
            raise _refusal(file, error) from error
    if not isinstance(learn, fastai.learner.Learner):
        raise CleanerError(f"{str(file)!r} holds a {type(learn).__name__}; what learn.export() writes is accepted")
    return learn


def _swallowed(file: Path) -> Exception:
    """What kept fastai from loading the file: it passes over an import that fails and stumbles later."""
    import torch

    try:
        torch.load(file, map_location="cpu", weights_only=False)
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
