"""What we intend, before anybody is asked to pay for it: every place that fits, ranked by the cost to finish there.

The plan is a value: `launch plan` prints it, the run journals it. Which place is chosen is not the planner's opinion but the
policy's first decision, asked with the same view it will have when the run starts, so that the table cannot promise one place
and the run go to another.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from launcher.core.checkpoint.rules import save_rule
from launcher.core.contract import SaveRule
from launcher.core.market.belief import MarketView
from launcher.core.market.offer import Capacity, Offer
from launcher.core.market.quota import Refusals
from launcher.core.plan.candidates import Candidate, TaskAt, costed, interval_of, ranked
from launcher.core.plan.estimate import Task
from launcher.core.plan.goal import enough_money, enough_time, lateness, least_usd, reserved, show_least
from launcher.core.plan.limits import accepted, allowed_capacities, could_run, nearest_miss, standing
from launcher.core.plan.quotas import Withheld, withheld
from launcher.core.plan.sizing import lacking_gib
from launcher.core.plan.transfer import Haul
from launcher.core.policy.base import Decision, Move, Phase, Policy, RunView
from launcher.core.recipe import Goal, Recipe
from launcher.core.tempo import PUBLISH_LOOKS_S
from launcher.units import HOUR, MINUTE, Seconds, Usd, UsdPerHour, Utc, show_duration, show_usd

ROUGH_BELOW = 2.0  # a life shorter than so many starts: what a run takes there hangs on the few long ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """How often checkpoints are made, in market seconds; `interval` None is never.

    `by_program`: a program under `run:` saves when it likes, and the interval is what it is told where it uses launcher.train.
    """

    interval: Seconds | None
    speed: float
    reason: str
    by_program: bool = False

    def __str__(self) -> str:
        here = " here" if self.speed != 1 else ""
        if self.by_program:
            looks = f"looked for every {PUBLISH_LOOKS_S:g} s{here}"
            return f"checkpoints: the whole files in the program's folder, {looks}; with launcher.train {self._how_often}"
        return f"no checkpoints ({self.reason})" if self.interval is None else f"checkpoint {self._how_often}"

    @property
    def _how_often(self) -> str:
        if self.interval is None:
            return f"none ({self.reason})"
        here = f" there = {self.interval / self.speed:.1f} s here" if self.speed != 1 else ""
        return f"every {show_duration(self.interval)}{here} ({self.reason})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `launch plan` prints and the run journals. `candidates` are ranked by estimated total; none: nothing fits.

    `on_demand_price` is that of the cheapest on-demand place the job could run in, for all nodes, bought or not: what savings
    are measured against.
    """

    schema_version: int = 1
    task: Task
    policy: str
    reason: str  # of the policy's first decision
    candidates: tuple[Candidate, ...]
    saving: Saving
    on_demand_price: UsdPerHour | None
    on_demand_usd: Usd | None
    nearest_miss: str | None  # where nothing fits: the offer with the least wrong, and what that is
    notes: tuple[str, ...]
    withheld: tuple[Withheld, ...] = ()  # by quotas that were refused

    @property
    def chosen(self) -> Candidate | None:
        return next((c for c in self.candidates if c.is_chosen), None)


def plan(
    recipe: Recipe,
    offers: tuple[Offer, ...],
    task: Task | TaskAt,
    view: MarketView,
    policy: Policy,
    now: Utc,
    haul: Haul | None = None,
    *,
    is_known: bool = True,
) -> Plan:
    """The plan for `recipe` on `offers` (unfiltered, some at least), as things are believed to stand in `view`.

    `task`: the job's times, in all places alike or by place; then those of the plan are the chosen place's, else the cheapest's.
    `haul` None: nothing is paid for beside machines. `is_known`: whether the work is. Where places differ in their hours, the
    policy is shown what `in_reach` leaves of them.
    """
    quotas = standing(recipe, view.quotas, now)
    view = replace(view, offers=accepted(recipe, offers, quotas), sighted_at=now)

    def usd(offer: Offer) -> Usd:
        return costed(recipe, view, (offer,), task, haul)[0].usd

    found = costed(recipe, view, view.offers, task, haul)
    ends_at = None if isinstance(task, Task) or not is_known else deadline_of(recipe.policy, now)
    shown = found if ends_at is None else in_reach(found, ends_at - now)

    def asked(by: Task) -> tuple[Decision, Candidate | None]:
        compared = tuple(_compared(c, by) for c in shown)
        decision = policy.decide(first_view(recipe, by, now), replace(view, offers=compared))
        first = decision.ranked[0] if isinstance(decision, Move) else None
        return decision, next((c for c, offer in zip(shown, compared, strict=True) if offer == first), None)

    reference = _reference(shown, offers, task)
    decision, best = asked(reference)
    if best is not None and best.task is not None and best.task != reference:
        reference = best.task
        told, again = asked(reference)
        decision = told if again is best else decision  # its reason counts in the hours of the place that it takes
    candidates = ranked(found, best, view, policy.name, now, ends_at=ends_at)
    return Plan(
        task=reference,
        policy=policy.name,
        reason=decision.reason,
        candidates=candidates,
        saving=_saving(recipe, reference, best.life if best else HOUR),
        on_demand_price=on_demand_price(recipe, offers),
        on_demand_usd=_on_demand_usd(recipe, offers, task),
        nearest_miss=None if candidates else _miss(recipe, offers, quotas, usd),
        notes=_notes(recipe, reference, best),
        withheld=withheld(recipe, offers, quotas, usd),
    )


