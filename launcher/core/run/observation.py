"""One look at the world, and what a supervisor knows only from having looked before.

`Sightings` is what was read just now. `Watch` is the part that no single look can tell: that a heartbeat has stood still, that an
instance was absent twice. It lives on this supervisor's monotonic clock, is never journaled, and starts empty after a restart;
forgetting it only makes us wait longer.
"""

from dataclasses import dataclass, field, replace

from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.contract import Claim, ExitReport, Heartbeat, Notice, Request
from launcher.core.instance import InstancePhase, InstanceStatus
from launcher.core.market.offer import Offer
from launcher.units import Seconds, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class SealSighted:
    """An attempt's commits end in `Sealed`; `last` is the commit before it."""

    last: CommitRef | None
    step: Step | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """What was read this time. `instances` is None where the cloud could not be asked: silence is not absence."""

    instances: dict[int, InstanceStatus] | None = None  # by attempt number
    claims: dict[int, Claim] = field(default_factory=dict)
    heartbeats: dict[int, Heartbeat] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    exits: dict[int, ExitReport] = field(default_factory=dict)
    commits: dict[int, Manifest] = field(default_factory=dict)  # the newest of each attempt
    seals: dict[int, SealSighted] = field(default_factory=dict)
    requests: tuple[Request, ...] = ()
    offers: tuple[Offer, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The newest heartbeat of an attempt and when, on our monotonic clock, its sequence number last moved."""

    heartbeat: Heartbeat | None
    moved_mono: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Polls that answered and did not list an instance: when on our monotonic clock the first did, and how many."""

    since_mono: Seconds
    last_mono: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    pulses: dict[int, Pulse] = field(default_factory=dict)
    absences: dict[int, Absence] = field(default_factory=dict)
    told_to_stop: frozenset[int] = frozenset()  # a stop for it returned without CloudUnreachable
    instances: dict[int, InstanceStatus] = field(default_factory=dict)  # as last answered


def look(watch: Watch, seen: Sightings, living: tuple[int, ...], mono: Seconds) -> Watch:
    """The watch after one more look, at the attempts in `living`."""
    pulses = {n: _feel(watch.pulses.get(n), seen.heartbeats.get(n), mono) for n in living}
    watch = replace(watch, pulses=pulses)
    if seen.instances is None:
        return watch
    absences = {n: _miss(watch.absences.get(n), mono) for n in living if n not in seen.instances}
    return replace(watch, absences=absences, instances=seen.instances)


def _feel(old: Pulse | None, beat: Heartbeat | None, mono: Seconds) -> Pulse:
    if old is None:
        return Pulse(heartbeat=beat, moved_mono=mono)
    if beat is None or (old.heartbeat is not None and beat.sequence <= old.heartbeat.sequence):
        return old
    return Pulse(heartbeat=beat, moved_mono=mono)


def _miss(old: Absence | None, mono: Seconds) -> Absence:
    return Absence(since_mono=old.since_mono if old else mono, last_mono=mono)


def newest_heartbeat(watch: Watch, attempt: int) -> Heartbeat | None:
    pulse = watch.pulses.get(attempt)
    return pulse.heartbeat if pulse else None


def is_listed(watch: Watch, attempt: int) -> bool:
    status = watch.instances.get(attempt)
    return status is not None and status.phase is not InstancePhase.GONE
