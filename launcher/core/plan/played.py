"""The run as a whole, drawn many times among machines like the chosen one: what a plan tells of it.

The draws follow the rule of the policy `greedy` (forecast.py); of a run by another policy nothing is told.
"""

import math
from dataclasses import dataclass

from launcher.core.checkpoint.rules import save_rule
from launcher.core.market.offer import Capacity
from launcher.core.plan.candidates import Candidate, interval_of
from launcher.core.plan.estimate import Task
from launcher.core.plan.forecast import forecast
from launcher.core.plan.goal import deadline_of
from launcher.core.plan.planner import Plan
from launcher.core.plan.play import Spot, Sure, Traffic
from launcher.core.recipe import Recipe
from launcher.core.run.billing import rule_of
from launcher.units import HOUR, MINUTE, Seconds, Usd, Utc, show_duration, show_usd

SPOTS_PLAYED = 8  # a run that loses a place goes on in the next; beyond the eighth it hardly comes


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The run as a whole, drawn `draws` times: from place to place, with waiting, and with on-demand as the deadline's net.

    Among machines like the chosen one, and as the net what is cheapest on demand. `done`: the share of draws in which the work
    was done in time; hours are of those (None: there is none), dollars of all, since those that come too late are paid for as
    well. `done_p90`: by when the work of nine of ten is done, None where it is not in so many.
    """

    elapsed: Seconds | None
    elapsed_p90: Seconds | None
    done_p90: Seconds | None
    usd: Usd
    usd_p90: Usd
    waiting: Seconds
    restarts: float
    done: float
    draws: int

    def __str__(self) -> str:
        return f"the run as a whole, drawn {self.draws} times from place to place: {self._told}"

    @property
    def _told(self) -> str:
        usd, most = show_usd(self.usd), show_usd(self.usd_p90)
        dollars = f"{usd} on average in time or not, nine of ten {most} at most"
        if self.elapsed is None or self.elapsed_p90 is None:
            return f"none is in time; {dollars}"
        took, within = show_duration(self.elapsed), show_duration(self.elapsed_p90)
        waiting = f", {show_duration(self.waiting)} of it waiting" if self.waiting >= MINUTE else ""
        if self.done == 1:
            return f"{took} and {usd} on average{waiting}; nine of ten within {within} and {most}"
        return (
            f"in time in {show_share(self.done)} of runs, those in {took} on average{waiting}, nine of ten of them within "
            f"{within}; {dollars}"
        )


def play_out(recipe: Recipe, made: Plan, best: Candidate, now: Utc) -> Played | None:
    """None where there is nothing to draw: no spot, or another policy than the one whose rule the draws follow."""
    if made.policy != "greedy" or best.offer.placement.capacity is Capacity.ON_DEMAND:
        return None
    alike = [c for c in made.candidates if _machine(c) == _machine(best)]
    others = [c for c in alike if c.offer.placement.capacity is Capacity.SPOT and c is not best]
    spots = [_spot(recipe, made, c) for c in (best, *others)[:SPOTS_PLAYED]]
    sure = next((c for c in made.candidates if c.offer.placement.capacity is Capacity.ON_DEMAND), None)
    ends_at = deadline_of(recipe.policy, now)
    task = best.task or made.task
    found = forecast(
        task,
        spots,
        sure=None if sure is None else _sure(recipe, sure, task),
        deadline=None if ends_at is None else ends_at - now,
    )
    in_time, done_at = found.in_time, found.done_at(0.9)
    kept = best.aside.undisturbed(best.estimate.restarts) - best.aside.each_start  # each draw has the traffic of its own starts
    return Played(
        elapsed=None if in_time is None else in_time.elapsed,
        elapsed_p90=None if in_time is None else in_time.elapsed_at(0.9),
        done_p90=None if math.isinf(done_at) else done_at,
        usd=found.usd + kept,
        usd_p90=found.usd_at(0.9) + kept,
        waiting=(in_time or found).waiting,
        restarts=found.restarts,
        done=found.done,
        draws=len(found.draws),
    )


def _machine(c: Candidate) -> tuple[str, int]:
    return c.offer.placement.accelerator, c.offer.placement.accelerators


def _spot(recipe: Recipe, made: Plan, c: Candidate) -> Spot:
    interval = _interval(recipe, c.task or made.task, c)
    rule = rule_of(c.offer)
    return Spot(
        price=c.offer.price,
        life=c.life,
        interval=interval,
        notice_lead=c.offer.notice_lead,
        saves_on_notice=recipe.checkpoint.on_notice and interval is not None,
        free_within=rule.free_if_preempted_within,
        least_billed=rule.minimum,
        traffic=_traffic(c, (c.task or made.task).work / HOUR),
    )


def _sure(recipe: Recipe, c: Candidate, reference: Task) -> Sure:
    there = c.task or reference
    return Sure(
        price=c.offer.price,
        interval=_interval(recipe, there, c),
        traffic=_traffic(c, reference.work / HOUR),
        pace=reference.work / there.work,
    )


def _traffic(c: Candidate, work_h: float) -> Traffic:
    beside = c.aside
    return Traffic(start_usd=beside.each_start, restore_usd=beside.each_restore, usd_per_hour=beside.usd / work_h)


def _interval(recipe: Recipe, task: Task, c: Candidate) -> Seconds | None:
    return interval_of(save_rule(recipe.checkpoint, c.life), task)


def show_share(share: float) -> str:
    """Such as "99.5 %": all is said of all alone."""
    return f"{100 * share:.3g} %"