def in_reach(found: Sequence[Candidate], time: Seconds) -> Sequence[Candidate]:
    """What a policy is shown of places that differ in their hours, with so much time to the deadline.

    Those that meet it by estimate. Where no spot is among them, those too which meet it if nothing is lost: on-demand may be
    there to end the wait, or they are the best there is. Where nothing can meet it, all.
    """
    in_time = [c for c in found if c.estimate.elapsed <= time]
    if not any(c.offer.placement.capacity is Capacity.SPOT for c in in_time):
        in_time = [c for c in found if _undisturbed(c) <= time]
    return in_time or found


def _undisturbed(c: Candidate, task: Task | None = None) -> Seconds:
    """How long the work takes there where no machine is lost; by `task` where the place has no times of its own."""
    times = c.task or task
    return c.estimate.elapsed if times is None else times.work + times.restart_cost


def _reference(found: Sequence[Candidate], offers: tuple[Offer, ...], task: Task | TaskAt) -> Task:
    """The times by which the job is told to the policy: those where it costs least; where nothing fits, of whatever is there."""
    if isinstance(task, Task):
        return task
    best = min(found, key=lambda c: c.usd, default=None)
    return task(offers[0]) if best is None or best.task is None else best.task


def _compared(c: Candidate, reference: Task) -> Offer:
    """The offer as a policy compares it: by the work that is done in an hour there, and by what that costs beside the machine."""
    if c.task is None:
        return c.offer
    return replace(c.offer, pace=reference.work / c.task.work, aside=c.aside.usd / (reference.work / HOUR))


def _miss(recipe: Recipe, offers: tuple[Offer, ...], quotas: Refusals, usd: Callable[[Offer], Usd]) -> str | None:
    """The nearest offer that does not fit, and what it would cost to let it."""
    miss = nearest_miss(recipe, offers, usd, quotas)
    if miss is None:
        return None
    fits_then = not lacking_gib(recipe, miss.offer.placement.accelerator)
    return f"{miss}; {miss.concession}{f' to fit: +{show_usd(usd(miss.offer))}' if fits_then else ''}"


def _on_demand_usd(recipe: Recipe, offers: tuple[Offer, ...], task: Task | TaskAt) -> Usd | None:
    """What the job comes to on demand, undisturbed, where that costs least."""
    there = [o for o in offers if o.placement.capacity is Capacity.ON_DEMAND and could_run(recipe, o.placement)]
    times = [(o.price, task if isinstance(task, Task) else task(o)) for o in there]
    return min((recipe.num_nodes * price * (t.work + t.restart_cost) / HOUR for price, t in times), default=None)


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
        least = min((_undisturbed(c, task) + c.estimate.saving for c in candidates), default=needed)
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


def _typed(time: Seconds) -> str:
    """As it is typed, to the next minute: "3h16m"."""
    hours, minutes = divmod(math.ceil(time / MINUTE), 60)
    return f"{hours}h{minutes}m" if minutes and hours else f"{minutes}m" if minutes else f"{hours}h"


