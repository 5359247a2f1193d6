"""How much a recipe trains and how fast, for `launch simulate`: known from a run that was made, else assumed, and said."""

from dataclasses import dataclass, replace

from launcher.adapters.history import History
from launcher.app.home import Found, Home, at
from launcher.app.plans import (
    DURABLE_ASSUMED_S,
    SPEED_UNMEASURED,
    STALL_ASSUMED_S,
    STARTUP_ASSUMED_S,
    STEP_ASSUMED_S,
    agent_start_s,
    num_steps,
    speed_of,
    timing,
)
from launcher.core.recipe import Recipe
from launcher.core.run.view import RESTART_UNMEASURED_S
from launcher.errors import LaunchError, RecipeError, UsageError
from launcher.sim.pacing import Measured, learnt, pace_of
from launcher.sim.trainer import Pace
from launcher.units import MINUTE, Seconds, show_duration

# Of a cloud machine that nobody has measured: most of a start is boot and installation, and a model of some gigabytes is saved.
BOOT_ASSUMED_S: Seconds = 240.0
STALL_CLOUD_S: Seconds = 1.0
DURABLE_CLOUD_S: Seconds = 30.0
RUNS_ASKED_MOST = 20  # newest runs of the home that are looked at for a pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`startup_s`, `work_s`: what the run's policy is told of itself, in real seconds. `note` says whence all is known."""

    measured: Measured
    startup_s: Seconds
    work_s: Seconds
    pace: Pace
    speed: float
    note: str

    @property
    def work(self) -> Seconds:
        """Market seconds."""
        return self.pace.total_steps * self.pace.step_s


def workload_of(recipe: Recipe, home: Home, *, work: Seconds | None, of: History | None) -> Workload:
    """The pace of `recipe`: of the run `of`, of an earlier run of it in the home, or assumed. `work`: said by the user, market.

    Raises UsageError where nobody knows how long the program trains, with the two remedies.
    """
    history = of or _earlier(recipe, home)
    found = None if history is None else learnt(history, otherwise=_assumed_start(recipe))
    if history is not None and found is not None:
        speed = history.state.speed if history is of else _speed(recipe, history, found)
        here = f" here, 1 s of it {speed:.0f} s there" if speed != 1 else ""
        steps = "" if history.state.counts_commits else f", {found.step:.3g} s a step"
        start = show_duration(found.delay + found.boot + found.startup)
        note = f"pace measured in run {history.state.run}: {start} to start{steps}{here}"
        return _with_work(recipe, found, speed, work, note, startup_s=history.state.startup_s)
    measured, speed = _assumed(recipe, work)
    note = f"pace assumed: {show_duration(measured.boot + measured.startup)} to start"
    if work is None:
        note += f", {measured.step:.3g} s a step; train it once and it is known"
    return _with_work(
        recipe, measured, speed, work, note, startup_s=measured.startup if recipe.is_local else RESTART_UNMEASURED_S
    )


def _speed(recipe: Recipe, history: History, found: Measured) -> float:
    """Of the next run of `recipe`: the earlier one's, unless that was told another speed."""
    if recipe.local.speed == history.state.recipe.local.speed:
        return history.state.speed
    return speed_of(recipe, timing(recipe, startup_s=found.startup, step_s=found.step, is_measured=True))[0]


def _with_work(
    recipe: Recipe, measured: Measured, speed: float, work: Seconds | None, note: str, *, startup_s: Seconds | None
) -> Workload:
    if work is not None:
        if recipe.trainer is None:
            measured = replace(measured, steps=max(1, round(work / MINUTE)))
        measured = replace(measured, step=work / speed / measured.steps)
        note += f"; {show_duration(work)} of work, as --work says"
    pace = pace_of(measured, speed, publishes=recipe.trainer is None)
    return Workload(
        measured=measured,
        startup_s=measured.startup if startup_s is None else startup_s,
        work_s=measured.work,
        pace=pace,
        speed=speed,
        note=note,
    )


def _assumed(recipe: Recipe, work: Seconds | None) -> tuple[Measured, float]:
    if recipe.trainer is None and work is None:
        raise UsageError(
            "how long the program under `run:` trains is not known; say so with --work, such as --work 10h, or train it once"
        )
    steps = num_steps(recipe) if recipe.trainer is not None else 1
    if not steps:
        raise RecipeError("trainer.steps names no number of steps, so nobody knows how much work this is; write one")
    measured = replace(_assumed_start(recipe), steps=steps)
    if not recipe.is_local:
        return measured, 1.0
    if recipe.trainer is None:
        return measured, recipe.local.speed or SPEED_UNMEASURED
    known = timing(recipe, startup_s=measured.startup, step_s=measured.step, is_measured=False)
    return measured, speed_of(recipe, known)[0]


def _assumed_start(recipe: Recipe) -> Measured:
    """What is taken for granted of one step of the recipe."""
    if recipe.is_local:
        boot, startup, stall, durable = agent_start_s(recipe), STARTUP_ASSUMED_S, STALL_ASSUMED_S, DURABLE_ASSUMED_S
    else:
        boot, startup = BOOT_ASSUMED_S, RESTART_UNMEASURED_S - BOOT_ASSUMED_S
        stall, durable = STALL_CLOUD_S, DURABLE_CLOUD_S
    return Measured(startup=startup, step=STEP_ASSUMED_S, steps=1, stall=stall, durable=durable, boot=boot)


def _earlier(recipe: Recipe, home: Home) -> History | None:
    """The newest run of the same recipe in the home, on the same kind of place, that tells its pace."""
    read = (_read(entry.store) for entry in home.entries()[:RUNS_ASKED_MOST])
    same = (history for history in read if history is not None and _is_same(history.state.recipe, recipe))
    return next((h for h in same if learnt(h, otherwise=_assumed_start(recipe)) is not None), None)


def _read(store: str) -> History | None:
    try:
        found: Found = at(store)
        history = found.read()
    except LaunchError:  # gone, or not whole: others may tell
        return None
    return history if history.is_created else None


def _is_same(earlier: Recipe, recipe: Recipe) -> bool:
    """By name too: `python train.py` is another program under another recipe, and its arguments do not tell."""
    return _identity(earlier) == _identity(recipe)


def _identity(recipe: Recipe) -> tuple[object, ...]:
    return recipe.name, recipe.trainer, recipe.run, recipe.is_local
