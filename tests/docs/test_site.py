"""The documentation's site builds strictly and offline, and shows each public name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import cleaner

ROOT = Path(__file__).parents[2]
OURS = re.compile(r"""(?:src|rel="stylesheet"[^>]*href)=["'](https?:)?//""")

pytestmark = pytest.mark.notebook


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_pages_load_nothing_from_other_servers(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    assert [page.name for page in pages if OURS.search(page.read_text(encoding="utf-8"))] == []


def test_the_reference_has_each_public_name(site: Path) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html"))
    assert [name for name in cleaner.__all__ if f'id="cleaner.{name}"' not in text] == []


def test_the_reference_has_each_command(site: Path) -> None:
    text = (site / "reference/commands.html").read_text(encoding="utf-8")
    for command in ("scan", "check", "serve", "apply", "undo", "agreement", "demo"):
        assert f'id="cleaner-{command}"' in text
