"""The whole review by mouse and keys, in JupyterLab, Notebook 7 and Voila, compared with the manifest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.manifest import Manifest
from cleaner.core.scan import Scan
from tests.support.browser_app import App
from tests.support.hosts import PATIENCE, Host, jupyterlab, notebook7, voila
from tests.support.scans import make_scan

HOSTS = [
    pytest.param(voila, id="voila"),
    pytest.param(jupyterlab, id="jupyterlab"),
    pytest.param(notebook7, id="notebook7"),
]
Starter = Callable[[Path, Path], AbstractContextManager[Host]]


@pytest.mark.parametrize("start", HOSTS)
def test_decisions_by_mouse_are_in_the_manifest_and_on_a_reloaded_page(
    start: Starter, scan: Scan, tmp_path: Path, chromium: Any
) -> None:
    with start(scan.folder, tmp_path / "notebooks") as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 1000})
        host.open(page)
        app = App(page)
        app.wait_first("cat_01.png")
        assert app.names()[:4] == ["cat_01.png", "dog_01.png", "fox_01.png", "cat_02.png"]  # all, worst first
        app.open_list("cat", "cat_01.png")
        assert app.names() == [f"cat_{n:02d}.png" for n in range(1, 9)]
        app.decide("cat_01.png", "keep", "✓ Keep")
        app.decide("cat_02.png", "delete", "✕ Delete")
        app.relabel("cat_03.png", "fox")
        app.decide("cat_04.png", "unsure", "? Unsure")
        app.decide("cat_02.png", "undo", "undecided")
        taken = {"cat_01.png": "✓ Keep", "cat_03.png": "⇒ fox", "cat_04.png": "? Unsure"}
        assert app.decisions() == taken

        app.open_list("dog", "dog_01.png")
        assert app.decisions() == {}
        app.open_split("valid", "dog_v01.png")
        app.decide("dog_v01.png", "delete", "✕ Delete")
        app.open_split("train", "dog_01.png")
        assert app.decisions() == {}
        app.open_list("cat", "cat_01.png")
        assert app.decisions() == taken
        assert page.locator(".cleaner-counts").text_content() == "3 of 8 here · 33 % changed"
        assert "0 of 8 decided" in app.list_row("dog").get_attribute("title")

        host.restart(page)
        app.wait_first("cat_01.png")
        assert app.decisions() == taken
        page.close()

    rows = [
        (row.path, row.action.value, row.label, row.new_label, row.split) for row in Manifest(scan.manifest_path).rows()
    ]
    assert rows == [
        ("train/cat/cat_01.png", "keep", "cat", "", "train"),
        ("train/cat/cat_02.png", "delete", "cat", "", "train"),
        ("train/cat/cat_03.png", "relabel", "cat", "fox", "train"),
        ("train/cat/cat_04.png", "unsure", "cat", "", "train"),
        ("train/cat/cat_02.png", "undo", "cat", "", "train"),
        ("valid/dog/dog_v01.png", "delete", "dog", "", "valid"),
    ]


def test_odd_names_are_shown_as_text(tmp_path: Path, chromium: Any) -> None:
    odd = ("<img src=x onerror=alert(1)>", "<Delete>", "keep", "=1+1", "a, \"b\" 'c'", "naïve 🐻", "$x^2$", "../up")
    folders = tuple(name.replace("/", "∕") for name in odd)  # a folder cannot hold a slash; a look-alike can be shown
    scan = make_scan(tmp_path / "data", tmp_path / "scan", vocab=folders, per_class=1)
    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        alerts: list[str] = []
        page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
        host.open(page)
        app = App(page)
        for label in folders:
            app.open_list(label, f"{label}_01.png")
            assert page.locator(".cleaner-title").text_content() == label
        app.tool(f"{label}_01.png", "relabel").click()
        page.locator(".cleaner-choice", has_text="<Delete>").click()
        app.wait_for(f"{label}_01.png", "⇒ <Delete>")
        assert page.locator(".cleaner img[src='x']").count() == 0
        assert alerts == []
        page.close()
    (row,) = Manifest(scan.manifest_path).rows()
    assert (row.action.value, row.new_label) == ("relabel", "<Delete>")


def test_errors_are_shown_and_the_card_shows_the_decision_that_stands(
    scan: Scan, tmp_path: Path, chromium: Any
) -> None:
    (scan.root / "train/cat/cat_05.png").write_bytes(b"no image")
    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        host.open(page)
        app = App(page)
        app.decide("cat_01.png", "keep", "✓ Keep")
        assert "cannot identify image file" in app.card("cat_05.png").locator(".cleaner-broken").text_content()

        text = scan.manifest_path.read_text()
        scan.manifest_path.write_text(text.replace(",keep,", ",nonsense,"))
        app.tool("cat_02.png", "delete").click()
        app.wait_notice("nonsense")
        app.wait_for("cat_02.png", "undecided")
        assert "cat_02.png" not in app.decisions()

        scan.manifest_path.write_text(text)
        app.decide("cat_02.png", "delete", "✕ Delete")
        page.locator(".cleaner-alert").wait_for(state="detached", timeout=PATIENCE)
        page.close()
