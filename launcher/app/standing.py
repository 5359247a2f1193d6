"""Where one run stands, for `launch status`: what it does, what is safe, who drives it, what happens next and what to type.

Read from the journal, the writer's heartbeat and the supervisor's beacon, by key, so that looking costs a handful of reads.
"""

import math
from dataclasses import dataclass

from launcher import beacon
from launcher.adapters.history import History
from launcher.app.alone import beat_of, result_so_far, saved_alone
from launcher.app.answer import moment
from launcher.app.counting import at, told
from launcher.app.home import Found
from launcher.app.keeping import about_kept
from launcher.app.lives import Life, life_json, life_lines, lives_of
from launcher.app.looking import span, unreadable_records
from launcher.app.result import Result, as_json, has_published_nothing, must_begin_anew
from launcher.app.show import show_cost
from launcher.app.ticking import next_tick
from launcher.app.wiring import clock_still_s
from launcher.beacon import Holder
from launcher.clock import CLOCK_STALE_S
from launcher.codec import Json
from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import Beacon, Heartbeat
from launcher.core.policy.base import Phase
from launcher.core.run.barren import MUTE_MOST, UNPUBLISHED_MOST, mute, unpublished
from launcher.core.run.state import RunState
from launcher.core.run.verdict import FROM_THE_START
from launcher.units import Bytes, Seconds, Usd, Utc, show_duration, show_size, show_usd

# The supervisor went away between a run's end and its machines'.
STILL_BILLED = "nobody saw its last machine gone, and it may cost money still"


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The newest checkpoint; `age` in market seconds since a supervisor saw it, None where none did before its attempt's seal."""

    ref: CommitRef
    size: Bytes
    age: Seconds | None
    is_journaled: bool = True  # False: a machine saved it, and no supervisor has looked since


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    result: Result
    now: Utc
    speed: float
    doing: str
    loss: float | None
    steps_per_s: float | None
    lives: tuple[Life, ...]
    newest: Newest | None
    budget: Usd | None
    deadline_at: Utc | None
    driver: Holder
    beacon: Beacon | None
    tick_at: Utc | None  # when the next `launch tick` is awaited, where nobody stays with the run
    warnings: tuple[str, ...]
    then: str  # what happens next
    command: str  # what a person types to go on


def standing_of(found: Found, history: History) -> Standing:
    """Raises UsageError for a run that was never started."""
    state, now = history.state, found.market_now(history)
    light = beacon.read(found.store)
    driver = beacon.judge(light)
    beats = {a.number: beat for a in state.living if (beat := beat_of(found.store, a.number)) is not None}
    writer = state.last_writer
    beat = beats.get(writer.number) if writer and writer.is_alive else writer.end.heartbeat if writer and writer.end else None
    silent_s = _silent_s(found, state, driver)
    result = result_so_far(history, now)
    tick_at = next_tick(history, driver, now) if silent_s is None else None
    then, command = map(found.addressed, what_next(state, now, result.resume, driver, silent_s, tick_at))
    return Standing(
        result=result,
        now=now,
        speed=state.speed,
        doing=_doing(state, driver, silent_s, tick_at, _waits_for(state, light)),
        loss=beat.loss if beat else None,
        steps_per_s=beat.steps_per_s if beat and writer and writer.is_alive and silent_s is None else None,
        lives=lives_of(state, now, beats),
        newest=_newest(history, now),
        budget=state.recipe.policy.budget,
        deadline_at=state.deadline_at,
        driver=driver,
        beacon=light,
        tick_at=tick_at,
        warnings=warnings_of(history, now, beat),
        then=then,
        command=command,
    )


def _newest(history: History, now: Utc) -> Newest | None:
    if (alone := saved_alone(history)) is not None:
        return Newest(ref=alone.ref, size=alone.size, age=None, is_journaled=False)
    state = history.state
    ref = state.newest_commit
    if ref is None:
        return None
    maker = state.attempts.get(ref.attempt)
    if maker is None or maker.commit != ref:
        return Newest(ref=ref, size=0, age=None)
    return Newest(ref=ref, size=maker.commit_size, age=None if maker.commit_at is None else max(0.0, now - maker.commit_at))


def warnings_of(history: History, now: Utc, beat: Heartbeat | None) -> tuple[str, ...]:
    bad = tuple(f"journal record {n} cannot be read; the next supervisor voids it" for n in unreadable_records(history, now))
    aside = tuple(f"checkpoint {found.ref} was set aside: {found.culprit}" for found in beat.set_aside) if beat else ()
    is_ended = history.state.phase.is_ended
    barren, num_mute = (0, 0) if is_ended else (len(unpublished(history.state)), len(mute(history.state)))
    vain = (f"{barren} attempts in a row trained and published nothing; at {UNPUBLISHED_MOST} the run pauses",) * (barren > 1)
    silence = f"{num_mute} machines in a row came up and their agents never spoke; at {MUTE_MOST} the run pauses"
    unheard = (silence,) * (num_mute > 1)
    return (*bad, *aside, *unheard, *vain, *said_by_machines(history.state, beat))


