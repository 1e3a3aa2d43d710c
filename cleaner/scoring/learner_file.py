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
    workers: int | None = None,
    batch_size: int | None = None,
) -> Scan:
    """`scan_folder` with the learner in a file that `learn.export()` wrote; `trust`: its code may run.

    Raises:
        CleanerError: the file is not a learner or not trusted, or the dataset cannot be used; nothing was written.
    """
    return scan_folder(load_learner(learner, trust), data, out, k=k, workers=workers, batch_size=batch_size)


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
            f"who did and how it came to you, say so with --trust. Its sha256 is {sha256_of(file)}"
        )
    import fastai.learner
    from fastai.vision import all as _  # noqa: F401 - gives learners the methods that load_learner calls

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fastai's warning about pickle; the user has just trusted the file
            learn = fastai.learner.load_learner(file)
    except AttributeError as error:
        raise CleanerError(
            f"{str(file)!r} needs a function or class that only its notebook has: {_last_line(error)}. Put it in a "
            "module, import it from there, export the learner again, and run this where the module can be imported"
        ) from error
    except Exception as error:
        raise CleanerError(
            f"{str(file)!r} is not a learner that learn.export() wrote, or one of another version of fastai or torch: "
            f"{type(error).__name__}: {_last_line(error)}"
        ) from error
    if not isinstance(learn, fastai.learner.Learner):
        raise CleanerError(f"{str(file)!r} holds a {type(learn).__name__}; what learn.export() writes is accepted")
    return learn


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[-1].strip()
