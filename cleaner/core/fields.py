"""Checks of fields that were read from files, which anybody may have written."""

from __future__ import annotations

import os
import re

from cleaner.core.errors import CleanerError, FieldError

__all__ = ["check_absolute", "check_one_of", "check_sha256", "check_text", "check_whole"]

_SHA256 = re.compile("[0-9a-f]{64}")


def check_text(record: object, *names: str) -> None:
    """Check that the named fields of a record are text in UTF-8.

    Raises:
        FieldError: a field is not.
    """
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, str) or (not value.isascii() and value.encode("utf-8", "ignore").decode() != value):
            raise FieldError(name, value, "expected text in UTF-8")


def check_sha256(record: object, *names: str) -> None:
    """Check that the named fields of a record are SHA-256 hashes in hexadecimal digits.

    Raises:
        FieldError: a field is not.
    """
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            raise FieldError(name, value, "expected 64 lower-case hexadecimal digits")


def check_whole(record: object, *names: str, minimum: int = 0, maximum: int = 2**64 - 1) -> None:
    """Check that the named fields of a record are whole numbers in a range.

    Raises:
        FieldError: a field is not.
    """
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise FieldError(name, value, f"expected a whole number from {minimum} to {maximum}")


def check_absolute(name: str, value: object) -> str:
    """Return `value` if it is an absolute path.

    Raises:
        FieldError: it is not; the error names the field `name`.
    """
    if not isinstance(value, str) or "\0" in value or not os.path.isabs(value):
        raise FieldError(name, value, "expected an absolute path")
    try:
        os.fsencode(value)
    except UnicodeEncodeError as error:
        raise FieldError(name, value, "expected an absolute path") from error
    return value


def check_one_of(name: str, value: object, expected: tuple[str, ...]) -> None:
    """Check that an argument has one of the expected values.

    Raises:
        CleanerError: it has another value.
    """
    if value not in expected:
        listed = ", ".join(expected[:10]) + (", …" if len(expected) > 10 else "")
        raise CleanerError(f"{name} is {value!r}; expected one of {listed}")
