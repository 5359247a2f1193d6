"""What of a run a policy may know, and what the market learns from the run's events."""

from launcher.core.instance import FailureKind
from launcher.core.market.belief import PlaceHeld, PlaceLost, PlaceRefused, Sighting
from launcher.core.plan.limits import allowed_capacities
from launcher.core.policy.base import AttemptSummary, RunView
from launcher.core.run import events as ev
from launcher.core.run.once import once
from launcher.core.run.spent import gone_about, spent
from launcher.core.run.state import Attempt, EndKind, RunState
from launcher.core.tempo import Tempo
from launcher.units import Seconds, Step, Utc

RESTART_UNMEASURED_S: Seconds = 300.0  # boot, install and restore where nothing was measured; SkyPilot needs 2-5 min on VMs

PLACE_REFUSES = (FailureKind.CAPACITY, FailureKind.QUOTA, FailureKind.UNREACHABLE)  # the other kinds are ours, not the place's


def view(state: RunState, now: Utc) -> RunView:
    wanted = state.wanted
    standing = [a for a in wanted if a.notice is None and not a.missed]
    leaving = [a for a in wanted if a.notice is not None]
    newest = standing[-1] if standing else None
    ends_at = leaving[-1].notice_ends_at if leaving and newest is None else None
    current = newest or (leaving[-1] if leaving else None)
    return RunView(
        now=now,
        phase=state.phase,
        deadline=state.deadline_at,
        remaining_work=remaining_work(state),
        work_per_s=1.0,
        num_nodes=state.recipe.num_nodes,
        restart_cost=restart_cost(state),
        checkpoint_age=_checkpoint_age(state, now),
        current=current.offer.placement if current else None,
        notice_ends_at=ends_at,
        spent=spent(state, now).high,
        budget=state.recipe.policy.budget,
        allowed=allowed_capacities(state.recipe),
        attempts=_summaries(state),
    )


def total_steps(state: RunState) -> Step | None:
    trainer = state.recipe.trainer
    steps = trainer.get("steps") if trainer else None
    return int(steps) if steps is not None else None


def remaining_work(state: RunState) -> Seconds:
    """Market seconds of training still to do; 0 where the work is not known (`run:`)."""
    total = total_steps(state)
    if state.work_s is None or not total:
        return 0.0
    return Tempo(state.speed).market(state.work_s) * max(0.0, 1 - state.newest_step / total)


def restart_cost(state: RunState) -> Seconds:
    """From a request to the first new step, in market seconds."""
    return RESTART_UNMEASURED_S if state.startup_s is None else Tempo(state.speed).market(state.startup_s)


def _checkpoint_age(state: RunState, now: Utc) -> Seconds:
    writer = state.last_writer
    if writer is None or writer.granted_at is None:
        return 0.0
    return max(0.0, now - (writer.commit_at or writer.granted_at))


@once
def _summaries(state: RunState) -> tuple[AttemptSummary, ...]:
    return tuple(_summary(a) for a in state.attempts.values())


@once
def _summary(attempt: Attempt) -> AttemptSummary:
    return AttemptSummary(
        number=attempt.number,
        placement=attempt.offer.placement,
        started_at=attempt.billed_from if attempt.billed_from is not None else attempt.requested_at,
        ended_at=attempt.end.at if attempt.end else None,
        end=attempt.end.end.value if attempt.end else None,
    )


def learnt(before: RunState, event: ev.Event) -> Sighting | None:
    """What `event` tells of the market, given the state before it."""
    if isinstance(event, ev.MarketSighted):
        return event.sighting
    if not isinstance(event, ev.AttemptRefused | ev.NoticeSeen | ev.AttemptUnwanted):
        return None
    attempt = before.attempts.get(event.attempt)
    if attempt is None:
        return None
    place = attempt.offer.placement.place
    if isinstance(event, ev.AttemptRefused) and event.failure.failure in (*PLACE_REFUSES, FailureKind.RECIPE):
        return PlaceRefused(at=event.at, place=place, why=event.failure.failure.value)
    if isinstance(event, ev.AttemptUnwanted) and event.silent:
        return PlaceRefused(at=event.at, place=place, why="silent")  # a machine that boots and says nothing is no machine
    if isinstance(event, ev.NoticeSeen) and not event.notice.withdrawn:
        return PlaceLost(at=event.at, place=place, life=_life(attempt, event.at))
    return None


def learnt_at_end(before: RunState, after: RunState, event: ev.Event) -> Sighting | None:
    """What the end of an attempt tells of its place: a loss, unless its notice told that already, or a life we cut short."""
    if not isinstance(event, ev.AttemptExited | ev.AttemptLost):
        return None
    old, new = before.attempts.get(event.attempt), after.attempts[event.attempt]
    if new.end is None or (old is not None and old.end is not None):
        return None
    place, life = new.offer.placement.place, _life(new, gone_about(after, new))
    if new.end.end is EndKind.PREEMPTED:
        return PlaceLost(at=event.at, place=place, life=life) if new.notice is None else None
    if new.training_at is not None:
        return PlaceHeld(at=event.at, place=place, life=life)
    # A machine that never came to train tells nothing good; one that died of itself is as bad as a refusal.
    return PlaceRefused(at=event.at, place=place, why="killed") if new.end.end is EndKind.KILLED else None


def _life(attempt: Attempt, now: Utc) -> Seconds:
    return max(0.0, now - attempt.billed_from) if attempt.billed_from is not None else 0.0
