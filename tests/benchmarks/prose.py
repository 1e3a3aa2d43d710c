"""Ten sentences of each room, drawn at random: `python -m tests.benchmarks.prose [--seed N] [REVISION]`.

The sentences are from docstrings, error messages and log messages; without a revision, from the working tree. Read them
as a newcomer does: each should be clear at the first reading.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOMS = ("core", "scoring", "review", "apply", "interpret")
SENTENCES = 10


def sources(revision: str | None, room: str) -> Iterator[str]:
    """Yield the source of each module of a room."""
    if revision is None:
        yield from (path.read_text(encoding="utf-8") for path in sorted(Path("cleaner", room).rglob("*.py")))
        return
    command = ["git", "ls-tree", "-r", "--name-only", revision, f"cleaner/{room}"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    for name in filter(lambda name: name.endswith(".py"), names):
        yield subprocess.run(["git", "show", f"{revision}:{name}"], capture_output=True, text=True, check=True).stdout


def sentences(source: str) -> Iterator[str]:
    """Yield the sentences of docstrings, and of the messages of errors and of the log."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
            for paragraph in text.split("\n\n"):
                text = re.sub(r"^(Args|Attributes|Raises|Returns):", "", paragraph)
                yield from re.split(r"(?<=[.?!]) +", " ".join(text.split()))
        elif isinstance(node, ast.Call) and re.search(r"Error$|Refusal$|_log\.", ast.unparse(node.func)):
            yield from filter(lambda message: " " in message, map(message_of, node.args))


def message_of(node: ast.expr) -> str:
    """Return a string of the code, with the expressions of an f-string in braces."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return ""
    values = (part.value for part in node.values if isinstance(part, (ast.Constant, ast.FormattedValue)))
    return "".join(str(v) if not isinstance(v, ast.expr) else f"{{{ast.unparse(v)}}}" for v in values)


def main() -> None:
    """Print the sentences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", nargs="?", help="a git revision; by default the working tree")
    parser.add_argument("--seed", type=int, default=14)
    options = parser.parse_args()
    for room in ROOMS:
        found = sorted({s for source in sources(options.revision, room) for s in sentences(source) if len(s) > 25})
        print(f"\n{room} ({len(found)} sentences)\n")
        for sentence in random.Random(options.seed).sample(found, SENTENCES):
            print(f"- {sentence}")


if __name__ == "__main__":
    main()
