"""The policies everyone has, against which better ones are measured: on-demand only, spot only, cheapest first, greedy.

All share three habits. What stands is left standing until the cloud says it goes. At a notice we ask for the next place at once,
so that it boots while the old one still saves. A place that failed us cools down and is not tried, unless the deadline leaves
no time to wait for it: then once a minute.

They differ in the capacity they buy and in what they call cheap. `Greedy` runs on spot while there is slack, and when waiting
longer could break the deadline it goes to on-demand; the safety net of Wu et al., "Can't Be Late" (NSDI '24). The net is not
paid for where it holds nothing: once no machine can meet the deadline, the run goes on as cheaply as without one until it passes.
"""

import math
from dataclasses import dataclass

from launcher.core.market.belief import MarketView, belief_of, is_cooling, mean_life, rank
from launcher.core.market.offer import Capacity, Offer
from launcher.core.plan.estimate import useful_share
from launcher.core.policy.base import Decision, Hold, Move, RunView, Wait
from launcher.units import MINUTE, Seconds, UsdPerHour, Utc, show_duration, show_rate

RECHECK: Seconds = 5 * MINUTE  # how long to wait where nothing is on offer; the feed seldom changes faster
URGENT_RECHECK: Seconds = MINUTE  # between two tries where all places cool down and no time is left: a cloud counts its callers
SLACK_LEAST: Seconds = 1.0  # less is none: a wake-up exactly at the end of the slack must find it ended
# What the safety net holds back; without it, it came up to two minutes too late in recorded markets.
RESERVE_OF_START, RESERVE_OF_WORK = 0.5, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemandOnly:
    """Never preempted, never cheap."""

    name: str = "on-demand"

    def decide(self, run: RunView, market: MarketView) -> Decision:
        return _hold(run) or _take(run, market, by_useful_cost(run, market, Capacity.ON_DEMAND))


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotOnly:
    """Spot or nothing, whatever the deadline."""

    name: str = "spot"

    def decide(self, run: RunView, market: MarketView) -> Decision:
        return _hold(run) or _take(run, market, by_useful_cost(run, market, Capacity.SPOT))


