"""What we intend, before anybody is asked to pay for it: every place that fits, ranked by the cost to finish there.

The plan is a value: `launch plan` prints it, the run journals it. Which place is chosen is not the planner's opinion but the
policy's first decision, asked with the same view it will have when the run starts, so that the table cannot promise one place
and the run go to another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from launcher.core.market.belief import MarketView
from launcher.core.market.offer import Capacity, Offer
from launcher.core.market.quota import Refusals
from launcher.core.plan.candidates import Candidate, TaskAt, costed, ranked, undisturbed
from launcher.core.plan.estimate import Task
from launcher.core.plan.goal import deadline_of, reserved
from launcher.core.plan.limits import accepted, allowed_capacities, could_run, nearest_miss, standing
from launcher.core.plan.quotas import Withheld, withheld
from launcher.core.plan.saving import Saving, saving
from launcher.core.plan.sizing import lacking_gib
from launcher.core.plan.transfer import Haul
from launcher.core.policy.base import Decision, Move, Phase, Policy, RunView
from launcher.core.recipe import Recipe
from launcher.units import HOUR, Seconds, Usd, UsdPerHour, Utc, show_duration, show_usd

ROUGH_BELOW = 2.0  # a life shorter than so many starts: what a run takes there hangs on the few long ones


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
        saving=saving(recipe, reference, best.life if best else HOUR),
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
        in_time = [c for c in found if undisturbed(c) <= time]
    return in_time or found


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
    times = [(o.price, task if isinstance(task, Task) else task(o)) for o in _on_demand(recipe, offers)]
    return min((recipe.num_nodes * price * (t.work + t.restart_cost) / HOUR for price, t in times), default=None)


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


def on_demand_price(recipe: Recipe, offers: tuple[Offer, ...]) -> UsdPerHour | None:
    """Of the cheapest place that could run the job on demand, all nodes together."""
    prices = [offer.price for offer in _on_demand(recipe, offers)]
    return min(prices) * recipe.num_nodes if prices else None


def _on_demand(recipe: Recipe, offers: tuple[Offer, ...]) -> list[Offer]:
    return [o for o in offers if o.placement.capacity is Capacity.ON_DEMAND and could_run(recipe, o.placement)]


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
