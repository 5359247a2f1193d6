"""How fast a program trains, learnt from a run that was really made, for machines that only exist in simulated time.

All here is in real seconds of the machines that the run had. What a rehearsal measured before its start (`SpeedChosen`) stems
from a reference that ran alone; what its attempts showed is nearer to the truth and goes first.
"""

from dataclasses import dataclass
from statistics import fmean, median

from launcher.adapters.history import History
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.core.run.ledger import ledger
from launcher.core.run.state import Attempt, RunState
from launcher.core.run.view import total_steps
from launcher.core.tempo import Tempo
from launcher.sim.trainer import Pace
from launcher.units import MINUTE, Seconds, Step

_Shown = tuple[Seconds, Seconds, Step]

STEPS_LEAST = 5  # an attempt that made fewer tells nothing of the pace
PUBLISH_EVERY: Seconds = 10 * MINUTE  # market; how often a program under `run:` is taken to write a checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Real seconds. A start is `delay` from the request to the first billed second, `boot` to the agent's claim, and, once it is
    granted the right to write, `startup` to the first new step.
    """

    startup: Seconds
    step: Seconds
    steps: Step
    stall: Seconds
    durable: Seconds
    boot: Seconds
    delay: Seconds = 0.0

    @property
    def work(self) -> Seconds:
        return self.steps * self.step


def learnt(history: History, *, otherwise: Measured) -> Measured | None:
    """What a run tells of its program's pace; None where it tells too little. `otherwise`: of what it never came to show."""
    state = history.state
    speed = state.speed
    poll = Tempo(speed).grant_poll  # until an agent reads that it was granted: the simulated one does so as well
    seen = [shown for a in state.attempts.values() if (shown := _shown(a, poll)) is not None]
    saves = [r.event for r in history.records if isinstance(r.event, ev.CheckpointSeen) and r.event.durable_s > 0]
    steps = total_steps(state) or _steps_of_program(state)
    step = _step(state, seen)
    if not steps or not step or state.startup_s is None:
        return None
    claims = [boot for r in history.records if (boot := _boot(state, r.event)) is not None]
    # Means of what a run takes again and again, since it is their sum that counts; a save has its outliers.
    return Measured(
        startup=fmean(start for start, _, _ in seen) / speed if seen else state.startup_s,
        step=step,
        steps=steps,
        stall=median(save.stall_s for save in saves) if saves else otherwise.stall,
        durable=median(save.durable_s for save in saves) if saves else otherwise.durable,
        boot=fmean(claims) / speed if claims else otherwise.boot,
        delay=fmean(delays) / speed if (delays := _delays(state)) else otherwise.delay,
    )


def pace_of(measured: Measured, speed: float, *, publishes: bool) -> Pace:
    """The machine that shows this pace at `speed`. `publishes`: a program under `run:`, which saves by itself."""
    tempo = Tempo(speed)
    step = tempo.market(measured.step)
    return Pace(
        boot_s=tempo.market(measured.boot),
        restore_s=tempo.market(measured.startup),
        step_s=step,
        stall_s=tempo.market(measured.stall),
        durable_s=tempo.market(measured.durable),
        save_every=max(1, round(PUBLISH_EVERY / step)) if publishes else None,
        total_steps=measured.steps,
        tells_losses=False,
    )


def _delays(state: RunState) -> list[Seconds]:
    return [a.billed_from - a.requested_at for a in state.attempts.values() if a.billed_from is not None]


def _step(state: RunState, seen: list[_Shown]) -> Seconds | None:
    if state.counts_commits:
        return MINUTE / state.speed  # what `_steps_of_program` counts it in
    if made := sum(steps for _, _, steps in seen):
        return sum(trained for _, trained, _ in seen) / state.speed / made
    steps = total_steps(state)
    return state.work_s / steps if state.work_s is not None and steps else None


def _steps_of_program(state: RunState) -> Step | None:
    """Of a program under `run:` that has finished, in steps of its own or in minutes of useful work."""
    if state.phase is not Phase.SUCCEEDED or state.terminal is None:
        return None
    return state.newest_step if state.tells_steps else max(1, round(ledger(state, state.terminal.at).times.useful / MINUTE))


def _shown(attempt: Attempt, poll: Seconds) -> _Shown | None:
    """Market seconds from `poll` after the grant to the first new step, of training since without stalls, and its steps."""
    beat = attempt.last_beat
    if beat is None or attempt.granted_at is None or beat.step - beat.restored_step < STEPS_LEAST or beat.training_s <= 0:
        return None
    start = beat.at - beat.training_s - attempt.granted_at - poll
    return max(0.0, start), beat.training_s - beat.saving_s, beat.step - beat.restored_step


def _boot(state: RunState, event: ev.Event) -> Seconds | None:
    """Market seconds from an attempt's first billed one to its claim, which was seen half a look later on average."""
    attempt = state.attempts.get(event.attempt) if isinstance(event, ev.AttemptClaimed) else None
    if attempt is None or attempt.billed_from is None:
        return None
    return max(0.0, event.at - attempt.billed_from - Tempo(state.speed).read_fast / 2)
