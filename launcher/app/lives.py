"""The attempts of a run, one row each: where, how long, what it did, what it cost, and how it ended.

`status` and `report` both show them, so they cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from launcher.app.answer import moment, table
from launcher.app.counting import told, unit_of
from launcher.app.looking import span
from launcher.app.narrative import ended_by
from launcher.app.show import brief
from launcher.codec import Json
from launcher.core.contract import SOURCE_SIGTERM, Heartbeat
from launcher.core.market.offer import Placement
from launcher.core.run.life import began_step, toll
from launcher.core.run.spent import spent
from launcher.core.run.state import Attempt, EndKind, RunState
from launcher.units import Seconds, Step, Usd, Utc, show_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One attempt. Times are the market's; `ended_at` is the end of its bill, or of the attempt where it was never billed."""

    number: int
    placement: Placement
    requested_at: Utc
    up_at: Utc | None
    ended_at: Utc | None
    duration: Seconds
    unit: str  # "step", or "commit" of a program that tells no steps
    from_step: Step  # in units of `unit`
    to_step: Step
    steps_lost: Step | None  # None where nobody knows
    usd: Usd
    state: str  # what it does, or the kind of its end
    reason: str
    noticed: bool
    wait_status: str | None

    @property
    def is_preempted(self) -> bool:
        return self.state == EndKind.PREEMPTED.value


def lives_of(state: RunState, now: Utc, beats: Mapping[int, Heartbeat]) -> tuple[Life, ...]:
    """All attempts in order; `beats` are the newest heartbeats of those that live."""
    return tuple(_life(state, attempt, now, beats.get(attempt.number)) for attempt in state.attempts.values())


def _life(state: RunState, attempt: Attempt, now: Utc, beat: Heartbeat | None) -> Life:
    end = attempt.end
    last = end.heartbeat if end is not None else beat
    ended_at = attempt.bill.likely if attempt.bill else end.at if end else None
    start = attempt.billed_from
    cost_of_end = toll(state, attempt.number, now)
    return Life(
        number=attempt.number,
        placement=attempt.offer.placement,
        requested_at=attempt.requested_at,
        up_at=start,
        ended_at=ended_at,
        duration=0.0 if start is None else max(0.0, (now if ended_at is None else ended_at) - start),
        unit=unit_of(state),
        from_step=began_step(attempt),
        to_step=max(attempt.commit_step, began_step(attempt), last.step if last else 0, cost_of_end.reached_step),
        steps_lost=None if state.counts_commits else cost_of_end.steps_lost,
        usd=spent(replace(state, attempts={attempt.number: attempt}), now).likely,
        state=_doing(attempt) if end is None else end.end.value,
        reason=end.reason if end is not None else attempt.unwanted_reason,
        noticed=was_announced(attempt),
        wait_status=attempt.bill.wait_status if attempt.bill else None,
    )


def was_announced(attempt: Attempt) -> bool:
    """Whether the market said that it would take the machine. One that we end is told by SIGTERM, and takes that for a notice."""
    is_ours = attempt.unwanted_at is not None and not attempt.drain
    return attempt.notice is not None and not (is_ours and attempt.notice.source == SOURCE_SIGTERM)


def _doing(attempt: Attempt) -> str:
    if attempt.unwanted_at is not None or attempt.notice is not None:
        return "draining"
    if attempt.training_at is not None:
        return "training"
    if attempt.is_granted:
        return "restoring"
    return "starting" if attempt.billed_from is None else "preparing"


def life_lines(lives: tuple[Life, ...], speed: float) -> list[str]:
    """The table for people; nothing where there was no attempt."""
    if not lives:
        return []
    head = ("#", "PLACE", "INSTANCE", "KIND", "LIFE", f"{lives[0].unit.upper()}S", "LOST", "COST", "STATE", "NOTICE", "HOW")
    return table([head, *(_row(life, speed) for life in lives)], right=frozenset({0, 5, 6, 7}))


def _row(life: Life, speed: float) -> tuple[str, ...]:
    notice = "-" if not (life.noticed or life.is_preempted) else "yes" if life.noticed else "none"
    return (
        str(life.number),
        str(life.placement),
        life.placement.instance,
        life.placement.capacity.value,
        "-" if life.up_at is None else span(life.duration, speed),
        "-" if life.to_step == life.from_step else f"{life.from_step}-{life.to_step}",
        "-" if life.steps_lost is None else str(life.steps_lost),
        show_usd(life.usd),
        life.state,
        notice,
        _how(life),
    )


def _how(life: Life) -> str:
    """The wait status where the market took it, else the reason."""
    by = ended_by(life.wait_status) if life.wait_status else ""
    return by if life.is_preempted and by else brief(life.reason) or by


def life_json(life: Life, speed: float) -> dict[str, Json]:
    place = life.placement
    return {
        "attempt": life.number,
        "cloud": place.cloud,
        "region": place.region,
        "zone": place.zone,
        "instance": place.instance,
        "accelerators": f"{place.accelerator}:{place.accelerators}",
        "capacity": place.capacity.value,
        "requested_at": moment(life.requested_at),
        "up_at": None if life.up_at is None else moment(life.up_at),
        "ended_at": None if life.ended_at is None else moment(life.ended_at),
        "life_market_s": round(life.duration, 3),
        "life_s": round(life.duration / speed, 3),
        **{f"from_{unit}": step for unit, step in told(life.from_step, life.unit).items()},
        **{f"to_{unit}": step for unit, step in told(life.to_step, life.unit).items()},
        "steps_lost": life.steps_lost,
        "cost_usd": round(life.usd, 4),
        "state": life.state,
        "reason": life.reason,
        "noticed": life.noticed,
        "wait_status": life.wait_status,
    }
