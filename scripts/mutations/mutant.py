"""A deliberate bug: one decision of the product, replaced in memory, and the checker that must notice.

Nothing in the product knows of this. A mutant swaps one function or method for a changed copy while worlds are played, and puts
it back. What the bug needs to show itself is stated: the faults of its worlds, and which seeds have it at all.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from launcher.sim.disaster import FaultyWorld
from launcher.sim.faults import Fault

SEEDS_MOST = 60  # a bug that needs more worlds than that to be seen is hardly looked for

Changed = Callable[[Any], Any]  # from the right function to the wrong one


@dataclass(frozen=True, slots=True)
class Swap:
    """`owner.name` becomes what `changed` makes of it."""

    owner: Any
    name: str
    changed: Changed


def any_seed(world: FaultyWorld) -> bool:
    return True


def has_budget(world: FaultyWorld) -> bool:
    return world.recipe.policy.budget is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """`only`: the faults of its worlds, None for those that each seed draws. `fits`: seeds in which the bug can show at all."""

    name: str
    breaks: str  # one sentence
    killer: str  # the checker that must notice
    swaps: tuple[Swap, ...]
    only: frozenset[Fault] | None = None
    fits: Callable[[FaultyWorld], bool] = any_seed
    seeds_most: int = SEEDS_MOST

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for swap in self.swaps:
                right = getattr(swap.owner, swap.name)
                stack.enter_context(mock.patch.object(swap.owner, swap.name, swap.changed(right)))
            yield
