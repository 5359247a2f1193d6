"""What we intend, before anybody is asked to pay for it: every place that fits, ranked by the cost to finish there.

The plan is a value: `launch plan` prints it, the run journals it. Which place is chosen is not the planner's opinion but the
policy's first decision, asked with the same view it will have when the run starts, so that the table cannot promise one place
and the run go to another.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from launcher.core.checkpoint.rules import save_interval, save_rule
from launcher.core.contract import SaveRule
from launcher.core.market.belief import MarketView, belief_of, is_cooling, mean_life
from launcher.core.market.offer import Capacity, Offer
from launcher.core.plan.estimate import Estimate, Task, estimate
from launcher.core.plan.goal import enough_money, enough_time, lateness, least_usd, reserved, show_least
from launcher.core.plan.limits import accelerators_needed, accepted, allowed_capacities, could_run, nearest_miss
from launcher.core.policy.base import Move, Phase, Policy, RunView
from launcher.core.recipe import Goal, Recipe
from launcher.core.tempo import PUBLISH_LOOKS_S
from launcher.units import HOUR, Seconds, Usd, UsdPerHour, Utc, show_duration, show_excess, show_usd

ROUGH_BELOW = 2.0  # a life shorter than so many losses' cost is outside what first-order arithmetic is good for


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A place that fits. `why` says what speaks against it, in a few words; "" for the chosen one."""

    offer: Offer
    life: Seconds
    estimate: Estimate
    is_chosen: bool
    why: str


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

    @property
    def chosen(self) -> Candidate | None:
        return next((c for c in self.candidates if c.is_chosen), None)


def plan(recipe: Recipe, offers: tuple[Offer, ...], task: Task, view: MarketView, policy: Policy, now: Utc) -> Plan:
    """The plan for `recipe` on `offers` (unfiltered), as things are believed to stand in `view`."""
    fitting = accepted(recipe, offers)
    view = replace(view, offers=fitting, sighted_at=now)
    decision = policy.decide(first_view(recipe, task, now), view)
    chosen = decision.ranked[0] if isinstance(decision, Move) else None
    candidates = _ranked(recipe, task, view, policy, chosen, now)
    best = next((c for c in candidates if c.is_chosen), None)
    sure_price = on_demand_price(recipe, offers)
    miss = None if fitting else nearest_miss(recipe, offers)
    return Plan(
        task=task,
        policy=policy.name,
        reason=decision.reason,
        candidates=candidates,
        saving=_saving(recipe, task, best.life if best else HOUR),
        on_demand_price=sure_price,
        on_demand_usd=None if sure_price is None else sure_price * (task.work + task.restart_cost) / HOUR,
        nearest_miss=str(miss) if miss else None,
        notes=_notes(recipe, task, best),
    )


def hopeless(recipe: Recipe, task: Task, candidates: Iterable[Candidate], now: Utc) -> str | None:
    """Why a run would pause before its first machine, with the change by which it would not; None where it would start.

    What `core/run/verdict` and `core/run/purse` come to once the run is there.
    """
    goal, ends_at, known = recipe.policy, deadline_of(recipe.policy, now), recipe.trainer is not None
    late = ends_at is not None and lateness(work=task.work if known else 0.0, restart_cost=task.restart_cost, time=ends_at - now)
    would_do = "would do" if known else f"would do for {show_duration(task.work)} of training"
    if late:
        return f"{late}; {enough_time(0.0, task.work + task.restart_cost)} {would_do}"
    cheapest = min(candidates, key=lambda c: c.offer.price_cap, default=None)
    if goal.budget is None or cheapest is None:
        return None
    of_one = (recipe.num_nodes * cheapest.offer.price_cap, task.restart_cost, reserved(task.speed, 0.0))
    if least_usd(*of_one) <= goal.budget:
        return None
    enough = enough_money(0.0, cheapest.estimate.usd, least_usd(*of_one))
    return f"the budget is {show_usd(goal.budget)}, and {show_least(*of_one)}; {enough} {would_do}"


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


def interval_of(rule: SaveRule, task: Task) -> Seconds | None:
    """Market seconds between saves that `rule` comes to, None for never; no shorter than a step."""
    if rule.never:
        return None
    if rule.seconds is not None:
        return rule.seconds
    if rule.steps is not None and task.step is not None:
        return rule.steps * task.step
    best = save_interval(stall=task.stall, life=rule.mean_life, durable=task.durable, max_loss=rule.max_loss)
    return max(best, task.step or 1.0)


def _ranked(
    recipe: Recipe, task: Task, view: MarketView, policy: Policy, chosen: Offer | None, now: Utc
) -> tuple[Candidate, ...]:
    costed = [_costed(recipe, task, view, offer, is_chosen=offer == chosen) for offer in view.offers]
    best = next((c for c in costed if c.is_chosen), None)
    explained = [replace(c, why=_why(recipe, view, policy, c, best, now)) for c in costed]
    return tuple(sorted(explained, key=lambda c: (c.estimate.usd, not c.is_chosen, c.offer.placement.place)))


def _costed(recipe: Recipe, task: Task, view: MarketView, offer: Offer, *, is_chosen: bool) -> Candidate:
    life = mean_life(view, offer)
    interval = interval_of(save_rule(recipe.checkpoint, life), task)
    cost = estimate(task, price=offer.price, life=life, interval=interval)
    return Candidate(offer=offer, life=life, estimate=cost, is_chosen=is_chosen, why="")


def _why(recipe: Recipe, view: MarketView, policy: Policy, c: Candidate, best: Candidate | None, now: Utc) -> str:
    """Why not this one: the most telling reason, short enough for a column."""
    placement = c.offer.placement
    needed = accelerators_needed(recipe, placement) or placement.accelerators
    if c.is_chosen:
        return ""
    if needed < placement.accelerators:
        return f"{placement.accelerators} GPUs for {'one' if needed == 1 else needed}"
    if is_cooling(view, placement.place, now):
        return f"cools down for {show_duration(belief_of(view, placement.place).cools_until - now)}"
    if best is None or c.estimate.usd < best.estimate.usd:
        return f"not what the policy {policy.name} takes first"
    if c.offer.price < best.offer.price:
        return f"less per hour, but {c.estimate.restarts:.1f} restarts"
    return show_excess(c.estimate.usd / best.estimate.usd)


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
    if rule.steps is not None and task.step is not None:
        return f"as checkpoint.every says, {rule.steps} steps"
    here = " here" if task.speed != 1 else ""
    measured = f"stall {task.stall / task.speed:.2g} s, durable {task.durable / task.speed:.2g} s{here}"
    bound = ""
    if interval <= task.durable:
        bound = ", not below the durable time"
    elif interval >= rule.max_loss:
        bound = ", not above checkpoint.max_loss"
    return f"{measured}; √(2·stall·life){bound}"


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
    if goal.budget is not None and cost.usd + kept > goal.budget:
        notes.append(
            f"about {show_usd(cost.usd)} are needed, and {show_usd(kept)} in reserve for the last machine's end; "
            f"the budget is {show_usd(goal.budget)}: the run would pause there"
        )
    if best.life < ROUGH_BELOW * (cost.restoring + cost.redone) / (1 + cost.restarts):
        notes.append(
            f"machines there live {show_duration(best.life)} on average, hardly longer than a start: the estimate is rough"
        )
    return tuple(notes)
