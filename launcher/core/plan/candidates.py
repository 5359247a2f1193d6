"""Each place that fits, with what the job comes to there, and what speaks against the places that lost.

One mechanism for the rehearsal's plan, a cloud's plan and `launch prices --for`: a place has its own hours (a faster GPU needs
fewer), its own life, and its own bill beside the machine (data that must come from elsewhere). What is compared is the sum.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from launcher.core.checkpoint.rules import save_interval, save_rule
from launcher.core.contract import SaveRule
from launcher.core.market.belief import MarketView, belief_of, is_cooling, mean_life
from launcher.core.market.offer import Offer
from launcher.core.plan.estimate import Estimate, Task, estimate, saved_in_time
from launcher.core.plan.limits import accelerators_needed
from launcher.core.plan.transfer import NOTHING, Aside, Haul, aside
from launcher.core.recipe import Recipe
from launcher.core.run.billing import rule_of
from launcher.units import Seconds, Usd, Utc, show_duration, show_excess, show_usd

TaskAt = Callable[[Offer], Task]  # the job's times in a place

TELLING = 1.15  # a difference in hours that is worth a word
MOST = 0.5  # of a difference, which is then called by its name
NO_AS_MUCH = 1.005  # below it two totals are alike in print
_LATELY = {  # what a place did to us that cools down
    "preempted": "took a machine lately, ",
    "capacity": "had no capacity lately, ",
    "unreachable": "could not be reached lately, ",
    "silent": "had a silent machine lately, ",
    "killed": "had a machine killed lately, ",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A place that fits. `why` says what speaks against it, in a few words; "" for the chosen one.

    `gpus`: how many of the machine's the job uses. `task`: the job's times there, None where they are the plan's.
    """

    offer: Offer
    life: Seconds
    estimate: Estimate
    is_chosen: bool
    why: str
    gpus: int = 1
    aside: Aside = NOTHING
    task: Task | None = None

    @property
    def usd(self) -> Usd:
        """All of it until the work is done: machines, storage, traffic."""
        return self.estimate.usd + self.aside.usd

    @property
    def usd_p50(self) -> Usd:
        """What half of all runs do not exceed: the traffic of their own restarts is in it, saves are those of an average run."""
        return self._usd_with(self.estimate.usd_p50, self.estimate.restarts_p50)

    @property
    def usd_p90(self) -> Usd:
        """The same of nine of ten."""
        return self._usd_with(self.estimate.usd_p90, self.estimate.restarts_p90)

    def _usd_with(self, usd: Usd, restarts: float) -> Usd:
        return usd + self.aside.undisturbed(self.estimate.restarts) + restarts * self.aside.each_restart


def costed(
    recipe: Recipe, view: MarketView, offers: Iterable[Offer], task: Task | TaskAt, haul: Haul | None = None
) -> list[Candidate]:
    """What the job comes to in each place, by `task` everywhere or by what it says of a place. None is chosen yet."""
    return [_costed(recipe, view, offer, task, haul) for offer in offers]


def _costed(recipe: Recipe, view: MarketView, offer: Offer, task: Task | TaskAt, haul: Haul | None) -> Candidate:
    life = mean_life(view, offer, recipe.num_nodes)
    there = task if isinstance(task, Task) else task(offer)
    rule = save_rule(recipe.checkpoint, life)
    interval = interval_of(rule, there)
    cost = estimate(
        there,
        price=offer.price,
        life=life,
        interval=interval,
        saved_in_time=saved_in_time(rule, offer.notice_lead, there.durable),
        rule=rule_of(offer),
    )
    beside = (
        NOTHING
        if haul is None
        else aside(haul, offer.placement, cost, work=there.work, interval=interval, num_nodes=there.num_nodes)
    )
    return Candidate(
        offer=offer,
        life=life,
        estimate=cost,
        is_chosen=False,
        why="",
        gpus=accelerators_needed(recipe, offer.placement) or offer.placement.accelerators,
        aside=beside,
        task=None if isinstance(task, Task) else there,
    )


