"""Which learner files a user has trusted: a small text file of their own, known by the bytes of each learner."""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
from pathlib import Path

from cleaner.core.files import rewrite
from cleaner.core.terminal import printable

__all__ = ["is_trusted", "remember", "trusted_learners_path"]

_HEADER = (
    "# sha256 and name of the learners that `cleaner scan --trust` was said for; delete a line to be asked again\n"
)
_LINE = re.compile(r"([0-9a-f]{64})  .*")
_LARGEST = 1 << 20


def trusted_learners_path() -> Path:
    """The user's file of trusted learners: `cleaner/trusted-learners` in the folder of their settings.

    Raises:
        OSError: the system does not say which folder that is.
    """
    variable, usual = ("APPDATA", "AppData/Roaming") if os.name == "nt" else ("XDG_CONFIG_HOME", ".config")
    folder = Path(os.environ.get(variable, ""))
    if not folder.is_absolute():
        try:
            folder = Path.home() / usual
        except RuntimeError as error:
            raise OSError(f"{variable} is not set, and you have no home folder") from error
    return folder / "cleaner" / "trusted-learners"


def is_trusted(sha256: str) -> bool:
    """Whether the user has trusted a learner file with these bytes; what keeps that from being known is printed."""
    try:
        return sha256 in _trusted(_text_of(trusted_learners_path()))
    except (OSError, ValueError) as error:
        _say(f"what you trusted before is not known: {error}")
        return False


def remember(sha256: str, name: str) -> None:
    """Note that the user trusts a learner file; where that cannot be noted, what keeps it is printed."""
    try:
        path = trusted_learners_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = _text_of(path)
        if sha256 in _trusted(text):
            return
        shown = "".join(letter if letter.isprintable() else "?" for letter in name)
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        rewrite(path, f"{text or _HEADER}{sha256}  {shown}\n".encode("utf-8", "replace"), part, 0o600)
    except (OSError, ValueError) as error:
        _say(f"that you trust this learner cannot be remembered, so --trust will be needed again: {error}")


def _trusted(text: str) -> set[str]:
    found = set()
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        if line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(
                f"line {number} of {str(trusted_learners_path())!r} is {line[:80]!r}; a sha256, two spaces and a name "
                "are accepted. Mend or delete the file"
            )
        found.add(match[1])
    return found


def _text_of(path: Path) -> str:
    """The text of the file, empty where there is none; refused where somebody else could have written it."""
    try:
        # Not to wait, should it be a pipe.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return ""
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{str(path)!r} is no plain file; delete it")
        _check_is_own(path.parent, os.stat(path.parent))
        _check_is_own(path, status)
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST or not data.endswith(b"\n"):
        raise ValueError(f"{str(path)!r} is torn or larger than {_LARGEST} bytes; delete it")
    return data.decode("utf-8")


def _check_is_own(path: Path, status: os.stat_result) -> None:
    # Windows keeps such folders to their user by itself.
    if os.name != "nt" and (status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise ValueError(f"{str(path)!r} belongs to somebody else, or others may write to it; make it yours alone")


def _say(text: str) -> None:
    print(f"cleaner: {printable(text)}", file=sys.stderr)
