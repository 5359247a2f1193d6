"""What a finished world's journal told, record by record and in true time, and who was there to act on it.

Checkers of waste ask two things again and again: what everybody could know at an instant, and whether anybody was in a state to
do something about it. A machine that stands idle while all supervisors are dead is nobody's mistake.
"""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass

from launcher import codec
from launcher.adapters.journal import Record
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import Commit, Sealed
from launcher.core.contract import JOURNAL_PREFIX, journal_key
from launcher.core.run import events as ev
from launcher.core.run.evolve import fold
from launcher.core.run.state import RunState
from launcher.sim.disaster import FaultyWorld, Life
from launcher.sim.faults import Fault
from launcher.sim.store import SimStore
from launcher.supervisor import BLIP_WAIT_MOST_S
from launcher.units import Seconds, Utc

# While one of these is on nobody can see or act, and the loop's wait after it may still be running when it is over.
BLINDING = (Fault.CLOUD_AWAY, Fault.STORE_AWAY, Fault.STORE_STORM)
Stretch = tuple[Utc, Utc]


@dataclass(frozen=True, slots=True)
class Told:
    """One record that stands. `at` is when it was written in truth; the writer's own clock is `record.at`."""

    at: Utc
    record: Record
    state: RunState | None  # after it

    @property
    def event(self) -> ev.Event:
        event: ev.Event = self.record.event
        return event

    @property
    def attempt(self) -> int | None:
        """Which one it is about, None for the run's own events."""
        return self.event.attempt if isinstance(self.event, ev.AttemptEvent) else None


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit or a seal as it was created, whatever became of its bytes since."""

    at: Utc
    commit: Commit


@dataclass(frozen=True, slots=True)
class _Known:
    """Worked out once for a world as it is; `length` is that of its store's log then."""

    length: int
    told: tuple[Told, ...]
    stretches: tuple[Stretch, ...]


_KNOWN: "weakref.WeakKeyDictionary[SimStore, _Known]" = weakref.WeakKeyDictionary()


def tale(world: FaultyWorld) -> tuple[Told, ...]:
    """All records that nobody declared void, in order."""
    return _known(world).told


def told_of(world: FaultyWorld, *kinds: type) -> list[Told]:
    return [told for told in tale(world) if isinstance(told.event, kinds)]


def stretches(world: FaultyWorld) -> tuple[Stretch, ...]:
    """Each time in which one supervisor drove the run without a break: awake, not overtaken, the world in reach."""
    return _known(world).stretches


def _known(world: FaultyWorld) -> _Known:
    known = _KNOWN.get(world.store)
    if known is None or known.length != len(world.store.log):
        known = _KNOWN[world.store] = _Known(len(world.store.log), tuple(_read(world)), tuple(_driven(world)))
    return known


def _read(world: FaultyWorld) -> Iterator[Told]:
    written_at = {w.key: w.at for w in world.store.log if w.key.startswith(JOURNAL_PREFIX)}
    state: RunState | None = None
    for record in world.reader().records:
        state = fold(state, record.event)
        yield Told(written_at[journal_key(record.number)], record, state)


def openings(world: FaultyWorld) -> list[tuple[Utc, int, str]]:
    """(true time, number, supervisor) of every SupervisorStarted ever written, those voided later too."""
    return [(at, record.number, record.writer) for at, record in _as_written(world) if _is_opening(record)]


def writers(world: FaultyWorld) -> list[tuple[Utc, str]]:
    """Who appended, and when in truth."""
    return [(at, record.writer) for at, record in _as_written(world)]


def _as_written(world: FaultyWorld) -> Iterator[tuple[Utc, Record]]:
    """Every record that was ever created, its event not decoded."""
    for written in world.store.log:
        if written.key.startswith(JOURNAL_PREFIX) and written.data is not None:
            yield written.at, codec.loads_digested(Record, written.data)


def _is_opening(record: Record) -> bool:
    return isinstance(record.event, dict) and record.event.get("is") == ev.SupervisorStarted.__name__


def _driven(world: FaultyWorld) -> Iterator[Stretch]:
    opened = openings(world)
    for at, number, name in opened:
        life = life_of(world, name)
        taken_over = min((other for other, n, _ in opened if n > number), default=world.timeline.now)
        end = min(taken_over, life.ended_at if life.ended_at is not None else world.timeline.now)
        pieces = [(at, end)] if at < end else []
        for gap in (*life.process.rests, *blinded(world)):
            pieces = [piece for old in pieces for piece in _without(old, gap)]
        yield from pieces


def blinded(world: FaultyWorld) -> list[Stretch]:
    return [(s.start, s.end + 2 * BLIP_WAIT_MOST_S) for s in world.plan.spans if s.fault in BLINDING]


def watched(world: FaultyWorld, start: Utc, end: Utc) -> Seconds:
    """The longest unbroken time between `start` and `end` in which one supervisor could have acted."""
    return max((min(end, b) - max(start, a) for a, b in stretches(world)), default=0.0)


def life_of(world: FaultyWorld, name: str) -> Life:
    return next(life for life in world.lives if life.supervisor.name == name)


def commits(world: FaultyWorld, attempt: int) -> list[Committed]:
    """Of one attempt, in the order of their creation."""
    prefix = f"attempts/{attempt:04d}/commits/"
    return [Committed(w.at, manifests.read(w.data)) for w in world.store.log if w.key.startswith(prefix) and w.data is not None]


def sealed_at(world: FaultyWorld, attempt: int) -> Utc | None:
    return next((c.at for c in commits(world, attempt) if isinstance(c.commit, Sealed)), None)


def _without(piece: Stretch, gap: Stretch) -> list[Stretch]:
    (start, end), (gone, back) = piece, gap
    return [(a, b) for a, b in ((start, min(end, gone)), (max(start, back), end)) if a < b]
