"""The built wheel, installed alone into an empty folder, has everything that the app needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECK = """
import cleaner, importlib.metadata, pathlib, sys
from cleaner.review.grid import Grid
from cleaner.review.serve import notebook_path
home = pathlib.Path(cleaner.__file__).parent
assert str(home).startswith(sys.argv[1]), home
assert notebook_path() == home / "notebooks" / "review.ipynb", notebook_path()
assert (home / "py.typed").is_file()
assert "model.send" in str(Grid._esm) and ".cleaner-card" in str(Grid._css)
assert importlib.metadata.version("image-cleaner") == cleaner.__version__
(command,) = importlib.metadata.entry_points(group="console_scripts", name="cleaner")
assert command.value == "cleaner.cli:main"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and nothing else; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", folder / "site", wheel]
    subprocess.run(install, check=True, capture_output=True)
    return folder / "site"


def run(installed: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *command], check=False, capture_output=True, text=True, env=environment, cwd=installed
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_files_are_there(installed: Path) -> None:
    run(installed, "-c", CHECK, str(installed))


def test_the_command_runs(installed: Path) -> None:
    assert "apply" in run(installed, "-m", "cleaner", "--help")


def test_nothing_else_is_installed(installed: Path) -> None:
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"cleaner", "bin"}
