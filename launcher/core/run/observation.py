"""One look at the world, and what a supervisor knows only from having looked before.

`Sightings` is what was read just now. `Watch` is the part that no single look can tell: that a heartbeat has stood still, that an
instance was absent twice. It lives on this supervisor's monotonic clock, is never journaled, and starts empty after a restart;
forgetting it only makes us wait longer. A supervisor that only visits leaves it behind for the next (`Left`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.contract import Claim, ExitReport, Heartbeat, Notice, Request
from launcher.core.instance import InstancePhase, InstanceStatus
from launcher.core.market.offer import Offer
from launcher.core.run.state import Attempt
from launcher.units import Seconds, Step, Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class SealSighted:
    """An attempt's commits end in `Sealed`; `last` is the commit before it, which may be the end of the training."""

    last: CommitRef | None
    step: Step | None
    finished: bool = False


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
    """What watching an attempt told: its newest heartbeat, and for how long we have looked and seen no change."""

    heartbeat: Heartbeat | None = None
    still_s: Seconds = 0.0  # since the heartbeat last moved
    watched_s: Seconds = 0.0  # since we first looked at it
    unwanted_s: Seconds = 0.0  # since we first saw it unwanted
    absent_s: Seconds | None = None  # since a poll that answered did not list it; None where the newest one did
    lived_s: Seconds | None = None  # since a look after which its heartbeat moved and the cloud listed it: then it lived


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Times add up over looks that succeeded, each gap counted up to a limit: an outage of ours is nobody's silence."""

    looked_mono: Seconds | None = None
    began_mono: Seconds | None = None  # when the newest look began to read, which may take its time
    polled_mono: Seconds | None = None
    unanswered_s: Seconds = 0.0  # watched since the cloud answered
    pulses: dict[int, Pulse] = field(default_factory=dict)
    told_to_stop: frozenset[int] = frozenset()  # a stop for it returned without CloudUnreachable
    newest_listed: int = 0  # the highest attempt number the cloud has shown, whether or not we know it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Elapsed:
    """Since the look before: since it was over, and since it began."""

    since_look: Seconds
    since_reading: Seconds


def look(
    watch: Watch,
    seen: Sightings,
    attempts: Iterable[Attempt],
    mono: Seconds,
    gap_most: Seconds,
    *,
    began_mono: Seconds | None = None,
) -> Watch:
    """The watch after one more look at `attempts`; of the time since the look before at most `gap_most` counts."""
    passed = _gap(watch.looked_mono, mono, gap_most)
    elapsed = _Elapsed(since_look=_since(watch.looked_mono, mono), since_reading=_since(watch.began_mono, mono))
    polled = _gap(watch.polled_mono, mono, gap_most)
    pulses = {a.number: _feel(watch.pulses.get(a.number), seen, a, elapsed, passed, polled) for a in attempts}
    has_polled = seen.instances is not None
    return replace(
        watch,
        looked_mono=mono,
        began_mono=mono if began_mono is None else began_mono,
        polled_mono=mono if has_polled else watch.polled_mono,
        unanswered_s=0.0 if has_polled else watch.unanswered_s + passed,
        pulses=pulses,
        newest_listed=max([watch.newest_listed, *(seen.instances or ())]),
    )


def _gap(before: Seconds | None, now: Seconds, most: Seconds) -> Seconds:
    return 0.0 if before is None else min(now - before, most)


def _since(before: Seconds | None, now: Seconds) -> Seconds:
    return math.inf if before is None else now - before


def _feel(old: Pulse | None, seen: Sightings, attempt: Attempt, elapsed: _Elapsed, passed: Seconds, polled: Seconds) -> Pulse:
    beat = seen.heartbeats.get(attempt.number)
    if old is None:
        return Pulse(heartbeat=beat, absent_s=_absent(None, seen, attempt, 0.0))
    has_moved = beat is not None and (old.heartbeat is None or beat.sequence > old.heartbeat.sequence)
    is_proven = has_moved and old.heartbeat is not None and _is_up(seen, attempt)
    return Pulse(
        heartbeat=beat if has_moved else old.heartbeat,
        still_s=0.0 if has_moved else old.still_s + passed,
        watched_s=old.watched_s + passed,
        unwanted_s=old.unwanted_s + passed if attempt.unwanted_at is not None else 0.0,
        absent_s=_absent(old.absent_s, seen, attempt, polled),
        lived_s=_lived(old, is_proven, elapsed),
    )


def _lived(old: Pulse, is_proven: bool, elapsed: _Elapsed) -> Seconds | None:
    """A heartbeat that moved was written after the look before began to read: what moved may have ended since."""
    if is_proven:
        return elapsed.since_reading
    return None if old.lived_s is None else old.lived_s + elapsed.since_look


def _is_up(seen: Sightings, attempt: Attempt) -> bool:
    """By the cloud's list. What speaks without being on it is a machine that nobody bills, or of which nobody knows who does."""
    status = None if seen.instances is None else seen.instances.get(attempt.number)
    return status is not None and status.phase not in (InstancePhase.FAILED, InstancePhase.GONE)


def _absent(before: Seconds | None, seen: Sightings, attempt: Attempt, polled: Seconds) -> Seconds | None:
    if seen.instances is None:
        return before
    if attempt.number in seen.instances:
        return None
    return 0.0 if before is None else before + polled


def newest_heartbeat(watch: Watch, attempt: int) -> Heartbeat | None:
    pulse = watch.pulses.get(attempt)
    return pulse.heartbeat if pulse else None


# --- from one visit to the next ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """`watch.json`: what a visit had watched when journal number `last` was the newest."""

    last: int
    boot_id: str
    looked_mono: Seconds | None
    began_mono: Seconds | None
    polled_mono: Seconds | None
    pulses: dict[str, Pulse]  # by attempt number
    told_to_stop: frozenset[int]
    newest_listed: int
    back_at: Utc | None = None  # when the next visit is due; None once the run is over
    unanswered_s: Seconds = 0.0


def left(watch: Watch, *, last: int, boot_id: str, back_at: Utc | None) -> Left:
    pulses = {str(n): p if p.lived_s != math.inf else replace(p, lived_s=None) for n, p in watch.pulses.items()}
    return Left(
        last=last,
        boot_id=boot_id,
        looked_mono=watch.looked_mono,
        began_mono=watch.began_mono,
        polled_mono=watch.polled_mono,
        pulses=pulses,
        told_to_stop=watch.told_to_stop,
        newest_listed=watch.newest_listed,
        back_at=back_at,
        unanswered_s=watch.unanswered_s,
    )


def recalled(before: Left, *, boot_id: str, mono: Seconds) -> Watch:
    """The watch to go on with at `mono`. Between two machines, whose clocks do not compare, no time is counted."""
    watch = Watch(
        pulses={int(n): pulse for n, pulse in before.pulses.items()},
        told_to_stop=before.told_to_stop,
        newest_listed=before.newest_listed,
        unanswered_s=before.unanswered_s,
    )
    if before.boot_id != boot_id or before.looked_mono is None or before.looked_mono > mono:
        return watch
    return replace(watch, looked_mono=before.looked_mono, began_mono=before.began_mono, polled_mono=before.polled_mono)