def said_by_machines(state: RunState, beat: Heartbeat | None) -> tuple[str, ...]:
    """What the newest writer warns of, whose heartbeat is `beat`, and the newest that trained, be it at its end."""
    trained = next((attempt for attempt in reversed(state.attempts.values()) if attempt.training_at is not None), None)
    said = beat.warnings if beat else ()
    if trained is not None and (beat is None or beat.attempt != trained.number):
        last = trained.end.heartbeat if trained.end else None
        said += trained.warnings if last is None else last.warnings
    return tuple(dict.fromkeys(said))


# --- what happens next ---------------------------------------------------------------------------------------------------------


def _silent_s(found: Found, state: RunState, driver: Holder) -> Seconds | None:
    """How long (real) nothing was heard of a run whose supervisor is gone too; None where it lives, or who knows."""
    if driver is not Holder.NOBODY or state.phase.is_ended:
        return None
    still_s = clock_still_s(found.head.incarnation)
    return still_s if still_s is not None and still_s > CLOCK_STALE_S else None


def _waits_for(state: RunState, light: Beacon | None) -> str:
    """What its supervisor said; what it said before the newest request, no machine waits for any more."""
    asked_at = max((a.requested_at for a in state.living), default=-math.inf)
    return light.waits_for if light is not None and light.at > asked_at else ""


def _doing(state: RunState, driver: Holder, silent_s: Seconds | None, tick_at: Utc | None, waits_for: str) -> str:
    if silent_s is not None and state.living:
        last = state.living[-1]
        return f"attempt {last.number} at {last.offer.placement} was not heard of for {show_duration(silent_s)}"
    coming = [a for a in state.wanted if not a.is_granted]
    match state.phase:
        case Phase.RUNNING:
            assert state.last_writer is not None, "running is what a writer does"
            verb = "trains" if state.last_writer.training_at is not None else "restores"
            return f"attempt {state.last_writer.number} {verb} at {state.last_writer.offer.placement}"
        case Phase.DRAINING:
            leaving = [a for a in state.living if a.is_granted][-1]
            why = "it has notice" if leaving.notice is not None else leaving.unwanted_reason
            return f"attempt {leaving.number} saves and ends: {why}"
        case Phase.PROVISIONING:
            start = f"attempt {coming[-1].number} starts at {coming[-1].offer.placement}"
            return f"{start}: {waits_for}" if waits_for else start
        case Phase.WAITING if driver is Holder.NOBODY and tick_at is None:
            return "no machine, and nobody to ask for one"
        case Phase.WAITING if not state.attempts and state.startup_s is None:
            return "start-up and work are being measured, before the first attempt"
        case Phase.WAITING:
            return f"no machine: {waits_for}" if waits_for else "no machine; waiting for one"
        case _:
            assert state.terminal is not None, "the other phases are ends"
            return state.terminal.reason or "training reached its end"


def what_next(
    state: RunState, now: Utc, resume: str, driver: Holder, silent_s: Seconds | None = None, tick_at: Utc | None = None
) -> tuple[str, str]:
    """What happens next, and the command to go on with; `resume` is what starts an ended run again."""
    if state.phase.is_ended and (told := about_kept(state, now)):
        return f"kept: {told}", f"launch ssh {state.run}"
    if tick_at is not None:
        return f"the next tick is awaited{_due(tick_at, now, state.speed)}", f"launch tick {state.run}"
    if state.phase.is_ended:
        is_left = driver is Holder.NOBODY and not state.is_over
        return (STILL_BILLED, f"launch stop {state.run}") if is_left else _after_end(state, resume)
    if driver is Holder.NOBODY:
        trains = state.phase is Phase.RUNNING and silent_s is None
        alone = "training goes on alone until the machine goes" if trains else "nothing happens until somebody does"
        return f"nobody supervises; {alone}", f"launch resume {state.run}"
    if driver is Holder.HALTED:
        return "its supervisor was halted, as by Ctrl-Z: type `fg` there, or take the run over", f"launch resume {state.run}"
    if driver is Holder.UNSURE:
        return "another machine supervised it last; whether it still does shows while watching", f"launch status -w {state.run}"
    return "its supervisor goes on by itself", f"launch status -w {state.run}"


def _after_end(state: RunState, resume: str) -> tuple[str, str]:
    assert state.terminal is not None
    run = state.run
    match state.terminal.phase, state.terminal.exit_code:
        case Phase.SUCCEEDED, _:
            return "nothing; it is done", f"launch report {run}"
        case Phase.FAILED, _:
            return f"nothing until it is resumed; what the program said: launch logs {run}", resume
        case _, 4:
            what = "budget is raised" if "budget" in state.terminal.reason else "deadline is moved"
            return f"nothing until the {what}", resume
        case _, 6 if state.terminal.needs == FROM_THE_START:
            return "nothing until it is resumed, from its very start: no checkpoint is whole", resume
        case _ if must_begin_anew(state):
            return "nothing: a run keeps its speed, and its lives are too short; begin anew with longer ones", resume
        case _ if has_published_nothing(state):
            return "nothing until it is resumed, its program mended: launch help contract", resume
        case _:
            return "nothing until it is resumed; checkpoints stay", resume


