"""Links between the pages of the documentation lead somewhere, and no page names a machine of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
PAGES += [page for page in (ROOT / "docs").rglob("*.md") if not {"_build", "notebooks"} & set(page.parts)]
LINK = re.compile(r"\]\(([^)\s]+)\)")
BUILT = ("notebooks/", "reference/commands")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() and file.relative_to(ROOT / "docs").as_posix().startswith(BUILT):
            file = ROOT / file.relative_to(ROOT / "docs")
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_the_readme_is_short_and_its_pictures_have_whole_addresses() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    assert all(target.startswith("https://") for target in LINK.findall(text))
