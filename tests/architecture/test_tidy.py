"""Small habits that keep the tree readable, checked so that nobody has to remember them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

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
    "app/checkup.py",  # each look on a thread of its own: what breaks one is a finding
    "loop.py",
    "node/__main__.py",
    "node/agent.py",
    "node/prepare.py",
    "node/publish.py",
    "train.py",
    "checkpoint/engine.py",
    "adapters/cloud/local_host.py",
    "adapters/cloud/skypilot/check.py",  # a process that tells of each cloud in turn, whatever the library of one raises
    "adapters/cloud/skypilot/errand.py",  # an errand's thread: whoever sent it asks for the error
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


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def is_slip(line: str) -> bool:
    return bool(UNFINISHED.search(line) or MACHINE_PATH.search(line))


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


def inner(path: Path) -> str:
    return path.relative_to(ROOT / "launcher").as_posix()


def test_no_file_is_longer_than_its_reader_is_patient():
    assert [name_of(path) for path in TEXTS if path.suffix == ".py" and len(text(path).splitlines()) > NUM_LINES_MAX] == []


def test_nothing_is_left_for_later_and_no_machine_of_ours_is_named():
    found = [(name_of(path), line) for path in [*TEXTS, *DOCUMENTS] for line in text(path).splitlines() if is_slip(line)]
    assert found == []


def test_a_module_opens_with_its_intuition():
    modules = [path for path in LIBRARY if path.name != "__init__.py"]
    assert [name_of(path) for path in modules if not ast.get_docstring(ast.parse(text(path)))] == []


def test_a_package_file_stays_empty_but_for_the_version():
    packages = [path for path in LIBRARY if path.name == "__init__.py"]
    assert [name_of(path) for path in packages if text(path).strip()] == ["launcher/__init__.py"]
    assert "__version__" in text(ROOT / "launcher/__init__.py")


def test_only_the_top_of_a_loop_catches_everything():
    others = [path for path in LIBRARY if inner(path) not in CATCH_ALL]
    assert [(name_of(path), line) for path in others for line in broad_handlers(text(path))] == []


def test_only_the_command_line_prints():
    others = [path for path in LIBRARY if not inner(path).startswith(PRINTERS)]
    assert [(name_of(path), line) for path in others for line in prints(text(path))] == []


def test_each_habit_can_be_broken():
    assert list(broad_handlers("try:\n    pass\nexcept (OSError, Exception):\n    pass")) == [3]
    assert list(broad_handlers("try:\n    pass\nexcept:\n    pass")) == [3]
    assert list(broad_handlers("try:\n    pass\nexcept OSError:\n    pass")) == []
    assert list(broad_handlers("try:\n    pass\nexcept Exception:\n    undo()\n    raise")) == []
    assert list(prints("def f():\n    print(1)")) == [2]
    assert is_slip("# TO" + "DO later")
    assert is_slip("see /wo" + "rk/main")
    assert not is_slip("https://example.org/work/")


def test_make_heeds_each_variable_that_the_readme_names():
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`make \w+ ([A-Z_]+)=", (ROOT / "README.md").read_text()))
    assert named, "the README names some"
    assert {name for name in named if f"$({name})" not in makefile} == set()
