"""Many seeded disasters on all cores, each judged by every checker: does the run survive whatever goes wrong?

A seed says all of its world, so its verdict is the same in any process and in any order. What is handed back is in the order
of the seeds.
"""

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from launcher import log
from launcher.sim.checkers.base import Violation, judge
from launcher.sim.faults import Fault
from launcher.sim.seeds import world_of
from launcher.sim.sweep import begin_worker, cores
from launcher.units import Seconds

AT_A_TIME = 5  # seeds handed to a process at once: a second of work, so that the last ones do not wait long for each other
SEEDS_THAT_SHOW_ALL = 300  # with so many each kind of fault must have fired: one that never does is tested by nothing

Only = frozenset[Fault] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Of one seed. `fired`: what really went wrong, and how often."""

    seed: int
    violations: tuple[Violation, ...]
    fired: Counter[Fault]
    cpu: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Of many seeds. `seeds_of`: in how many a fault fired."""

    num_seeds: int
    violations: tuple[Violation, ...]
    fired: Counter[Fault]
    seeds_of: Counter[Fault]
    cpu: Seconds

    def silent(self, only: Only = None) -> list[Fault]:
        """Kinds that never fired, though there were seeds enough."""
        if self.num_seeds < SEEDS_THAT_SHOW_ALL:
            return []
        return [fault for fault in Fault if (only is None or fault in only) and not self.fired[fault]]


def run_seed(seed: int, only: Only = None) -> Verdict:
    """Play the world of a seed and judge it. A world or a checker that raises is a violation too: the others go on."""
    started = time.process_time()
    world = world_of(seed, only=only)
    try:
        world.play()
        violations = tuple(judge(world))
    except Exception as error:
        violations = (Violation("soak", seed, f"raised {type(error).__name__}: {error}"),)
    return Verdict(seed=seed, violations=violations, fired=world.plan.fired, cpu=time.process_time() - started)


def soak(seeds: range, *, only: Only = None, num_processes: int | None = None) -> Iterator[Verdict]:
    """The verdict on each seed, in their order, as they become known."""
    tasks = [(seed, only) for seed in seeds]
    processes = min(num_processes or cores(), 1 + len(tasks) // AT_A_TIME)
    if processes == 1:
        with silence():
            yield from map(_run_task, tasks)
        return
    # Spawned, not forked: the caller may have threads.
    with multiprocessing.get_context("spawn").Pool(processes, initializer=begin_worker) as pool:
        yield from pool.imap(_run_task, tasks, chunksize=AT_A_TIME)


def tally(verdicts: list[Verdict]) -> Tally:
    fired: Counter[Fault] = Counter()
    seeds_of: Counter[Fault] = Counter()
    for verdict in verdicts:
        fired.update(verdict.fired)
        seeds_of.update(fault for fault, times in verdict.fired.items() if times)
    return Tally(
        num_seeds=len(verdicts),
        violations=tuple(violation for verdict in verdicts for violation in verdict.violations),
        fired=fired,
        seeds_of=seeds_of,
        cpu=sum(verdict.cpu for verdict in verdicts),
    )


@contextmanager
def silence() -> Iterator[None]:
    """What simulated supervisors warn of is no news to anybody."""
    before = log.configured()
    log.configure()
    try:
        yield
    finally:
        log.configure(*before)


def _run_task(task: tuple[int, Only]) -> Verdict:
    return run_seed(*task)
