"""Links between the pages of the documentation lead somewhere, also those with whole addresses to our own pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
PAGES += [page for page in DOCS.rglob("*.md") if not {"_build", "notebooks"} & set(page.relative_to(DOCS).parts)]
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Copied or made when the site is built; see docs/conf.py.
BUILT = ("notebooks/", "reference/commands")
OUR_SITE = "https://image-label-cleaner.readthedocs.io/"
OUR_FILES = (
    "https://github.com/image-label-cleaner/cleaner/blob/main/",
    "https://raw.githubusercontent.com/image-label-cleaner/cleaner/main/",
)


def anchors_of(file: Path) -> set[str]:
    """Return the anchors of a page's titles, as MyST and GitHub make them."""
    text = re.sub(r"^```.*?^```", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def target_of(page: Path, path: str) -> Path | None:
    """Return the file that a link means; None for a page of somebody else."""
    for start in OUR_FILES:
        if path.startswith(start):
            return ROOT / path.removeprefix(start)
    if path.startswith(OUR_SITE):
        name = path.removeprefix(OUR_SITE).removeprefix("en/latest/") or "index.html"
        return DOCS / f"{name.removesuffix('.html')}.md"
    if path.startswith(("http", "mailto:")):
        return None
    return (page.parent / path).resolve() if path else page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        file = target_of(page, path)
        if file is None:
            continue
        if not file.exists() and file.is_relative_to(DOCS):
            name = file.relative_to(DOCS).as_posix()
            assert name.startswith(BUILT), link
            file = ROOT / name
            if name.startswith("reference/commands"):
                continue
        assert file.exists(), link
        assert not anchor or anchor in anchors_of(file), link


def test_each_page_is_in_a_table_of_contents() -> None:
    guide = (DOCS / "guide/index.md").read_text(encoding="utf-8").split()
    assert {page.stem for page in (DOCS / "guide").glob("*.md")} - {"index"} <= set(guide)


def test_the_readme_is_short_and_its_links_have_whole_addresses() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    assert all(target.startswith("https://") for target in LINK.findall(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_name_no_folder_of_a_machine(page: Path) -> None:
    assert re.findall(r"(?:/home/|/root/|/tmp/|/Users/)\S+", page.read_text(encoding="utf-8")) == []
