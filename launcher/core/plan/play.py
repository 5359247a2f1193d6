"""One way a run may go: the course of each zone is drawn, and the run played on it by the rule of the policy `greedy`.

The rule is written a second time here, in a few lines that do not format a reason for each decision; a test holds both together,
on markets whose future is known. Zones are drawn independently of one another, and prices stand still.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.core.market.belief import LONG_LIFE, PRIOR_LIVES, cooldown
from launcher.core.market.hazard import DOWN, UP, Zone
from launcher.core.market.trace import NOTICE_PROBABILITY, SHAPE_DOWN
from launcher.core.plan.estimate import SEEN_WITHIN, Task, useful_share
from launcher.core.policy.baselines import SLACK_LEAST, URGENT_RECHECK, reserve
from launcher.core.tempo import Tempo
from launcher.units import HOUR, Seconds, Usd, UsdPerHour

ROUNDS_MOST = 20.0  # a draw that has taken so many times its work, and a week, will get nowhere
BEYOND_MOST: Seconds = 7 * 24 * HOUR
_TEMPO = Tempo()


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What a place costs beside its machines, for all nodes: at each start, at each further one besides, and for each hour of the
    job's work as the policy compares places.
    """

    start_usd: Usd = 0.0
    restore_usd: Usd = 0.0
    usd_per_hour: UsdPerHour = 0.0


FREE = Traffic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A place that may be bought until it is taken away.

    `life`: what the policy believes of a machine there. `zone` None: never watched; each machine asked for is then a new one, of
    that mean life. `interval`: between saves, None for never. `saves_on_notice`: whether a last one is made at a warning that
    leaves the time. `free_within`: a shorter life costs nothing; any other one as much as `least_billed`.
    """

    price: UsdPerHour
    life: Seconds
    interval: Seconds | None
    zone: Zone | None = None
    notice_lead: Seconds = 0.0
    saves_on_notice: bool = True
    free_within: Seconds = 0.0
    least_billed: Seconds = 0.0
    traffic: Traffic = FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Sure:
    """The place of the safety net, which nobody takes away. `pace`: hours of the job's work that are done there in an hour."""

    price: UsdPerHour
    interval: Seconds | None
    traffic: Traffic = FREE
    pace: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One way it may go. `is_done`: the work was, before the deadline; else the run paused there, and was paid for until then.

    `usd`: of the machines, and of what is moved at their starts.
    """

    elapsed: Seconds
    usd: Usd
    restarts: int
    waiting: Seconds
    redone: Seconds
    is_done: bool


class Play:
    """One run on places whose course is drawn. Times are since its start."""

    def __init__(self, task: Task, places: Sequence["Place"], sure: Sure | None, deadline: Seconds, dice: random.Random) -> None:
        self.task, self.places, self.sure, self.dice = task, places, sure, dice
        self.deadline = deadline
        self.now = self.usd = self.moved_usd = self.waiting = self.redone = 0.0
        self.left = task.work
        self.starts = 0
        self.end = BEYOND_MOST + ROUNDS_MOST * task.work

    def run(self) -> Draw:
        done = False
        while not done and self.now < min(self.deadline, self.end):
            done = self._next()
        return Draw(
            elapsed=self.now if done else min(self.now, self.deadline),
            usd=self.usd * self.task.num_nodes + self.moved_usd,
            restarts=max(0, self.starts - 1),
            waiting=self.waiting,
            redone=self.redone,
            is_done=done,
        )

    def _next(self) -> bool:
        """Do what the policy would; gives whether the work is done."""
        start = self.task.restart_cost
        spare = self.deadline - self.now - self.left - start
        slack = spare - reserve(self.left, start)
        is_pressed = -start <= spare and slack <= SLACK_LEAST
        limit = math.inf if self.sure is None else self.sure.price / self.sure.pace + self._aside(self.sure.traffic)
        believed = ((p.cost(start) + self._aside(p.spot.traffic), i) for i, p in enumerate(self.places))
        costs = sorted((cost, i) for cost, i in believed if cost < limit)
        if self.sure is not None and (is_pressed or not costs):
            return self._finish(self.sure)
        ranked = [self.places[i] for _, i in costs]
        for place in ranked:
            if place.cools_until <= self.now or is_pressed:
                if (life := place.life_at(self.now)) is not None:
                    return self._train(place, life)
                place.fail(self.now)
                self.now += _TEMPO.read_fast
        self._wait(slack, is_pressed, min((p.cools_until for p in ranked), default=math.inf))
        return False

    def _wait(self, slack: Seconds, is_pressed: bool, until: Seconds) -> None:
        """Until a place has cooled down, or until there is no time left to wait."""
        if slack > SLACK_LEAST:
            until = min(until, self.now + slack)
        elif is_pressed:
            until = min(until, self.now + URGENT_RECHECK)
        until = min(max(until, self.now + SLACK_LEAST), self.deadline, self.end)
        self.waiting += until - self.now
        self.now = until + _TEMPO.read_slow / 2

    def _finish(self, sure: Sure) -> bool:
        """On a machine that nobody takes away."""
        trains = self.left / sure.pace * _stretch(self.task, sure.interval)
        took = self._start_s + trains + self.task.durable + _TEMPO.read_slow / 2
        self._start(sure.traffic)
        if self._is_cut_off(sure.price, took):
            return False
        self._spend(sure.price, took)
        self.now += took
        return True

    def _train(self, place: "Place", life: Seconds) -> bool:
        """On a machine that lives for `life`, to its end or the work's."""
        task, spot, dice = self.task, place.spot, self.dice
        self._start(spot.traffic)
        stretch = _stretch(task, spot.interval)
        need = self._start_s + self.left * stretch + task.durable
        if self._is_cut_off(spot.price, min(life, need)):
            return False
        if life >= need:
            self._spend(spot.price, need)
            self.now += need
            return True
        made = min(self.left, max(0.0, life - self._start_s) / stretch)
        has_notice = dice.random() < NOTICE_PROBABILITY and 0 < spot.notice_lead < life
        redone = made if spot.interval is None else min(made, dice.random() * spot.interval + task.durable)
        if has_notice and spot.saves_on_notice and spot.notice_lead > task.durable + SEEN_WITHIN:
            redone = 0.0  # the last save lands in time
        self.redone += redone
        self.left -= made - redone
        if life >= spot.free_within:
            self._spend(spot.price, max(life, spot.least_billed))
        told_at = self.now + life - (spot.notice_lead if has_notice else 0.0)
        place.lose(told_at, life, self.now + life)
        self.now = told_at
        return False

    @property
    def _start_s(self) -> Seconds:
        return self.task.restart_cost + SEEN_WITHIN

    def _aside(self, traffic: Traffic) -> UsdPerHour:
        """Of a node, as prices are."""
        return traffic.usd_per_hour / self.task.num_nodes

    def _start(self, traffic: Traffic) -> None:
        self.moved_usd += traffic.start_usd + (traffic.restore_usd if self.starts else 0.0)
        self.starts += 1

    def _is_cut_off(self, price: UsdPerHour, seconds: Seconds) -> bool:
        """Whether the deadline ends a machine that would go on for so long; it is paid until then."""
        left = max(0.0, self.deadline - self.now)
        if seconds <= left:
            return False
        self._spend(price, left)
        self.now = self.deadline
        return True

    def _spend(self, price: UsdPerHour, seconds: Seconds) -> None:
        self.usd += price * seconds / HOUR