def ranked(
    found: Iterable[Candidate], best: Candidate | None, view: MarketView, policy: str, now: Utc, *, ends_at: Utc | None = None
) -> tuple[Candidate, ...]:
    """The cheapest to finish first, `best` marked as chosen, and for each other one why it is not; `ends_at`: the deadline."""
    explained = (
        replace(c, is_chosen=True)
        if c is best
        else replace(c, why=_late(c, ends_at, now) or _obstacle(c, best, view, policy, now) or _why(c, best))
        for c in found
    )
    return tuple(sorted(explained, key=_order))


def by_total(found: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The cheapest to finish first, and what speaks against each other one; no policy is asked and nothing chosen."""
    ordered = sorted(found, key=_order)
    return tuple(replace(c, why=_why(c, ordered[0])) if c is not ordered[0] else c for c in ordered)


def _order(c: Candidate) -> tuple[Usd, bool, str]:
    return c.usd, not c.is_chosen, c.offer.placement.place


def undisturbed(c: Candidate, task: Task | None = None) -> Seconds:
    """How long the work takes there where no machine is lost; by `task` where the place has no times of its own."""
    times = c.task or task
    return c.estimate.elapsed if times is None else times.work + times.restart_cost


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


# --- in words ------------------------------------------------------------------------------------------------------------------


def _late(c: Candidate, ends_at: Utc | None, now: Utc) -> str:
    late = 0.0 if ends_at is None else now + c.estimate.elapsed - ends_at
    return f"misses the deadline by {show_duration(late)}" if late > 0 else ""


def _obstacle(c: Candidate, best: Candidate | None, view: MarketView, policy: str, now: Utc) -> str:
    """Why a place that may be the cheapest is not taken now; empty where nothing but its cost speaks against it."""
    if best is None:
        return f"not what the policy {policy} takes first"
    place = c.offer.placement.place
    if is_cooling(view, place, now):
        belief = belief_of(view, place)
        return f"{_LATELY.get(belief.why, '')}cools down for {show_duration(belief.cools_until - now)}"
    return f"not what the policy {policy} takes first" if c.usd < best.usd else ""


def _why(c: Candidate, best: Candidate | None) -> str:
    """Why not this one, which costs more in the end: the most telling reason, short enough for a column."""
    assert best is not None, "without a best one the obstacle has been named"
    beside, machines = c.aside.usd - best.aside.usd, c.estimate.usd - best.estimate.usd
    if beside > machines and c.usd >= NO_AS_MUCH * best.usd:
        return _beside(c, best, beside)
    if idle := _idle_gpus(c, best):
        return idle
    slower = c.estimate.elapsed / best.estimate.elapsed
    if c.offer.price < best.offer.price:
        return f"less per hour, but {_longer(c, best, slower)}"
    if not best.usd:
        return "priced, where the other is not" if c.usd else "as much"
    return show_excess(c.usd / best.usd) or "as much"


def _idle_gpus(c: Candidate, best: Candidate) -> str:
    """GPUs that are paid for and left idle, where the best place has fewer such."""
    there = c.offer.placement.accelerators
    if c.gpus / there >= best.gpus / best.offer.placement.accelerators:
        return ""
    return f"{there} GPUs for {'one' if c.gpus == 1 else c.gpus}"


def _beside(c: Candidate, best: Candidate, more: Usd) -> str:
    """What most of the difference is that is paid beside machines, `more` in all: one thing, or all of it."""
    parts = {
        "moving checkpoints": c.aside.moving - best.aside.moving,
        "reading the data": c.aside.reading - best.aside.reading,
        "keeping checkpoints": c.aside.keeping - best.aside.keeping,
    }
    what, usd = max(parts.items(), key=lambda part: part[1])
    if usd < MOST * more:
        what, usd = "storage and traffic", more
    dearer = "" if c.offer.price >= best.offer.price else "less per hour, but "
    return f"{dearer}{show_usd(usd)} more for {what}"


def _longer(c: Candidate, best: Candidate, slower: float) -> str:
    """By what the cheaper hour loses: by slow training, or by restarts."""
    of_work = 1.0 if c.task is None or best.task is None else c.task.work / best.task.work
    if of_work >= TELLING:
        return f"{slower:.1f} times the hours"
    return f"{c.estimate.restarts:.1f} restarts"
