"""Large objects on real servers: whole or absent, whatever happens to single parts, and to the process that sends them."""

import contextlib
import functools
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fsspec import asyn

from launcher.adapters.store import bulk
from launcher.adapters.store.base import ObjectStore, ReadsAhead, Span
from launcher.adapters.store.memory import MemoryStore
from launcher.adapters.store.open import open_store
from launcher.adapters.store.providers.base import Abandoned, Part, Place
from launcher.adapters.store.providers.s3 import S3
from launcher.adapters.store.remote import RemoteStore
from launcher.adapters.store.waiting import waited_for
from launcher.adapters.store.wire import Wire
from launcher.checkpoint import verify
from launcher.core.checkpoint.manifest import FileEntry
from launcher.errors import Damaged, KeyExists, KeyMissing, StoreUnknown
from launcher.units import Bytes, Seconds
from tests.e2e.carrier import carried, chunks, content
from tests.e2e.conftest import PROVIDERS, STORES, Faulty, Note, Remote
from tests.servers.kinds import BUCKET, KINDS
from tests.servers.proxy import FaultProxy
from tests.servers.running import ROOT, Servers

MIB: Bytes = 2**20
SLOT: Bytes = bulk.SLOT_BYTES
LARGE: Bytes = 300_000_000
MEMORY_MOST: Bytes = 128_000_000
SMALL_SLOT: Bytes = 5 * MIB  # the least that Amazon takes, so that faults cost less time
SIZE: Bytes = 12 * MIB + 5  # three small slots
CALL_S: Seconds = 3.0  # of one call, and 5 s more for the bytes of a part
DEADLINE_S: Seconds = 30.0
SHORT_S: Seconds = 5.0
SILENT_S: Seconds = 12.0
HELD_WITHIN_S: Seconds = 120.0
IN_A_PART: Bytes = 3 * MIB

# How each store is asked to take a part of an upload, and to make an object of them. Google takes the last part as both.
PART = {"s3": "^PUT .*partNumber=", "moto": "^PUT .*partNumber=", "gs": "^PUT .*upload_id=", "az": "^PUT .*comp=block[& ]"}
FINISH = {"s3": "^POST .*uploadId=", "moto": "^POST .*uploadId=", "gs": "^PUT .*upload_id=", "az": "^PUT .*comp=blocklist"}
PARTS_BEFORE = {"gs": 2}  # of three, where a part and the end look alike
READ = r"^GET [^?]*obj"
THROWS_AWAY_ITSELF = ("gs", "az")
TELLS_AGES = ("s3",)  # moto says of each upload that it was begun in 2010


@pytest.fixture
def small_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "SLOT_BYTES", SMALL_SLOT)


# --- sizes --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, SLOT - 1, SLOT, SLOT + 1, 2 * SLOT, 2 * SLOT + 1, 50_000_000])
def test_an_object_of_any_size_comes_back_and_is_not_created_twice(remote: Remote, size: Bytes) -> None:
    store = open_store(remote.url)
    entry = carried(store, "a", size)
    assert b"".join(verify.verified_pieces(store, entry)) == content(size)
    assert [(meta.key, meta.size) for meta in store.list("")] == [("a", size)]
    with pytest.raises(KeyExists):
        store.create("a", chunks(size))


def test_spans_of_several_objects_are_read_ahead(remote: Remote) -> None:
    store = open_store(remote.url)
    store.create("a", b"0123456789")
    store.create("b", b"")
    wanted = [("a", Span(0, 4)), ("b", Span(0, 1)), ("a", Span(4, 99)), ("a", Span(50, 60)), ("nothing", Span(0, 1))]
    assert isinstance(store, ReadsAhead)
    ahead = store.read_ahead(wanted)
    assert [bytes(next(ahead)) for _ in range(4)] == [b"0123", b"", b"456789", b""]
    with pytest.raises(KeyMissing):
        next(ahead)


def test_memory_does_not_grow_with_the_object(remote: Remote) -> None:
    told = subprocess.run(carrier(remote.url, LARGE), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=240)
    up, down = map(int, told.stdout.split())
    assert up < MEMORY_MOST
    assert down < MEMORY_MOST


def carrier(url: str, size: Bytes) -> list[str]:
    return [sys.executable, "-m", "tests.e2e.carrier", url, "obj", str(size)]


# --- faults -------------------------------------------------------------------------------------------------------------------

