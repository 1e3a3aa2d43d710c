"""Exported learners: their files run code when they are loaded, so the user must trust the bytes first.

What a user trusts is in a small text file of their own, `cleaner/trusted-learners` in the folder of their settings.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan
from cleaner.core.settings import read_own, settings_file, write_own
from cleaner.core.terminal import printable
from cleaner.scoring.api import scan_folder, scan_table

if TYPE_CHECKING:
    from fastai.learner import Learner

__all__ = ["is_trusted", "load_learner", "remember", "scan_file", "trusted_learners_path"]

# Of a zip archive and of a pickle: what torch.save() writes, and wrote before version 1.6.
_BEGINNINGS = (b"PK\3\4", b"\x80")
_HEADER = (
    "# sha256 and name of the learners that you trusted with `cleaner scan --trust`; delete a line to be asked again\n"
)
_LINE = re.compile(r"([0-9a-f]{64})  .*")


def scan_file(
    learner: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    trust: bool,
    labels: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    **options: Any,
) -> Scan:
    """Scan with the learner in a file that `learn.export()` wrote.

    Args:
        learner: the file.
        trust: run the code in the file, now and later.
        data, out, labels, path_column, label_column, options: as in `scan_table`, or without `labels` `scan_folder`.
    """
    if labels is None and (path_column or label_column):
        raise CleanerError("a path column or a label column needs a label table; name the table too: labels=FILE")
    learn = load_learner(learner, trust)
    if labels is None:
        return scan_folder(learn, data, out, **options)
    return scan_table(learn, data, labels, out, path_column=path_column, label_column=label_column, **options)


def load_learner(file: str | Path, trust: bool) -> Learner:
    """Load the learner in a file that `learn.export()` wrote.

    Nothing is unpacked before it is trusted: a small archive can inflate to gigabytes. The file is read once, so the
    bytes that are loaded are those that were hashed; while it is loaded, it takes twice its size in memory.

    Args:
        file: the file.
        trust: run the code in the file, and remember these bytes as trusted.
    """
    file = Path(file)
    data = _read(file)
    sha256 = hashlib.sha256(data).hexdigest()
    if not (trust or is_trusted(sha256)):
        raise CleanerError(
            f"{str(file)!r} is a learner file, and loading it runs whatever code is in it. Its sha256 is {sha256}. "
            "If you made it, or trust its author and the way it came to you, add trust=True; you are asked only once "
            "about a file with these bytes"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's about its own parts that fastai uses when imported
        import fastai.learner

    learn = _loaded(file, data)
    if not isinstance(learn, fastai.learner.Learner):
        raise CleanerError(
            f"expected a learner in {str(file)!r}, got {type(learn).__name__}. Pass the file that learn.export() wrote"
        )
    if trust:
        remember(sha256, file.name)
    return learn


def is_trusted(sha256: str) -> bool:
    """Return whether the user trusts a learner file with these bytes; print why if that is unknown."""
    try:
        return sha256 in _trusted_hashes(_trusted_text())
    except (OSError, ValueError) as error:
        _say(f"the learners that you trusted before are unknown: {error}")
        return False


def remember(sha256: str, name: str) -> None:
    """Note that the user trusts a learner file; print why if that fails."""
    try:
        text = _trusted_text()
        if sha256 not in _trusted_hashes(text):
            shown = "".join(letter if letter.isprintable() else "?" for letter in name)
            write_own(trusted_learners_path(), f"{text or _HEADER}{sha256}  {shown}\n".encode("utf-8", "replace"))
    except (OSError, ValueError) as error:
        _say(f"your trust in this learner cannot be remembered, so --trust will be needed again: {error}")


def trusted_learners_path() -> Path:
    """Return the user's file of trusted learners."""
    return settings_file("trusted-learners")


def _trusted_text() -> str:
    return read_own(trusted_learners_path()).decode("utf-8")


def _trusted_hashes(text: str) -> set[str]:
    hashes = set()
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        if not line.startswith("#"):
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(
                    f"expected a sha256, two spaces and a name in line {number} of {str(trusted_learners_path())!r}, "
                    f"got {line[:80]!r}. Repair or delete the file"
                )
            hashes.add(match[1])
    return hashes


def _say(text: str) -> None:
    print(f"cleaner: {printable(text)}", file=sys.stderr)


def _read(file: Path) -> bytes:
    if not file.is_file():
        raise CleanerError(
            f"there is no learner file {str(file)!r}. Pass the file that learn.export() wrote: "
            "it is in learn.path, often the folder of the images"
        )
    try:
        data = file.read_bytes()
    except (OSError, MemoryError) as error:
        raise CleanerError(f"the learner file {str(file)!r} cannot be read: {error or 'it is too large'}") from error
    if not data.startswith(_BEGINNINGS):
        raise _refusal(file, ValueError("it is neither a zip archive nor a pickle"))
    return data


def _loaded(file: Path, data: bytes) -> object:
    """Return the object in a file, if possible without running code of the file."""
    import fastai.learner
    import torch
    from fastai.vision import all as _  # noqa: F401 - gives learners the methods that load_learner calls

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's about its own parts, and fastai's about pickle: the file is trusted
        with suppress(Exception):  # there is code in the file, or torch does not know the format
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        try:
            try:
                return fastai.learner.load_learner(io.BytesIO(data))
            except UnboundLocalError:  # fastai hides the error of an import, which torch raises
                return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
        except Exception as error:
            raise _refusal(file, error) from error


def _refusal(file: Path, error: Exception) -> CleanerError:
    reason = (str(error).strip().splitlines() or ["no reason given"])[-1].strip()
    is_import = isinstance(error, (AttributeError, ModuleNotFoundError))
    if is_import and ("get attribute" in reason or "No module" in reason):
        return CleanerError(
            f"{str(file)!r} needs a function or class that is not here: {reason}. Put it in a module, import it from "
            "there, export the learner again, and run this where the module can be imported"
        )
    return CleanerError(
        f"{str(file)!r} cannot be loaded ({type(error).__name__}: {reason}). Pass the file that learn.export() wrote, "
        "with the same versions of fastai and torch; learn.save() writes only weights"
    )