# --- shown ---------------------------------------------------------------------------------------------------------------------


def standing_lines(s: Standing) -> list[str]:
    r = s.result
    loss = "" if s.loss is None else f", loss {s.loss:.4g}"
    speed = "" if s.steps_per_s is None else f", {s.steps_per_s:.3g} it/s"
    rows = [
        ("run", f"{r.run} (recipe {r.recipe})"),
        ("phase", f"{r.state.value}: {s.doing}"),
        (r.unit, f"{_position(s).removeprefix(f'{r.unit} ')}{loss}{speed}"),
        ("saved", _saved(s)),
        ("cost", _cost(s)),
        ("deadline", _deadline(s)),
        ("driver", _driver(s)),
        ("store", r.store),
        *(("warning", text) for text in s.warnings),
        ("then", s.then),
        ("next", s.command),
    ]
    lines = [f"{name:<9} {text}" for name, text in rows if text]
    attempts = life_lines(s.lives, s.speed)
    return [*lines[:-2], *([""] if attempts else []), *attempts, "", *lines[-2:]]


def summary_line(s: Standing) -> str:
    """The moving line of a watch in a pipe."""
    loss = "" if s.loss is None else f"  loss {s.loss:.4g}"
    return f"{s.result.state.value}  {_position(s)}{loss}  {s.doing}  {show_cost(s.result.cost)}"


def _position(s: Standing) -> str:
    return at(_reached(s), s.result.unit, s.result.total_steps)


def _reached(s: Standing) -> int:
    """The step of the newest heartbeat while a writer lives, else what is safe."""
    living = [life.to_step for life in s.lives if life.ended_at is None]
    return max([s.result.step, *living])


def _saved(s: Standing) -> str:
    if s.newest is None:
        return "no checkpoint yet"
    size = f", {show_size(s.newest.size)}" if s.newest.size else ""
    age = "" if s.newest.age is None else f", {span(s.newest.age, s.speed)} old"
    alone = ", by the machine alone" if s.driver is Holder.NOBODY and not s.newest.is_journaled else ""
    return f"{s.result.unit} {s.result.step} as {s.newest.ref}{size}{age}{alone}"


def _cost(s: Standing) -> str:
    budget = "" if s.budget is None else f" of {show_usd(s.budget)}"
    return f"{show_cost(s.result.cost)}{budget}"


def _deadline(s: Standing) -> str:
    if s.deadline_at is None:
        return ""
    left = s.deadline_at - s.now
    return f"{moment(s.deadline_at)}, {f'in {span(left, s.speed)}' if left > 0 else f'{show_duration(-left)} ago'}"


def _due(tick_at: Utc, now: Utc, speed: float) -> str:
    return f" in {span(tick_at - now, speed)}" if tick_at > now else ", and due"


def _driver(s: Standing) -> str:
    if s.tick_at is not None:
        return "nobody stays; `launch tick` comes back"
    if s.driver is Holder.NOBODY or s.beacon is None:
        return "nobody supervises"
    who = f"supervisor {s.beacon.supervisor}"
    if s.driver is Holder.UNSURE:
        return f"{who}, on another machine"
    return f"{who}, process {s.beacon.pid}, {'alive' if s.driver is Holder.ALIVE else 'halted'}"


def standing_json(s: Standing) -> dict[str, Json]:
    """`train`'s document and more; keys are only ever added."""
    newest = s.newest
    return {
        **as_json(s.result),
        "doing": s.doing,
        **{f"reached_{unit}": step for unit, step in told(_reached(s), s.result.unit).items()},
        "loss": s.loss,
        "steps_per_s": s.steps_per_s,
        "newest_checkpoint": None
        if newest is None
        else {
            "ref": str(newest.ref),
            **told(s.result.step, s.result.unit),
            "bytes": newest.size,
            "age_s": _real(newest.age, s.speed),
            "journaled": newest.is_journaled,
        },
        "budget_usd": s.budget,
        "deadline_at": None if s.deadline_at is None else moment(s.deadline_at),
        "market_time": moment(s.now),
        "next_tick_at": None if s.tick_at is None else moment(s.tick_at),
        "supervisor": {"alive": s.driver.is_there, **_beacon_json(s)},
        "attempts_detail": [life_json(life, s.speed) for life in s.lives],
        "warnings": list(s.warnings),
        "then": s.then,
        "next": s.command,
    }


def _beacon_json(s: Standing) -> dict[str, Json]:
    return {} if s.beacon is None else {"id": s.beacon.supervisor, "pid": s.beacon.pid, "released": s.beacon.released}


def _real(market: Seconds | None, speed: float) -> float | None:
    return None if market is None else round(market / speed, 3)
