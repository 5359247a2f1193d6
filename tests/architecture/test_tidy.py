"""Small habits that keep the tree readable, checked so that nobody has to remember them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "launcher").rglob("*.py"))
TEXTS = sorted(
    path
    for folder in ("launcher", "tests", "scripts", "recipes", "configs", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and path.suffix in ("", ".py", ".yaml", ".toml", ".sh", ".csv")
)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.txt"), ROOT / "Makefile"])

NUM_LINES_MAX = 500
# A loop's or a process's top, where whatever happened is recorded; everywhere else the narrowest type is caught.
CATCH_ALL = (
    "app/cli.py",
    "supervisor.py",
    "node/__main__.py",
    "node/agent.py",
    "node/prepare.py",
    "node/publish.py",
    "train.py",
    "checkpoint/engine.py",
    "adapters/cloud/local_host.py",
    "adapters/store/calls.py",  # what four libraries may raise is no closed set: what is not known is no answer
    "adapters/store/waiting.py",  # what was asked of one thread by another: that one is told
    "adapters/market/live_ask.py",  # likewise, in a thread: what came of it is told, and a listed price is there
    "sim/sweep.py",
    "sim/soak.py",  # a seed that raises is a violation, and stops no other seed
    "sim/timeline.py",  # an actor's thread: whoever started it asks for the error
    "sim/disaster.py",  # a supervisor's process: what ended it is the checkers' to judge
)
PRINTERS = ("app/", "log.py", "node/__main__.py", "node/leash.py", "trainers/")  # stdout is the result's; the rest logs
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(" + "|".join(("work", "root", "opt/pypi", "home/[a-z]+", "Users/[A-Za-z]+")) + r")/")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def broad_handlers(source: str) -> Iterator[int]:
    """Lines that catch everything (`except:`, Exception, BaseException, alone or in a tuple) and do not raise it again."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and not isinstance(node.body[-1], ast.Raise):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")) for kind in caught):
                yield node.lineno


def prints(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno


@pytest.mark.parametrize("path", [path for path in TEXTS if path.suffix == ".py"], ids=name_of)
def test_no_file_is_longer_than_its_reader_is_patient(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= NUM_LINES_MAX


@pytest.mark.parametrize("path", [*TEXTS, *DOCUMENTS], ids=name_of)
def test_nothing_is_left_for_later_and_no_machine_of_ours_is_named(path: Path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if UNFINISHED.search(line) or MACHINE_PATH.search(line)] == []


@pytest.mark.parametrize("path", [p for p in LIBRARY if p.name != "__init__.py"], ids=name_of)
def test_a_module_opens_with_its_intuition(path: Path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", [p for p in LIBRARY if p.name == "__init__.py"], ids=name_of)
def test_a_package_file_stays_empty_but_for_the_version(path: Path):
    text = path.read_text(encoding="utf-8")
    assert "__version__" in text if path.parent.name == "launcher" else text.strip() == ""


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_only_the_top_of_a_loop_catches_everything(path: Path):
    inner = path.relative_to(ROOT / "launcher").as_posix()
    assert inner in CATCH_ALL or list(broad_handlers(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_only_the_command_line_prints(path: Path):
    inner = path.relative_to(ROOT / "launcher").as_posix()
    assert inner.startswith(PRINTERS) or list(prints(path.read_text(encoding="utf-8"))) == []


def test_each_habit_can_be_broken():
    assert list(broad_handlers("try:\n    pass\nexcept (OSError, Exception):\n    pass")) == [3]
    assert list(broad_handlers("try:\n    pass\nexcept:\n    pass")) == [3]
    assert list(broad_handlers("try:\n    pass\nexcept OSError:\n    pass")) == []
    assert list(broad_handlers("try:\n    pass\nexcept Exception:\n    undo()\n    raise")) == []
    assert list(prints("def f():\n    print(1)")) == [2]
    assert UNFINISHED.search("# TO" + "DO later")
    assert MACHINE_PATH.search("see /wo" + "rk/main")
    assert not MACHINE_PATH.search("https://example.org/work/")
