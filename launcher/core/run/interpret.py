"""What a look at the world means, as facts: pure, and slow to believe the worst.

The order of trust: an exit report is the attempt's own word. A cloud that positively says "ended" of the claimed instance is
believed at once. Mere absence must be seen twice, with the heartbeat standing still too. Silence counts only after we told the
machine to stop. And whatever was believed wrongly is harmless to history, because the seal decides what counts.
"""

from collections.abc import Iterator

from launcher.core.contract import AgentPhase, Heartbeat
from launcher.core.instance import EndCause, FailureKind, InstancePhase, InstanceStatus, StartFailure
from launcher.core.market.belief import MarketView, OffersSighted
from launcher.core.run import events as ev
from launcher.core.run.keeping import kept
from launcher.core.run.observation import Pulse, SealSighted, Sightings, Watch, newest_heartbeat
from launcher.core.run.spent import gone_about, gone_by
from launcher.core.run.state import Attempt, RunState
from launcher.core.run.view import RESTART_UNMEASURED_S
from launcher.core.tempo import Tempo
from launcher.units import Seconds, Utc

TAKEN_GRACE: Seconds = 60.0  # a cloud that announced an end is given so long beyond it before we stop the instance ourselves
WARNINGS_MOST = 5  # journaled of one attempt: a journal is read often and for ever


def interpret(state: RunState, seen: Sightings, watch: Watch, market: MarketView, now: Utc) -> tuple[ev.Event, ...]:
    """Facts that are new in `seen`, which `watch` has taken in already. After a run's end only those of money."""
    facts: list[ev.Event] = []
    if state.terminal is None or kept(state, now):  # somebody may be done with looking
        facts += _requests(state, seen, now)
    if state.terminal is None and seen.offers is not None and seen.offers != market.offers:
        facts.append(ev.MarketSighted(at=now, sighting=OffersSighted(at=now, offers=seen.offers)))
    for attempt in state.unsettled:
        if attempt.is_alive:
            facts += _alive(state, attempt, seen, watch, now)
        else:
            facts += _ended(state, attempt, seen, watch, now)
    return tuple(facts)


def _requests(state: RunState, seen: Sightings, now: Utc) -> Iterator[ev.Event]:
    for request in seen.requests:
        if request.uuid not in state.requests_seen:
            yield ev.RequestSeen(at=now, request=request)


def boot_wait(state: RunState) -> Seconds:
    """How long a machine may take from its start to its first heartbeat. On clouds a start is assumed, and nothing measured."""
    tempo, startup_s = Tempo(state.speed), state.startup_s
    if startup_s is None or startup_s == RESTART_UNMEASURED_S:
        return tempo.boot_wait_default
    return max(tempo.lost_after, 3 * tempo.market(startup_s))


def drain_max(state: RunState, attempt: Attempt) -> Seconds:
    """How long an unwanted attempt may take to save and end."""
    tempo = Tempo(state.speed)
    if attempt.durable_s == 0:
        return tempo.drain_max_default
    return max(tempo.lost_after, 2 * tempo.market(attempt.durable_s) + 60)


def taken_by(state: RunState, attempt: Attempt) -> Utc:
    """When the instance of an attempt under a notice is gone, be it by us."""
    return attempt.notice_ends_at + max(TAKEN_GRACE, Tempo(state.speed).market(2.0))


def _alive(state: RunState, attempt: Attempt, seen: Sightings, watch: Watch, now: Utc) -> Iterator[ev.AttemptEvent]:
    number = attempt.number
    status = None if seen.instances is None else seen.instances.get(number)
    claim = seen.claims.get(number)
    if status is not None and attempt.billed_from is None and status.billed_from is not None:
        yield ev.AttemptStarted(at=now, attempt=number, instance_id=status.instance_id, billed_from=status.billed_from)
    if claim is not None and attempt.nonce is None:
        yield ev.AttemptClaimed(at=now, attempt=number, instance_id=claim.instance_id, nonce=claim.nonce)
    for notice in seen.notices:
        if notice.attempt == number and notice.number > attempt.num_notices:
            yield ev.NoticeSeen(at=now, attempt=number, notice=notice)
    yield from _progress(state, attempt, seen, watch, now)
    yield from _presence(attempt, seen, now)
    yield from _end(state, attempt, seen, watch, status, now)


