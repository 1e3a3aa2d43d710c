"""Review: the app as it is shown in a notebook and on the web page, ipywidgets around the grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets as widgets

from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan, load
from cleaner.review.grid import Grid
from cleaner.review.session import Session
from cleaner.review.thumbnails import Thumbnails

__all__ = ["Review"]


class Review(widgets.VBox):  # type: ignore[misc]
    """Look at the samples with the highest losses and decide about them; as the last line of a cell it is shown.

    Each decision is in `decisions.csv` of the scan folder before its card shows it as taken, so nothing is lost when
    the class changes, the page is reloaded or the kernel restarts: what is shown is always read back from there.

    Args:
        scan: a scan that was written or loaded, or the path of a scan folder.
        reviewer: who decides, for the manifest; by default the name of the user.
        page_size: thumbnails on a page, 1 to 200.

    Raises:
        CleanerError: the scan or its manifest cannot be used, or an argument is out of range.
    """

    def __init__(self, scan: Scan | str | Path, *, reviewer: str | None = None, page_size: int = 30) -> None:
        if not isinstance(scan, Scan):
            scan = load(scan)
        self.session = Session(scan, reviewer, page_size)
        self.grid = Grid(self.session, Thumbnails(scan.root), on_change=self._draw)
        self._split = widgets.Dropdown(description="Split", layout={"width": "180px"})
        self._label = widgets.Dropdown(description="Class", layout={"width": "320px"})
        self._drawing = False
        self._draw()
        self._split.observe(self._on_split, names="value")
        self._label.observe(self._on_label, names="value")
        super().__init__([widgets.HBox([self._split, self._label]), self.grid])
        self.add_class("cleaner-review")

    def _draw(self) -> None:
        """Set the choices to what the session says; their own events stay quiet meanwhile."""
        self._drawing = True
        try:
            for dropdown, options, value in (
                (self._split, list(self.session.scan.splits), self.session.split),
                (self._label, self.session.labels, self.session.label),
            ):
                if list(dropdown.options) != options:
                    dropdown.options = options
                dropdown.value = value if value in options else None
        finally:
            self._drawing = False

    def _on_split(self, change: dict[str, Any]) -> None:
        if not self._drawing:
            self._open(self.session.open_split, change["new"])

    def _on_label(self, change: dict[str, Any]) -> None:
        if not self._drawing:
            self._open(self.session.open_label, change["new"])

    def _open(self, open_it: Any, name: str) -> None:
        try:
            open_it(name)
            self.session.manifest.refresh()
            self._draw()
            self.grid.show()
        except (CleanerError, OSError) as error:
            self.grid.show_error(str(error))