class Place:
    """A place in one draw: its zone's true course, drawn as far as it is asked for, and what the policy makes of it."""

    def __init__(self, spot: Spot, dice: random.Random) -> None:
        self.spot, self.dice = spot, dice
        zone = spot.zone
        self.cools_until = 0.0
        self.failures = 0
        self.seen, self.losses = 0.0, 0
        if zone is None:
            self.up, self.down = UP.multiplier_of(spot.life), dice.gammavariate(SHAPE_DOWN, 1 / SHAPE_DOWN)
            self.is_up, self.until = True, math.inf
        else:
            self.up, self.down = zone.up.draw(dice), zone.down.draw(dice)
            self.is_up = zone.is_up
            self.until = UP.rest(zone.age, self.up, dice) if zone.is_up else DOWN.rest(zone.age, self.down, dice)

    def cost(self, restart: Seconds) -> UsdPerHour:
        """What an hour of training is believed to cost there."""
        life = (PRIOR_LIVES * self.spot.life + self.seen) / (PRIOR_LIVES + self.losses)
        return self.spot.price / useful_share(life, restart)

    def life_at(self, now: Seconds) -> Seconds | None:
        """How long a machine lives that is asked for now; None: there is none."""
        while self.until <= now:
            self.is_up = not self.is_up
            if self.spot.zone is None:
                self.until = math.inf
            elif self.is_up:
                self.until += UP.rest(0.0, self.up, self.dice)
            else:
                self.until += DOWN.rest(0.0, self.down, self.dice)
        if not self.is_up:
            return None
        return UP.rest(0.0, self.up, self.dice) if self.spot.zone is None else self.until - now

    def fail(self, now: Seconds) -> None:
        self.cools_until = max(self.cools_until, now + cooldown(self.failures))
        self.failures += 1

    def lose(self, told_at: Seconds, life: Seconds, ends_at: Seconds) -> None:
        if life >= LONG_LIFE:
            self.failures = 0
        self.fail(told_at)
        self.losses += 1
        self.seen += life
        if self.spot.zone is None:
            self.is_up, self.until = False, ends_at + DOWN.rest(0.0, self.down, self.dice)


def _stretch(task: Task, interval: Seconds | None) -> float:
    """How much longer the work takes for the saves in it."""
    return 1 + task.stall / interval if interval else 1.0
