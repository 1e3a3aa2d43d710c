"""The documentation's site: `python -m sphinx -W --keep-going -b html docs docs/_build/html`.

Sphinx makes the reference from the docstrings, and its PyData theme is that of pandas and NumPy, which the users know;
MyST-NB reads Markdown and notebooks. All three are kept by large communities, and the site needs no network.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

import cleaner  # noqa: E402
from cleaner.cli import _parser  # noqa: E402

project = "cleaner"
author = "The cleaner developers"
copyright = "The cleaner developers"  # noqa: A001 - a name of Sphinx
version = release = cleaner.__version__

# Neither intersphinx, which downloads, nor mathjax, which pages load from elsewhere.
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "myst_nb"]
exclude_patterns = ["_build", ".gitignore"]
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]  # pages of one file, and outputs of widgets
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "off"
autosummary_generate = False  # the pages of the reference are written by hand, one for each stage
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
add_module_names = False
default_role = "code"
python_use_unqualified_type_names = True

html_theme = "pydata_sphinx_theme"
html_title = f"cleaner {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("start", "formats", "faq")}  # pages without others beside them
html_theme_options = {
    "show_prev_next": False,
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "icon_links": [
        {"name": "Source", "url": "https://github.com/image-label-cleaner/cleaner", "icon": "fa-brands fa-github"}
    ],
}


def copy_here(name: str) -> None:
    """Copy the files of a folder of the repository here, where git ignores them: Sphinx reads only what is below it.

    Files that are up to date stay, so that builds at the same time do not take them from each other.
    """
    source, target = ROOT / name, HERE / name
    target.mkdir(exist_ok=True)
    wanted = {file.name: file for file in source.iterdir() if file.is_file() and not file.name.startswith(".")}
    for file in target.iterdir():
        if file.name not in wanted and file.suffix in {each.suffix for each in wanted.values()}:
            file.unlink(missing_ok=True)
    for file in wanted.values():
        copy = target / file.name
        if not copy.exists() or copy.read_bytes() != file.read_bytes():
            shutil.copyfile(file, copy)


def write(path: Path, text: str) -> None:
    """Write a page, unless it has this text already, so that Sphinx does not build it again."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def gallery() -> str:
    """Return a list of the notebooks: the title of each, as a link, and its first paragraph."""
    first = "tutorial.ipynb"
    files = sorted((HERE / "notebooks").glob("*.ipynb"), key=lambda file: (file.name != first, file.name))
    lines = []
    for file in files:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        title, _, about = "".join(cells[0]["source"]).partition("\n\n") if cells else (file.stem, "", "")
        summary = " ".join(about.split("\n\n")[0].split())
        lines.append(f"- [{title.lstrip('# ').strip()}](notebooks/{file.name}): {summary}")
    return "\n".join(lines) + "\n"


def command_reference() -> str:
    """Return the help of each command as Markdown."""
    parser = _parser()
    (commands,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    parts = ["# Commands\n", "```text", _help(parser), "```"]
    for name, command in commands.choices.items():
        parts += [f"\n## cleaner {name}\n", "```text", _help(command), "```"]
    return "\n".join(parts) + "\n"


def _help(parser: argparse.ArgumentParser) -> str:
    """Return the help of a command in the same width on each terminal, without colours."""
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=100)
    text = io.StringIO()
    with redirect_stdout(text):
        parser.print_help()
    return text.getvalue().rstrip()


for folder in ("notebooks", "screenshots"):
    copy_here(folder)
write(HERE / "notebooks" / "list.txt", gallery())
write(HERE / "reference" / "commands.md", command_reference())
