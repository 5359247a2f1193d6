"""Journals to test with: small events, damage at will, and a store whose creates go wrong when told."""

from collections.abc import Callable
from dataclasses import dataclass

from tenacity import Retrying

from launcher.adapters.journal import Entry, Journal, Unreadable
from launcher.adapters.retry import store_calls
from launcher.adapters.store.base import Chunks, ObjectStore
from launcher.adapters.store.memory import MemoryStore
from launcher.core.contract import journal_key
from launcher.errors import StoreUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordVoided:
    numbers: tuple[int, ...]
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invented:
    """An event of a later version."""

    later: int


Event = Started | Noted | RecordVoided
NOW = 1000.0
WELL, LOST, UNHEARD, LATE, DAMAGED = "well", "lost answer", "lost request", "late", "damaged"  # what becomes of a create


def patience(attempts: int = 3) -> Retrying:
    """Retries a few times without waiting."""
    return store_calls(sleep=lambda _: None, deadline=10.0).copy(stop=lambda state: state.attempt_number >= attempts)


def journal(store: ObjectStore, writer: str | None = None, *, incarnation: str = "inc-1", attempts: int = 3) -> Journal:
    return Journal(store, incarnation=incarnation, event_type=Event, writer=writer, retrying=patience(attempts))


def opened(store: ObjectStore, writer: str = "sup-a", *, attempts: int = 3) -> Journal:
    made = journal(store, writer, attempts=attempts)
    made.open(Started(who=writer), NOW)
    return made


def noted(number: int) -> Noted:
    return Noted(text=f"note {number}")


def filled(store: ObjectStore, last: int) -> Journal:
    """A journal whose record 1 is Started and whose others say their numbers."""
    made = opened(store)
    for number in range(2, last + 1):
        made.append(noted(number), NOW)
    return made


def damage(store: ObjectStore, number: int) -> bytes:
    """Flip one bit of a record at rest; gives what it was."""
    data = store.get(journal_key(number))
    store.replace(journal_key(number), data[:30] + bytes([data[30] ^ 1]) + data[31:])
    return data


def told(entries: list[Entry]) -> list[object]:
    """Numbers of unreadable entries and events of the others."""
    return [entry.number if isinstance(entry, Unreadable) else entry.event for entry in entries]


class Unreliable(MemoryStore):
    """A store whose creates can be told, one after another, to go wrong, and whose reads can be bent."""

    def __init__(self) -> None:
        super().__init__()
        self.moods: list[str] = []  # of the next creates; after them all is well
        self.on_its_way: list[Callable[[], None]] = []
        self.bend_reads: list[bool] = []  # of the next gets
        self.mute_reads: list[bool] = []  # of the next gets: those get no answer

    def create(self, key: str, data: Chunks) -> None:
        assert isinstance(data, bytes)
        mood = self.moods.pop(0) if self.moods else WELL
        if mood == DAMAGED:
            data = data[:-40] + b"#" + data[-39:]
        if mood == LATE:
            self.on_its_way.append(lambda: MemoryStore.create(self, key, data))
        if mood not in (LATE, UNHEARD):
            super().create(key, data)
        if mood not in (WELL, DAMAGED):
            raise StoreUnknown(f"no answer ({mood})")

    def get(self, key: str, span: object = None) -> bytes:
        data = super().get(key)
        if self.mute_reads and self.mute_reads.pop(0):
            raise StoreUnknown("no answer")
        is_bent = self.bend_reads.pop(0) if self.bend_reads else False
        return data[:-1] + b"?" if is_bent else data

    def land(self) -> None:
        while self.on_its_way:
            self.on_its_way.pop(0)()
