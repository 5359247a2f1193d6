"""The hunt for one mutant: world after world, until the checker that must notice it does.

A world counts only for what its checkers say of the mutant and do not say of the product as it is, in the same world.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from launcher.sim.checkers.base import CHECKERS
from launcher.sim.disaster import FaultyWorld
from launcher.sim.seeds import world_of
from launcher.sim.sweep import begin_worker, cores
from launcher.units import Seconds
from scripts.mutations.mutant import Mutant
from scripts.mutations.roll import MUTANTS

NO_BUG = "no-bug"  # what it means, too, when a checker itself cannot read what a mutant left behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """`seed`: the world in which `killer` noticed; None where the mutant survived. `others` noticed it in that world too."""

    mutant: str
    killer: str
    seed: int | None
    others: tuple[str, ...]
    num_worlds: int
    cpu: Seconds


def hunt(mutant: Mutant) -> Catch:
    """Seeds from 0 on, those that do not fit passed over."""
    began = time.process_time()
    seed, num_worlds = -1, 0
    others: set[str] = set()
    while num_worlds < mutant.seeds_most:
        seed += 1
        if not mutant.fits(world_of(seed, only=mutant.only)):
            continue
        num_worlds += 1
        with mutant.at_work():
            noticed = objections(seed, mutant)
        if mutant.killer in noticed and mutant.killer not in (right := objections(seed, mutant)):
            return _caught(mutant, seed, noticed - right, num_worlds, began)
        others |= noticed
    return _caught(mutant, None, others, num_worlds, began)


def hunt_all(mutants: Sequence[Mutant], *, num_processes: int | None = None) -> Iterator[Catch]:
    """In the order of `mutants`, as they become known."""
    names = [mutant.name for mutant in mutants]
    # Spawned, not forked: the caller may have threads.
    with multiprocessing.get_context("spawn").Pool(num_processes or cores(), initializer=begin_worker) as pool:
        yield from pool.imap(_hunt_named, names)


def objections(seed: int, mutant: Mutant) -> set[str]:
    """The checkers that object to the world of `seed`, played and judged with the code as it is now."""
    world = world_of(seed, only=mutant.only)
    world.play()
    return {name for name in CHECKERS if _objects(name, world)} | ({NO_BUG} if not _is_readable(world) else set())


def _objects(checker: str, world: FaultyWorld) -> bool:
    try:
        return any(True for _ in CHECKERS[checker](world))
    except AssertionError:
        return False  # a journal that cannot be folded: `_is_readable` tells


def _is_readable(world: FaultyWorld) -> bool:
    try:
        world.reader()
    except AssertionError:
        return False
    return True


def _caught(mutant: Mutant, seed: int | None, noticed: set[str], num_worlds: int, began: Seconds) -> Catch:
    others = tuple(name for name in CHECKERS if name in noticed - {mutant.killer})
    return Catch(
        mutant=mutant.name,
        killer=mutant.killer,
        seed=seed,
        others=others,
        num_worlds=num_worlds,
        cpu=time.process_time() - began,
    )


def _hunt_named(name: str) -> Catch:
    return hunt(next(mutant for mutant in MUTANTS if mutant.name == name))
