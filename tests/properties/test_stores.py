"""Every store is a dict: whatever is created, replaced, read in part, listed and deleted, in any order."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from launcher.adapters.store.base import Chunks, ObjectMeta, ObjectStore, Span
from launcher.adapters.store.files import FileStore
from launcher.adapters.store.memory import MemoryStore
from launcher.errors import KeyExists, KeyMissing, StoreUnusable

# Names that sort oddly beside "/", look like markup, patterns, hidden or URL-quoted, or are not ASCII.
PARTS = ("a", "b", "a.b", "a-b", "a0", "A", " ", ".hidden", "%2F", "ü", "模型", "*", "[a]", "~", "tmp", "x" * 60)
keys = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("/".join)
contents = st.binary(max_size=20)
chunks = st.lists(st.binary(max_size=5), max_size=4)


class Store(RuleBasedStateMachine):
    """The store beside the dict that it should be."""

    store: ObjectStore

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, bytes] = {}

    def is_in_the_way(self, key: str) -> bool:
        """In a folder a key cannot lie below another key, nor be the folder of one. No key of ours does."""
        return any(known.startswith(key + "/") or key.startswith(known + "/") for known in self.model)

    @rule(key=keys, content=contents)
    def create(self, key: str, content: bytes) -> None:
        self.create_from(key, content, content)

    @rule(key=keys, parts=chunks)
    def create_in_parts(self, key: str, parts: list[bytes]) -> None:
        self.create_from(key, iter(parts), b"".join(parts))

    def create_from(self, key: str, source: Chunks, content: bytes) -> None:
        if self.is_in_the_way(key):
            return
        if key in self.model:
            with pytest.raises(KeyExists):
                self.store.create(key, source)
        else:
            self.store.create(key, source)
            self.model[key] = content

    @rule(key=keys, content=contents)
    def replace(self, key: str, content: bytes) -> None:
        if not self.is_in_the_way(key):
            self.store.replace(key, content)
            self.model[key] = content

    @precondition(lambda self: self.model)
    @rule(pick=st.integers(0, 100), content=contents)
    def create_again(self, pick: int, content: bytes) -> None:
        self.create(self.known(pick), content)

    @rule(key=keys)
    def get(self, key: str) -> None:
        if key in self.model:
            assert self.store.get(key) == self.model[key]
        elif not any(key.startswith(known + "/") for known in self.model):
            with pytest.raises(KeyMissing):
                self.store.get(key)

    @precondition(lambda self: self.model)
    @rule(pick=st.integers(0, 100), start=st.integers(0, 25), end=st.integers(0, 25))
    def get_part(self, pick: int, start: int, end: int) -> None:
        key = self.known(pick)
        assert self.store.get(key, Span(start, end)) == self.model[key][start:end]

    @precondition(lambda self: self.model)
    @rule(pick=st.integers(0, 100))
    def delete(self, pick: int) -> None:
        key = self.known(pick)
        self.store.delete(key)
        del self.model[key]

    @rule(key=keys)
    def delete_what_may_be_missing(self, key: str) -> None:
        if not self.is_in_the_way(key):
            self.store.delete(key)
            self.model.pop(key, None)

    @rule(prefix=st.just("") | keys | keys.map(lambda key: key + "/") | keys.map(lambda key: key[:-1]))
    def list_some(self, prefix: str) -> None:
        known = sorted(key for key in self.model if key.startswith(prefix))
        assert list(self.store.list(prefix)) == [ObjectMeta(key, len(self.model[key])) for key in known]

    def known(self, pick: int) -> str:
        return sorted(self.model)[pick % len(self.model)]

    def teardown(self) -> None:
        self.list_some("")
        for key, content in self.model.items():
            assert self.store.get(key) == content


class Memory(Store):
    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()


class Files(Store):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.store = FileStore(self.root)

    @rule()
    def somebody_else_opens_the_folder(self) -> None:
        self.store = FileStore(self.root)

    @precondition(lambda self: self.model)
    @rule(pick=st.integers(0, 100), content=contents)
    def a_key_below_another_is_refused(self, pick: int, content: bytes) -> None:
        with pytest.raises((StoreUnusable, KeyExists)):
            self.store.create(self.known(pick) + "/below", content)

    def teardown(self) -> None:
        try:
            super().teardown()
            for key in list(self.model):
                self.store.delete(key)
            assert list(self.root.iterdir()) == [], "empty folders are left"
        finally:
            shutil.rmtree(self.root)


Memory.TestCase.settings = settings(max_examples=settings().max_examples // 2, stateful_step_count=40)
Files.TestCase.settings = settings(max_examples=settings().max_examples // 6, stateful_step_count=30)
TestMemory = Memory.TestCase
TestFiles = Files.TestCase
