"""The built wheel, installed alone into an empty folder, has everything that the app needs."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.hosts import TOKEN, served
from tests.support.scans import make_scan

ROOT = Path(__file__).parents[1]
CHECK = """
import cleaner, importlib.metadata, pathlib, sys
from cleaner.review.app import Review
from cleaner.review.serve import notebook_path
home = pathlib.Path(cleaner.__file__).parent
assert str(home).startswith(sys.argv[1]), home
assert notebook_path() == home / "review" / "notebooks" / "review.ipynb", notebook_path()
assert (home / "py.typed").is_file()
for name, text in (("review.js", Review._esm), ("review.css", Review._css)):
    whole = (pathlib.Path(sys.argv[2]) / "cleaner/review/static" / name).read_text(encoding="utf-8")
    assert whole and str(text) == whole, name
assert importlib.metadata.version("image-label-cleaner") == cleaner.__version__
(command,) = importlib.metadata.entry_points(group="console_scripts", name="cleaner")
assert command.value == "cleaner.cli:main"
"""
# Read by Python when it starts: what only the tests install is not found.
ONLY_DEPENDENCIES = """
import sys
from importlib.machinery import PathFinder
absent = frozenset({absent!r})
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
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


def test_the_installed_wheel_has_all_files(installed: Path) -> None:
    run(installed, "-c", CHECK, str(installed), str(ROOT))


def test_the_installed_command_runs(installed: Path) -> None:
    assert "apply" in run(installed, "-m", "cleaner", "--help")


def test_the_wheel_installs_nothing_else(installed: Path) -> None:
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"cleaner", "bin"}


def required(distribution: importlib.metadata.Distribution, extra: str) -> set[tuple[str, str]]:
    """What a distribution needs, alone or for an extra: names, each with an extra of its own, or with none."""
    needs = map(Requirement, distribution.requires or ())
    asked = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return {(normal(need.name), each) for need in asked for each in ("", *need.extras)}


def normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def absent_without_extras(wheel: importlib.metadata.Distribution) -> set[str]:
    """The packages of this environment that an installation of the wheel would not have."""
    there = {normal(found.metadata["Name"]): found for found in importlib.metadata.distributions()}
    seen, left = {("image-label-cleaner", "")}, required(wheel, "")
    while left:
        name, extra = left.pop()
        seen.add((name, extra))
        if name in there:
            left |= required(there[name], extra) - seen
    needed = {name for name, _ in seen}
    by_package = importlib.metadata.packages_distributions()
    return {package for package, names in by_package.items() if needed.isdisjoint(map(normal, names))}


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_the_page_needs_nothing_but_the_dependencies(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wheel,) = importlib.metadata.distributions(path=[str(installed)])
    absent = absent_without_extras(wheel)
    assert {"pytest", "jupyterlab", "ray", "playwright"} <= absent
    (tmp_path / "sitecustomize.py").write_text(ONLY_DEPENDENCIES.format(absent=sorted(absent)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(installed)]))
    monkeypatch.chdir(tmp_path)
    scan = make_scan(tmp_path / "data", tmp_path / "scan", per_class=1)
    with served(scan.folder) as host:
        words = host.server.cmdline()
        address = f"http://127.0.0.1:{words[words.index('--port') + 1]}/?token={TOKEN}"
        page = urllib.request.urlopen(address, timeout=120).read().decode()
    assert "kernelId" in page
    assert "application/vnd.jupyter.widget-view+json" in page
