"""The house keeps its floors, and the test that says so can fail: each row of each table is broken once below."""

from itertools import product
from pathlib import Path

import pytest

from tests.architecture import floors
from tests.architecture.floors import CONCRETE, CORE_FORBIDDEN_CALLS, DURABLE_CALLS, PACKAGES, ROOMS, TORCH_FREE, violations

LIBRARY = Path(__file__).parents[2] / floors.PACKAGE


def module_name(path: Path) -> str:
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in sorted(LIBRARY.rglob("*.py"))}
ROOM_NAMES = [member for room in ROOMS for member in room.members]


def test_every_module_imports_only_what_its_room_may():
    texts = {module: path.read_text(encoding="utf-8") for module, path in MODULES.items() if module}
    assert [why for module, source in texts.items() for why in violations(module, source)] == []


def test_every_module_has_a_room():
    modules = [module for module, path in MODULES.items() if path.name != "__init__.py"]
    assert [module for module in modules if floors.room_of(module) is None] == [], "give each a row in ROOMS"


def test_nobody_below_the_app_may_import_it():
    assert [room.members for room in ROOMS if floors.is_in("app.cli", room.may_import)] == [("app",)]


def test_client_and_machine_never_import_each_other():
    supervisor = floors.room_of("supervisor")
    assert supervisor is not None
    assert not any(floors.is_in(machine, supervisor.may_import) for machine in floors.MACHINE)
    assert not any(floors.is_in("supervisor", room.may_import) for room in ROOMS if set(room.members) & set(floors.MACHINE))


# --- each rule was seen to fail ----------------------------------------------------------------------------------------------

FORBIDDEN_PAIRS = [
    (member, target)
    for member, target in product(ROOM_NAMES, ROOM_NAMES)
    if not floors.is_in(target, floors.room_of(member).may_import)  # type: ignore[union-attr]
]
WAYS_TO_IMPORT = [
    "import launcher.{target}",
    "from launcher.{target} import x",
    "def lazy():\n    from launcher.{target} import x",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import launcher.{target}",
]


def test_an_import_upward_or_sideways_is_found():
    tried = [(f"{member}.some", way.format(target=target)) for member, target in FORBIDDEN_PAIRS for way in WAYS_TO_IMPORT]
    assert [(module, source) for module, source in tried if not violations(module, source)] == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.members[0])
def test_every_room_but_the_top_has_something_it_may_not_import(room: floors.Room):
    assert "app" in room.members or any(member in room.members for member, _ in FORBIDDEN_PAIRS)


def test_a_relative_import_counts_like_an_absolute_one():
    assert violations("core.run.state", "from ...adapters import journal")
    assert violations("core.run.state", "from ... import supervisor")
    assert not violations("core.run.state", "from ..market import offer")


def test_a_folder_taken_whole_counts_as_all_it_holds():
    assert violations("supervisor", "from launcher import adapters")
    assert violations("supervisor", "from launcher.adapters.store import files")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_outside_its_own_room_is_found(package: str):
    for way in (f"import {package}", f"import {package}.inner as i", f"def lazy():\n    from {package} import x"):
        assert violations("core.plan.some", way)
        assert violations("sim.some", way)
    assert not violations(PACKAGES[package][0], f"import {package}")


def test_a_package_nobody_chose_is_found_everywhere():
    assert all(violations(member, "import pandas") for member in ROOM_NAMES)


@pytest.mark.parametrize("module", TORCH_FREE)
def test_torch_in_what_the_simulator_shares_is_found(module: str):
    assert violations(module, "def lazy():\n    import torch")


@pytest.mark.parametrize("concrete", CONCRETE)
def test_a_shell_that_chooses_a_concrete_class_is_found(concrete: str):
    statement = f"from launcher.{concrete} import X"
    assert any("composition root" in why for why in violations("app.commands.some", statement))
    assert not violations("app.wiring", statement)


@pytest.mark.parametrize("outside", ["time", "os", "pathlib", "threading", "asyncio", "subprocess", "socket", "secrets", "uuid"])
def test_a_core_module_with_a_clock_files_or_threads_is_found(outside: str):
    assert violations("core.run.some", f"import {outside}")
    assert violations("core.run.some", f"def lazy():\n    from {outside} import x")


@pytest.mark.parametrize("call", sorted(CORE_FORBIDDEN_CALLS))
def test_a_core_module_that_calls_out_is_found(call: str):
    assert violations("core.run.some", f"x = {call}()")


def test_chance_without_a_seed_in_the_core_is_found():
    assert violations("core.run.some", "import random")
    assert violations("core.market.trace", "import random\nx = random.random()")
    assert violations("core.market.trace", "import random\nx = random.Random()")
    assert violations("core.market.trace", "from random import gauss")
    assert not violations("core.market.trace", "import random\nx = random.Random(7).random()")


@pytest.mark.parametrize("source", ["import os\nx = os.environ", "import os\nx = os.getenv('A')", "from os import environ"])
def test_an_environment_variable_read_outside_the_roots_is_found(source: str):
    assert violations("node.agent", source)
    assert not violations("app.wiring", source)


@pytest.mark.parametrize("call", sorted(DURABLE_CALLS))
def test_a_durable_write_outside_its_one_file_is_found(call: str):
    assert violations("adapters.store.files", f"import os\nos.{call}(x)")
    assert not violations("adapters.durable", f"import os\nos.{call}(x)")


def test_an_import_by_computed_name_is_found():
    source = "from importlib import import_module\nimport_module(x)"
    assert violations("node.agent", source)
    assert not violations("app.cli", source)
