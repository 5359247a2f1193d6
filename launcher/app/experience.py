"""What this home has learnt of the markets, and what the clouds publish of them: what a plan and a new run start from.

Rehearsals neither read it nor add to it: their markets are made by a trace, and equal seeds are to give equal runs.
"""

from dataclasses import dataclass
from pathlib import Path

from launcher.adapters.market.bands import known_bands
from launcher.adapters.market.memory import KEPT, Remembered
from launcher.app.pricelists import places
from launcher.app.remembering import memory_of, memory_path
from launcher.core.market.belief import MarketView
from launcher.core.market.lives import Lesson, Lives, learnt, paces, seed
from launcher.core.recipe import Recipe
from launcher.core.run.lessons import program_of
from launcher.units import Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """`said`: what of it could not be used, a line each."""

    lives: Lives
    market: MarketView
    lessons: tuple[Lesson, ...]
    said: tuple[str, ...] = ()

    def paces(self, recipe: Recipe) -> dict[str, float]:
        """Steps per second that the recipe's program was seen to make on as many machines, by "A100:8": GPUs used of each."""
        return paces(self.lessons, program_of(recipe), recipe.num_nodes)


def experience(home: Path, now: Utc) -> Experience:
    """All of it. What is damaged or missing is said, and the next best counts: a prior is always there."""
    remembered, trouble = remembered_in(home, now)
    listed = places(home)
    bands, bad_bands = known_bands(listed.named, listed.downloads)
    return Experience(
        lives=Lives(bands=bands, learnt=learnt(remembered.lessons, now)),
        market=seed(remembered.lessons, now),
        lessons=remembered.lessons,
        said=tuple(filter(None, (trouble, bad_bands))),
    )


def remembered_in(home: Path, now: Utc) -> tuple[Remembered, str]:
    """The lessons that are not too old, and in words what of them cannot be used, or nothing."""
    try:
        found = memory_of(home).read(since=now - KEPT)
    except OSError as error:
        return Remembered(), f"what attempts taught cannot be read: {error}"
    lines = f"{found.num_damaged} line{'' if found.num_damaged == 1 else 's'}"
    return found, f"{lines} of {memory_path(home)} cannot be read; the others count" if found.num_damaged else ""
