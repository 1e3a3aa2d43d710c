"""A widget that answers the messages of its page."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from cleaner.core.errors import CleanerError
from cleaner.review.protocol import DECIDING, read_fields, read_header
from cleaner.review.session import Session

__all__ = ["Channel"]

_MAX_ERROR = 1000  # characters; an error may quote a message of any length


class Channel(anywidget.AnyWidget):  # type: ignore[misc]
    """Pass each message of the page to a method, or reply with an error.

    A subclass has a method `_on_KIND(reply_to, **fields)` for each kind in `MESSAGES`; `reply_to` is the message's id.

    Attributes:
        session: the review.
        ranked_by: name of the number that the samples are ranked by.
        patience_ms: how long the page waits for a reply before it reports that none came.
    """

    ranked_by = traitlets.Unicode("loss").tag(sync=True)
    patience_ms = traitlets.Int(10_000).tag(sync=True)

    def __init__(self, session: Session, **traits: Any) -> None:
        super().__init__(ranked_by=session.scan.ranked_by, **traits)
        self.session = session
        self.on_msg(self._receive)

    def show_error(self, error: str, reply_to: int | None = None) -> None:
        """Show an error on the page.

        Args:
            error: text of any length; the page gets its beginning.
            reply_to: id of the message that caused it.
        """
        self.send({"kind": "error", "id": reply_to, "message": error[:_MAX_ERROR], **self._error_details()})

    def _error_details(self) -> dict[str, Any]:
        """Return what the page gets with an error."""
        return {}

    def _receive(self, _widget: Any, content: Any, _buffers: Any) -> None:
        message: dict[str, Any] = {}
        try:
            message = read_header(content)
            fields = read_fields(message)
            getattr(self, f"_on_{message['kind']}")(message["id"], **fields)
        except (CleanerError, OSError) as error:
            prefix = "Not saved: " if message.get("kind") in DECIDING else ""
            self.show_error(f"{prefix}{self._reason(error)}", message.get("id"))
        except Exception as error:
            # Jupyter shows an exception in a callback to nobody; raised again, it reaches at least the kernel's log.
            self.show_error(f"{type(error).__name__}: {error}", message.get("id"))
            raise

    def _reason(self, error: CleanerError | OSError) -> str:
        if isinstance(error, OSError):
            return f"{error.strerror or error} ({self.session.manifest.path.name})"
        return str(error)