def _progress(state: RunState, attempt: Attempt, seen: Sightings, watch: Watch, now: Utc) -> Iterator[ev.AttemptEvent]:
    beat = newest_heartbeat(watch, attempt.number)
    if beat is not None and attempt.is_granted and attempt.training_at is None and _has_trained(beat):
        yield ev.TrainingStarted(at=now, attempt=attempt.number, heartbeat=beat)
    known = attempt.warnings
    for warning in () if beat is None or attempt.training_at is None else beat.warnings:
        if warning not in known and len(known) < WARNINGS_MOST:
            known = (*known, warning)
            yield ev.WarningSeen(at=now, attempt=attempt.number, warning=warning)
    manifest = seen.commits.get(attempt.number)
    if manifest is None or (attempt.commit is not None and manifest.ref <= attempt.commit):
        return
    rested = attempt.commit_at is None or now - attempt.commit_at >= Tempo(state.speed).checkpoint_seen_gap
    if rested or manifest.urgent or manifest.finished:
        yield ev.CheckpointSeen(
            at=now,
            attempt=attempt.number,
            ref=manifest.ref,
            step=manifest.step,
            size=manifest.size,
            stall_s=manifest.stall_s,
            durable_s=manifest.durable_s,
            urgent=manifest.urgent,
            tells_steps=manifest.tells_steps,
        )


def _has_trained(beat: Heartbeat) -> bool:
    return beat.phase in (AgentPhase.TRAINING, AgentPhase.DRAINING) and beat.training_s > 0


def _presence(attempt: Attempt, seen: Sightings, now: Utc) -> Iterator[ev.AttemptEvent]:
    if seen.instances is None or attempt.billed_from is None:
        return
    listed = attempt.number in seen.instances
    if not listed and not attempt.missed:
        yield ev.InstanceMissed(at=now, attempt=attempt.number)
    if listed and attempt.missed:
        yield ev.InstanceFound(at=now, attempt=attempt.number)


def _end(
    state: RunState,
    attempt: Attempt,
    seen: Sightings,
    watch: Watch,
    status: InstanceStatus | None,
    now: Utc,
) -> Iterator[ev.AttemptEvent]:
    number = attempt.number
    report = seen.exits.get(number)
    if report is not None:
        yield ev.AttemptExited(at=now, attempt=number, report=report)
        return
    if status is not None and status.phase is InstancePhase.FAILED:
        failure = status.failure or StartFailure(failure=FailureKind.UNREACHABLE, message="the cloud gave no reason")
        yield ev.AttemptRefused(at=now, attempt=number, failure=failure)
        return
    found = _loss(state, attempt, watch, status, now)
    if found is not None:
        cause, evidence = found
        yield ev.AttemptLost(at=now, attempt=number, cause=cause, evidence=evidence, heartbeat=newest_heartbeat(watch, number))
    elif not _has_appeared(attempt, seen, status) and _pulse(watch, attempt).watched_s > boot_wait(state):
        waited = f"no instance appeared within {boot_wait(state):.0f} s of the request"
        failure = StartFailure(failure=FailureKind.UNREACHABLE, message=waited)
        yield ev.AttemptRefused(at=now, attempt=number, failure=failure)


def _has_appeared(attempt: Attempt, seen: Sightings, status: InstanceStatus | None) -> bool:
    """Before this look, or just in time for it."""
    was_seen = attempt.billed_from is not None or attempt.nonce is not None
    return was_seen or attempt.number in seen.claims or (status is not None and status.billed_from is not None)


