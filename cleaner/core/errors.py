"""The exceptions with messages for users of this package."""

from __future__ import annotations

__all__ = ["CleanerError", "FieldError"]


class CleanerError(ValueError):
    """Invalid input or state; nothing was written or lost.

    The message says what is wrong, what was found and what to do. The command line prints it and exits with 2.
    """


class FieldError(CleanerError):
    """A field of a record has an invalid value.

    Attributes:
        field: name of the field, which is also the name of its column in a file.
        value: the invalid value.
        accepted: the values accepted, for the message.
    """

    def __init__(self, field: str, value: object, accepted: str) -> None:
        super().__init__(f"{field} is {value!r}; {accepted}")
        self.field = field
        self.value = value
        self.accepted = accepted

    def __reduce__(self) -> tuple[type[FieldError], tuple[str, object, str]]:
        # Exceptions are pickled by their message, but this one takes other arguments.
        return type(self), (self.field, self.value, self.accepted)
