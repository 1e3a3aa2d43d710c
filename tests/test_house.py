"""The rules of the house: who may know whom, and what is loaded when."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import cleaner
from tests.support.loaded_packages import HEAVY, SCREEN, loaded_by

HOUSE = Path(cleaner.__file__).parent
FILES = {".".join(path.relative_to(HOUSE.parent).with_suffix("").parts): path for path in sorted(HOUSE.rglob("*.py"))}
STAGES = {"scoring", "checks", "review", "apply", "interpret"}
KNOW_ALL = {"cli", "demo", "__init__", "__main__"}

# Masks and points are shown by fastai, which does that with matplotlib; into a file, and on no screen.
DRAWS = "cleaner.scoring.model.drawing"


def room_of(module: str) -> str:
    """The part of the house that a module is in: `core`, one of the stages, or its own name at the top."""
    return module.split(".")[1]


def imports_of(source: str) -> Iterator[str]:
    """Every module that a source imports anywhere, also for types only, with the name that is taken from it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (argument.value for argument in node.args if isinstance(argument, ast.Constant))


def trespasses(module: str, source: str) -> list[str]:
    """The imports that the rules forbid."""
    room = room_of(module)
    if room in KNOW_ALL:
        return []
    outside = {"core": HEAVY | SCREEN, "scoring": SCREEN, "interpret": HEAVY}.get(room, HEAVY)
    if module == DRAWS:
        outside = outside - {"matplotlib"}
    allowed = {"core", room, "__version__"}
    found = [(name, *f"{name}.".split(".")[:2]) for name in imports_of(source)]
    return [name for name, top, below in found if top in outside or (top == "cleaner" and below not in allowed)]


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_what_its_room_may_know(module: str) -> None:
    assert trespasses(module, FILES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("module", FILES)
def test_images_are_opened_in_the_accepted_formats_only(module: str) -> None:
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open"):
            assert "formats=formats()" in ast.unparse(node), f"{module}, line {node.lineno}"


def test_every_module_is_in_a_room_that_has_rules() -> None:
    assert len(FILES) > 20
    assert {room_of(module) for module in FILES} <= STAGES | KNOW_ALL | {"core"}


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("cleaner.core.scan", "from cleaner.scoring import engine", ["cleaner.scoring.engine"]),
        ("cleaner.core.scan", "def f():\n    import torch.nn", ["torch.nn"]),
        ("cleaner.core.scan", "from matplotlib import pyplot", ["matplotlib.pyplot"]),
        ("cleaner.apply.plan", "from cleaner.review.session import Session", ["cleaner.review.session.Session"]),
        ("cleaner.apply.plan", "if TYPE_CHECKING:\n    from fastai.learner import Learner", ["fastai.learner.Learner"]),
        ("cleaner.review.app", "import importlib\nimportlib.import_module('cleaner.apply')", ["cleaner.apply"]),
        ("cleaner.review.app", "from cleaner import apply", ["cleaner.apply"]),
        ("cleaner.review.app", "import cleaner", ["cleaner"]),
        ("cleaner.scoring.engine", "import cleaner.apply.execute", ["cleaner.apply.execute"]),
        ("cleaner.scoring.engine", "import torch\nfrom cleaner.core import scan", []),
        ("cleaner.apply.plan", "from cleaner.core.journal import Operation\nfrom cleaner import __version__", []),
        ("cleaner.interpret.plots", "from matplotlib import pyplot\nfrom cleaner.core.scan import Scan", []),
        ("cleaner.interpret.plots", "from cleaner.review.session import Session", ["cleaner.review.session.Session"]),
        ("cleaner.cli", "import torch\nimport cleaner.review.app", []),
    ],
)
def test_the_rules_find_what_they_forbid(module: str, source: str, expected: list[str]) -> None:
    assert trespasses(module, source) == expected


def test_importing_cleaner_loads_nothing_heavy() -> None:
    assert not loaded_by("import cleaner\ndir(cleaner)\ncleaner.__version__") & (HEAVY | SCREEN | {"pandas"})


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("core", HEAVY | SCREEN),
        ("checks", HEAVY | SCREEN | {"pandas"}),
        ("apply", HEAVY | SCREEN | {"pandas"}),
        ("review", HEAVY),
        ("interpret", HEAVY | SCREEN),
    ],
)
def test_a_room_loads_nothing_that_it_may_not_know(room: str, forbidden: set[str]) -> None:
    modules = [module.removesuffix(".__init__") for module in FILES if room_of(module) == room]
    assert modules
    assert not loaded_by("\n".join(f"import {module}" for module in modules)) & forbidden


def test_the_public_names_are_sorted_and_exist() -> None:
    assert list(cleaner.__all__) == sorted(set(cleaner.__all__))
    for name in cleaner.__all__:
        assert getattr(cleaner, name) is not None
    assert set(cleaner.__all__) <= set(dir(cleaner))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = cleaner.no_such_name


@pytest.mark.parametrize("first", ["cleaner", "cleaner.apply", "cleaner.apply.execute"])
def test_apply_is_a_function_whatever_is_imported_before(first: str) -> None:
    loaded_by(
        f"import {first}\nimport cleaner\nimport types\n"
        "assert isinstance(cleaner.apply, types.FunctionType)\n"
        "import cleaner.apply.trash\n"
        "from cleaner.apply.execute import undo\n"
        "from cleaner import apply\n"
        "assert apply is cleaner.apply and cleaner.undo is undo"
    )
    assert list(inspect.signature(cleaner.apply).parameters)[:3] == ["scan", "data", "dry_run"]
    assert cleaner.apply.__doc__.startswith("Carry out the decisions about a scan")
