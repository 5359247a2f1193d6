"""What a rehearsal needs before its first attempt: a reference that runs, a speed, a plan, a clock.

Each step looks whether it was done, in the journal or on this machine, so that a run whose supervisor died anywhere on the way is
completed by the next. No attempt exists before the last step, which is why a stop that comes earlier simply ends the run.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from launcher.adapters.cloud.local_reference import MEASURED_STEPS
from launcher.adapters.history import History
from launcher.app import show, wiring
from launcher.app.live import Screen
from launcher.app.plans import STARTUP_ASSUMED_S, Timing, assumed, num_steps, plan_for, speed_of, timing
from launcher.app.proof import changed_mathematics
from launcher.app.requests import unseen
from launcher.app.signals import Signals
from launcher.core.contract import Request, RequestKind
from launcher.core.plan.planner import Plan
from launcher.core.recipe import Recipe
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.units import Seconds

T = TypeVar("T")

LOOK_S: Seconds = 0.1  # real
MEASURE_MOST_S: Seconds = 300.0  # then this is taken for what they cost: a slow market is no trouble, a fast one is


class StoppedEarly(Exception):
    """Somebody asked for a stop before the first attempt."""

    def __init__(self, kind: RequestKind, requests: tuple[Request, ...]) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.requests = requests


def prepare(history: History, screen: Screen, signals: Signals) -> None:
    """Whatever is still missing before the loop can run. Raises StoppedEarly."""
    state = history.state
    if not state.phase.is_ended and state.recipe.trainer is not None and not changed_mathematics(history):
        wiring.start_reference(state, history.store)
    if state.startup_s is None:
        known = _measured(history, screen, signals)
        speed, reason = speed_of(state.recipe, known)
        at = history.records[-1].at
        history.append(ev.SpeedChosen(at=at, speed=speed, startup_s=known.startup_s, work_s=known.work_s, reason=reason))
    if history.plan is None:
        made = _plan(history)
        for line in (show.rehearsal_line(state.recipe, made), *show.plan_lines(made), ""):
            screen.say(line)
    wiring.make_clock(history)


def end_early(history: History, stopped: StoppedEarly) -> None:
    """Journals the end of a run that has had no attempt."""
    at = history.records[-1].at
    for request in stopped.requests:
        history.append(ev.RequestSeen(at=at, request=request))
    if stopped.kind is RequestKind.CANCEL:
        history.append(ev.RunCancelled(at=at, reason="cancelled on request, before its first attempt"))
    else:
        history.append(ev.RunPaused(at=at, exit_code=130, reason="stopped on request, before its first attempt"))


def _plan(history: History) -> Plan:
    state = history.state
    step_s = state.work_s / steps if state.work_s is not None and (steps := _steps(state.recipe)) else None
    startup_s = state.startup_s or 0.0
    known = Timing(startup_s=startup_s, step_s=step_s, work_s=state.work_s, is_measured=True, load=_load(state))
    at = history.records[-1].at
    made = plan_for(state.recipe, known, state.speed, at)
    history.append(ev.PlanMade(at=at, plan=made))
    return made


def _load(state: RunState) -> float:
    """How much longer steps take now than on an idle machine, by the reference run, which trains alone before attempt 1."""
    found = wiring.reference_measured(state) if state.recipe.trainer is not None else None
    return 1.0 if found is None else found.load


def _steps(recipe: Recipe) -> int:
    return num_steps(recipe) or 0


def _measured(history: History, screen: Screen, signals: Signals) -> Timing:
    recipe = history.state.recipe
    if recipe.trainer is None:
        return assumed(recipe)

    def look() -> Timing | None:
        if (failure := wiring.reference_failure(history.state)) is not None:
            # The attempts will meet the same trouble, and their end is the user's to see, with its exit code.
            screen.event("⚠", "reference", f"failed, so nothing is measured and nothing will be compared: {failure}")
            return assumed(recipe)
        found = wiring.reference_measured(history.state)
        return None if found is None else timing(recipe, startup_s=found.startup_s, step_s=found.step_s, is_measured=True)

    screen.move("measuring start-up and work on the reference run", is_progress=False)
    slowest = timing(recipe, startup_s=STARTUP_ASSUMED_S, step_s=MEASURE_MOST_S / MEASURED_STEPS, is_measured=True)
    return wait_until(look, history, signals, at_most=MEASURE_MOST_S) or slowest


def wait_until(look: Callable[[], T | None], history: History, signals: Signals, *, at_most: Seconds) -> T | None:
    """What `look` finds, None after `at_most` real seconds. Raises StoppedEarly, Detached or KeyboardInterrupt."""
    end = time.monotonic() + at_most
    while (found := look()) is None and time.monotonic() < end:
        _hear(history, signals)
        time.sleep(LOOK_S)
    return found


def _hear(history: History, signals: Signals) -> None:
    signals.check()
    requests = unseen(history.store, history.state)
    if requests:
        raise StoppedEarly(requests[-1].request, requests)
    if signals.stops:
        raise StoppedEarly(RequestKind.STOP, ())
