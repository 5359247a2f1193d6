"""A store used before a fork, as by a data loader: the child works as well, or is told what to do; it never hangs."""

import functools
import os
import signal
import warnings
from collections.abc import Callable

import pytest

from launcher.adapters.store import bulk
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import open_store
from launcher.adapters.store.remote import RemoteStore
from launcher.errors import StoreUnusable
from tests.e2e.conftest import PROVIDERS, Remote

HANGS_AFTER_S = 60
NUM_CHILDREN = 30
WORKED, TOLD, WRONG = 0, 3, 4
LARGE = bytes(bulk.SLOT_BYTES + 1)  # for one request


def test_a_store_works_in_a_forked_child_and_goes_on_working_in_its_parent(remote: Remote) -> None:
    store = open_store(remote.url)
    store.create("before", b"of the parent")
    assert in_child(lambda: child_uses(store)) in (WORKED, TOLD)
    store.create("after", b"of the parent")
    assert store.get("after") == b"of the parent"


def test_a_store_opened_in_a_forked_child_works(remote: Remote) -> None:
    open_store(remote.url).create("before", b"of the parent")
    assert in_child(lambda: child_uses(open_store(remote.url))) == WORKED
    assert open_store(remote.url).get("within") == b"of the child"


def test_a_grandchild_may_use_it_too(remote: Remote) -> None:
    store = open_store(remote.url)
    store.create("before", b"of the parent")
    assert in_child(lambda: in_child(lambda: child_uses(store))) in (WORKED, TOLD)


def test_a_large_object_is_sent_by_a_child_as_by_its_parent(remote: Remote) -> None:
    store = open_store(remote.url)
    store.create("before", LARGE)
    assert in_child(lambda: child_creates(store, "within", LARGE)) in (WORKED, TOLD)
    assert open_store(remote.url).get("within") == LARGE


def test_what_children_do_with_an_inherited_store_costs_their_parent_no_answer(remote: Remote) -> None:
    """Without a second try, an answer that never arrives shows."""
    for child in range(NUM_CHILDREN):
        store = RemoteStore(remote.url, PROVIDERS[remote.kind.scheme](), call_s=10, deadline=0)
        store.create(f"parent/{child}", b"x")
        assert in_child(functools.partial(child_creates, store, f"child/{child}")) in (WORKED, TOLD)
        store.create(f"parent/{child}/after", b"x")


def child_uses(store: ObjectStore) -> int:
    try:
        store.create("within", b"of the child")
        right = store.get("before") == b"of the parent" and [m.key for m in store.list("")] == ["before", "within"]
    except StoreUnusable as error:
        return TOLD if "fork" in str(error) else WRONG
    return WORKED if right else WRONG


def child_creates(store: ObjectStore, key: str, data: bytes = b"of the child") -> int:
    try:
        store.create(key, data)
    except StoreUnusable as error:
        return TOLD if "fork" in str(error) else WRONG
    return WORKED


def in_child(work: Callable[[], int]) -> int:
    """What `work` returns in a forked child, which an alarm ends if it hangs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks is what is tested
        pid = os.fork()
    if pid == 0:
        signal.alarm(HANGS_AFTER_S)
        code = 70
        try:
            code = work()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.fixture(autouse=True)
def _alarm_as_usual() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
