"""Many simulated runs: policies times markets times seeds, on all cores, with one outcome each.

A case is a value that says all of its run, so it gives the same outcome in any process and in any order.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from launcher import log
from launcher.core.recipe import Recipe
from launcher.core.run.events import Event
from launcher.core.run.state import RunState
from launcher.sim.cloud import Start
from launcher.sim.market import Market
from launcher.sim.outcome import Outcome, outcome_of
from launcher.sim.trainer import Pace
from launcher.sim.world import START, SimWorld
from launcher.units import HOUR, Seconds, UsdPerHour

FEW = 12  # cases that are done before other processes would have begun: half a second each
ROUNDS_MOST = 20.0  # a run that has taken so many times its work, and a week, will get nowhere: its machines live too short
BEYOND_MOST: Seconds = 7 * 24 * HOUR
COLLECTED_AT = (
    100_000  # new objects, some runs of three days: what is kept while a run lives is garbage after it; Python's own is 700
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run to be simulated: `recipe` with the policy in it. `startup_s` and `work_s` are real seconds, as in SpeedChosen."""

    recipe: Recipe
    policy: str
    market: Market
    pace: Pace
    seed: int
    speed: float = 1.0
    startup_s: Seconds | None = None
    work_s: Seconds | None = None
    deadline: Seconds | None = None  # from the run's start
    on_demand_price: UsdPerHour | None = None
    delay: Seconds = 0.0  # from a request until the machine runs and costs money


class _GivenUp(BaseException):
    """Of our own listener: the run gets nowhere. No `except Exception` of the loop takes it for trouble of the world's."""


def run_case(case: Case) -> Outcome:
    """The outcome of one simulated run; its phase is an unended one where it got nowhere for very long."""
    world = SimWorld(
        recipe=case.recipe,
        market=case.market,
        pace=case.pace,
        seed=case.seed,
        speed=case.speed,
        startup_s=case.startup_s,
        work_s=case.work_s,
        deadline_at=None if case.deadline is None else START + case.deadline,
    )
    world.cloud.plan_start = lambda name, spec: Start(delay=case.delay)
    most = START + BEYOND_MOST + ROUNDS_MOST * case.pace.total_steps * case.pace.step_s

    def listen(event: Event, state: RunState) -> None:
        if event.at > most and not state.phase.is_ended:
            raise _GivenUp

    with contextlib.suppress(_GivenUp), _collecting_seldom():
        world.run(listen)
    return outcome_of(
        world.history.state,
        world.timeline.now,
        policy=case.policy,
        trace=case.market.name,
        seed=case.seed,
        on_demand_price=case.on_demand_price,
        cost=world.cloud.dollars(),
    )


@contextlib.contextmanager
def _collecting_seldom() -> Iterator[None]:
    """A simulated run keeps nearly all that it makes: looking for garbage in it took a tenth of its time, and found none."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECTED_AT, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def sweep(
    cases: Sequence[Case], *, num_processes: int | None = None, done: Callable[[int], None] = lambda num: None
) -> tuple[Outcome, ...]:
    """The outcome of each case, in their order. `done` hears how many are ready."""
    processes = min(num_processes or cores(), 1 + len(cases) // FEW)
    if processes == 1:
        return _collect(map(run_case, cases), done)
    # Spawned, not forked: the caller may have threads.
    with multiprocessing.get_context("spawn").Pool(processes, initializer=begin_worker) as pool:
        return _collect(pool.imap(run_case, cases, chunksize=FEW // 2), done)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _collect(outcomes: Iterable[Outcome], done: Callable[[int], None]) -> tuple[Outcome, ...]:
    found = []
    for outcome in outcomes:
        found.append(outcome)
        done(len(found))
    return tuple(found)


def begin_worker() -> None:
    """In a process of a pool: Ctrl-C is the caller's to hear, and what a simulated supervisor warns of is no news to anybody."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.configure()
