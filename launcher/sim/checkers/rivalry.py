"""Supervisors that get in each other's way: nobody is overtaken by himself, and nobody takes a run from one who drives it.

A supervisor that sleeps, or that cannot reach the store, looks dead, and may be replaced. One that drives may be replaced only
by somebody who was told to.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from launcher.core.contract import journal_key
from launcher.core.tempo import Tempo
from launcher.sim.checkers.tale import life_of, openings, stretches, writers
from launcher.sim.disaster import FaultyWorld
from launcher.units import MINUTE, Seconds, Utc

# A beacon stands still for at most its interval; who looks for twice that sees it move. A minute goes by until it first burns.
SURELY_ALIVE: Seconds = 2 * Tempo().beacon + MINUTE


def self_overtaken(world: FaultyWorld) -> Iterator[str]:
    """Who ends "overtaken" was overtaken by another's record, written while it lived."""
    for life in world.lives:
        name, end = life.supervisor.name, world.timeline.now if life.ended_at is None else life.ended_at
        if life.outcome == "overtaken" and not any(w != name and life.started_at <= at <= end for at, w in writers(world)):
            yield f"{name} was overtaken, and nobody else had written since it began: {life.error}"


def turns(world: FaultyWorld) -> Iterator[str]:
    """Each supervisor says once that it opens the run, and none that drives is replaced by one that was not told to."""
    opened = openings(world)
    for name in dict.fromkeys(name for _, name in writers(world)):
        if not any(opener == name for _, _, opener in opened):
            yield f"{name} wrote to the journal and never said that it had opened the run"
    damaged = {key for _, key in world.store.damaged}  # one that did not arrive whole is said again
    for name, count in Counter(name for _, number, name in opened if journal_key(number) not in damaged).items():
        if count > 1:
            yield f"{name} opened the run {count} times"
    for (_, _, before), (at, _, name) in pairwise(opened):
        gone = life_of(world, before)
        released = gone.ended_at == at and gone.outcome != "overtaken"  # it left in this very instant
        opener = life_of(world, name)
        overslept = any(opener.started_at <= start < at for start, _ in opener.process.rests)  # between its look and its opening
        if not opener.insists and not released and not overslept and _is_driven(world, at):
            yield f"{name} took the run, unasked, from a supervisor that was driving it"


def _is_driven(world: FaultyWorld, at: Utc) -> bool:
    """Whether the stretch that ended at `at` had lasted long enough for anybody to see it."""
    return any(end == at and end - start > SURELY_ALIVE for start, end in stretches(world))
