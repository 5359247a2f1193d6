"""What a remote store promises on top of the suite of all: every call ends, and no create of its own is told as another's."""

import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.adapters import retry
from launcher.adapters.journal import Journal
from launcher.adapters.store import calls, remote
from launcher.adapters.store.base import Span
from launcher.adapters.store.probe import check_create
from launcher.adapters.store.providers.base import Place
from launcher.adapters.store.remote import RemoteStore
from launcher.core.contract import Claim
from launcher.core.tempo import STORE_DEADLINE_S
from launcher.errors import KeyExists, NoSuchHost, StoreDenied, StoreUnknown, StoreUnusable, UsageError
from launcher.node.prepare import claim
from tests.conformance.journals import NOW, Event, Noted, Started
from tests.conformance.provider import Coded, MemoryProvider, failing, silence, times

REPOSITORY = Path(__file__).parents[2]
LAST_MEBIBYTE_S = 1.01  # what is to be read gets its time on top
LOST = (ConnectionResetError, "no answer")
Act = Callable[[], object]


def store_over(provider: MemoryProvider, *, call_s: float = 20.0, deadline: float = 60.0) -> RemoteStore:
    return RemoteStore("s3://bkt/runs", provider, call_s=call_s, deadline=deadline)


def test_a_create_whose_answer_was_lost_is_ours() -> None:
    provider = MemoryProvider(after=times(1, "create", failing(*LOST)))
    store_over(provider).create("a", b"no nonce in here")
    assert provider.requests == ["connect", "create", "create", "stamp"]


def test_a_create_that_the_library_itself_repeated_is_ours_although_its_first_word_is_exists() -> None:
    provider = MemoryProvider(after=times(1, "create", failing(FileExistsError, "by the request before this one")))
    store_over(provider).create("a", b"x")
    assert provider.requests == ["connect", "create", "stamp"]


def test_the_mark_is_read_again_until_there_is_an_answer() -> None:
    provider = MemoryProvider(after=times(1, "create", failing(*LOST)), before=times(2, "stamp", failing(*LOST)))
    store_over(provider).create("a", b"x")


def test_equal_bytes_of_another_are_not_ours() -> None:
    provider = MemoryProvider()
    store_over(provider).create("a", b"same")
    provider.after = times(1, "create", failing(*LOST))
    with pytest.raises(KeyExists):
        store_over(provider).create("a", b"same")


def test_a_create_without_an_answer_is_known_again_by_the_next_one_of_the_same_bytes() -> None:
    provider = MemoryProvider(after=times(1, "create", failing(*LOST)))
    store = store_over(provider, deadline=0.0)
    with pytest.raises(StoreUnknown):
        store.create("a", b"same")
    store.create("a", b"same")
    with pytest.raises(KeyExists):
        store.create("a", b"same")


def test_other_bytes_after_a_create_without_an_answer_lose_against_it() -> None:
    provider = MemoryProvider(after=times(1, "create", failing(*LOST)))
    store = store_over(provider, deadline=0.0)
    with pytest.raises(StoreUnknown):
        store.create("a", b"one")
    with pytest.raises(KeyExists):
        store.create("a", b"two")
    assert store.get("a") == b"one"


@pytest.mark.parametrize("request_name", ["create", "replace", "read", "names", "delete"])
def test_silence_ends_at_the_deadline(request_name: str) -> None:
    provider = MemoryProvider()
    store_over(provider).create("a", b"x")
    store = store_over(provider, call_s=0.05, deadline=0.0)
    provider.before = times(99, request_name, lambda: silence)
    calls: dict[str, Act] = {
        "create": lambda: store.create("b", b"x"),
        "replace": lambda: store.replace("a", b"y"),
        "read": lambda: store.get("a", Span(0, 1)),
        "names": lambda: list(store.list("")),
        "delete": lambda: store.delete("a"),
    }
    with pytest.raises(StoreUnknown):
        calls[request_name]()


def test_silence_while_connecting_ends_at_the_deadline_too_and_is_tried_again() -> None:
    hold = threading.Event()
    provider = MemoryProvider(connecting=lambda: None if len(provider.requests) > 1 else (hold.wait(), None)[1])
    store = store_over(provider, call_s=0.05)
    try:
        store.create("a", b"x")
    finally:
        hold.set()
    assert provider.requests[:2] == ["connect", "connect"]


class Silence:
    """A store that hears nothing any more, and a clock on which a call passes by waiting as long as it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(calls, "waited_for", self.wait)

    def wait(self, *_: object, seconds: float) -> None:
        assert seconds > 0, "without an end it would wait for ever"
        self.now += seconds
        raise TimeoutError


def asleep(silence: Silence) -> retry.Patience:
    def sleep(seconds: float) -> None:
        silence.now += seconds

    return retry.Patience(sleep, random.Random(1))


def append(store: RemoteStore) -> Act:
    journal = Journal(store, incarnation="inc-1", event_type=Event, writer="sup-a")
    journal.open(Started(who="sup-a"), NOW)
    return lambda: journal.append(Noted(text="x"), NOW)


@pytest.mark.parametrize(
    "prepared",
    [
        append,
        lambda store: lambda: claim(store, Claim(attempt=1, instance_id="i", nonce="n", host="h", pid=1)),
        lambda store: lambda: store.create("a", b"x"),
        lambda store: lambda: store.get("a"),
        lambda store: lambda: list(store.list("")),
    ],
    ids=["append", "claim", "create", "get", "list"],
)
def test_silence_costs_one_deadline_of_however_many_calls_an_act_consists(
    prepared: Callable[[RemoteStore], Act], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_over(MemoryProvider(), call_s=remote.CALL_S, deadline=STORE_DEADLINE_S)
    act = prepared(store)
    store.create("b", b"the connection stands")
    silence = Silence(monkeypatch)
    began = silence.now
    with retry.patience(asleep(silence)), pytest.raises(StoreUnknown):
        act()
    assert remote.CALL_S < silence.now - began <= STORE_DEADLINE_S + LAST_MEBIBYTE_S


def test_what_moves_many_bytes_is_not_held_to_the_deadline_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer is asked for in time; all of them together may take longer."""
    monkeypatch.setattr(remote, "FIRST_BYTES", 4)
    monkeypatch.setattr(remote, "PIECE_BYTES", 4)
    provider, clock = MemoryProvider(), [time.monotonic()]
    store = store_over(provider)
    store.create("a", bytes(40))
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def slow(request: str) -> None:
        clock[0] += 10.0

    provider.before = slow
    assert retry.store_calls()(store.get, "a") == bytes(40)


