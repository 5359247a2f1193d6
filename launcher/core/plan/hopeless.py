"""Why money and time given for a run are too little, with what would do: said before the first machine is paid for."""

import math
from collections.abc import Iterable

from launcher.core.plan.candidates import Candidate, undisturbed
from launcher.core.plan.estimate import Task
from launcher.core.plan.goal import deadline_of, enough_money, enough_time, lateness, least_usd, reserved, show_least
from launcher.core.recipe import Recipe
from launcher.units import HOUR, MINUTE, Seconds, Usd, Utc, show_duration, show_usd


def hopeless(
    recipe: Recipe, task: Task, candidates: Iterable[Candidate], now: Utc, *, is_known: bool | None = None
) -> str | None:
    """Why a run would pause before its first machine, with the change by which it would not; None where it would start.

    `is_known`: whether the work is; by default that of a trainer is. It is what `core/run/verdict` and `core/run/purse` come
    to once the run is there.
    """
    goal, ends_at = recipe.policy, deadline_of(recipe.policy, now)
    known = recipe.trainer is not None if is_known is None else is_known
    candidates = tuple(candidates)
    task = min((c.task or task for c in candidates), key=lambda t: t.work + t.restart_cost, default=task)
    late = ends_at is not None and lateness(work=task.work if known else 0.0, restart_cost=task.restart_cost, time=ends_at - now)
    would_do = "would do" if known else f"would do for {show_duration(task.work)} of training"
    needed = task.work + task.restart_cost
    if late and known:
        least = min((undisturbed(c, task) + c.estimate.saving for c in candidates), default=needed)
        return f"{late}; policy.deadline={_typed(least)} is the least, and {enough_time(0.0, needed)} would do"
    if late:
        return f"{late}; {enough_time(0.0, needed)} {would_do}"
    cheapest = min(candidates, key=lambda c: c.offer.price_cap, default=None)
    if goal.budget is None or cheapest is None:
        return None
    of_one = (recipe.num_nodes * cheapest.offer.price_cap, task.restart_cost, reserved(task.speed, 0.0))
    if least_usd(*of_one) <= goal.budget:
        return None
    enough = enough_money(0.0, cheapest.usd, least_usd(*of_one))
    return f"the budget is {show_usd(goal.budget)}, and {show_least(*of_one)}; {enough} {would_do}"


def unaffordable(recipe: Recipe, task: Task, candidates: Iterable[Candidate]) -> str | None:
    """Why a budget is too small for any run of a work that is known, with one that will do; None where it may be enough.

    A run counts its machines against it, and would pause halfway.
    """
    budget = recipe.policy.budget

    def least(c: Candidate) -> Usd:
        return recipe.num_nodes * c.offer.price * undisturbed(c, task) / HOUR

    cheapest = min(candidates, key=least, default=None)
    if budget is None or cheapest is None or least(cheapest) <= budget:
        return None
    times, rate = cheapest.task or task, recipe.num_nodes * cheapest.offer.price_cap
    enough = enough_money(0.0, cheapest.usd, least_usd(rate, times.restart_cost, reserved(times.speed, times.durable)))
    return (
        f"the budget is {show_usd(budget)}, and the work takes {show_usd(least(cheapest))} where that is least, in "
        f"{cheapest.offer.placement}, even where no machine is lost; {enough} would do"
    )


def _typed(time: Seconds) -> str:
    """As it is typed, to the next minute: "3h16m"."""
    hours, minutes = divmod(math.ceil(time / MINUTE), 60)
    return f"{hours}h{minutes}m" if minutes and hours else f"{minutes}m" if minutes else f"{hours}h"