Act = Callable[[ObjectStore], str]


def sent(store: ObjectStore) -> str:
    """It is there, whole, and was ours."""
    entry = carried(store, "obj", SIZE)
    assert verify.file_culprit(store, entry) is None
    return "whole"


def sent_or_found_out(store: ObjectStore) -> str:
    """A bit was bent on its way up: the store noticed and the part went again, or whoever reads it is told."""
    entry = carried(store, "obj", SIZE)
    culprit = verify.file_culprit(store, entry)
    assert culprit is None or "differs" in culprit
    return "refused by the store, sent again" if culprit is None else "found by its digest"


def read(store: ObjectStore) -> str:
    assert b"".join(verify.verified_pieces(store, known(store))) == content(SIZE)
    return "right bytes"


def read_damaged(store: ObjectStore) -> str:
    with pytest.raises(Damaged, match=r"piece 0 .* differs"):
        list(verify.verified_pieces(store, known(store)))
    return "named"


def no_answer(store: ObjectStore, *, act: Act) -> str:
    with pytest.raises(StoreUnknown):
        act(store)
    return "StoreUnknown at the deadline"


def known(store: ObjectStore) -> FileEntry:
    """The entry of what was uploaded before anything went wrong."""
    return carried(MemoryStore(), "obj", SIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    match: dict[str, str] | str
    action: str
    act: Act
    options: dict[str, Any]
    deadline: Seconds = DEADLINE_S
    is_of_end: bool = False  # of an upload


GONE = {"count": None}
ROWS = (
    Row(name="503 twice on parts", match=PART, action="status", options={"count": 2}, act=sent),
    Row(name="answers of two parts lost", match=PART, action="drop_response", options={"count": 2}, act=sent),
    Row(name="reset in the middle of a part", match=PART, action="reset_request", options={"after": IN_A_PART}, act=sent),
    Row(name="silence on a part", match=PART, action="blackhole", options={"seconds": SILENT_S}, act=sent),
    Row(
        name="a bit flipped in a part",
        match=PART,
        action="corrupt_request",
        options={"after": IN_A_PART},
        act=sent_or_found_out,
    ),
    Row(
        name="silence for good on parts",
        match=PART,
        action="blackhole",
        options=GONE,
        act=functools.partial(no_answer, act=sent),
        deadline=SHORT_S,
    ),
    Row(name="503 on the end of an upload", match=FINISH, action="status", options={}, act=sent, is_of_end=True),
    Row(name="answer to the end of an upload lost", match=FINISH, action="drop_response", options={}, act=sent, is_of_end=True),
    Row(
        name="answers to the end of an upload lost twice",
        match=FINISH,
        action="drop_response",
        options={"count": 2},
        act=sent,
        is_of_end=True,
    ),
    Row(name="answer to a piece cut short", match=READ, action="truncate", options={"after": IN_A_PART}, act=read),
    Row(name="answer to a piece reset", match=READ, action="reset_response", options={"after": IN_A_PART}, act=read),
    Row(name="503 twice on pieces", match=READ, action="status", options={"count": 2}, act=read),
    Row(name="silence on a piece", match=READ, action="blackhole", options={"seconds": SILENT_S}, act=read),
    Row(name="a bit flipped in a piece", match=READ, action="corrupt", options={"after": IN_A_PART}, act=read),
    Row(
        name="a bit flipped in every piece",
        match=READ,
        action="corrupt",
        options={"after": IN_A_PART, "count": None},
        act=read_damaged,
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "_"))
def test_a_fault_on_the_way_of_a_large_object(row: Row, faulty: Faulty, table: Note, small_slots: None) -> None:
    provider = PROVIDERS[faulty.kind.scheme]()
    store = RemoteStore(faulty.url, provider, call_s=CALL_S, deadline=row.deadline)
    if row.match == READ:
        carried(store, "obj", SIZE)
    match = row.match if isinstance(row.match, str) else row.match[faulty.name]
    skip = PARTS_BEFORE.get(faulty.name, 0) if row.is_of_end else 0
    fault = faulty.proxy.add(match, row.action, skip=skip, **row.options)
    outcome = row.act(store)
    assert fault.num_hits, "no request was spoiled"
    faulty.proxy.clear()
    with contextlib.suppress(KeyMissing):
        assert len(open_store(faulty.url).get("obj")) == SIZE, "whole or absent"
    table(f"large: {row.name}", faulty.name, outcome)


# --- killed -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_sender_killed_in_the_middle_shows_nothing_and_is_swept(
    seed: int, remote: Remote, servers: Servers, small_slots: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held before a request arrives, in the middle of its body, or before its answer comes; the end only before it arrives."""
    dice = random.Random(f"{seed} {remote.name}")
    is_end = seed == 0
    size = 4 * SLOT
    action = "blackhole" if is_end else dice.choice(("blackhole", "hold_request", "hold_response"))
    skip = (3 if remote.name == "gs" else 0) if is_end else dice.randrange(3)
    port = servers.get(remote.name).port
    with FaultProxy(port) as proxy:
        fault = proxy.add((FINISH if is_end else PART)[remote.name], action, skip=skip, after=dice.randrange(SLOT), count=None)
        sender = subprocess.Popen(carrier(remote.url, size), cwd=ROOT, env={**os.environ, **remote.kind.environment(proxy.port)})
        while not fault.is_held.wait(0.05):
            assert sender.poll() is None, "it was done before any of its requests was held"
        sender.send_signal(signal.SIGKILL)
        sender.wait(HELD_WITHIN_S)
    store = open_store(remote.url)
    with pytest.raises(KeyMissing):
        store.get("obj")
    assert [meta.key for meta in store.list("")] == ["warm"]
    assert len(unfinished(remote)) == (0 if remote.name in THROWS_AWAY_ITSELF else 1)
    if remote.name in TELLS_AGES:
        carried(store, "today", SIZE)
        assert len(unfinished(remote)) == 1, "its sender may be at work still"
    monkeypatch.setattr(bulk, "ABANDONED_AFTER_S", -3600.0)
    tomorrow = open_store(remote.url)
    carried(tomorrow, "obj", SIZE)
    assert unfinished(remote) == []
    assert tomorrow.get("obj") == content(SIZE)


def unfinished(remote: Remote) -> list[Abandoned]:
    """Uploads that the server holds for this prefix, begun and not finished."""
    provider = PROVIDERS[remote.kind.scheme]()
    fs = provider.connect(BUCKET)
    prefix = remote.url.partition(f"{BUCKET}/")[2]
    found: list[Abandoned] = asyn.sync(fs.loop, provider.abandoned, fs, BUCKET, prefix)
    return found


def test_parts_carry_their_checksum_and_the_end_its_condition(faulty: Faulty, small_slots: None) -> None:
    carried(open_store(faulty.url), "obj", SIZE)
    parts = [entry for entry in faulty.proxy.log if re.search(PART[faulty.name], entry.line)]
    assert len(parts) == 3
    if faulty.name in ("s3", "moto"):
        assert all("x-amz-checksum-crc32" in entry.headers for entry in parts)
    ends = [entry for entry in faulty.proxy.log if re.search(FINISH[faulty.name], entry.line)]
    if faulty.name == "gs":
        assert any("ifGenerationMatch=0" in entry.line for entry in faulty.proxy.log)
    else:
        assert [entry.headers.get("if-none-match") for entry in ends] == ["*"]
    assert set(STORES) == set(PART)


class Seen(BaseException):
    """Ends a request before it is sent, and no library repeats it."""


@pytest.mark.parametrize(("scheme", "says"), [("https", "UNSIGNED-PAYLOAD"), ("http", hashlib.sha256(b"abc").hexdigest())])
def test_over_tls_the_checksum_of_a_part_is_signed_and_no_second_digest_taken(
    scheme: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KINDS["s3"].environment(1).items():
        monkeypatch.setenv(name, value.replace("http:", f"{scheme}:"))
    provider = S3()
    fs = provider.connect(BUCKET)
    signed: list[Any] = []

    def see(request: Any, **_: Any) -> None:
        signed.append(request.headers)
        raise Seen

    async def sending() -> None:
        (await fs.set_session()).meta.events.register("before-send.s3.UploadPart", see)
        with pytest.raises(Seen):
            await provider.send(
                fs, Place(BUCKET, "a"), "u", Part(number=1, start=0, data=(memoryview(b"a"), memoryview(b"bc")), total=3)
            )

    waited_for(fs.loop, sending, Wire(), seconds=20.0)
    assert signed[0]["X-Amz-Content-SHA256"].decode() == says
    assert b"x-amz-checksum-crc32" in signed[0]["Authorization"]
