"""The pages say what is there: every key, exit code and module, and nothing that is gone."""

import dataclasses
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from launcher import errors
from launcher.adapters import recipe_file
from launcher.adapters.recipe_units import without_none
from launcher.app import grammar
from launcher.app.commands.help import CONTRACT, ENVIRONMENT, EXIT_CODES
from launcher.app.show import load_line
from launcher.core.recipe import Recipe
from launcher.sim.checkers.base import CHECKERS
from launcher.sim.faults import Fault
from tests.architecture.test_tidy import ROOT, is_slip, name_of

PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
PACKAGE = ROOT / "launcher"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- docs/recipe.md ----------------------------------------------------------------------------------------------------------


def key_paths(kind: type, prefix: str = "") -> Iterator[str]:
    """The path of every key of the recipe that is written by itself: "policy.budget", "notify.*.url"."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner = without_none(hints[field.name])
        items = [item for item in typing.get_args(inner) if dataclasses.is_dataclass(item)]
        if field.metadata.get("unit") == "derived":
            continue
        if dataclasses.is_dataclass(inner):
            yield from key_paths(typing.cast(type, inner), f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"
            for item in items:
                yield from key_paths(item, f"{prefix}{field.name}.*.")


def documented_keys(page: str) -> list[str]:
    """The first cell of each row under "Every key"."""
    section = page.partition("## Every key")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def test_the_recipe_page_has_every_key_once_and_no_other():
    assert sorted(documented_keys(text("docs/recipe.md"))) == sorted([*key_paths(Recipe), "defaults"])


def test_a_key_missing_in_the_page_is_found():
    page = text("docs/recipe.md").replace("| `policy.budget` |", "| budget |")
    assert set(key_paths(Recipe)) - set(documented_keys(page)) == {"policy.budget"}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_complete_recipe_on_a_page_is_accepted(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DATA_URL", raising=False)
    blocks = re.findall(r"^```yaml\n(# \S+\.yaml.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for block in blocks:
        recipe_file.parse(block, f"a recipe in {path.name}")


# --- docs/exit-codes.md ------------------------------------------------------------------------------------------------------


def known_codes() -> set[int]:
    """Those of our errors, of the help, and success."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LaunchError)]
    return {kind.exit_code for kind in kinds} | {int(code) for code in re.findall(r"^ +(\d+) ", EXIT_CODES, re.MULTILINE)}


def documented_codes(page: str) -> set[int]:
    return {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}


def test_the_exit_code_page_has_every_code():
    assert known_codes() - documented_codes(text("docs/exit-codes.md")) == set()


def test_an_exit_code_missing_in_the_page_is_found():
    page = text("docs/exit-codes.md").replace("| 7 |", "| seven |")
    assert known_codes() - documented_codes(page) == {7}


# --- launch help environment -------------------------------------------------------------------------------------------------


def variables(page: str) -> set[str]:
    return set(re.findall(r"LAUNCH_[A-Z_]*[A-Z]\b", page))


def test_the_help_on_the_environment_has_every_variable_that_the_pages_give_and_we_read():
    code = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    ours = set(re.findall(r'"(LAUNCH_[A-Z_]+)"', code))
    given = set().union(*(variables(path.read_text(encoding="utf-8")) for path in PAGES))
    assert variables(ENVIRONMENT) == (ours & given) - variables(CONTRACT)


# --- ARCHITECTURE.md ---------------------------------------------------------------------------------------------------------


def drawn_modules(page: str) -> list[str]:
    """The paths at the line starts of the tree; "folder/*.py" stands for all modules of a folder."""
    tree = page.partition("## Tree")[2].partition("```\n")[2].partition("```")[0]
    return re.findall(r"^  (\S+\.py) ", tree, re.MULTILINE)


def modules() -> list[str]:
    return [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]


def is_drawn(module: str, drawn: list[str]) -> bool:
    return module in drawn or f"{module.rpartition('/')[0]}/*.py" in drawn


def test_every_module_is_in_the_tree_of_architecture():
    drawn = drawn_modules(text("ARCHITECTURE.md"))
    assert [module for module in modules() if not is_drawn(module, drawn)] == []