def unaffordable(recipe: Recipe, task: Task, candidates: Iterable[Candidate]) -> str | None:
    """Why a budget is too small for any run of a work that is known, with one that will do; None where it may be enough.

    A run counts its machines against it, and would pause halfway.
    """
    budget = recipe.policy.budget

    def least(c: Candidate) -> Usd:
        return recipe.num_nodes * c.offer.price * _undisturbed(c, task) / HOUR

    cheapest = min(candidates, key=least, default=None)
    if budget is None or cheapest is None or least(cheapest) <= budget:
        return None
    times, rate = cheapest.task or task, recipe.num_nodes * cheapest.offer.price_cap
    enough = enough_money(0.0, cheapest.usd, least_usd(rate, times.restart_cost, reserved(times.speed, times.durable)))
    return (
        f"the budget is {show_usd(budget)}, and the work takes {show_usd(least(cheapest))} where that is least, in "
        f"{cheapest.offer.placement}, even where no machine is lost; {enough} would do"
    )


def first_view(recipe: Recipe, task: Task, now: Utc) -> RunView:
    """The run as the policy sees it before its first attempt."""
    return RunView(
        now=now,
        phase=Phase.WAITING,
        deadline=deadline_of(recipe.policy, now),
        remaining_work=task.work,
        work_per_s=1.0,
        num_nodes=task.num_nodes,
        restart_cost=task.restart_cost,
        checkpoint_age=0.0,
        current=None,
        notice_ends_at=None,
        spent=0.0,
        budget=recipe.policy.budget,
        allowed=allowed_capacities(recipe),
        attempts=(),
    )


def deadline_of(goal: Goal, started_at: Utc) -> Utc | None:
    return started_at + goal.deadline if goal.deadline is not None else goal.deadline_at


def _saving(recipe: Recipe, task: Task, life: Seconds) -> Saving:
    rule = save_rule(recipe.checkpoint, life)
    interval = interval_of(rule, task)
    reason = _saving_reason(rule, task, interval)
    return Saving(interval=interval, speed=task.speed, reason=reason, by_program=recipe.trainer is None)


def _saving_reason(rule: SaveRule, task: Task, interval: Seconds | None) -> str:
    if interval is None:
        return "checkpoint.every is never: a preemption loses everything"
    if rule.seconds is not None:
        return "as checkpoint.every says"
    if rule.steps is not None:
        is_known = "" if task.step is not None else "; how long a step takes is not known, so the time is a guess"
        return f"as checkpoint.every says, {rule.steps} steps{is_known}"
    here = " here" if task.speed != 1 else ""
    measured = f"stall {_digits(task.stall / task.speed)} s, durable {_digits(task.durable / task.speed)} s{here}"
    bound = ""
    if interval <= task.durable:
        bound = ", not below the durable time"
    elif interval >= rule.max_loss:
        bound = ", not above checkpoint.max_loss"
    return f"{measured}; √(2·stall·life){bound}"


def _digits(seconds: Seconds) -> str:
    """The two that count, and no exponent."""
    return f"{seconds:.2g}" if seconds < 99.5 else f"{seconds:.0f}"


def on_demand_price(recipe: Recipe, offers: tuple[Offer, ...]) -> UsdPerHour | None:
    """Of the cheapest place that could run the job on demand, all nodes together."""
    prices = [o.price for o in offers if o.placement.capacity is Capacity.ON_DEMAND and could_run(recipe, o.placement)]
    return min(prices) * recipe.num_nodes if prices else None


def _notes(recipe: Recipe, task: Task, best: Candidate | None) -> tuple[str, ...]:
    """What a person should know before saying yes."""
    goal, notes = recipe.policy, []
    if goal.deadline is not None or goal.deadline_at is not None:
        notes.append(
            "the deadline holds only while something supervises the run; without it, training goes on until it is preempted"
        )
    if best is None:
        return tuple(notes)
    cost = best.estimate
    if goal.deadline is not None and cost.elapsed > goal.deadline:
        notes.append(f"about {show_duration(cost.elapsed)} are needed, the deadline is {show_duration(goal.deadline)}")
    kept = recipe.num_nodes * best.offer.price_cap * reserved(task.speed, task.durable) / HOUR
    if goal.budget is not None and best.usd + kept > goal.budget:
        notes.append(
            f"about {show_usd(best.usd)} are needed, and {show_usd(kept)} in reserve for the last machine's end; "
            f"the budget is {show_usd(goal.budget)}: the run would pause there"
        )
    if best.life < ROUGH_BELOW * task.restart_cost:
        notes.append(
            f"machines there live {show_duration(best.life)} on average, hardly longer than a start: the estimate is rough"
        )
    return tuple(notes)
