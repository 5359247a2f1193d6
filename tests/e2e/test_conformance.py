"""The suite that every store passes, on real servers: the very tests of `tests/conformance` that take nothing but a store."""

import inspect
from collections.abc import Callable
from types import ModuleType

import pytest

from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import open_store
from tests.conformance import test_journal, test_journal_damage, test_store
from tests.e2e.conftest import Remote

Promise = Callable[[ObjectStore], None]


def promises_of(module: ModuleType) -> list[Promise]:
    tests = (value for name, value in vars(module).items() if name.startswith("test_"))
    return [test for test in tests if list(inspect.signature(test).parameters) == ["store"]]


@pytest.mark.parametrize("module", [test_store, test_journal, test_journal_damage])
def test_each_suite_has_promises_for_any_store(module: ModuleType) -> None:
    assert len(promises_of(module)) >= 5


@pytest.mark.parametrize(
    "promise",
    [promise for module in (test_store, test_journal, test_journal_damage) for promise in promises_of(module)],
    ids=lambda promise: promise.__name__.removeprefix("test_"),
)
def test_a_store_on_a_server(promise: Promise, remote: Remote) -> None:
    promise(open_store(remote.url))
