"""`scripts/bench scale`: what it takes one process to supervise 10, 100 and 1,000 runs.

Each row takes the same runs, so that they do the same work: as many as the largest row has, so many of them alive at once as the
row says. Each is in a simulated world of its own, and one scheduler gives the next tick to the run that is due first. First some
hours pass, looks without news being skipped, so that each run has a past: attempts, commits, a journal. Then every run makes the
same number of looks, none skipped, as in production; only their ticks are timed. The market is a harsh one, where a machine lives
for an hour.

The looks come in two orders. *In turn*, as a scheduler gives them, a tick finds what it needs in memory, for the others have had
the processor's caches since. *By tens*, ten runs make all their looks before the next ten, so that a tick among a thousand runs
finds its own in the caches as one among ten does: there it costs more only where its work grows with the number of runs.

Production would use the same scheduler, with a real clock and a pool of threads that take the ticks: a look is some six short
requests to cloud and store one after another, so that a thread mostly waits.

Each row is a process of its own, so that its memory is its own too: the peak of the whole process beyond what its imports took,
the simulated stores and machines of all that are alive at once included. What the supervisor holds of a run is counted object by
object.
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
from dataclasses import dataclass, field, replace

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
NUM_LOOKS = 40  # of each run in either order, timed
TURNS = 20_000
BLOCK = 10  # runs that make their looks together, by tens
# How much dearer a tick may be among many runs than among few: its work may not grow, and the processor's caches are small.
DEARER_MOST = {"by tens": 1.1, "in turn": 2.0}
# Days of work with a save every half hour: machines come and go by the market, and no run ends within the bench.
PACE = Pace(boot_s=240.0, restore_s=60.0, step_s=60.0, stall_s=1.0, durable_s=20.0, save_every=30, total_steps=60 * 24 * 30)
POLICY = POLICIES["greedy"]()


class Ticker:
    """One run and the supervisor that drives it, a tick at a time."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        trace = generated("demo", seed)
        market = DeckMarket(trace=trace, rows=accepted(recipe, listed(trace.mean_life)))
        self.world = SimWorld(recipe=recipe, market=market, pace=PACE, seed=seed)
        self.supervisor: Supervisor = self.world.supervisor()
        self.supervisor.open()
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

    def step(self) -> float:
        """One tick, and the wait for the next. Returns the CPU seconds of the tick."""
        began = time.process_time()
        pause = self.loop.tick()
        cpu_s = time.process_time() - began
        assert not isinstance(pause, RunState), "a bench's run does not end"
        self.loop.sleep(max(0.0, pause.wake_at - self.now))
        return cpu_s

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


@dataclass
class Looks:
    """All looks of a row in one order; CPU in seconds of this process."""

    num_looks: int = 0
    cpu_s: float = 0.0
    num_turns: int = 0  # of an empty loop, some before each round of looks: how fast this machine was just then
    turns_cpu_s: float = 0.0

    @property
    def look_cpu_s(self) -> float:
        return self.cpu_s / self.num_looks

    @property
    def turn_cpu_s(self) -> float:
        return self.turns_cpu_s / self.num_turns

    def take(self, tickers: list[Ticker]) -> None:
        """NUM_LOOKS looks at each run, one round after another."""
        for _ in range(NUM_LOOKS):
            began = time.process_time()
            for _ in range(TURNS):
                pass
            self.turns_cpu_s += time.process_time() - began
            self.num_turns += TURNS
            for ticker in tickers:
                self.cpu_s += ticker.step()
            self.num_looks += len(tickers)


