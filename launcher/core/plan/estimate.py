"""What it takes to finish in a place: hours, restarts and dollars, not dollars per hour.

A cheap place that loses the machine every hour may be dearer in the end than one that costs twice as much: each loss costs a
start-up, and half a save interval of work on average. First-order renewal arithmetic (Young 1974; Daly 2006, "A higher order
estimate of the optimum checkpoint interval", FGCS 22:303, of which these are the linear terms): good while the costs of a loss
are small against the life; the plan says where they are not.

An expectation is no promise, so beside it stands what half and what nine of ten runs would take, drawn from lives as recorded
markets have them: many short ones, few long ones. A run begins with a young machine, so half of all runs may take a little
longer than the expectation, which does not know that. What the market around the place does to a run (waiting, the deadline's
safety net) is in forecast.py.
"""

import functools
import math
import random
from dataclasses import dataclass

from launcher.core.market.hazard import UP
from launcher.core.market.trace import FOREVER
from launcher.units import HOUR, Seconds, Usd, UsdPerHour

WORK_UNKNOWN: Seconds = HOUR  # what totals are for, where the work is not known
USEFUL_LEAST = 0.2  # of a life, however short: a place that hardly starts gets dear, not infinitely so (nor negative)
DRAWS = 100
LOSSES_MOST = 200  # of one draw; what is left then goes on at the pace so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be trained, in market seconds: useful work, start-up of an attempt, and what a save costs."""

    work: Seconds
    restart_cost: Seconds  # from request to first new step
    stall: Seconds  # training stands still for each save
    durable: Seconds  # from the call until a save may be relied upon
    step: Seconds | None = None  # one step, where known
    num_nodes: int = 1
    speed: float = 1.0  # market seconds in a real one


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Expectations until the work is done in one place. `elapsed` = work + saving + restoring + redone.

    `…_p50`, `…_p90`: what half and nine of ten runs do not exceed. More restarts take longer, so a run that is no longer than
    most has hardly more of them: the quantiles of both may be added up.
    """

    elapsed: Seconds
    restarts: float
    saving: Seconds
    restoring: Seconds
    redone: Seconds
    usd: Usd
    elapsed_p50: Seconds = 0.0
    elapsed_p90: Seconds = 0.0
    usd_p50: Usd = 0.0
    usd_p90: Usd = 0.0
    restarts_p50: float = 0.0
    restarts_p90: float = 0.0


def estimate(task: Task, *, price: UsdPerHour, life: Seconds, interval: Seconds | None) -> Estimate:
    """Cost to finish `task` in a place of this price (per node) and mean life, saving every `interval` (None: never).

    T = (work + saving + restart) / (1 - (restart + interval / 2) / life), restarts = T / life. Never saving loses half of the
    work at a loss, on average over the run. What the losses cost is shared by the two parts of each. A place that nobody takes
    away has none. Where a loss costs much of a life this is longer than what most drawn runs take: then P90 is no less.
    """
    saving = task.work * task.stall / interval if interval else 0.0
    redone_each = min(interval or task.work, task.work) / 2
    lost_each = task.restart_cost + redone_each
    undisturbed = task.work + saving + task.restart_cost
    (p50, restarts_p50), (p90, restarts_p90) = _quantiles(task.restart_cost, task.work + saving, interval or math.inf, life)
    elapsed = undisturbed if life >= FOREVER else undisturbed / useful_share(life, lost_each)
    restarts = 0.0 if life >= FOREVER else elapsed / life
    p90, restarts_p90 = max(p90, elapsed), max(restarts_p90, restarts)
    redone = (elapsed - undisturbed) * redone_each / lost_each if lost_each else 0.0
    rate = price * task.num_nodes / HOUR
    return Estimate(
        elapsed=elapsed,
        restarts=restarts,
        saving=saving,
        restoring=elapsed - task.work - saving - redone,
        redone=redone,
        usd=rate * elapsed,
        elapsed_p50=p50,
        elapsed_p90=p90,
        usd_p50=rate * p50,
        usd_p90=rate * p90,
        restarts_p50=restarts_p50,
        restarts_p90=restarts_p90,
    )


def useful_share(life: Seconds, lost_each: Seconds) -> float:
    """The part of a life that trains, when its loss costs `lost_each`."""
    return max(1 - lost_each / life, USEFUL_LEAST)


@functools.lru_cache(maxsize=4096)  # offers by the hundred differ in price alone
def _quantiles(
    restart: Seconds, training: Seconds, interval: Seconds, life: Seconds
) -> tuple[tuple[Seconds, float], tuple[Seconds, float]]:
    """What half and nine of ten runs of `training` (saves included) take, one machine after the other of this mean life.

    Each with the restarts that so many do not exceed.
    """
    if life >= FOREVER or restart + training < life / 1000:
        return (restart + training, 0.0), (restart + training, 0.0)
    dice, multiplier = random.Random("estimate"), UP.multiplier_of(life)
    drawn = [_drawn(restart, training, interval, multiplier, dice) for _ in range(DRAWS)]
    took, restarts = sorted(elapsed for elapsed, _ in drawn), sorted(losses for _, losses in drawn)
    half, most = (math.ceil(share * DRAWS) - 1 for share in (0.5, 0.9))
    return (took[half], restarts[half]), (took[most], restarts[most])


def _drawn(
    restart: Seconds, training: Seconds, interval: Seconds, multiplier: float, dice: random.Random
) -> tuple[Seconds, float]:
    """How long one run takes, and its restarts."""
    elapsed, left = 0.0, training
    for losses in range(LOSSES_MOST):
        life = UP.rest(0.0, multiplier, dice)
        if life >= restart + left:
            return elapsed + restart + left, losses
        elapsed += life
        made = max(0.0, life - restart)
        unsaved = dice.random() * min(interval, training)
        left -= made - (made if made < interval else unsaved)  # nothing is left of what had no first save
    longer = (restart + training) / max(training - left, USEFUL_LEAST * elapsed)
    return elapsed * longer, LOSSES_MOST * longer
