"""`scripts/bench scale`: what it takes one process to supervise 10, 100 and 1,000 runs.

All runs of a row live at once, each in a simulated world of its own, and one scheduler gives the next tick to the run that is due
first. First some hours pass, looks without news being skipped, so that each run has a past: attempts, commits, a journal. Then
every run makes the same number of looks, none skipped, as in production; only their ticks are timed. The market is a harsh one,
where a machine lives for an hour.

Production would use the same scheduler, with a real clock and a pool of threads that take the ticks: a look is some six short
requests to cloud and store one after another, so that a thread mostly waits.

Each row is a process of its own, so that its memory is its own too. That is the peak of the whole process beyond what its imports
took, the simulated stores and machines included; what the supervisor holds of a run is counted object by object.
"""

import argparse
import gc
import heapq
import multiprocessing
import resource
import sys
import time
import types
from collections.abc import Iterable
from dataclasses import dataclass, replace

from launcher.adapters.market.listed import listed
from launcher.core.market.trace import generated
from launcher.core.plan.limits import accepted
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import Recipe
from launcher.core.run.state import RunState
from launcher.loop import Loop
from launcher.sim.market import DeckMarket
from launcher.sim.trainer import Pace
from launcher.sim.world import START, SimWorld, Supervisor
from launcher.units import HOUR, Seconds, Utc

SIZES = (10, 100, 1000)
PAST: Seconds = 6 * HOUR
DAY: Seconds = 24 * HOUR
NUM_LOOKS = 40  # of each run, timed
DEARER_MOST = 2.0  # a tick among many runs than among few: the processor's caches are small, but nothing may grow with runs
# Days of work with a save every half hour: machines come and go by the market, and no run ends within the bench.
PACE = Pace(boot_s=240.0, restore_s=60.0, step_s=60.0, stall_s=1.0, durable_s=20.0, save_every=30, total_steps=60 * 24 * 30)
POLICY = POLICIES["greedy"]()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Means over `num_runs` runs; CPU in seconds of this process; what is a day's is so many times what is PAST's."""

    num_runs: int
    day_cpu_s: float  # of a run in a simulated day, its machines included
    tick_cpu_s: float
    look_every: Seconds  # market seconds between two timed looks of a run
    attempts: float  # a day
    records: float  # journal writes a day
    memory: float  # bytes
    held: float  # bytes of it that the supervisor holds
    loop_s: float  # a million turns of an empty loop beside it: how fast this machine was just now

    @property
    def cores(self) -> float:
        """What supervising all of them takes: ticks as often as they are due."""
        return self.num_runs * self.tick_cpu_s / self.look_every


class Ticker:
    """One run and the supervisor that drives it, a tick at a time."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        trace = generated("demo", seed)
        market = DeckMarket(trace=trace, rows=accepted(recipe, listed(trace.mean_life)))
        self.world = SimWorld(recipe=recipe, market=market, pace=PACE, seed=seed)
        self.supervisor: Supervisor = self.world.supervisor()
        self.supervisor.open()
        self.tick_cpu_s = 0.0
        self.look_at_everything(skips=True)

    @property
    def now(self) -> Utc:
        return self.world.timeline.now

    def look_at_everything(self, *, skips: bool) -> None:
        """From here on with a loop of its own, as after a restart."""
        ports = self.supervisor.ports()
        self.loop = Loop(
            ports if skips else replace(ports, doze=None),
            self.supervisor.history,
            lambda state: POLICY,
            supervisor=self.supervisor.name,
            listener=_ignore,
            on_wait=lambda wait, state, now: None,
        )

    def step(self) -> None:
        """One tick, and the wait for the next."""
        began = time.process_time()
        pause = self.loop.tick()
        self.tick_cpu_s += time.process_time() - began
        assert not isinstance(pause, RunState), "a bench's run does not end"
        self.loop.sleep(max(0.0, pause.wake_at - self.now))

    def held(self) -> int:
        """Bytes of what the loop refers to, the world outside left out."""
        world = self.world
        outside = (
            world,
            self.supervisor,
            world.timeline,
            world.clock,
            self.supervisor.clock,
            world.store,
            world.cloud,
            world.market,
        )
        return _size_of(self.loop, without=outside)


def _ignore(event: object, state: RunState) -> None:
    pass


