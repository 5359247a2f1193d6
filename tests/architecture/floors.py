"""Which module may import what, as tables, and the reader of source that checks them.

A shape that nobody checks is gone in a month. The house has floors (imports go downward only), a few rooms within them, and
outside packages that belong to one room each; DESIGN, sections 1 and 2, in the form of data. The checker reads the syntax
tree, so an import inside a function or under TYPE_CHECKING counts like any other: it is the dependency that matters.

A name in these tables stands for that module and all below it: "core" is `launcher.core` and `launcher.core.run.state`.
To let a module cross a floor, change its row here, in sight of a reviewer, and say why.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

PACKAGE = "launcher"
PURE_WORDS = ("errors", "units", "codec")
WORDS = (*PURE_WORDS, "clock", "log", "processes")  # F0
PORTS = ("adapters.store.base", "adapters.cloud.base", "adapters.market.base")
JOURNAL = ("adapters.journal", "adapters.records", "adapters.segments", "adapters.history", "adapters.commits")
CLIENT = (
    "loop",
    "supervisor",
    "visit",
    "beacon",
    "observe",
    "seal",
    "retention",
)  # F3; the other half of it is MACHINE, and neither imports the other
MACHINE = ("node", "checkpoint", "train", "data", "trainers", "integrations")
# What a machine does with the store, less its processes and its training: a simulated machine claims, obeys, restores and commits
# with the same code, or its histories would prove nothing about a real one's.
SIMULATED = ("checkpoint.commit", "checkpoint.format", "checkpoint.restore", "checkpoint.verify", "node.orders", "node.prepare")
MACHINE_ADAPTERS = ("adapters.store", *JOURNAL, "adapters.retry", "adapters.durable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Modules that may import the same of our own modules. The last row that fits a module holds."""

    members: tuple[str, ...]
    may_import: tuple[str, ...]


ROOMS = (
    Room(members=WORDS, may_import=WORDS),
    Room(members=PURE_WORDS, may_import=PURE_WORDS),
    Room(members=("core",), may_import=(*PURE_WORDS, "core")),
    Room(members=("adapters",), may_import=(*WORDS, "core", "adapters")),
    Room(members=("adapters.retry", "adapters.durable"), may_import=(*WORDS, "core.tempo")),
    Room(members=("adapters.store",), may_import=(*WORDS, "core", "adapters.store", "adapters.retry", "adapters.durable")),
    Room(members=JOURNAL, may_import=(*WORDS, "core", "adapters.store.base", "adapters.retry", *JOURNAL)),
    Room(members=CLIENT, may_import=(*WORDS, "core", *PORTS, *JOURNAL, "adapters.retry", *CLIENT)),
    Room(members=MACHINE, may_import=(*WORDS, "core", *MACHINE_ADAPTERS, *MACHINE)),
    Room(members=("sim",), may_import=(*WORDS, "core", "adapters", *CLIENT, *SIMULATED, "sim")),
    Room(members=("app",), may_import=(*WORDS, "core", "adapters", *CLIENT, *MACHINE, "sim", "app")),
)

# Who may choose a concrete class where others see the port: the composition roots, and the folder's own modules.
# The host of the reference run is a process of its own, with nobody above it to hand it a store.
ROOTS = ("app.wiring", "sim", "node.__main__", "node.warm", "train", "adapters.cloud.local_reference_host")
CONCRETE = {
    "adapters.store.open": ROOTS,
    "adapters.store.files": (*ROOTS, "adapters.store"),
    "adapters.store.memory": (*ROOTS, "adapters.store"),
    "adapters.store.remote": (*ROOTS, "adapters.store"),
    "adapters.cloud.local": (*ROOTS, "adapters.cloud"),
    "adapters.cloud.skypilot": (*ROOTS, "adapters.cloud"),
    "adapters.market.listed": (*ROOTS, "adapters.market"),
    "adapters.market.catalog": (*ROOTS, "adapters.market"),
}

# Outside packages and the only modules that may import them. One that is not here may be imported by nobody.
PACKAGES = {
    "sky": ("adapters.cloud.skypilot",),
    "omegaconf": ("adapters.recipe_file",),
    "yaml": ("adapters.recipe_yaml", "app.show"),
    "tenacity": ("adapters.retry", "adapters.journal", "supervisor", "visit"),  # the journal takes a policy as an argument
    "fsspec": ("adapters.market.download", "data"),
    "s3fs": ("adapters.store.providers.s3",),
    "isal": ("adapters.store.providers.s3",),
    "gcsfs": ("adapters.store.providers.gcs",),
    "aiohttp": ("adapters.store.providers.gcs", "adapters.market.download"),  # by which gcsfs and fsspec speak HTTP
    "botocore": (  # under boto3 and aiobotocore
        "adapters.ec2",
        "adapters.store.providers.s3",
        "adapters.store.providers.s3_bulk",
    ),
    "adlfs": ("adapters.store.providers.azure",),
    "azure": ("adapters.store.providers.azure",),
    "rich": ("app",),
    "xxhash": ("adapters", "checkpoint", "node", "train", "trainers"),
    "numpy": ("checkpoint.stage",),  # its random state, where the program itself has loaded it; no dependency of ours
    "torch": ("checkpoint", "integrations", "trainers", "train"),
}
TORCH_FREE = tuple(module for module in SIMULATED if module.startswith("checkpoint."))  # a sweep must not wait for PyTorch

