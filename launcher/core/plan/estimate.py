"""What it takes to finish in a place: hours, restarts and dollars, not dollars per hour.

A cheap place that loses the machine every hour may be dearer in the end than one that costs twice as much: each loss costs a
start-up, and half a save interval of work on average. First-order renewal arithmetic (Young 1974; Daly 2006, "A higher order
estimate of the optimum checkpoint interval", FGCS 22:303, of which these are the linear terms): good while the costs of a loss
are small against the life; the plan says where they are not.
"""

from dataclasses import dataclass

from launcher.units import HOUR, Seconds, Usd, UsdPerHour

WORK_UNKNOWN: Seconds = HOUR  # what totals are for, where the work is not known
USEFUL_LEAST = 0.2  # of a life, however short: a place that hardly starts gets dear, not infinitely so (nor negative)


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
    """Expectations until the work is done in one place. `elapsed` = work + saving + restoring + redone."""

    elapsed: Seconds
    restarts: float
    saving: Seconds
    restoring: Seconds
    redone: Seconds
    usd: Usd


def estimate(task: Task, *, price: UsdPerHour, life: Seconds, interval: Seconds | None) -> Estimate:
    """Cost to finish `task` in a place of this price (per node) and mean life, saving every `interval` (None: never).

    T = (work + saving + restart) / (1 - (restart + interval / 2) / life), restarts = T / life. Never saving loses half of the
    work at a loss, on average over the run.
    """
    saving = task.work * task.stall / interval if interval else 0.0
    redone_each = min(interval or task.work, task.work) / 2
    share = useful_share(life, task.restart_cost + redone_each)
    elapsed = (task.work + saving + task.restart_cost) / share
    restarts = elapsed / life
    redone = restarts * redone_each
    return Estimate(
        elapsed=elapsed,
        restarts=restarts,
        saving=saving,
        restoring=elapsed - task.work - saving - redone,
        redone=redone,
        usd=price * task.num_nodes * elapsed / HOUR,
    )


def useful_share(life: Seconds, lost_each: Seconds) -> float:
    """The part of a life that trains, when its loss costs `lost_each`."""
    return max(1 - lost_each / life, USEFUL_LEAST)
