"""What a budget and a deadline must come to: the least that is of any use, and what is enough to finish.

An attempt that may not spend all it needs ends itself early enough to save and be deleted within the budget: the reserve. So the
least attempt that is worth its money pays for a start, as much again of training, and the reserve.
"""

import math

from launcher.core.recipe import Goal
from launcher.core.tempo import KILL_GRACE_S, Tempo
from launcher.units import HOUR, MINUTE, Seconds, Usd, UsdPerHour, Utc, show_duration, show_rate, show_usd

TELLING_FRACTION = 0.1  # of the work, before which one start or one loss would sway what the run's own cost tells of the rest
MARGIN = 1.25  # on an estimate of money, which is an average: half of all runs come to more


def deadline_of(goal: Goal, started_at: Utc) -> Utc | None:
    return started_at + goal.deadline if goal.deadline is not None else goal.deadline_at


def useful_least(restart_cost: Seconds) -> Seconds:
    """A life shorter than a start and as much again of training is money for nothing."""
    return 2 * restart_cost


def reserved(speed: float, durable: Seconds) -> Seconds:
    """What a budget keeps for each attempt's end: one save, slow or cut off by the kill, and the machine's deletion."""
    tempo = Tempo(speed)
    return tempo.autodown_max + max(MINUTE, tempo.market(KILL_GRACE_S) + 2 * durable)


def least_usd(rate: UsdPerHour, restart_cost: Seconds, reserve: Seconds) -> Usd:
    """Of an attempt that is of any use; `rate` of all nodes."""
    return rate * (useful_least(restart_cost) + reserve) / HOUR


def show_least(rate: UsdPerHour, restart_cost: Seconds, reserve: Seconds) -> str:
    """The same with its parts, as the end of a sentence."""
    train = useful_least(restart_cost) - restart_cost
    return (
        f"the least attempt takes {show_usd(least_usd(rate, restart_cost, reserve))}: {show_duration(restart_cost)} to start, "
        f"{show_duration(train)} to train, {show_duration(reserve)} in reserve, at {show_rate(rate)}"
    )


def enough_money(spent: Usd, rest: Usd, least: Usd) -> str:
    """As it is typed, in two digits that count: what is spent, the rest by estimate, and one attempt more.

    One more, since the last machine must still be able to pay its reserve.
    """
    usd = spent + MARGIN * rest + least
    digit = 10.0 ** (math.floor(math.log10(usd)) - 1)
    return f"policy.budget={math.ceil(usd / digit) * digit:.12g}"


def enough_time(took: Seconds, rest: Seconds) -> str:
    """As it is typed, in hours since the run's start; twice the `rest`, which is meant without any loss or wait."""
    return f"policy.deadline={max(1, math.ceil((took + 2 * rest) / HOUR))}h"


def lateness(*, work: Seconds, restart_cost: Seconds, time: Seconds) -> str:
    """Why nothing can do this work in this time, in one sentence; empty where something may, or the work is not known (0)."""
    if time <= 0:
        return "the deadline has passed"
    needed = work + restart_cost
    if work == 0 or needed <= time:
        return ""
    return (
        f"the deadline is in {show_duration(time)}, and {show_duration(restart_cost)} to start and {show_duration(work)} of work "
        f"take {show_duration(needed)} even where no machine is lost"
    )
