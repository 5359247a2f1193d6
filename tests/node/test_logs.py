"""The log's way to the store."""

import os

import pytest

from launcher.adapters.store.base import Chunks
from launcher.adapters.store.memory import MemoryStore
from launcher.core.contract import log_key, log_prefix
from launcher.errors import StoreUnknown
from launcher.node import logs
from launcher.node.logs import LogPump
from tests.node.rig import PATIENCE_S, eventually


def text_in(store: MemoryStore) -> bytes:
    return b"".join(store.get(meta.key) for meta in store.list(log_prefix(1)))


class Away(MemoryStore):
    """Answers nothing while `is_away`; with `loses_answers` it stores and then says nothing."""

    is_away = False
    loses_answers = False

    def create(self, key: str, data: Chunks) -> None:
        if self.is_away:
            raise StoreUnknown("away")
        super().create(key, data)
        if self.loses_answers:
            raise StoreUnknown("the answer was lost")


def test_text_arrives_whole_and_in_order() -> None:
    store = MemoryStore("memory://logs")
    pump = LogPump(store, 1, {})
    lines = [f"line {i}\n".encode() for i in range(50_000)]
    os.write(pump.write_fd, b"")
    with os.fdopen(os.dup(pump.write_fd), "wb") as pipe:
        pipe.writelines(lines)
    pump.say("the end")
    pump.close(PATIENCE_S)
    assert text_in(store).replace(b"launch: the end\n", b"") == b"".join(lines)
    chunks = [store.get(meta.key) for meta in store.list(log_prefix(1))]
    assert all(chunk.endswith(b"\n") and len(chunk) <= logs.CHUNK_BYTES for chunk in chunks)


def test_secrets_are_not_in_it() -> None:
    store = MemoryStore("memory://logs")
    pump = LogPump(store, 1, {"HF_TOKEN": "hf_abcdef"})
    os.write(pump.write_fd, b"token=hf_abcdef!")
    pump.close(PATIENCE_S)
    assert text_in(store) == b"token=[HF_TOKEN]!"


def test_what_an_error_says_of_a_request_is_said_without_its_signature() -> None:
    store = MemoryStore("memory://logs")
    pump = LogPump(store, 1, {})
    pump.say("Traceback: GET https://bkt/key?X-Amz-Signature=hunter2")
    pump.close(PATIENCE_S)
    assert text_in(store) == b"launch: Traceback: GET https://bkt/key?X-Amz-Signature=***\n"


def test_program_is_never_held_up_and_what_is_dropped_is_said() -> None:
    store = Away("memory://logs")
    store.is_away = True
    pump = LogPump(store, 1, {})
    line = b"x" * 1023 + b"\n"
    for _ in range(logs.BACKLOG_BYTES_MAX // len(line) + 2048):
        os.write(pump.write_fd, line)
    store.is_away = False
    pump.close(PATIENCE_S)
    assert b"bytes of log dropped" in text_in(store)
    assert len(text_in(store)) <= logs.BACKLOG_BYTES_MAX + 2 * logs.CHUNK_BYTES


def test_lost_answer_repeats_nothing() -> None:
    store = Away("memory://logs")
    store.loses_answers = True
    pump = LogPump(store, 1, {})
    os.write(pump.write_fd, b"once\n")
    pump.close(PATIENCE_S)
    assert text_in(store) == b"once\n"
    assert [meta.key for meta in store.list(log_prefix(1))] == [log_key(1, 1)]


def test_log_of_a_rehearsed_life_does_not_wait_for_as_long_as_a_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "CHUNK_S", 1000 * PATIENCE_S)
    store = MemoryStore("memory://logs")
    pump = LogPump(store, 1, {}, speed=1e6)
    os.write(pump.write_fd, b"before the kill\n")
    eventually(lambda: text_in(store) == b"before the kill\n", "a chunk")
    pump.close(PATIENCE_S)
