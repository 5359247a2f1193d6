"""Machines that cost money for nothing, and places that are tried again too soon.

Only time in which a supervisor could act counts (`tale.watched`), so that each bound is one that the loop itself keeps.
"""

from collections.abc import Iterator
from math import inf

from launcher.core.instance import FailureKind
from launcher.core.run import events as ev
from launcher.core.run.state import Attempt, EndKind
from launcher.core.tempo import Tempo
from launcher.sim.checkers.tale import Told, tale, told_of, watched
from launcher.sim.cloud import Instance
from launcher.sim.disaster import FaultyWorld
from launcher.units import MINUTE, Seconds, Utc

_TEMPO = Tempo()
LOOKS: Seconds = 2 * MINUTE  # some looks, a failed one or two among them, and the wait for what they ask for
# The last writer may take so long to save and end; and once its machine is gone, so long until that is believed.
GRANT_MOST: Seconds = _TEMPO.drain_max_default + LOOKS
GRANT_AFTER_END_MOST: Seconds = _TEMPO.lost_after + LOOKS
STOP_MOST: Seconds = LOOKS + MINUTE  # a stop that is lost is repeated at the next look; a minute belongs to a cloud's own end
HURRY_LEAST: Seconds = MINUTE
REFUSES = (FailureKind.CAPACITY, FailureKind.QUOTA, FailureKind.UNREACHABLE)


def idle_machine(world: FaultyWorld) -> Iterator[str]:
    """A machine that is up trains, or is about to, or is being let go."""
    for instance in world.cloud.instances.values():
        if instance.failure is None:
            yield from _ungranted(world, instance)
            yield from _silent(world, instance)
            yield from _forgotten(world, instance)


def cooldown(world: FaultyWorld) -> Iterator[str]:
    """No place is tried within half an hour of its failing; where no time is left to wait, not within a minute of a refusal."""
    failed_at: dict[str, Utc] = {}
    refused_at: dict[str, Utc] = {}
    before: Told | None = None
    for told in tale(world):
        event = told.event
        if isinstance(event, ev.AttemptRequested):
            place = event.offer.placement.place
            hurries = "no time to wait" in event.reason
            since = event.at - (refused_at if hurries else failed_at).get(place, -inf)
            if 0 <= since < (HURRY_LEAST if hurries else _TEMPO.cooldown_first):
                yield f"attempt {event.attempt} went to {place} {since:.0f} s after it had failed: {event.reason}"
        elif isinstance(event, ev.AttemptEvent) and told.state is not None and event.attempt in told.state.attempts:
            attempt = told.state.attempts[event.attempt]
            _learn(failed_at, event, before, attempt)
            if isinstance(event, ev.AttemptRefused):
                refused_at[attempt.offer.placement.place] = event.at
        before = told


def _ungranted(world: FaultyWorld, instance: Instance) -> Iterator[str]:
    """Claimed and wanted, and no grant comes."""
    number = instance.spec.attempt
    claims = [agent.claimed_at for agent in instance.agents if agent.claimed_at is not None]
    if not claims:
        return
    start, end = min(claims), _wanted_until(world, instance)
    granted = [t.attempt for t in told_of(world, ev.WriterGranted) if t.at < start and t.attempt not in (None, number)]
    writer = max((n for n in granted if n is not None), default=None)
    free_at = max(start, _over_at(world, writer))
    for since, most in ((start, GRANT_MOST), (free_at, GRANT_AFTER_END_MOST)):
        idle = watched(world, since, end)
        if idle > most:
            yield f"attempt {number} stood ready for {idle:.0f} s and got no grant"
            return


def _silent(world: FaultyWorld, instance: Instance) -> Iterator[str]:
    """Up and never spoke: it is given as long as a start may take."""
    if instance.billed_from is None or any(agent.claimed_at is not None for agent in instance.agents):
        return
    patience = max(_TEMPO.lost_after, 3 * (world.pace.boot_s + world.pace.restore_s)) + LOOKS
    silent = watched(world, instance.billed_from, _wanted_until(world, instance))
    if silent > patience:
        yield f"attempt {instance.spec.attempt} was up for {silent:.0f} s without a word, and stayed wanted"


def _forgotten(world: FaultyWorld, instance: Instance) -> Iterator[str]:
    """Up although its attempt has ended, or although nobody knows of it any more."""
    number = instance.spec.attempt
    up_until = instance.ended_at if instance.ended_at is not None else world.timeline.now
    ended = [t for t in told_of(world, ev.AttemptExited, ev.AttemptLost, ev.AttemptRefused) if t.attempt == number]
    if ended:
        state = ended[0].state
        attempt = state.attempts[number] if state is not None else None
        since = ended[0].at
        if attempt is not None and attempt.notice is not None:  # left to the cloud so long, by the supervisor's own clock
            since += max(0.0, attempt.notice_ends_at - ended[0].record.at)
    elif not any(t.attempt == number for t in told_of(world, ev.AttemptRequested)):
        since = min(
            (t.at for t in told_of(world, ev.RecordVoided) if t.at > instance.requested_at), default=instance.requested_at
        )
    else:
        return
    idle = watched(world, since, up_until)
    if idle > STOP_MOST:
        yield f"the instance of attempt {number} stayed up for {idle:.0f} s after its attempt had ended"


def _wanted_until(world: FaultyWorld, instance: Instance) -> Utc:
    """Until it is granted, let go, over, or up no more."""
    number = instance.spec.attempt
    ends = [
        t.at
        for t in tale(world)
        if isinstance(t.event, ev.WriterGranted | ev.AttemptUnwanted | ev.AttemptExited | ev.AttemptLost | ev.AttemptRefused)
        and t.attempt == number
    ]
    # One whose request was declared void is let go as nobody's (`_forgotten`).
    ends += [t.at for t in told_of(world, ev.RecordVoided) if t.at >= instance.requested_at]
    ends += [agent.ended_at for agent in instance.agents if agent.ended_at is not None]
    ends += [agent.trained_from for agent in instance.agents if agent.trained_from is not None]  # by a grant since voided, too
    return min([*ends, instance.ended_at if instance.ended_at is not None else world.timeline.now])


def _over_at(world: FaultyWorld, attempt: int | None) -> Utc:
    """When nothing of an attempt's machine was up any more."""
    instances = [i for i in world.cloud.instances.values() if i.spec.attempt == attempt]
    return max((i.ended_at if i.ended_at is not None else world.timeline.now for i in instances), default=0.0)


def _learn(failed_at: dict[str, Utc], event: ev.AttemptEvent, before: Told | None, attempt: Attempt) -> None:
    """What a failed place is: it refused, gave warning, took the machine away, or gave one that never spoke."""
    place = attempt.offer.placement.place
    old = before.state.attempts.get(event.attempt) if before is not None and before.state is not None else None
    match event:
        case ev.AttemptRefused(failure=failure) if failure.failure in REFUSES:
            failed_at[place] = event.at
        case ev.NoticeSeen(notice=notice) if not notice.withdrawn:
            failed_at[place] = event.at
        case ev.AttemptUnwanted(silent=True):
            failed_at[place] = event.at
        case ev.AttemptExited() | ev.AttemptLost() if old is not None and old.end is None and attempt.end is not None:
            if attempt.end.end is EndKind.PREEMPTED and attempt.notice is None:
                failed_at[place] = event.at  # where a notice stands, that has told of it
            elif attempt.end.end is not EndKind.PREEMPTED and attempt.training_at is not None:
                failed_at.pop(place, None)  # it held until we, or the program, ended it
