"""The checkpoint store of a simulated world: memory, with a log of what was written, and keys that are written when read."""

from collections.abc import Callable
from dataclasses import dataclass

from launcher.adapters.store.base import Chunks, Span
from launcher.adapters.store.memory import MemoryStore
from launcher.core.contract import JOURNAL_PREFIX, SUPERVISOR_KEY
from launcher.sim.timeline import Timeline
from launcher.units import Utc


@dataclass(frozen=True, slots=True)
class Written:
    """One change of the store, in the order of happening; `data` None: deleted. Heartbeats and beacons are left out."""

    at: Utc
    key: str
    data: bytes | None


class SimStore(MemoryStore):
    """`on_append` is told when the journal grew. A key with a *writer* is brought up to date when somebody reads it."""

    def __init__(self, timeline: Timeline, url: str = "memory://") -> None:
        super().__init__(url)
        self.on_append: Callable[[], None] = lambda: None
        self.log: list[Written] = []
        self.damaged: list[tuple[Utc, str]] = []  # at rest, by the world
        self._timeline = timeline
        self._created: dict[str, Utc] = {}
        self._writers: dict[str, list[Callable[[], None]]] = {}

    def written_on_reading(self, key: str, writer: Callable[[], None]) -> None:
        self._writers.setdefault(key, []).append(writer)

    def created_at(self, key: str) -> Utc:
        return self._created.get(key, 0.0)

    def create(self, key: str, data: Chunks) -> None:
        whole = data if isinstance(data, bytes) else b"".join(data)
        super().create(key, whole)
        self._created[key] = self._timeline.now
        self.log.append(Written(self._timeline.now, key, whole))
        if key.startswith(JOURNAL_PREFIX):
            self.on_append()

    def get(self, key: str, span: Span | None = None) -> bytes:
        for writer in self._writers.get(key, ()):
            writer()
        if key == SUPERVISOR_KEY:
            self._timeline.tell()  # somebody watches whether the supervisor lives: it must not doze
        return super().get(key, span)

    def delete(self, key: str) -> None:
        super().delete(key)
        self.log.append(Written(self._timeline.now, key, None))

    def damage(self, key: str, data: bytes) -> None:
        """The bytes rot where they lie."""
        self.damaged.append((self._timeline.now, key))
        self.replace(key, data)
