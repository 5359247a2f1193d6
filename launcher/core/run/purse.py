"""What is left of a budget, what that buys, and how much more it takes to go on to the end.

An attempt that may not spend all it needs ends itself early enough to save and be deleted within the budget: the reserve. So the
least attempt that is worth its money pays for a start, as much again of training, and the reserve.
"""

import math

from launcher.core.checkpoint.rules import save_rule
from launcher.core.market.offer import Offer
from launcher.core.plan.estimate import WORK_UNKNOWN, Task, estimate, reserved, useful_least
from launcher.core.plan.planner import interval_of
from launcher.core.run.billing import cost_cap
from launcher.core.run.ledger import spent
from launcher.core.run.state import RunState
from launcher.core.run.view import remaining_work, restart_cost
from launcher.core.tempo import Tempo
from launcher.units import HOUR, Seconds, Usd, Utc, show_duration, show_rate, show_usd

FOREVER: Utc = 1e12
MARGIN = 1.25  # on an estimate, which is an average: half of all runs come to more


def committed(state: RunState, now: Utc) -> Usd:
    """What is spent or cannot be taken back: ended lives at their dearest, living ones as if they ran to their `stop_at`."""
    total = spent(state, now).high
    for attempt in state.living:
        if attempt.stop_at is not None:
            start = attempt.billed_from if attempt.billed_from is not None else attempt.requested_at
            end = max(now, attempt.stop_at + reserve(state))
            total += state.recipe.num_nodes * cost_cap(attempt.offer, max(start, now), end)
    return total


def reserve(state: RunState) -> Seconds:
    """Time between an attempt's `stop_at` and the end of its bill: one save, and the machine's deletion."""
    return reserved(state.speed, Tempo(state.speed).market(_durable_s(state)))


def budget_ends_at(state: RunState, offer: Offer, now: Utc) -> Utc | None:
    """`stop_at` for an attempt started now: where its price cap would exhaust the budget, less the reserve. None: no budget."""
    budget = state.recipe.policy.budget
    if budget is None:
        return None
    if offer.price_cap <= 0:
        return FOREVER
    return now + (budget - committed(state, now)) / _rate(state, offer) * HOUR - reserve(state)


def shortfall(state: RunState, offer: Offer, now: Utc) -> str:
    """Why what is left buys no attempt at `offer`, the cheapest there is."""
    budget = state.recipe.policy.budget
    assert budget is not None, "only a budget makes an offer unaffordable"
    left, start = max(0.0, budget - committed(state, now)), restart_cost(state)
    return (
        f"{show_usd(left)} is left of the budget of {show_usd(budget)}, "
        f"and the least attempt takes {show_usd(_least(state, offer))}: "
        f"{show_duration(start)} to start, {show_duration(useful_least(start) - start)} to train, "
        f"{show_duration(reserve(state))} in reserve, at {show_rate(_rate(state, offer))}"
    )


def enough(state: RunState, offer: Offer, now: Utc) -> str:
    """The change by which the rest can be done in that place: what is spent, the estimate with its margin, and one attempt more.

    One more, since the last machine must still be able to pay its reserve.
    """
    speed = Tempo(state.speed)
    task = Task(
        work=remaining_work(state) if state.work_s is not None else WORK_UNKNOWN,
        restart_cost=restart_cost(state),
        stall=speed.market(max((a.stall_s for a in state.attempts.values()), default=0.0)),
        durable=speed.market(_durable_s(state)),
        num_nodes=state.recipe.num_nodes,
    )
    interval = interval_of(save_rule(state.recipe.checkpoint, offer.mean_life), task)
    rest = estimate(task, price=offer.price_cap, life=offer.mean_life, interval=interval).usd
    return f"policy.budget={_rounded_up(committed(state, now) + MARGIN * rest + _least(state, offer)):.12g}"


def time_enough(state: RunState, now: Utc) -> str:
    """The change by which the rest can be done: twice what it takes without a loss, or twice what it took where nobody knows."""
    took = now - state.created_at
    rest = 2 * (remaining_work(state) + restart_cost(state)) if state.work_s is not None else took
    return f"policy.deadline={max(1, math.ceil((took + rest) / HOUR))}h"


def _least(state: RunState, offer: Offer) -> Usd:
    return _rate(state, offer) * (useful_least(restart_cost(state)) + reserve(state)) / HOUR


def _rate(state: RunState, offer: Offer) -> float:
    """Of all nodes, at the most they may come to cost."""
    return state.recipe.num_nodes * offer.price_cap


def _durable_s(state: RunState) -> Seconds:
    """Real; of the slowest save so far."""
    return max((a.durable_s for a in state.attempts.values()), default=0.0)


def _rounded_up(usd: Usd) -> Usd:
    """In two digits that count, so that it can be typed."""
    digit = 10.0 ** (math.floor(math.log10(usd)) - 1)
    return math.ceil(usd / digit) * digit
