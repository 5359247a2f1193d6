"""How fast a program trains, learnt from a run that was really made, for machines that only exist in simulated time.

All here is in real seconds of the machines that the run had. What a rehearsal measured before its start (`SpeedChosen`) stems
from a reference that ran alone; what its attempts showed is nearer to the truth and goes first.
"""

from dataclasses import dataclass
from statistics import median

from launcher.adapters.history import History
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.core.run.ledger import ledger
from launcher.core.run.state import Attempt, RunState
from launcher.core.run.view import total_steps
from launcher.core.tempo import Tempo
from launcher.sim.machine import Pace
from launcher.units import MINUTE, Seconds, Step

_Shown = tuple[Seconds, Seconds, Step]

STEPS_LEAST = 5  # an attempt that made fewer tells nothing of the pace
PUBLISH_EVERY: Seconds = 10 * MINUTE  # market; how often a program under `run:` is taken to write a checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Real seconds. `start` is from the first billed second to the first new step; None: nothing was seen of it."""

    startup: Seconds  # of the program: import and restore
    step: Seconds
    steps: Step
    stall: Seconds
    durable: Seconds
    start: Seconds | None = None

    @property
    def work(self) -> Seconds:
        return self.steps * self.step


def learnt(history: History, *, stall: Seconds, durable: Seconds) -> Measured | None:
    """What a run tells of its program's pace; None where it tells too little. `stall`, `durable`: where it never saved."""
    state = history.state
    speed = state.speed
    seen = [shown for a in state.attempts.values() if (shown := _shown(a)) is not None]
    saves = [r.event for r in history.records if isinstance(r.event, ev.CheckpointSeen) and r.event.durable_s > 0]
    steps = total_steps(state) or _steps_of_program(state)
    step = _step(state, seen)
    if not steps or not step or state.startup_s is None:
        return None
    return Measured(
        startup=state.startup_s,
        step=step,
        steps=steps,
        stall=median(save.stall_s for save in saves) if saves else stall,
        durable=median(save.durable_s for save in saves) if saves else durable,
        start=median(start for start, _, _ in seen) / speed if seen else None,
    )


def pace_of(measured: Measured, speed: float, *, boot: Seconds, publishes: bool) -> Pace:
    """The machine that shows this pace at `speed`. `boot`: real, to the agent's claim; `publishes`: a program under `run:`."""
    tempo = Tempo(speed)
    # Between claim and restore lie a look of the supervisor, on average half of one, and one of the agent.
    looks = tempo.real(tempo.read_fast / 2 + tempo.grant_poll)
    start = boot + looks + measured.startup if measured.start is None else measured.start
    step = tempo.market(measured.step)
    return Pace(
        boot_s=tempo.market(min(boot, start)),
        restore_s=tempo.market(max(0.0, start - boot - looks)),
        step_s=step,
        stall_s=tempo.market(measured.stall),
        durable_s=tempo.market(measured.durable),
        save_every=max(1, round(PUBLISH_EVERY / step)) if publishes else None,
        total_steps=measured.steps,
    )


def _step(state: RunState, seen: list[_Shown]) -> Seconds | None:
    if state.counts_commits:
        return MINUTE / state.speed  # what `_steps_of_program` counts it in
    if made := sum(steps for _, _, steps in seen):
        return sum(trained for _, trained, _ in seen) / state.speed / made
    steps = total_steps(state)
    return state.work_s / steps if state.work_s is not None and steps else None


def _steps_of_program(state: RunState) -> Step | None:
    """Of a program under `run:` that has finished, in steps of its own or in minutes of useful work."""
    if state.phase is not Phase.SUCCEEDED:
        return None
    return state.newest_step if state.tells_steps else max(1, round(ledger(state, state.created_at).times.useful / MINUTE))


def _shown(attempt: Attempt) -> _Shown | None:
    """Market seconds to the first new step and of training since, stalls left out, and the steps made in them."""
    beat = attempt.end.heartbeat if attempt.end else None
    if beat is None or attempt.billed_from is None or beat.step - beat.restored_step < STEPS_LEAST or beat.training_s <= 0:
        return None
    start = beat.at - beat.training_s - attempt.billed_from
    return max(0.0, start), beat.training_s - beat.saving_s, beat.step - beat.restored_step