def _loss(
    state: RunState, attempt: Attempt, watch: Watch, status: InstanceStatus | None, now: Utc
) -> tuple[EndCause, str] | None:
    """Whether the attempt is lost, by whom, and how we know."""
    tempo = Tempo(state.speed)
    pulse = _pulse(watch, attempt)
    if status is not None and status.phase is InstancePhase.GONE and _is_claimed_one(attempt, status):
        return status.cause, f"the cloud says it ended ({status.wait_status or status.cause.value})"
    if status is not None and status.phase is InstancePhase.BROKEN:
        return status.cause, "the cloud says that a machine of the gang is gone"
    was_up = attempt.billed_from is not None or attempt.nonce is not None
    # One that only its claim tells of was on no list before: that it is on none says nothing, its silence does.
    still_most = tempo.lost_after if attempt.billed_from is None else tempo.absence_gap
    if was_up and pulse.absent_s is not None and pulse.absent_s >= tempo.absence_gap and pulse.still_s >= still_most:
        evidence = f"absent from the cloud's list for {pulse.absent_s:.0f} s, no heartbeat for {pulse.still_s:.0f} s"
        return EndCause.UNTOLD, evidence
    if attempt.unwanted_at is None:
        return None
    if attempt.number in watch.told_to_stop and pulse.still_s >= tempo.lost_after:
        return EndCause.STOPPED, f"told to stop, and no heartbeat for {pulse.still_s:.0f} s"
    if pulse.unwanted_s >= drain_max(state, attempt):
        return EndCause.STOPPED, f"unwanted, and not gone within {drain_max(state, attempt):.0f} s"
    return None


def _pulse(watch: Watch, attempt: Attempt) -> Pulse:
    return watch.pulses.get(attempt.number) or Pulse()


def _is_claimed_one(attempt: Attempt, status: InstanceStatus) -> bool:
    """Two launches of one name can exist; the end of the one that lost the claim says nothing of the other."""
    return attempt.nonce is None or status.instance_id is None or status.instance_id == attempt.instance_id


def _ended(state: RunState, attempt: Attempt, seen: Sightings, watch: Watch, now: Utc) -> Iterator[ev.AttemptEvent]:
    number = attempt.number
    assert attempt.end is not None
    status = None if seen.instances is None else seen.instances.get(number)
    if status is not None and attempt.billed_from is None and status.billed_from is not None and attempt.bill is None:
        # It ended before a look showed it running; it is billed all the same.
        yield ev.AttemptStarted(at=now, attempt=number, instance_id=status.instance_id, billed_from=status.billed_from)
    report = seen.exits.get(number)
    if report is not None and attempt.end.report is None and (state.writer is None or state.writer <= number):
        yield ev.AttemptExited(at=now, attempt=number, report=report)
    seal = seen.seals.get(number)
    if seal is not None and not attempt.sealed:
        yield fact_of_seal(attempt, seal, now)
    if attempt.bill is None and seen.instances is not None:
        yield from _bill(attempt, status, watch, state, now)


def fact_of_seal(attempt: Attempt, seal: SealSighted, now: Utc) -> ev.AttemptSealed:
    return ev.AttemptSealed(at=now, attempt=attempt.number, last=seal.last, step=seal.step, finished=seal.finished)


def _bill(attempt: Attempt, status: InstanceStatus | None, watch: Watch, state: RunState, now: Utc) -> Iterator[ev.AttemptEvent]:
    """The end of the instance's bill, once the cloud tells it or has stopped listing it twice."""
    if status is None:
        absent_s = _pulse(watch, attempt).absent_s
        if absent_s is not None and absent_s >= Tempo(state.speed).absence_gap:
            yield _instance_ended(state, attempt, watch, now)
    elif status.phase is InstancePhase.GONE or (status.phase is InstancePhase.FAILED and attempt.billed_from is None):
        yield _instance_ended(state, attempt, watch, now, status)


def _instance_ended(
    state: RunState, attempt: Attempt, watch: Watch, now: Utc, told: InstanceStatus | None = None
) -> ev.InstanceEnded:
    """By what its cloud told, if anything; else between the last sign that it was up, and the first that it cannot be."""
    cause, wait_status = (EndCause.UNTOLD, None) if told is None else (told.cause, told.wait_status)
    if told is not None and told.ended_at is not None:
        low = likely = high = told.ended_at
    else:
        low = _lived_until(attempt, watch, now)
        high = max(low, gone_by(state, attempt, now))
        likely = high if cause is EndCause.STOPPED else min(max(low, gone_about(state, attempt)), high)
    return ev.InstanceEnded(
        at=now, attempt=attempt.number, low=low, likely=likely, high=high, cause=cause, wait_status=wait_status
    )


def _lived_until(attempt: Attempt, watch: Watch, now: Utc) -> Utc:
    """The last instant at which it was certainly up and billed, by our clock: what a look finds may have ended long before."""
    lived_s = _pulse(watch, attempt).lived_s
    since = attempt.requested_at if attempt.billed_from is None else attempt.billed_from
    return min(now, since if lived_s is None else max(since, now - lived_s))
