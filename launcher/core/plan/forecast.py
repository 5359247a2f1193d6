"""How a run may go: many draws of the market, each played to its end by the rule of the policy `greedy`.

A mean life is not enough to tell when a run ends and what it costs. Spot is there only part of the time; a place that refused is
left alone for half an hour and longer each time; the safety net turns hours of waiting into dollars; and some clouds forgive a
life that was short. All of this is arithmetic once it is known how long each zone stays up and down. So that is drawn, some
hundred times, always with the same dice: equal questions get equal answers. One draw is played in play.py.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from launcher.core.plan.estimate import Task, rank
from launcher.core.plan.play import Draw, Place, Play, Spot, Sure
from launcher.units import Seconds, Usd

DRAWS = 200
DRAWS_LEAST = 10  # of a run that loses very many machines: draws of it are alike
LOSSES_DRAWN = 40_000  # in all draws together, a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    draws: tuple[Draw, ...]

    @property
    def elapsed(self) -> Seconds:
        """On average; so are the others that name no share."""
        return fmean(d.elapsed for d in self.draws)

    @property
    def usd(self) -> Usd:
        return fmean(d.usd for d in self.draws)

    @property
    def waiting(self) -> Seconds:
        return fmean(d.waiting for d in self.draws)

    @property
    def restarts(self) -> float:
        return fmean(d.restarts for d in self.draws)

    @property
    def redone(self) -> Seconds:
        return fmean(d.redone for d in self.draws)

    @property
    def done(self) -> float:
        """The share of draws in which the work was done in time."""
        return fmean(d.is_done for d in self.draws)

    @property
    def in_time(self) -> "Forecast | None":
        """Of the draws in which it was; None where there is none."""
        done = tuple(d for d in self.draws if d.is_done)
        return Forecast(draws=done) if done else None

    def elapsed_at(self, share: float) -> Seconds:
        """What so many of the draws do not exceed."""
        return rank((d.elapsed for d in self.draws), share)

    def done_at(self, share: float) -> Seconds:
        """By when the work of so many of the draws is done; inf where it is not in so many."""
        return rank((d.elapsed if d.is_done else math.inf for d in self.draws), share)

    def usd_at(self, share: float) -> Usd:
        return rank((d.usd for d in self.draws), share)


def forecast(
    task: Task,
    spots: Sequence[Spot],
    *,
    sure: Sure | None,
    deadline: Seconds | None,
    draws: int | None = None,
) -> Forecast:
    """How `task` may go on these places, with on-demand at `sure` an hour as the net under `deadline`; prices are of a node."""
    dice = random.Random("forecast")
    ends_at = math.inf if deadline is None else deadline
    losses = 1 + task.work / min((spot.life for spot in spots), default=math.inf)
    draws = max(DRAWS_LEAST, min(DRAWS, int(LOSSES_DRAWN / losses))) if draws is None else draws
    found = (Play(task, [Place(spot, dice) for spot in spots], sure, ends_at, dice).run() for _ in range(draws))
    return Forecast(draws=tuple(found))
