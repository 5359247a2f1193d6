"""The fault table: what may go wrong between us and a store, and what comes out of the journal all the same.

Each row spoils requests of a journal on its way to a store and says what must come of it: the right result or the named error,
within the deadline. The store's calls and the deadline are shortened, so that silence costs seconds. `make e2e` prints the table.
"""

import contextlib
import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters.journal import Journal
from launcher.adapters.retry import store_calls
from launcher.adapters.store.base import ObjectStore, Span
from launcher.adapters.store.files import FileStore
from launcher.adapters.store.open import open_store
from launcher.adapters.store.remote import RemoteStore
from launcher.errors import StoreUnknown, StoreUnusable
from launcher.units import Seconds
from tests.conformance.journals import NOW, Event, Noted, RecordVoided, Started, told
from tests.e2e.conftest import PROVIDERS, STORES, Faulty, Note

CALL_S: Seconds = 1.5  # of one call, else half a minute
DEADLINE_S: Seconds = 20.0  # for what must succeed; ends as soon as it has
SHORT_S: Seconds = 5.0  # for what cannot
GRACE_S: Seconds = 10.0  # two busy cores
SILENT_S: Seconds = 3.0  # a silence that passes: longer than a call
WRITE, READ = r"^(PUT|POST) ", r"^GET [^?]*journal"
TEXT = Noted(text="x" * 2000)  # so long that a byte in its middle is the record's, whatever a provider wraps around it
MIDDLE = 1200
FIRST = Started(who="sup-a")
SLOW_DOWN = {"status": 503}
CONFLICT = {"status": 409, "body": b"<Error><Code>ConditionalRequestConflict</Code><Message>try again</Message></Error>"}
IGNORES = {"status": 501, "body": b"<Error><Code>NotImplemented</Code><Message>If-None-Match</Message></Error>"}


Act = Callable[[Journal], str]


def appended(writer: Journal) -> str:
    """The new record is ours, whole, and stands once."""
    record = writer.append(TEXT, NOW)
    assert writer.poll() == []
    assert writer.read()[1:] == [record]
    return "won"


def appended_or_voided(writer: Journal) -> str:
    """The bytes were bent on their way: the store noticed and the same went again, or the number is voided behind it."""
    with contextlib.suppress(StoreUnknown):
        return appended(writer)
    assert told(writer.poll()) == [2], "what stands there is damaged"
    content = writer.void_content()
    voided = RecordVoided(numbers=content.numbers, digests=content.digests)
    writer.append(voided, NOW)
    writer.append(TEXT, NOW)
    assert told(writer.read()) == [FIRST, voided, TEXT]
    return "voided, next number"


def read(reader: Journal) -> str:
    assert told(reader.read()) == [FIRST]
    return "right bytes"


def no_answer(journal: Journal, *, act: Act) -> str:
    with pytest.raises(StoreUnknown):
        act(journal)
    return "StoreUnknown at the deadline"


def refused(journal: Journal, *, act: Act, because: str) -> str:
    with pytest.raises(StoreUnusable, match=because):
        act(journal)
    return f"refused: {because}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    faults: tuple[tuple[str, str, dict[str, Any]], ...]  # of the proxy: requests, action, options
    act: Act
    stores: tuple[str, ...] = STORES
    deadline: Seconds = DEADLINE_S


