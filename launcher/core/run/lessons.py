"""What a run's attempts taught about their places: read off its journal, so the same whenever and by whomever it is read.

Judged as `view.py` judges them for the run itself. A rehearsal teaches nothing: its places have the names of real ones, and its
machines lived by a trace.
"""

import json
from collections.abc import Iterable

from launcher.codec import digest_of
from launcher.core.market.lives import Lesson, Outcome
from launcher.core.plan.limits import accelerators_needed
from launcher.core.recipe import Recipe
from launcher.core.run import events as ev
from launcher.core.run.state import UNKNOWN_OFFER, Attempt, EndKind, RunState
from launcher.core.run.view import PLACE_REFUSES
from launcher.units import Seconds, Utc

STEPS_LEAST = 5  # an attempt that made fewer tells nothing of the pace


def lessons_of(state: RunState, events: Iterable[ev.Event]) -> tuple[Lesson, ...]:
    """Of every attempt that is settled, as far as it tells anything. `events` are the run's journal."""
    if state.recipe.is_local:
        return ()
    claimed_at: dict[int, Utc] = {}
    silent: set[int] = set()
    program = program_of(state.recipe)
    for event in events:
        if isinstance(event, ev.AttemptClaimed):
            claimed_at.setdefault(event.attempt, event.at)
        elif isinstance(event, ev.AttemptUnwanted) and event.silent:
            silent.add(event.attempt)
    found = (
        _lesson(state, attempt, claimed_at.get(attempt.number), program, is_silent=attempt.number in silent)
        for attempt in state.attempts.values()
        if attempt.is_settled and attempt.offer != UNKNOWN_OFFER
    )
    return tuple(lesson for lesson in found if lesson is not None)


def program_of(recipe: Recipe) -> str:
    """What the recipe trains, as a digest: another name, program or argument is another pace, another number of steps is not."""
    trainer = {name: value for name, value in (recipe.trainer or {}).items() if name != "steps"}
    return digest_of(json.dumps([recipe.name, recipe.run, trainer], sort_keys=True).encode())[:16]


def _lesson(state: RunState, attempt: Attempt, claimed_at: Utc | None, program: str, *, is_silent: bool) -> Lesson | None:
    judged = _judged(attempt, is_silent=is_silent)
    if judged is None:
        return None
    assert attempt.end is not None, "a settled attempt has ended"
    assert attempt.bill is not None, "a settled attempt was billed"
    outcome, why = judged
    placement = attempt.offer.placement
    notice = attempt.notice if outcome is Outcome.LOST else None
    # Having saved at a notice it goes, and is stopped: the market would have left it until the instant it told.
    over_at = attempt.bill.likely if notice is None else max(attempt.bill.likely, attempt.notice_ends_at)
    return Lesson(
        run=state.run,
        incarnation=state.incarnation,
        attempt=attempt.number,
        at=attempt.end.at if attempt.billed_from is None else over_at,
        placement=placement,
        outcome=outcome,
        why=why,
        life=None if attempt.billed_from is None else max(0.0, over_at - attempt.billed_from),
        boot=None if claimed_at is None else max(0.0, claimed_at - attempt.requested_at),
        notice=None if notice is None else max(0.0, notice.ends_at - notice.at),
        program=program,
        steps_per_s=_steps_per_s(state, attempt),
        gpus=accelerators_needed(state.recipe, placement) or placement.accelerators,
        num_nodes=state.recipe.num_nodes,
    )


def _judged(attempt: Attempt, *, is_silent: bool) -> tuple[Outcome, str] | None:
    """What it showed of its place, and of a refusal why; None where what ended it was not the place's."""
    end = attempt.end
    assert end is not None, "a settled attempt has ended"
    if is_silent:
        return Outcome.REFUSED, "silent"
    if end.end is EndKind.REFUSED:
        kind = end.failure.failure if end.failure is not None else None
        return (Outcome.REFUSED, kind.value) if kind in PLACE_REFUSES and kind is not None else None
    if end.end is EndKind.PREEMPTED:
        return Outcome.LOST, ""
    if attempt.training_at is not None:
        return Outcome.HELD, ""
    return (Outcome.REFUSED, "killed") if end.end is EndKind.KILLED else None


def _steps_per_s(state: RunState, attempt: Attempt) -> float | None:
    """By its last word: new steps by the real time that they took, saves not counted."""
    last = attempt.last_beat
    if last is None or state.counts_commits:
        return None
    steps, trained = last.step - last.restored_step, _real(last.training_s - last.saving_s, state)
    return steps / trained if steps >= STEPS_LEAST and trained > 0 else None


def _real(market: Seconds, state: RunState) -> Seconds:
    return market / state.speed