def test_a_refusal_is_not_tried_again() -> None:
    provider = MemoryProvider(before=times(99, "create", failing(Coded, "AccessDenied")))
    with pytest.raises(StoreDenied, match="access denied") as denial:
        store_over(provider).create("a", b"x")
    assert denial.value.exit_code == 5
    assert provider.requests == ["connect", "create"]


def test_a_bucket_that_is_not_there_is_said_to_be_missing_and_not_to_be_empty() -> None:
    store = store_over(MemoryProvider(is_there=False))
    for call in (lambda: store.create("a", b"x"), lambda: store.replace("a", b"x"), lambda: list(store.list(""))):
        with pytest.raises(StoreUnusable, match="there is no bucket 'bkt'"):
            call()


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 14, 15, 24, 25])
def test_a_large_object_is_read_in_pieces(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_BYTES", 4)
    monkeypatch.setattr(remote, "PIECE_BYTES", 10)
    data = bytes(range(size))
    store = store_over(MemoryProvider())
    store.create("a", data)
    assert store.get("a") == data
    assert store.get("a", Span(1, 15)) == data[1:15]


def test_a_forked_child_makes_a_file_system_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = MemoryProvider()
    store = store_over(provider)
    store.create("a", b"x")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert store.get("a") == b"x"
    assert provider.requests.count("connect") == 2


FORKED = """
import os, sys, weakref
from launcher.adapters.store.remote import RemoteStore
from tests.conformance.provider import MemoryProvider

class Closing(MemoryProvider):
    def connect(self, bucket):
        fs = super().connect(bucket)
        weakref.finalize(fs, lambda: os.write(1, b"closed by %d\\n" % os.getpid()))
        return fs

store = RemoteStore("s3://bkt", Closing())
store.create("a", b"x")
if (child := os.fork()) == 0:
    store.get("a")
    sys.exit(0)
os.waitpid(child, 0)
store.get("a")
os.write(1, b"parent %d child %d\\n" % (os.getpid(), child))
"""


def test_a_forked_child_closes_nothing_of_its_parents_not_even_at_its_end() -> None:
    told = subprocess.run([sys.executable, "-c", FORKED], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True)
    closed, (parent, child) = re.findall(r"closed by (\d+)", told.stdout), *re.findall(r"parent (\d+) child (\d+)", told.stdout)
    assert closed.count(parent) == 1
    assert closed.count(child) == 1, "its own, and no other"
    assert told.stderr == ""


@pytest.mark.parametrize(
    "url",
    [
        "s3://KEY:hunter2@bkt/a",
        "s3://KEY@bkt/a",
        "s3://bkt/a?X-Amz-Signature=hunter2",
        "s3://bkt/a#hunter2",
        "abfs://c:hunter2@x/a",
    ],
)
def test_a_url_with_a_secret_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(UsageError, match="credentials elsewhere") as refusal:
        RemoteStore(url, MemoryProvider())
    assert "hunter2" not in str(refusal.value)


# --- the probe ---------------------------------------------------------------------------------------------------------------


class Overwriting(MemoryProvider):
    async def create(self, fs: object, place: Place, data: bytes, mark: str) -> None:
        await self.replace(fs, place, data)


def test_a_store_that_ignores_create_if_absent_is_refused_and_left_clean() -> None:
    provider = Overwriting()
    with pytest.raises(StoreUnusable, match="ignores create-if-absent"):
        check_create(store_over(provider))
    assert provider.objects == {}


def test_a_probe_of_a_good_store_costs_four_requests_and_leaves_nothing() -> None:
    provider = MemoryProvider()
    check_create(store_over(provider))
    assert provider.requests == ["connect", "create", "create", "stamp", "delete"]
    assert provider.objects == {}


def no_address() -> Exception:
    return socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_host_without_an_address_is_asked_once_before_a_run_is_born_and_again_later() -> None:
    unknown = MemoryProvider(before=times(2, "create", failing(no_address)))
    with pytest.raises(NoSuchHost, match=r"no answer for s3://bkt/runs/probes/.*gaierror.*check the network"):
        check_create(store_over(unknown))
    assert unknown.requests.count("create") == 1
    store_over(unknown).create("a", b"x")
    assert unknown.requests.count("create") == 3


def test_a_resolver_that_is_out_of_reach_is_waited_for() -> None:
    away = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    check_create(store_over(MemoryProvider(before=times(2, "create", failing(lambda: away)))))


def test_a_probe_whose_first_answer_is_lost_finds_no_fault() -> None:
    check_create(store_over(MemoryProvider(after=times(1, "create", failing(*LOST)))))
