"""A store in this process's memory: for tests, and the base of the simulated one."""

import bisect
import threading
from collections.abc import Iterator

from launcher.adapters.store.base import Chunks, ObjectMeta, Span
from launcher.errors import KeyExists, KeyMissing


class MemoryStore:
    """Passes the same suite as every other store. Threads may share one."""

    def __init__(self, url: str = "memory://") -> None:
        self._url = url
        self._objects: dict[str, bytes] = {}
        self._keys: list[str] = []  # sorted, since a listing is of neighbours
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self._url

    def create(self, key: str, data: Chunks) -> None:
        whole = data if isinstance(data, bytes) else b"".join(data)
        with self._lock:
            if key in self._objects:
                raise KeyExists(key)
            self._put(key, whole)

    def replace(self, key: str, data: bytes) -> None:
        with self._lock:
            self._put(key, data)

    def get(self, key: str, span: Span | None = None) -> bytes:
        with self._lock:
            if key not in self._objects:
                raise KeyMissing(key)
            data = self._objects[key]
        return data if span is None else data[span.start : span.end]

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        with self._lock:
            found = [ObjectMeta(key, len(self._objects[key])) for key in self._beginning_with(prefix)]
        return iter(found)

    def delete(self, key: str) -> None:
        with self._lock:
            if self._objects.pop(key, None) is not None:
                del self._keys[bisect.bisect_left(self._keys, key)]

    def _put(self, key: str, data: bytes) -> None:
        if key not in self._objects:
            bisect.insort(self._keys, key)
        self._objects[key] = data

    def _beginning_with(self, prefix: str) -> Iterator[str]:
        for i in range(bisect.bisect_left(self._keys, prefix), len(self._keys)):
            if not self._keys[i].startswith(prefix):
                return
            yield self._keys[i]
