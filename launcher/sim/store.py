"""The checkpoint store of a simulated world: memory, and two things that simulated machines need of it."""

from collections.abc import Callable

from launcher.adapters.store.base import Chunks, Span
from launcher.adapters.store.memory import MemoryStore
from launcher.core.contract import JOURNAL_PREFIX


class SimStore(MemoryStore):
    """`on_append` is told when the journal grew. A key with a *writer* is brought up to date when somebody reads it."""

    def __init__(self, url: str = "memory://") -> None:
        super().__init__(url)
        self.on_append: Callable[[], None] = lambda: None
        self._writers: dict[str, list[Callable[[], None]]] = {}

    def written_on_reading(self, key: str, writer: Callable[[], None]) -> None:
        self._writers.setdefault(key, []).append(writer)

    def create(self, key: str, data: Chunks) -> None:
        super().create(key, data)
        if key.startswith(JOURNAL_PREFIX):
            self.on_append()

    def get(self, key: str, span: Span | None = None) -> bytes:
        for writer in self._writers.get(key, ()):
            writer()
        return super().get(key, span)
