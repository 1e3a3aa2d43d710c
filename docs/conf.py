"""The documentation's site: `python -m sphinx -W --keep-going -b html docs docs/_build/html`.

Sphinx makes the reference from the docstrings, and its PyData theme is that of pandas and NumPy, which the users know;
MyST-NB reads Markdown and notebooks. All three are kept by large communities, and the site needs no network.
"""

from __future__ import annotations

import argparse
import io
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

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb"]
exclude_patterns = ["_build", ".gitignore"]
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]  # pages of one file, and outputs of widgets
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "off"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
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
    """Copy a folder of the repository here, where git ignores it: Sphinx reads notebooks below its folder only."""
    shutil.rmtree(HERE / name, ignore_errors=True)
    shutil.copytree(ROOT / name, HERE / name, ignore=shutil.ignore_patterns(".*"))


def command_reference() -> str:
    """Return the help of each command as Markdown."""
    parser = _parser()
    (commands,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    parts = ["# Commands\n", "```console", "$ cleaner --help", _help(parser), "```"]
    for name, command in commands.choices.items():
        parts += [f"\n## cleaner {name}\n", "```console", f"$ cleaner {name} --help", _help(command), "```"]
    return "\n".join(parts) + "\n"


def _help(parser: argparse.ArgumentParser) -> str:
    text = io.StringIO()
    with redirect_stdout(text):
        parser.print_help()
    return text.getvalue().rstrip()


for folder in ("notebooks", "screenshots"):
    copy_here(folder)
(HERE / "reference").mkdir(exist_ok=True)
(HERE / "reference" / "commands.md").write_text(command_reference(), encoding="utf-8")
