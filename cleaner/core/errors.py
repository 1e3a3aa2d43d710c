"""The exceptions that a user of this package is meant to read."""

from __future__ import annotations

__all__ = ["CleanerError", "FieldError"]


class CleanerError(ValueError):
    """Bad input or a state that forbids going on; nothing was written or lost.

    The message says what came, what is accepted and what to do. The command line prints it and exits with 2.
    """


class FieldError(CleanerError):
    """A field of a record has a value that makes no sense.

    Attributes:
        field: name of the field, which is also the name of its column in a file.
        value: what came.
        accepted: what is accepted.
    """

    def __init__(self, field: str, value: object, accepted: str) -> None:
        super().__init__(f"{field} is {value!r}; {accepted}")
        self.field = field
        self.value = value
        self.accepted = accepted

    def __reduce__(self) -> tuple[type[FieldError], tuple[str, object, str]]:
        # Exceptions are pickled by their message, which is not what this one is made from.
        return type(self), (self.field, self.value, self.accepted)