@dataclass
class Row:
    """What `num_total` runs took, `num_runs` of them alive at once."""

    num_runs: int
    num_total: int
    by_tens: Looks = field(default_factory=Looks)
    in_turn: Looks = field(default_factory=Looks)
    past_cpu_s: float = 0.0  # machines included
    passed: Seconds = 0.0  # in the market, with all looks
    num_attempts: int = 0  # in PAST
    num_records: int = 0
    memory: float = 0.0  # bytes of a run
    held: float = 0.0  # bytes of it that the supervisor holds

    @property
    def orders(self) -> tuple[Looks, Looks]:
        return self.by_tens, self.in_turn

    @property
    def look_every(self) -> Seconds:
        """Market seconds between two looks of a run."""
        return self.passed / sum(looks.num_looks for looks in self.orders)

    @property
    def cores(self) -> float:
        """What supervising all that are alive takes: ticks as often as they are due."""
        return self.num_runs * self.in_turn.look_cpu_s / self.look_every

    def a_day(self, total: float) -> float:
        """Of one run, where `total` is what all of them had in PAST."""
        return total / self.num_total * DAY / PAST


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


def measure(num_runs: int, num_total: int) -> Row:
    recipe = Recipe(name="scale", trainer={"kind": "launcher.trainers.gpt", "steps": PACE.total_steps})
    row, before = Row(num_runs, num_total), _peak_bytes()
    for first in range(0, num_total, num_runs):
        began = time.process_time()
        tickers = [Ticker(recipe, seed) for seed in range(first, min(first + num_runs, num_total))]
        interleave(tickers, START + PAST)
        row.past_cpu_s += time.process_time() - began
        row.num_attempts += sum(len(t.supervisor.history.state.attempts) for t in tickers)
        row.num_records += sum(len(t.supervisor.history.records) for t in tickers)
        look(tickers, row)
        if not first:
            row.memory = (_peak_bytes() - before) / num_runs
            row.held = sum(t.held() for t in tickers[:BLOCK]) / len(tickers[:BLOCK])
        del tickers
        gc.collect()  # a world is full of circles
    return row


def look(tickers: list[Ticker], row: Row) -> None:
    for ticker in tickers:
        ticker.look_at_everything(skips=False)
        for _ in range(3):  # a first look reads what the loop before knew
            ticker.step()
    row.passed -= sum(t.now for t in tickers)
    for at in range(0, len(tickers), BLOCK):
        row.by_tens.take(tickers[at : at + BLOCK])
    row.in_turn.take(tickers)
    row.passed += sum(t.now for t in tickers)


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


HEAD = """\
alive   a tick, us CPU    looks  all of them   a simulated day of one run    memory of one run        an empty loop of 1e6
        by tens  in turn  every  cores         s CPU  attempts  records      in all   its supervisor  ms CPU"""


def _line(row: Row) -> str:
    by_tens, in_turn = (1e6 * looks.look_cpu_s for looks in row.orders)
    loops = [1e9 * looks.turn_cpu_s for looks in row.orders]
    figures = (
        f"{row.num_runs:5}   {by_tens:7.0f}  {in_turn:7.0f}  {row.look_every:3.1f} s  {row.cores:5.3f}",
        f"{row.a_day(row.past_cpu_s):5.2f}  {row.a_day(row.num_attempts):8.1f}  {row.a_day(row.num_records):7.0f}",
        f"{row.memory / 1024:6.0f} KiB  {row.held / 1024:10.0f} KiB   {loops[0]:.1f}, {loops[1]:.1f}",
    )
    return f"{figures[0]}         {figures[1]}  {figures[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench scale", description="One process, many simulated runs.")
    parser.add_argument("--runs", type=int, nargs="+", default=SIZES, metavar="N")
    args = parser.parse_args()
    print(HEAD)
    rows: list[Row] = []
    for num_runs in args.runs:
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            rows.append(fresh.apply(measure, (num_runs, max(args.runs))))
        print(_line(rows[-1]), flush=True)
    dearer = {}
    for at, order in enumerate(DEARER_MOST):
        costs = [row.orders[at].look_cpu_s / row.orders[at].turn_cpu_s for row in rows]
        dearer[order] = max(costs) / costs[0]
        print(f"{order}, a tick among {rows[-1].num_runs} runs costs at most {dearer[order]:.2f} x one among {rows[0].num_runs}")
    return int(any(dearer[order] > most for order, most in DEARER_MOST.items()))


if __name__ == "__main__":
    sys.exit(main())
