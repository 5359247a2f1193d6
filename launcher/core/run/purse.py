"""What is left of a run's budget, what that buys, and how much more money or time it takes to go on to the end."""

from dataclasses import replace

from launcher.core.checkpoint.rules import save_rule
from launcher.core.market.belief import gang_life
from launcher.core.market.offer import Offer
from launcher.core.plan.candidates import interval_of
from launcher.core.plan.estimate import WORK_UNKNOWN, Task, estimate
from launcher.core.plan.goal import TELLING_FRACTION, enough_money, enough_time, least_usd, show_least, useful_least
from launcher.core.run.billing import cost_cap
from launcher.core.run.spent import reserve, spent
from launcher.core.run.state import Attempt, RunState
from launcher.core.run.view import remaining_work, restart_cost, total_steps
from launcher.core.tempo import Tempo
from launcher.units import HOUR, Usd, UsdPerHour, Utc, show_usd

FOREVER: Utc = 1e12
EXIT_LIMIT = 4  # of a pause for the budget or the deadline


def committed(state: RunState, now: Utc, *, but: int | None = None) -> Usd:
    """What is spent or cannot be taken back: ended lives at their dearest, living ones as if they ran to their `stop_at`.

    Of attempt `but` only what it has cost so far.
    """
    total = spent(state, now).high
    for attempt in state.living:
        if attempt.stop_at is not None and attempt.number != but:
            start = attempt.billed_from if attempt.billed_from is not None else attempt.requested_at
            end = max(now, attempt.stop_at + reserve(state))
            total += state.recipe.num_nodes * cost_cap(attempt.offer, max(start, now), end)
    return total


def budget_ends_at(state: RunState, offer: Offer, now: Utc, *, of: int | None = None) -> Utc | None:
    """`stop_at` for an attempt started now, or for attempt `of`, which goes on: where from now on its price cap would exhaust the
    budget, less the reserve. None: no budget.
    """
    budget = state.recipe.policy.budget
    if budget is None:
        return None
    if offer.price_cap <= 0:
        return FOREVER
    return now + (budget - committed(state, now, but=of)) / _rate(state, offer) * HOUR - reserve(state)


def later_stop(state: RunState, attempt: Attempt, now: Utc) -> Utc | None:
    """To when a living attempt's `stop_at` moves: what it has cost less than its cap buys time. None: not yet.

    Once that doubles the time it has left, and is worth a start, so that few records say so: a machine at a third of its cap
    needs one for each fifth of the budget that is left.
    """
    if attempt.stop_at is None or attempt.stop_at <= now:
        return None
    ends_at = budget_ends_at(state, attempt.offer, now, of=attempt.number)
    gained = 0.0 if ends_at is None else ends_at - attempt.stop_at
    return ends_at if gained >= max(attempt.stop_at - now, useful_least(restart_cost(state))) else None


def shortfall(state: RunState, offer: Offer, now: Utc) -> str:
    """Why what is left buys no attempt at `offer`, the cheapest there is."""
    budget = state.recipe.policy.budget
    assert budget is not None, "only a budget makes an offer unaffordable"
    left = max(0.0, budget - committed(state, now))
    least = show_least(_rate(state, offer), restart_cost(state), reserve(state))
    return f"{show_usd(left)} is left of the budget of {show_usd(budget)}, and {least}"


def enough(state: RunState, offer: Offer, now: Utc) -> str:
    """The change by which the rest can be done: in that place by the plan's estimate, and at the cost that the run had so far."""
    paid, done, task = committed(state, now), _done(state), _planned(state)
    left = replace(task, work=task.work * (1 - done))
    life = gang_life(offer.mean_life, state.recipe.num_nodes)
    interval = interval_of(save_rule(state.recipe.checkpoint, life), left)
    rest = estimate(left, price=offer.price, life=life, interval=interval).usd
    if done > TELLING_FRACTION:
        rest = max(rest, paid / done * (1 - done))
    return enough_money(paid, rest, least_usd(_rate(state, offer), restart_cost(state), reserve(state)))


def enough_there(state: RunState, now: Utc) -> str:
    """`enough` in the place of the newest attempt; empty where no price is known, since the records of all requests are void."""
    offers = [attempt.offer for attempt in state.attempts.values() if attempt.offer.price_cap > 0]
    return enough(state, offers[-1], now) if offers else ""


def _done(state: RunState) -> float:
    """The part of the work that is saved; 0 where nobody knows."""
    total = total_steps(state)
    return min(1.0, state.newest_step / total) if total else 0.0


def _planned(state: RunState) -> Task:
    """All of the work, as the plan counts it; a run without a plan saves for nothing."""
    work = WORK_UNKNOWN if state.work_s is None else Tempo(state.speed).market(state.work_s)
    free = Task(work=work, restart_cost=restart_cost(state), stall=0.0, durable=0.0, num_nodes=state.recipe.num_nodes)
    return state.planned or free


def time_enough(state: RunState, now: Utc) -> str:
    """The change by which the rest can be done; where nobody knows how much that is, as much again, and what the plan is for."""
    took, known = now - state.created_at, state.work_s is not None
    return enough_time(took, restart_cost(state) + (remaining_work(state) if known else max(took / 2, WORK_UNKNOWN)))


def needed(state: RunState) -> str:
    """The change that a resume of the paused run takes, as it is typed; empty where it takes none, or nobody can tell.

    An older launch did not write down what a pause for the deadline or the budget needs.
    """
    pause = state.terminal
    if pause is None or pause.needs or pause.exit_code != EXIT_LIMIT:
        return pause.needs if pause else ""
    if state.deadline_at is not None and pause.at >= state.deadline_at:
        return time_enough(state, pause.at)
    return enough_there(state, pause.at)


def _rate(state: RunState, offer: Offer) -> UsdPerHour:
    """Of all nodes, at the most they may come to cost."""
    return state.recipe.num_nodes * offer.price_cap
