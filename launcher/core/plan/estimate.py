"""What it takes to finish in a place: hours, restarts and dollars, not dollars per hour.

A cheap place that loses the machine every hour may be dearer in the end than one that costs twice as much: each loss costs a
start-up, and some work. How much in all is drawn, not computed from the mean life: lives as recorded markets have them are many
short ones and few long ones, so that a run, which begins with a young machine, sees more of them than its length over the mean
life. By how much renewal theory says for long runs, (variance / mean² - 1) / 2 (Cox 1962, "Renewal Theory", section 4.2), two for
lives like these; for runs as long as a few lives no formula is short. The same draws tell what half and nine of ten runs take.

What the market around the place does to a run (waiting, the deadline's safety net) is in forecast.py.
"""

import functools
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from launcher.core.contract import SaveRule
from launcher.core.market.hazard import UP
from launcher.core.market.trace import FOREVER, NOTICE_PROBABILITY
from launcher.core.run.billing import DEFAULT_RULE, BillingRule
from launcher.core.tempo import Tempo
from launcher.units import HOUR, Seconds, Usd, UsdPerHour

WORK_UNKNOWN: Seconds = HOUR  # what totals are for, where the work is not known
USEFUL_LEAST = 0.2  # of a life, however short: a place that hardly starts gets dear, not infinitely so (nor negative)
DRAWS = 100
LOSSES_MOST = 200  # of one draw; what is left then goes on at the pace so far
LIVES_MOST = 20.0  # that a draw is long; a longer run is many of these
SAVES_LEAST = 10.0  # intervals that it is long, however short the lives
_TEMPO = Tempo()
SEEN_WITHIN: Seconds = 2 * _TEMPO.read_fast + _TEMPO.grant_poll  # until a start, a refusal or a notice was seen and answered


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
    """Of an average run until the work is done in one place. `elapsed` = work + saving + restoring + redone.

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


def estimate(
    task: Task,
    *,
    price: UsdPerHour,
    life: Seconds,
    interval: Seconds | None,
    saved_in_time: float = 0.0,
    rule: BillingRule = DEFAULT_RULE,
) -> Estimate:
    """Cost to finish `task` in a place of this price (per node) and mean life (of all nodes together), saving every `interval`.

    `interval` None: never. `saved_in_time`: the share of losses that cost no work. Where a loss costs much of a life the average
    is longer than what most runs take: then P90 is no less.
    """
    saving = task.work * task.stall / interval if interval else 0.0
    runs = _drawn(task.restart_cost, task.work + saving, interval or math.inf, task.durable, life, saved_in_time, rule)
    took, losses, _, bills = figures = tuple(zip(*runs, strict=True))
    elapsed, restarts, redone, paid = map(fmean, figures)
    redone = min(redone, elapsed - task.work - saving)
    rate = price * task.num_nodes / HOUR
    return Estimate(
        elapsed=elapsed,
        restarts=restarts,
        saving=saving,
        restoring=elapsed - task.work - saving - redone,
        redone=redone,
        usd=rate * paid,
        elapsed_p50=rank(took, 0.5),
        elapsed_p90=max(rank(took, 0.9), elapsed),
        usd_p50=rate * rank(bills, 0.5),
        usd_p90=rate * max(rank(bills, 0.9), paid),
        restarts_p50=rank(losses, 0.5),
        restarts_p90=max(rank(losses, 0.9), restarts),
    )


def useful_share(life: Seconds, lost_each: Seconds) -> float:
    """The part of a life that trains, when its loss costs `lost_each`."""
    return max(1 - lost_each / life, USEFUL_LEAST)


def saved_in_time(rule: SaveRule, lead: Seconds, durable: Seconds) -> float:
    """The share of losses of which a warning comes early enough for a last save, where the recipe makes one."""
    fits = rule.on_notice and not rule.never and lead > durable + SEEN_WITHIN
    return NOTICE_PROBABILITY if fits else 0.0


_Run = tuple[Seconds, float, Seconds, Seconds]  # how long it takes, its restarts, what it trains twice, what is paid of each node


@functools.lru_cache(maxsize=4096)  # offers by the hundred differ in price alone
def _drawn(
    restart: Seconds,
    training: Seconds,
    interval: Seconds,
    durable: Seconds,
    life: Seconds,
    saved_in_time: float,
    rule: BillingRule,
) -> tuple[_Run, ...]:
    """Runs of so much `training`, saves included, on one machine after the other. Always by the same dice."""
    whole = restart + training
    if life >= FOREVER or whole < life / 1000:
        return ((whole, 0.0, 0.0, max(whole, rule.minimum)),)
    most = min(training, max(LIVES_MOST * life, SAVES_LEAST * interval))
    multiplier = UP.multiplier_of(life)

    def of_length(some: Seconds) -> list[_Run]:
        dice = (random.Random(f"estimate/{k}") for k in range(DRAWS))
        return [_run(restart, some, interval, durable, multiplier, saved_in_time, rule, one) for one in dice]

    runs = of_length(most)
    return tuple(runs) if most == training else _lengthened(of_length(most / 2), runs, training / most)


def _lengthened(half: list[_Run], runs: list[_Run], times: float) -> tuple[_Run, ...]:
    """Runs `times` as long, on average at the pace of their second half: what they begin with is no part of it.

    What comes of many independent parts spreads by the square root of their number. No run takes less for being longer, as the
    draws would have it where most of it is forgiven by the cloud.
    """
    halves, means = ([fmean(figure) for figure in zip(*some, strict=True)] for some in (half, runs))
    ends = [mean + 2 * (times - 1) * max(0.0, mean - before) for mean, before in zip(means, halves, strict=True)]

    def longer(run: _Run) -> _Run:
        spread = zip(run, means, ends, strict=True)
        a, b, c, d = (max(x, end + math.sqrt(times) * (x - mean)) for x, mean, end in spread)
        return a, b, c, d

    return tuple(longer(run) for run in runs)


def _run(
    restart: Seconds,
    training: Seconds,
    interval: Seconds,
    durable: Seconds,
    multiplier: float,
    saved_in_time: float,
    rule: BillingRule,
    dice: random.Random,
) -> _Run:
    elapsed = redone = paid = 0.0
    left = training
    for losses in range(LOSSES_MOST):
        life = UP.rest(0.0, multiplier, dice)
        if life >= restart + left:
            return elapsed + restart + left, losses, redone, paid + max(restart + left, rule.minimum)
        elapsed += life
        paid += max(life, rule.minimum) if life >= rule.free_if_preempted_within else 0.0
        made = max(0.0, life - restart)
        is_saved, since = dice.random() < saved_in_time, dice.random()
        # Nothing is left of what had no first save.
        lost = 0.0 if is_saved else made if made < interval + durable else since * interval + durable
        redone += lost
        left -= made - lost
    longer = (restart + training) / max(training - left, USEFUL_LEAST * elapsed)
    last = max(restart, rule.minimum)  # the machine that ends the run is not taken, so nobody forgives it
    return elapsed * longer, LOSSES_MOST * longer, redone * longer, paid * longer + last


def rank(values: Iterable[float], share: float) -> float:
    """The least of them that so many do not exceed (nearest rank); `share` above 0."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]
