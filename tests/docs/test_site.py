"""The documentation's site builds strictly and offline, and shows each public name, command and notebook."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cleaner

ROOT = Path(__file__).parents[2]
# An element that loads something, and an import in a style sheet. Links that a reader follows are not meant.
_LOADS = re.compile(
    r"""<(?:script|img|link|iframe|source|video|audio|embed|object)\b[^>]*?["'\s=](?:https?:)?//[\w-]"""
)
_STYLE_LOADS = re.compile(r"""(?:@import\s+|url\()\s*["']?(?:https?:)?//""")

pytestmark = pytest.mark.notebook


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def text_of(*pages: Path) -> str:
    return "".join(page.read_text(encoding="utf-8") for page in pages)


def test_pages_load_nothing_from_other_servers(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    assert [(page.name, found[0]) for page in pages if (found := _LOADS.search(text_of(page)))] == []
    assert [page.name for page in site.rglob("*.css") if _STYLE_LOADS.search(text_of(page))] == []


def test_a_browser_asks_no_other_server(site: Path, chromium: Any) -> None:
    asked: list[str] = []
    page = chromium.new_page()
    page.on("request", lambda request: asked.append(request.url))
    for name in ("index", "guide/checks", "reference/scan", "notebooks/tutorial", "notebooks/segmentation"):
        page.goto((site / f"{name}.html").as_uri(), wait_until="load")
    page.close()
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_reference_has_each_public_name(site: Path) -> None:
    text = text_of(*(site / "reference").glob("*.html"))
    assert [name for name in cleaner.__all__ if f'id="cleaner.{name}"' not in text] == []
    overview = text_of(site / "reference/index.html")
    assert [name for name in cleaner.__all__ if f"#cleaner.{name}" not in overview] == []


def test_the_reference_shows_the_examples(site: Path) -> None:
    text = html.unescape(re.sub("<[^>]+>", "", text_of(site / "reference/scan.html")))
    assert '>>> scan = cleaner.scan(learn, "new", k=5, progress=False)' in text


def test_the_reference_has_each_command(site: Path) -> None:
    text = text_of(site / "reference/commands.html")
    for command in (
        "scan",
        "check",
        "show",
        "history",
        "serve",
        "agreement",
        "export",
        "apply",
        "undo",
        "trash",
        "demo",
    ):
        assert f'id="cleaner-{command}"' in text


def test_the_gallery_has_each_notebook(site: Path) -> None:
    text = text_of(site / "gallery.html")
    names = [notebook.stem for notebook in (ROOT / "notebooks").glob("*.ipynb")]
    assert names
    assert [name for name in names if f'href="notebooks/{name}.html"' not in text] == []


def test_no_page_names_a_folder_of_the_machine_that_built_it(site: Path) -> None:
    named = [
        page.name for page in site.rglob("*.html") if str(ROOT) in text_of(page) or str(Path.home()) in text_of(page)
    ]
    assert named == []
