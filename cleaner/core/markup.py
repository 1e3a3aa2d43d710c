"""Small pieces of HTML for notebooks; text from files and labels is escaped."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from cleaner.core.images import read_image

__all__ = ["Markup", "lines", "table", "thumbnails"]

_SIDE = 96


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def lines(texts: Iterable[str]) -> Markup:
    """Return each text in a line of its own."""
    return Markup("".join(f"<div>{html.escape(text)}</div>" for text in texts))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table; nothing without rows. Cells that are `Markup` are put in as they are."""
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    names = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    return Markup(f"<table><tr>{names}</tr>{body}</table>" if body else "")


def thumbnails(images: Iterable[tuple[Path, str]]) -> Markup:
    """Return small pictures of some files, each with a title; files that cannot be read are left out."""
    return Markup("".join(_thumbnail(path, title) for path, title in images))


def _cell(cell: object) -> str:
    return cell if isinstance(cell, Markup) else html.escape(str(cell))


def _thumbnail(path: Path, title: str) -> str:
    buffer = io.BytesIO()
    try:
        read_image(path, _SIDE).save(buffer, "JPEG")
    except Exception:  # noqa: BLE001 - decoders raise anything; the rest is shown without this one
        return ""
    data, text = base64.b64encode(buffer.getvalue()).decode(), html.escape(title, quote=True)
    return f'<img src="data:image/jpeg;base64,{data}" title="{text}" style="display:inline; margin:2px">'