def interleave(tickers: list[Ticker], until: Utc) -> None:
    """Whoever is due first ticks first. In production the scheduler would wait here for the earliest, on a real clock."""
    due = [(ticker.now, number) for number, ticker in enumerate(tickers)]
    heapq.heapify(due)
    while due[0][0] < until:
        _, number = due[0]
        tickers[number].step()
        heapq.heapreplace(due, (tickers[number].now, number))


def measure(num_runs: int) -> Row:
    recipe = Recipe(name="scale", trainer={"kind": "launcher.trainers.gpt", "steps": PACE.total_steps})
    before, began = _peak_bytes(), time.process_time()
    tickers = [Ticker(recipe, seed) for seed in range(num_runs)]
    interleave(tickers, START + PAST)
    day_cpu_s = time.process_time() - began
    memory = _peak_bytes() - before
    num_attempts = sum(len(t.supervisor.history.state.attempts) for t in tickers)
    num_records = sum(len(t.supervisor.history.records) for t in tickers)
    look_every, tick_cpu_s = _look(tickers)
    return Row(
        num_runs=num_runs,
        day_cpu_s=day_cpu_s / num_runs * DAY / PAST,
        tick_cpu_s=tick_cpu_s / num_runs,
        look_every=look_every,
        attempts=num_attempts / num_runs * DAY / PAST,
        records=num_records / num_runs * DAY / PAST,
        memory=memory / num_runs,
        held=sum(t.held() for t in tickers[:10]) / min(10, num_runs),
        loop_s=_calibrate(),
    )


def _look(tickers: list[Ticker]) -> tuple[Seconds, float]:
    """Mean time between two looks of a run, and the CPU of one look at each run."""
    for ticker in tickers:
        ticker.look_at_everything(skips=False)
    _rounds(tickers, 3)  # a first look reads what the loop before knew
    passed, used = sum(t.now for t in tickers), sum(t.tick_cpu_s for t in tickers)
    _rounds(tickers, NUM_LOOKS)
    passed, used = sum(t.now for t in tickers) - passed, sum(t.tick_cpu_s for t in tickers) - used
    return passed / NUM_LOOKS / len(tickers), used / NUM_LOOKS


def _rounds(tickers: Iterable[Ticker], count: int) -> None:
    for _ in range(count):
        for ticker in tickers:
            ticker.step()


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _size_of(root: object, *, without: Iterable[object]) -> int:
    """Bytes of all that hangs on `root`, each object once; code is nobody's."""
    seen = {id(thing) for thing in without}
    total, open_ = 0, [root]
    while open_:
        thing = open_.pop()
        if id(thing) in seen or isinstance(thing, type | types.ModuleType | types.FunctionType | types.BuiltinFunctionType):
            continue
        seen.add(id(thing))
        total += sys.getsizeof(thing)
        open_ += gc.get_referents(thing)
    return total


def _calibrate() -> float:
    began, total = time.process_time(), 0
    for i in range(1_000_000):
        total += i
    return time.process_time() - began


HEAD = """\
 runs   a tick  looks     all of them   a simulated day of one run    memory of one run        a loop of 1e6
        us CPU  every     cores         s CPU  attempts  records      in all   its supervisor  ms CPU"""


def _line(row: Row) -> str:
    figures = (
        f"{row.num_runs:5}   {1e6 * row.tick_cpu_s:6.0f}  {row.look_every:3.1f} s     {row.cores:5.3f}",
        f"{row.day_cpu_s:5.2f}  {row.attempts:8.1f}  {row.records:7.0f}",
        f"{row.memory / 1024:6.0f} KiB  {row.held / 1024:10.0f} KiB  {1e3 * row.loop_s:6.0f}",
    )
    return f"{figures[0]}         {figures[1]}  {figures[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench scale", description="One process, many simulated runs.")
    parser.add_argument("--runs", type=int, nargs="+", default=SIZES, metavar="N")
    args = parser.parse_args()
    print(HEAD)
    rows = []
    for num_runs in args.runs:
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            row = fresh.apply(measure, (num_runs,))
        rows.append(row)
        print(_line(row), flush=True)
    worst = max(row.tick_cpu_s / row.loop_s for row in rows) / (rows[0].tick_cpu_s / rows[0].loop_s)
    print(f"a tick among {rows[-1].num_runs} runs costs at most {worst:.2f} x one among {rows[0].num_runs}")
    return int(worst > DEARER_MOST)


if __name__ == "__main__":
    sys.exit(main())