def test_the_tree_of_architecture_names_no_module_that_is_gone():
    drawn = [path for path in drawn_modules(text("ARCHITECTURE.md")) if not path.endswith("*.py")]
    assert [path for path in drawn if path not in modules()] == []
    assert len(drawn) == len(set(drawn))


def test_a_module_missing_in_the_tree_is_found():
    page = text("ARCHITECTURE.md").replace("  core/tempo.py ", "  core/ ")
    assert not is_drawn("core/tempo.py", drawn_modules(page))


# --- docs/simulation.md -------------------------------------------------------------------------------------------------------


def first_cells(page: str, heading: str) -> list[str]:
    """What the first column of the table under a heading names; a cell may name several things."""
    rows = re.findall(r"^\| ([^|]+) \|", page.partition(f"## {heading}")[2].partition("\n## ")[0], re.MULTILINE)
    return [name for row in rows[1:] for name in row.split(", ")]


def of_pairs(names: Iterable[str]) -> list[str]:
    """ "stop request, then resume" is one name."""
    return sorted(name for whole in names for name in whole.split(", "))


def test_the_simulation_page_has_every_fault_and_every_checker_once_and_no_other():
    page = text("docs/simulation.md")
    assert sorted(first_cells(page, "Faults")) == of_pairs(fault.value for fault in Fault)
    assert first_cells(page, "Checkers") == list(CHECKERS)


def test_each_fault_of_the_port_to_a_store_is_set_beside_what_servers_do():
    table = text("docs/simulation.md").partition("## A store's faults")[2].partition("\n## ")[0]
    named = {name for row in table.splitlines() if row.startswith("|") for name in row.split("|")[3].strip().split(", ")}
    of_store = list(Fault)[list(Fault).index(Fault.LIST_LATE) : list(Fault).index(Fault.STORE_AWAY) + 1]
    assert named - {"simulated by", "---", "–"} == {fault.value for fault in of_store}


# --- README.md ----------------------------------------------------------------------------------------------------------------


def test_the_program_of_the_readme_saves_and_goes_on_from_what_it_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = re.findall(r"^```python\n# train.py\n(.*?)^```", text("README.md"), re.MULTILINE | re.DOTALL)[0]
    shorter = program.replace("60_000", "2000")
    saved = tmp_path / "state.pt"
    monkeypatch.setenv("LAUNCH_CHECKPOINT_DIR", str(tmp_path))

    def train() -> int:
        """When the file was written last."""
        exec(shorter, {})
        return saved.stat().st_mtime_ns

    assert len([line for line in program.splitlines() if line]) <= 12
    written_at = train()
    assert train() == written_at, "it is at its end already"
    assert [path.name for path in tmp_path.iterdir()] == [saved.name]


# --- all pages ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_leads_nowhere_that_is_not_there(path: Path):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_types_only_commands_that_are_in_the_grammar(path: Path):
    typed = re.findall(r"(?:^\$ |`)(?:\S*/)?launch ([a-z]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert [word for word in typed if grammar.find(word) is None] == []


def test_a_page_leaves_nothing_for_later_and_names_no_machine_of_ours():
    found = [(name_of(path), line) for path in PAGES for line in path.read_text(encoding="utf-8").splitlines() if is_slip(line)]
    assert found == []


def test_each_extra_that_somebody_is_told_to_install_is_one():
    extras = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]
    pages = [path.read_text(encoding="utf-8") for path in (*PAGES, *PACKAGE.rglob("*.py"))]
    told = {word for page in pages for words in re.findall(r"spot-launch\[([\w,]+)\]", page) for word in words.split(",")}
    assert {"sky", "az"} < told
    assert told <= set(extras)
    for cloud in ("aws", "gcp", "azure"):
        assert f"skypilot[{cloud}]" in extras[cloud], "what SkyPilot needs for it"


def test_what_the_printed_line_imports_is_installed_with_the_trainer():
    wanted = re.findall(r"from (\w+)[\w.]* import", load_line("file:///weights"))
    extra = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]["train"]
    assert wanted
    assert set(wanted) <= {re.split(r"\W", needed)[0] for needed in extra}
