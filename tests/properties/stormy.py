"""A store that obeys a list of misfortunes: what becomes of the next creates, and of the next reads."""

import contextlib
import enum
from collections.abc import Callable, Iterator

from launcher.adapters.store.base import Chunks, ObjectMeta, Span
from launcher.adapters.store.memory import MemoryStore
from launcher.errors import KeyExists, StoreUnknown


class Fate(enum.Enum):
    """What becomes of a create."""

    WELL = "well"
    LOST = "its answer is lost"
    UNHEARD = "its request is lost"
    LATE = "it lands later"
    DAMAGED = "a byte is damaged on its way"


class Bend(enum.Enum):
    """What becomes of a read."""

    NONE = "none"
    CUT = "cut short"
    FLIPPED = "a bit flipped"
    SILENT = "no answer"


class StormyStore(MemoryStore):
    """All is well once the lists are used up. Listings show only what was there when the lag began, while there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.fates: list[Fate] = []
        self.bends: list[Bend] = []
        self.bent: set[str] = set()  # keys of which a read was not whole
        self.hurt: set[str] = set()  # keys whose object arrived damaged
        self.on_its_way: list[Callable[[], None]] = []
        self._lag: list[ObjectMeta] | None = None

    def calm(self) -> None:
        self.fates, self.bends, self._lag = [], [], None

    def lag(self) -> None:
        self._lag = list(super().list(""))

    def land(self) -> None:
        """What was on its way arrives, where its place is still free."""
        while self.on_its_way:
            with contextlib.suppress(KeyExists):
                self.on_its_way.pop(0)()

    def create(self, key: str, data: Chunks) -> None:
        assert isinstance(data, bytes)
        fate = self.fates.pop(0) if self.fates else Fate.WELL
        if fate is Fate.LATE:
            self.on_its_way.append(lambda: MemoryStore.create(self, key, data))
        if fate is Fate.DAMAGED:
            super().create(key, flipped(data))
            self.hurt.add(key)
        if fate in (Fate.WELL, Fate.LOST):
            super().create(key, data)
        if fate in (Fate.LOST, Fate.UNHEARD, Fate.LATE):
            raise StoreUnknown(f"create {key}: {fate.value}")

    def get(self, key: str, span: Span | None = None) -> bytes:
        data = super().get(key, span)
        match self.bends.pop(0) if self.bends else Bend.NONE:
            case Bend.CUT:
                self.bent.add(key)
                return data[: len(data) // 2]
            case Bend.FLIPPED:
                self.bent.add(key)
                return flipped(data)
            case Bend.SILENT:
                raise StoreUnknown(f"get {key}: no answer")
            case _:
                return data

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        if self._lag is None:
            return super().list(prefix)
        return (meta for meta in self._lag if meta.key.startswith(prefix))


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :] if data else b"?"