OF_AMAZON = ("s3", "moto")
ALWAYS: dict[str, Any] = {"count": None}
ROWS = (
    Row(name="503 three times on a create", faults=((WRITE, "status", {**SLOW_DOWN, "count": 3}),), act=appended),
    Row(name="answer of a create lost", faults=((WRITE, "drop_response", {}),), act=appended),
    Row(name="answers of two creates lost", faults=((WRITE, "drop_response", {"count": 2}),), act=appended),
    Row(name="reset in the middle of an upload", faults=((WRITE, "reset_request", {"after": MIDDLE}),), act=appended),
    Row(name="answer to a read cut short", faults=((READ, "truncate", {"after": 10}),), act=read),
    Row(name="answer to a read reset", faults=((READ, "reset_response", {"after": 60}),), act=read),
    Row(name="a bit flipped in a read", faults=((READ, "corrupt", {"after": 30}),), act=read),
    Row(
        name="a bit flipped in an upload",
        faults=((WRITE, "corrupt_request", {"after": MIDDLE}),),
        act=appended_or_voided,
    ),
    Row(
        name="answer of a create lost, and 503 twice on reading it back",
        faults=((WRITE, "drop_response", {}), (READ, "status", {**SLOW_DOWN, "count": 2})),
        act=appended,
    ),
    Row(name="silence on a create", faults=((WRITE, "blackhole", {"seconds": SILENT_S}),), act=appended),
    Row(name="silence on a read", faults=((READ, "blackhole", {"seconds": SILENT_S}),), act=read),
    Row(
        name="silence for good on a create",
        faults=((WRITE, "blackhole", ALWAYS),),
        act=functools.partial(no_answer, act=appended),
        deadline=SHORT_S,
    ),
    Row(
        name="silence for good on a read",
        faults=((READ, "blackhole", ALWAYS),),
        act=functools.partial(no_answer, act=read),
        deadline=SHORT_S,
    ),
    Row(
        name="nothing but resets",
        faults=((".", "refuse", ALWAYS),),
        act=functools.partial(no_answer, act=appended),
        deadline=SHORT_S,
    ),
    Row(
        name="clock an hour off",
        faults=((".", "skew", {**ALWAYS, "seconds": 3600.0}),),
        act=functools.partial(refused, act=appended, because="clock"),
        stores=OF_AMAZON,
    ),
    Row(name="409 for a conflict of two creates", faults=((WRITE, "status", CONFLICT),), act=appended, stores=OF_AMAZON),
    Row(
        name="501 to create-if-absent",
        faults=((WRITE, "status", {**IGNORES, **ALWAYS}),),
        act=functools.partial(refused, act=appended, because="create-if-absent"),
        stores=OF_AMAZON,
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "_"))
def test_a_fault_on_the_way_to_a_server(row: Row, faulty: Faulty, table: Note) -> None:
    if faulty.name not in row.stores:
        table(row.name, faulty.name, "–")
        return
    writer = opened(RemoteStore(faulty.url, PROVIDERS[faulty.kind.scheme](), call_s=CALL_S, deadline=row.deadline), row.deadline)
    faults = [faulty.proxy.add(match, action, **options) for match, action, options in row.faults]
    began = time.monotonic()
    outcome = row.act(writer)
    elapsed = time.monotonic() - began
    assert all(fault.num_hits for fault in faults), "no request was spoiled"
    assert elapsed < row.deadline + GRACE_S, "one deadline for all calls that a record takes"
    faulty.proxy.clear()
    anybody = Journal(open_store(faulty.url), incarnation="inc-1", event_type=Event)
    assert writer.read() == anybody.read(), "once all is well they agree, whatever was left pending"
    table(row.name, faulty.name, outcome)


def opened(store: ObjectStore, deadline: Seconds) -> Journal:
    writer = Journal(store, incarnation="inc-1", event_type=Event, writer="sup-a", retrying=store_calls(deadline=deadline))
    writer.open(FIRST, NOW)
    return writer


# --- a folder: no network, so what may go wrong is less -----------------------------------------------------------------------


def test_an_answer_lost_between_us_and_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Note) -> None:
    """NFS may report that a link was taken although it made it itself."""
    link = os.link

    def answer_lost(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    writer = opened(FileStore(tmp_path), DEADLINE_S)
    monkeypatch.setattr(os, "link", answer_lost)
    table("answer of a create lost", "file", appended(writer))


def test_a_bit_flipped_on_its_way_to_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Note) -> None:
    write, bent = os.write, [False]

    def bend_once(file: int, data: bytes) -> int:
        if not bent[0]:
            bent[0] = True
            data = bytes([*data[:MIDDLE], data[MIDDLE] ^ 0x80, *data[MIDDLE + 1 :]])
        return write(file, data)

    writer = opened(FileStore(tmp_path), DEADLINE_S)
    monkeypatch.setattr(os, "write", bend_once)
    table("a bit flipped in an upload", "file", appended_or_voided(writer))


def test_a_bit_flipped_on_its_way_from_a_disk(tmp_path: Path, table: Note) -> None:
    class BentOnce(FileStore):
        is_bent = False

        def get(self, key: str, span: Span | None = None) -> bytes:
            data = super().get(key, span)
            if "journal" not in key or self.is_bent:
                return data
            self.is_bent = True
            return data[:30] + bytes([data[30] ^ 0x80]) + data[31:]

    opened(FileStore(tmp_path), DEADLINE_S)
    table("a bit flipped in a read", "file", read(Journal(BentOnce(tmp_path), incarnation="inc-1", event_type=Event)))
