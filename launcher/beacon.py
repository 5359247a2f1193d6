"""A supervisor's sign of life, and how another judges it.

`supervisor.json` is replaced on and on with a sequence number. It is never a lock: the journal's numbers are the fence. It only
keeps a second supervisor from starting a fight that one of the two must lose.
"""

import contextlib
import enum
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from launcher import codec, processes
from launcher.adapters.store.base import ObjectStore
from launcher.clock import Clock
from launcher.core.contract import SUPERVISOR_KEY, Beacon
from launcher.core.tempo import Tempo
from launcher.errors import KeyMissing
from launcher.units import Seconds, Utc


class Holder(enum.Enum):
    NOBODY = "nobody"
    ALIVE = "alive"
    UNSURE = "unsure"  # on another machine, or in another container: only its standing still will tell
    HALTED = "halted"  # by Ctrl-Z, say: it may go on at any moment, and drives nothing until then

    @property
    def is_there(self) -> bool | None:
        """None where that is not certain."""
        return {Holder.NOBODY: False, Holder.ALIVE: True}.get(self)


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a supervisor runs: a process of a boot of a machine, or of a container there."""

    boot_id: str = field(default_factory=processes.boot_id)
    pid_space: str = field(default_factory=processes.pid_space)
    process: processes.ProcessId = field(default_factory=processes.me)


def read(store: ObjectStore) -> Beacon | None:
    """None where there is none, or none that can be read just now."""
    try:
        return _fetch(store)
    except ValueError:
        return None


def _fetch(store: ObjectStore) -> Beacon | None:
    """None where there is none. Raises ValueError where what arrived is no beacon: that says nothing of who drives."""
    try:
        beacon: Beacon = codec.loads_digested(Beacon, store.get(SUPERVISOR_KEY))
    except KeyMissing:
        return None
    return beacon


def judge(beacon: Beacon | None) -> Holder:
    """At a first look: released and dead ones are nobody, a process that can be seen from here and lives is alive."""
    if beacon is None or beacon.released:
        return Holder.NOBODY
    if (beacon.boot_id, beacon.pid_space) != (processes.boot_id(), processes.pid_space()):
        return Holder.UNSURE
    process = processes.ProcessId(pid=beacon.pid, started=beacon.pid_started)
    if not processes.is_alive(process):
        return Holder.NOBODY
    return Holder.HALTED if processes.is_halted(process) else Holder.ALIVE


def holder(
    store: ObjectStore, opener: Callable[[], str | None], *, monotonic: Callable[[], Seconds], wait: Callable[[Seconds], None]
) -> Beacon | None:
    """Who drives the run, None for nobody. Takes up to twice the beacon's interval (real) where only its standing still tells.

    `opener`: who opened the journal last, None where nobody can tell. That somebody else released the beacon says nothing of him:
    one that slept on its way out writes over the beacon of whoever drives by then.
    """
    first: Beacon | None = None
    every: Seconds = Tempo().beacon
    end = monotonic() + 2 * every  # a beacon that rots where it lies is replaced by who lives, and else stays what it is
    while monotonic() < end:
        with contextlib.suppress(ValueError):
            now = _fetch(store)
            verdict = judge(now)
            if now is None or (verdict is Holder.NOBODY and opener() in (None, now.supervisor)):
                return None
            if verdict is Holder.ALIVE:
                return now
            if first is None:
                first, every = now, now.every_real
                end = monotonic() + 2 * every
            elif (now.supervisor, now.sequence) != (first.supervisor, first.sequence):
                return now
        wait(min(1.0, every / 4))
    return None


class Lamp:
    """Keeps this supervisor's beacon burning."""

    def __init__(self, store: ObjectStore, clock: Clock, supervisor: str, seat: Seat | None = None) -> None:
        seat = seat or Seat()
        self._store = store
        self._clock = clock
        self._beacon = Beacon(
            supervisor=supervisor,
            sequence=0,
            at=0.0,
            wake_at=0.0,
            every=0.0,
            every_real=0.0,
            boot_id=seat.boot_id,
            pid_space=seat.pid_space,
            pid=seat.process.pid,
            pid_started=seat.process.started,
        )
        self._due_mono = 0.0

    def burn(self, tempo: Tempo, wake_at: Utc, waits_for: str = "") -> None:
        """Replace the beacon where that is due."""
        mono = self._clock.monotonic_s()
        if mono < self._due_mono:
            return
        self._write(every=tempo.beacon, every_real=tempo.real(tempo.beacon), wake_at=wake_at, waits_for=waits_for)
        self._due_mono = mono + tempo.beacon  # only now: a write that failed is repeated at the next look

    def release(self, waits_for: str = "") -> None:
        """Say that nobody drives the run any more."""
        last = self._beacon
        self._write(every=last.every, every_real=last.every_real, wake_at=0.0, waits_for=waits_for, released=True)

    def _write(self, *, every: Seconds, every_real: Seconds, wake_at: Utc, waits_for: str, released: bool = False) -> None:
        self._beacon = replace(
            self._beacon,
            sequence=self._beacon.sequence + 1,
            at=self._clock.utc_s(),
            wake_at=wake_at,
            every=every,
            every_real=every_real,
            waits_for=waits_for,
            released=released,
        )
        self._store.replace(SUPERVISOR_KEY, codec.dumps_digested(self._beacon))
