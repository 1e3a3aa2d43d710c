"""`Review`, the app in a notebook and on the web page: overview, grid, and the choice of split and class."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
from cleaner.review.session import Session
from cleaner.review.thumbnails import Thumbnails
from cleaner.review.view import LIST_NAMES

__all__ = ["Notice", "Review"]


_DRAWING_SIZE = 384  # pixels; a drawing shows the image twice


class Review(widgets.VBox):  # type: ignore[misc]
    """Review the samples with the highest losses; shown when it is the last line of a cell.

    A decision is in `decisions.csv` of the scan folder before its card shows it, and the page is always drawn from that
    file. So nothing is lost when the class changes, the page is reloaded or the kernel restarts.

    Args:
        scan: a scan that was written or loaded, or the path of a scan folder.
        reviewer: who decides, for the manifest; by default the name of the user.
        page_size: thumbnails on a page, 1 to 200; by default as in the last session, or 30.
        root: the dataset's folder, if it moved since the scan.

    Raises:
        CleanerError: the scan or its manifest is invalid, the dataset is missing, or an argument is out of range.
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
        self.grid = Grid(self.session, _thumbnails(self.session.scan), on_change=self._draw)
        style = {"description_width": "initial"}
        self._split = widgets.Dropdown(description="Split", style=style, layout={"width": "180px"})
        self._label = widgets.Dropdown(description="Class", style=style, layout={"width": "360px"})
        self._is_drawing = False
        self._draw()
        self._split.observe(self._on_split, names="value")
        self._label.observe(self._on_label, names="value")
        choices = widgets.HBox([self._split, self._label])
        choices.add_class("cleaner-choose")
        super().__init__([choices, self.overview, self.grid])
        self.add_class("cleaner-review")

    def _draw(self) -> None:
        """Set the dropdowns to the session's view, without their own events, and draw the overview."""
        session = self.session
        labels = [(label, label) for label in session.labels]
        labels += [(name, each) for each, name in LIST_NAMES.items() if session.samples_of(session.view.split, each)]
        self._is_drawing = True
        try:
            _set_dropdown(self._split, [(split, split) for split in session.scan.splits], session.view.split)
            _set_dropdown(self._label, labels, session.view.label)
        finally:
            self._is_drawing = False
        self.overview.draw()

    def _open_class(self, label: str, predicted: str) -> None:
        """Open a class for the overview, which shows the errors."""
        self.session.refresh()
        self.session.filter(label=label, predicted=predicted)
        self.grid.show()
        self._draw()

    def _on_split(self, change: dict[str, Any]) -> None:
        self._open(partial(self.session.open_split, change["new"]))

    def _on_label(self, change: dict[str, Any]) -> None:
        self._open(partial(self.session.filter, label=change["new"], predicted=""))

    def _open(self, open_view: Callable[[], None]) -> None:
        if self._is_drawing:
            return
        try:
            self.session.refresh()
            open_view()
        except (CleanerError, OSError) as error:
            self.grid.show_error(str(error))
        else:
            self.grid.show()
        self._draw()  # after an error it sets the dropdowns back


def _set_dropdown(dropdown: widgets.Dropdown, options: list[tuple[str, str]], value: str) -> None:
    if list(dropdown.options) != options:
        dropdown.options = options
    dropdown.value = value if value in [option for _, option in options] else None


def _thumbnails(scan: Scan) -> Thumbnails:
    if scan.task == OTHER:
        return Thumbnails(scan.root, size=_DRAWING_SIZE, drawn=scan.drawn_in)
    return Thumbnails(scan.root)


class Notice(anywidget.AnyWidget):  # type: ignore[misc]
    """The reason why the app cannot be shown, in its place; plain text, never HTML."""

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
