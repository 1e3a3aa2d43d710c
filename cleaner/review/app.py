"""Review: the app as it is shown in a notebook and on the web page, ipywidgets around the overview and the grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets

from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan, scan_at
from cleaner.core.tasks import OTHER
from cleaner.review.grid import STYLE, Grid
from cleaner.review.overview import Overview
from cleaner.review.session import UNREADABLE, Session
from cleaner.review.thumbnails import Thumbnails

__all__ = ["Notice", "Review"]


_DRAWN = 384  # pixels; a drawing has the image twice


class Review(widgets.VBox):  # type: ignore[misc]
    """Look at the samples with the highest losses and decide about them; as the last line of a cell it is shown.

    Each decision is in `decisions.csv` of the scan folder before its card shows it as taken, so nothing is lost when
    the class changes, the page is reloaded or the kernel restarts: what is shown is always read back from there.

    Args:
        scan: a scan that was written or loaded, or the path of a scan folder.
        reviewer: who decides, for the manifest; by default the name of the user.
        page_size: thumbnails on a page, 1 to 200; by default as many as there were last, or 30.
        root: the dataset's folder, where it is not at the place at which it was scanned.

    Raises:
        CleanerError: the scan or its manifest cannot be used, the dataset is not there, or an argument is out of range.
    """

    def __init__(
        self,
        scan: Scan | str | Path,
        *,
        reviewer: str | None = None,
        page_size: int | None = None,
        root: str | Path | None = None,
    ) -> None:
        self.session = Session(scan_at(scan, root), reviewer, page_size)
        self.overview = Overview(self.session, self._open_class)
        found = self.session.scan
        thumbnails = Thumbnails(found.root)
        if found.task == OTHER:
            thumbnails = Thumbnails(found.root, size=_DRAWN, drawn=found.drawn_in)
        self.grid = Grid(self.session, thumbnails, on_change=self._draw)
        style = {"description_width": "initial"}
        self._split = widgets.Dropdown(description="Split", style=style, layout={"width": "180px"})
        self._label = widgets.Dropdown(description="Class", style=style, layout={"width": "360px"})
        self._drawing = False
        self._draw()
        self._split.observe(self._on_split, names="value")
        self._label.observe(self._on_label, names="value")
        choices = widgets.HBox([self._split, self._label])
        choices.add_class("cleaner-choose")
        super().__init__([choices, self.overview, self.grid])
        self.add_class("cleaner-review")

    def _draw(self) -> None:
        """Set the choices to what the session says; their own events stay quiet meanwhile."""
        labels = [(label, label) for label in self.session.labels]
        if self.session.unreadable:
            labels.append(("files that could not be read", UNREADABLE))
        self._drawing = True
        try:
            for dropdown, options, value in (
                (self._split, [(split, split) for split in self.session.scan.splits], self.session.split),
                (self._label, labels, self.session.label),
            ):
                if list(dropdown.options) != options:
                    dropdown.options = options
                dropdown.value = value if value in {each for _, each in options} else None
        finally:
            self._drawing = False
        self.overview.draw()

    def _on_split(self, change: dict[str, Any]) -> None:
        if not self._drawing:
            self._open(self.session.open_split, change["new"])

    def _on_label(self, change: dict[str, Any]) -> None:
        if not self._drawing:
            self._open(self.session.open_label, change["new"])

    def _open_class(self, label: str, predicted: str) -> None:
        """Open a class for the overview, which shows what goes wrong."""
        self.session.refresh()
        self.session.open_label(label, predicted)
        self.grid.show()
        self._draw()

    def _open(self, open_it: Callable[[str], None], name: str) -> None:
        try:
            self.session.refresh()
            open_it(name)
        except (CleanerError, OSError) as error:
            self.grid.show_error(str(error))
        else:
            self.grid.show()
        # Also after an error: the choices say what the page shows.
        self._draw()


class Notice(anywidget.AnyWidget):  # type: ignore[misc]
    """A text in the place of the app, which says why there is none; never taken for HTML."""

    _esm = """
    export default {
      render({ model, el }) {
        el.classList.add("cleaner", "cleaner-alert");
        el.setAttribute("role", "alert");
        el.textContent = model.get("text");
      },
    };
    """
    _css = STYLE
    text = traitlets.Unicode().tag(sync=True)
