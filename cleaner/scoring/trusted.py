"""Which learner files a user has trusted: a small text file of their own, known by the bytes of each learner."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cleaner.core.settings import read_own, settings_file, write_own
from cleaner.core.terminal import printable

__all__ = ["is_trusted", "remember", "trusted_learners_path"]

_HEADER = (
    "# sha256 and name of the learners that `cleaner scan --trust` was said for; delete a line to be asked again\n"
)
_LINE = re.compile(r"([0-9a-f]{64})  .*")


def trusted_learners_path() -> Path:
    """The user's file of trusted learners: `cleaner/trusted-learners` in the folder of their settings.

    Raises:
        OSError: the system does not say which folder that is.
    """
    return settings_file("trusted-learners")


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
        text = _text_of(path)
        if sha256 in _trusted(text):
            return
        shown = "".join(letter if letter.isprintable() else "?" for letter in name)
        write_own(path, f"{text or _HEADER}{sha256}  {shown}\n".encode("utf-8", "replace"))
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
    return read_own(path).decode("utf-8")


def _say(text: str) -> None:
    print(f"cleaner: {printable(text)}", file=sys.stderr)
