"""Checks of the fields of records that are made from files which anybody may have written."""

from __future__ import annotations

import os
import re

from cleaner.core.errors import FieldError

__all__ = ["check_absolute", "check_sha256", "check_text", "check_whole"]

_SHA256 = re.compile("[0-9a-f]{64}")


def check_text(record: object, *names: str) -> None:
    """Check that fields are text that can be written as UTF-8.

    Raises:
        FieldError: one of them is not.
    """
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, str) or (not value.isascii() and value.encode("utf-8", "ignore").decode() != value):
            raise FieldError(name, value, "a text in UTF-8 is accepted")


def check_sha256(record: object, *names: str) -> None:
    """Check that fields are a SHA-256 in hexadecimal digits.

    Raises:
        FieldError: one of them is not.
    """
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            raise FieldError(name, value, "64 lower-case hexadecimal digits are accepted")


def check_whole(record: object, *names: str, minimum: int = 0, maximum: int = 2**64 - 1) -> None:
    """Check that fields are whole numbers in a range.

    Raises:
        FieldError: one of them is not.
    """
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise FieldError(name, value, f"a whole number from {minimum} to {maximum} is accepted")


def check_absolute(name: str, value: object) -> str:
    """`value` itself if it is a whole path that a system can have.

    Raises:
        FieldError: it is not.
    """
    if not isinstance(value, str) or "\0" in value or not os.path.isabs(value):
        raise FieldError(name, value, "a whole path is accepted")
    try:
        os.fsencode(value)
    except UnicodeEncodeError as error:
        raise FieldError(name, value, "a whole path is accepted") from error
    return value