@dataclass(frozen=True, slots=True, kw_only=True)
class CheapestFirst:
    """The lowest price per hour of whatever the recipe allows; what most tools do."""

    name: str = "cheapest"

    def decide(self, run: RunView, market: MarketView) -> Decision:
        allowed = [o for capacity in Capacity for o in _candidates(run, market, capacity)]
        return _hold(run) or _take(run, market, tuple(sorted(allowed, key=lambda o: (o.price, o.placement.place))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Greedy:
    """Spot while there is slack, on-demand once there is none. Waits for spot; never pays more for it than for sure."""

    name: str = "greedy"

    def decide(self, run: RunView, market: MarketView) -> Decision:
        if standing := _hold(run):
            return standing
        spot = by_useful_cost(run, market, Capacity.SPOT)
        on_demand = by_useful_cost(run, market, Capacity.ON_DEMAND)
        if _is_pressed(run):
            return _take(run, market, on_demand + spot)
        if not spot and run.deadline is not None and _sells_spot(run, market):
            return _take(run, market, ())  # spot may come; the deadline ends the wait, as nothing would without one
        return _take(run, market, _below(run, market, spot, on_demand) or on_demand)


def _sells_spot(run: RunView, market: MarketView) -> bool:
    """Whether spot that the run may take is on offer, or was in this run; else there is nothing to wait for."""
    seen = (*(o.placement for o in market.offers), *(attempt.placement for attempt in run.attempts))
    return run.allows(Capacity.SPOT) and any(placement.capacity is Capacity.SPOT for placement in seen)


def _below(run: RunView, market: MarketView, spot: tuple[Offer, ...], on_demand: tuple[Offer, ...]) -> tuple[Offer, ...]:
    """The spot offers that cost less per useful hour than the best on-demand one."""
    limit = useful_cost(run, market, on_demand[0]) if on_demand else math.inf
    return tuple(o for o in spot if useful_cost(run, market, o) < limit)


def slack(run: RunView) -> Seconds:
    """How long the run may stand still and, started then, still meet its deadline if nothing goes wrong; inf without one.

    Where nobody knows how much work is left there is none to speak of: a net that is paid for would hold nobody knows what.
    """
    return _spare(run) - reserve(_work_left(run), run.restart_cost)


def reserve(work: Seconds, restart_cost: Seconds) -> Seconds:
    """What the net holds back: a start is an estimate, and is seen some looks later; saves make training stand still."""
    return RESERVE_OF_START * restart_cost + RESERVE_OF_WORK * work


def is_lost(run: RunView) -> bool:
    """Whether no machine can meet the deadline any more, not even one that trained already.

    Less than a start behind may be an estimate's error, and so may be what a machine that stands has trained since its last save.
    """
    unsaved = run.checkpoint_age if run.current is not None else 0.0
    return _spare(run) < -run.restart_cost - unsaved


def _spare(run: RunView) -> Seconds:
    """What is left to the deadline besides a start and the work, nothing held back."""
    if run.deadline is None or not run.remaining_work:
        return math.inf
    return run.deadline - run.now - _work_left(run) - run.restart_cost


def _is_pressed(run: RunView) -> bool:
    """Whether each moment that the run stands still can break its deadline."""
    return slack(run) <= SLACK_LEAST and not is_lost(run)


def useful_cost(run: RunView, market: MarketView, offer: Offer) -> UsdPerHour:
    """What an hour of the job's work costs there: the start-up of each life is paid for, and trains nothing."""
    work, share = _work_left(run) / offer.pace, useful_share(mean_life(market, offer, run.num_nodes), run.restart_cost)
    start = 1.0 if work == 0 else (work + run.restart_cost) / work  # where the work is not known, the start weighs nothing
    return run.num_nodes * offer.price * start / share / offer.pace + offer.aside


def by_useful_cost(run: RunView, market: MarketView, capacity: Capacity) -> tuple[Offer, ...]:
    """The offers of `capacity` the run may take, the least cost of a useful hour first."""
    offers = _candidates(run, market, capacity)
    return tuple(sorted(offers, key=lambda o: (useful_cost(run, market, o), o.placement.place)))


def _candidates(run: RunView, market: MarketView, capacity: Capacity) -> list[Offer]:
    """Offers of `capacity` that the recipe permits, without the place that is being taken away."""
    leaving = run.current.place if run.current and run.notice_ends_at is not None else None
    if not run.allows(capacity):
        return []
    offers = (o for o in market.offers if o.placement.capacity is capacity)
    return [o for o in offers if leaving is None or o.placement.place != leaving]


def _hold(run: RunView) -> Hold | None:
    if run.current is None or run.notice_ends_at is not None:
        return None
    return Hold(reason=f"{run.current} ({run.current.capacity.value}) stands; {_outlook(run)}")


def _take(run: RunView, market: MarketView, ranked: tuple[Offer, ...]) -> Decision:
    """Move to the first place in `ranked` that may be tried, or wait for one as long as the deadline permits."""
    ordered = rank(market, ranked, run.now)
    ready = tuple(o for o in ordered if not is_cooling(market, o.placement.place, run.now))
    if ready:
        return Move(ranked=ready, reason=_why(run, market, ready, num_cooling=len(ordered) - len(ready)))
    hurry_at = _hurry_at(run) if ordered and _is_pressed(run) else math.inf
    if run.now >= hurry_at:
        return Move(ranked=ordered[:1], reason=f"{_no_place(run, market, ordered)}, and no time to wait; {_outlook(run)}")
    if run.notice_ends_at is not None:
        return Hold(reason=f"the notice leaves {show_duration(run.notice_ends_at - run.now)}; {_no_place(run, market, ordered)}")
    until = belief_of(market, ordered[0].placement.place).cools_until if ordered else run.now + RECHECK
    until = min(until, hurry_at)
    if slack(run) > SLACK_LEAST:
        until = min(until, run.now + slack(run))
    return Wait(until=until, reason=f"{_no_place(run, market, ordered)}; {_outlook(run)}")


def _hurry_at(run: RunView) -> Utc:
    """When a place may be tried although it cools down: not right after the last one refused."""
    last = run.attempts[-1] if run.attempts else None
    return last.ended_at + URGENT_RECHECK if last is not None and last.ended_at is not None and last.end == "refused" else run.now


def _why(run: RunView, market: MarketView, ready: tuple[Offer, ...], *, num_cooling: int) -> str:
    best = ready[0]
    parts = [
        f"{best.placement.capacity.value} {best.placement} at {show_rate(best.price * run.num_nodes)}, "
        f"{show_rate(useful_cost(run, market, best))} useful{_life_of(run, market, best)}, "
        f"{show_duration(run.restart_cost)} to start"
    ]
    if len(ready) > 1:
        parts.append(f"next {ready[1].placement} {show_rate(useful_cost(run, market, ready[1]))} useful")
    if num_cooling:
        parts.append(f"{num_cooling} of {len(ready) + num_cooling} places cool down")
    if run.notice_ends_at is not None:
        parts.append(f"{run.current} goes in {show_duration(run.notice_ends_at - run.now)}")
    return "; ".join([*parts, _outlook(run)])


def _life_of(run: RunView, market: MarketView, offer: Offer) -> str:
    is_spot = offer.placement.capacity is Capacity.SPOT
    return f", mean life {show_duration(mean_life(market, offer, run.num_nodes))}" if is_spot else ""


def _no_place(run: RunView, market: MarketView, cooling: tuple[Offer, ...]) -> str:
    if not cooling:
        return f"nothing on offer among {len(market.offers)} offers (allowed: {', '.join(sorted(run.allowed))})"
    wait = belief_of(market, cooling[0].placement.place).cools_until - run.now
    first = f"{cooling[0].placement} for {show_duration(wait)} more"
    return f"all {len(cooling)} places cool down, {first}" if len(cooling) > 1 else f"the only place cools down, {first}"


def _outlook(run: RunView) -> str:
    """The work left, and how much time there is beyond it."""
    work = _work_left(run)
    left = f"{show_duration(work)} of work left" if work else "nobody knows how much work is left"
    if run.deadline is None:
        return f"{left}, no deadline"
    if not work:
        return f"{left}, {show_duration(max(0.0, run.deadline - run.now))} to the deadline"
    spare = _spare(run)
    if is_lost(run):
        return f"{left}, {show_duration(-spare)} behind the deadline, which nothing can meet now"
    return (
        f"{left}, {show_duration(max(0.0, slack(run)))} slack"
        if spare >= 0
        else f"{left}, {show_duration(-spare)} behind the deadline"
    )


def _work_left(run: RunView) -> Seconds:
    return run.remaining_work / run.work_per_s