# The standard library's modules that decide nothing by themselves: no clock, no chance, no files, no threads.
CORE_STDLIB = frozenset(
    """__future__ abc bisect collections copy csv dataclasses datetime decimal difflib enum fnmatch fractions functools
    hashlib heapq io itertools json math operator re statistics string textwrap types typing unicodedata zlib""".split()
)
# These draw lives from explicit seeds: random.Random(seed) and nothing else of the module.
CORE_RANDOM = ("core.market.trace", "core.market.hazard", "core.plan.estimate", "core.plan.forecast", "core.plan.play")
CORE_FORBIDDEN_CALLS = frozenset({"open", "print", "input", "exec", "eval", "now", "utcnow", "today"})

# The host of a local instance reads none by name: it hands its whole environment, less our variables, on to the agent.
ENVIRONMENT_READERS = (
    "app.wiring",
    "app.pricelists",
    "app.cli",
    "node.__main__",
    "node.warm",
    "checkpoint.surroundings",
    "train",
    "trainers",
    "adapters.cloud.local_host",
    "adapters.store.providers",  # what the providers' own tools read, where their libraries do not read it themselves
)
DYNAMIC_IMPORTERS = ("app.cli",)
DURABLE_CALLS = frozenset({"fsync", "fdatasync", "link", "rename", "replace"})  # of `os`: one file owns local durable writes
DURABLE_OWNER = ("adapters.durable",)


def is_in(module: str, rows: tuple[str, ...]) -> bool:
    """Whether a module (without "launcher.") is one of `rows` or below one."""
    return any(module == row or module.startswith(row + ".") for row in rows)


def room_of(module: str) -> Room | None:
    return next((room for room in reversed(ROOMS) if is_in(module, room.members)), None)


def violations(module: str, source: str) -> list[str]:
    """Everything in the source of a module (its name without "launcher.") that the tables forbid, with line numbers."""
    tree = ast.parse(source)
    found = [
        f"launcher.{module}:{line}: {why}"
        for line, target in _imports(module, tree)
        for why in (_forbidden_own(module, target) if _is_own(target) else _forbidden_outside(module, target))
    ]
    found += [f"launcher.{module}:{line}: {why}" for line, why in _forbidden_acts(module, tree)]
    return found


# --- imports -----------------------------------------------------------------------------------------------------------------


def _imports(module: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full dotted target of each import. `from a import b` gives "a.b": b may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def _absolute(module: str, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parents = f"{PACKAGE}.{module}".split(".")[: -node.level]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _is_own(target: str) -> bool:
    return target.split(".")[0] == PACKAGE


def _forbidden_own(module: str, target: str) -> Iterator[str]:
    inner = target.removeprefix(PACKAGE).lstrip(".")
    room = room_of(module)
    if inner.startswith("__") or not inner:  # the version string; anyone may read it
        return
    if room is None:
        yield f"belongs to no room; give launcher.{module} a row in ROOMS"
    elif not is_in(inner, room.may_import):
        yield f"may not import {target}: that is not below it"
    for concrete, choosers in CONCRETE.items():
        if is_in(inner, (concrete,)) and not is_in(module, (*choosers, concrete)):
            yield f"may not choose {concrete} itself: it takes the port from a composition root"


def _forbidden_outside(module: str, target: str) -> Iterator[str]:
    package = target.split(".")[0]
    if package in sys.stdlib_module_names or package == "__future__":
        yield from _forbidden_stdlib(module, target)
    elif not is_in(module, PACKAGES.get(package, ())):
        yield f"may not import {package}; PACKAGES says who may"
    elif package == "torch" and is_in(module, TORCH_FREE):
        yield "is to stay free of torch"


def _forbidden_stdlib(module: str, target: str) -> Iterator[str]:
    top = target.split(".")[0]
    if not is_in(module, ("core",)) or top in CORE_STDLIB or target.startswith("collections.abc"):
        return
    if top == "random" and is_in(module, CORE_RANDOM) and target in ("random", "random.Random"):
        return
    yield f"is core, which has no clock, chance, files or threads, and imports {target}"


# --- acts --------------------------------------------------------------------------------------------------------------------


def _forbidden_acts(module: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _forbidden_calls(module, node)
        for name in _os_names(node):
            if name in ("environ", "environb", "getenv", "getenvb") and not is_in(module, ENVIRONMENT_READERS):
                yield node.lineno, "reads environment variables; ENVIRONMENT_READERS says who may"
            if name in DURABLE_CALLS and not is_in(module, DURABLE_OWNER):
                yield node.lineno, f"calls os.{name}; local durable writes belong to adapters.durable"
        if (
            is_in(module, ("core",))
            and isinstance(node, ast.Attribute)
            and _is_name(node.value, "random")
            and node.attr != "Random"
        ):
            yield node.lineno, f"is core and draws from random.{node.attr}; only Random(seed) repeats"


def _forbidden_calls(module: str, call: ast.Call) -> Iterator[tuple[int, str]]:
    name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if name in CORE_FORBIDDEN_CALLS and is_in(module, ("core",)):
        yield call.lineno, f"is core and calls {name}()"
    if name == "Random" and not call.args and is_in(module, ("core",)):
        yield call.lineno, "is core and seeds Random from the clock; give it a seed"
    if name in ("import_module", "__import__") and not is_in(module, DYNAMIC_IMPORTERS):
        yield call.lineno, "imports by a computed name, which no table can check; DYNAMIC_IMPORTERS says who may"


def _os_names(node: ast.AST) -> list[str]:
    """Names of `os` that a node uses: os.NAME, or from os import NAME."""
    if isinstance(node, ast.Attribute) and _is_name(node.value, "os"):
        return [node.attr]
    if isinstance(node, ast.ImportFrom) and node.module == "os":
        return [alias.name for alias in node.names]
    return []


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
