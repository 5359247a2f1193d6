"""What to do about it: decisions as events, from state, policy and market. Pure; nothing here acts.

In this order: end the run where a verdict says so; let go of machines that are silent; pass the right to write to a successor
that is ready; and otherwise ask the policy where to be.
"""

from dataclasses import dataclass, replace

from launcher.core.market.belief import MarketView
from launcher.core.market.offer import Offer
from launcher.core.plan.goal import useful_least
from launcher.core.plan.limits import is_too_dear, lacking_quota, standing
from launcher.core.policy.base import Decision, Hold, Move, Phase, Policy, Wait
from launcher.core.run import events as ev
from launcher.core.run.interpret import boot_wait, taken_by
from launcher.core.run.observation import Watch
from launcher.core.run.purse import EXIT_LIMIT, FOREVER, budget_ends_at, enough, later_stop, shortfall
from launcher.core.run.state import Attempt, RunState
from launcher.core.run.verdict import Verdict, judge
from launcher.core.run.view import restart_cost, view
from launcher.core.tempo import Tempo
from launcher.units import Utc

LIVING_MOST = 3  # instances of one run at a time: one drains, one boots, one more after a notice to the booting one


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliberation:
    """Decisions to journal, when to think again at the latest, and the policy's own words where it was asked."""

    events: tuple[ev.Event, ...] = ()
    wake_at: Utc = FOREVER
    decision: Decision | None = None


def deliberate(state: RunState, policy: Policy, market: MarketView, watch: Watch, now: Utc) -> Deliberation:
    if state.phase.is_ended:
        return Deliberation()
    verdict = judge(state, now)
    if verdict is not None and not _is_rash(state, verdict, watch):
        return Deliberation(events=_end(state, verdict, now), wake_at=now)
    unwanted = (*_voided(state, now), *_silent(state, watch, now), *_succeeded(state, now))
    if unwanted:
        return Deliberation(events=unwanted, wake_at=now)
    granted = _grant(state, now)
    if granted:
        return Deliberation(events=granted, wake_at=now)
    moved = _moved(state, market, now)
    if moved:
        return Deliberation(events=moved, wake_at=now)
    if verdict is not None:
        return Deliberation(wake_at=now)  # a limit that was reached buys no machine, though it may not have been
    return _ask(state, policy, market, watch, now)


def _is_rash(state: RunState, verdict: Verdict, watch: Watch) -> bool:
    """Whether a limit would end machines that may be gone for long: until that is known, what they cost is counted to now.

    Who comes back, or slept, asks the cloud first; one that does not answer, for as long as a machine may be silent.
    """
    pulses = [watch.pulses[a.number] for a in state.living if a.has_spoken and a.number in watch.pulses]
    if verdict.exit_code != EXIT_LIMIT or not pulses:
        return False
    patience = Tempo(state.speed).lost_after
    if watch.polled_mono == watch.looked_mono:
        return any(pulse.absent_s is not None and pulse.absent_s < patience for pulse in pulses)
    return watch.unanswered_s < patience


def _end(state: RunState, verdict: Verdict, now: Utc) -> tuple[ev.Event, ...]:
    """Every living attempt is let go; once all have ended and the last writer is sealed, the run's own end."""
    if state.living:
        drains = {a: verdict.drain and _may_save(state, a) for a in state.living}
        return tuple(
            ev.AttemptUnwanted(at=now, attempt=a.number, reason=verdict.reason, drain=drain)
            for a, drain in drains.items()
            if a.is_wanted or (a.drain and not drain)
        )
    if not state.writer_is_sealed:
        return ()
    match verdict.phase:
        case Phase.SUCCEEDED:
            return (ev.RunSucceeded(at=now, commit=state.newest_commit, step=state.newest_step),)
        case Phase.CANCELLED:
            return (ev.RunCancelled(at=now, reason=verdict.reason),)
        case Phase.FAILED:
            failed = ev.RunFailed(
                at=now,
                exit_code=verdict.exit_code,
                reason=verdict.reason,
                program_exit_code=verdict.program_exit_code,
            )
            return (failed,)
        case _:
            return (ev.RunPaused(at=now, exit_code=verdict.exit_code, reason=verdict.reason, needs=verdict.needs),)


def _may_save(state: RunState, attempt: Attempt) -> bool:
    """Whether there is anything to wait for: without a grant it trains nothing, and one that never spoke may never hear us."""
    return attempt.is_granted or attempt.number in state.doubtful


def _voided(state: RunState, now: Utc) -> tuple[ev.Event, ...]:
    """After a record was voided, what it said is not known: an attempt that shows no grant may have held one."""
    return tuple(
        ev.AttemptUnwanted(at=now, attempt=a.number, reason="a journal record was voided while it waited", drain=True)
        for a in state.wanted
        if not a.is_granted and a.number in state.doubtful
    )


def _silent(state: RunState, watch: Watch, now: Utc) -> tuple[ev.Event, ...]:
    """Machines that run and say nothing: before the first heartbeat after `boot_wait`, later after `lost_after`."""
    letting_go = []
    for attempt in state.wanted:
        pulse = watch.pulses.get(attempt.number)
        if pulse is None or (attempt.billed_from is None and attempt.nonce is None):
            continue
        patience = Tempo(state.speed).lost_after if pulse.heartbeat else boot_wait(state)
        if pulse.still_s >= patience:
            reason = f"no heartbeat for {pulse.still_s:.0f} s"
            letting_go.append(ev.AttemptUnwanted(at=now, attempt=attempt.number, reason=reason, drain=False, silent=True))
    return tuple(letting_go)


def _succeeded(state: RunState, now: Utc) -> tuple[ev.Event, ...]:
    """Once a successor is up and has claimed, everything older saves and ends."""
    ready = [a.number for a in state.wanted if a.nonce is not None and not a.is_granted]
    return tuple(
        ev.AttemptUnwanted(at=now, attempt=a.number, reason=f"attempt {max(ready)} is ready to follow", drain=_may_save(state, a))
        for a in state.wanted
        if ready and a.number < max(ready)
    )


def _grant(state: RunState, now: Utc) -> tuple[ev.Event, ...]:
    """The right to write passes to the newest claimed attempt once nobody older can add to history."""
    if not state.writer_is_sealed:
        return ()
    ready = [a for a in state.wanted if a.nonce is not None and not a.is_granted]
    if not ready:
        return ()
    return (ev.WriterGranted(at=now, attempt=ready[-1].number, parent=state.newest_commit),)


def _moved(state: RunState, market: MarketView, now: Utc) -> tuple[ev.Event, ...]:
    """One attempt at a time goes on for longer, since what it may spend is no longer there for the others.

    One under a notice gives back what it will not live to spend, which is its successor's. None goes on for longer whose price
    has risen since its request, at which its cost is counted: what it has really spent nobody knows.
    """
    for attempt in state.wanted:
        if attempt.notice is not None:
            stop_at = _earlier_stop(state, attempt)
        else:
            stop_at = later_stop(state, attempt, now) if _is_no_dearer(attempt, market) else None
            stop_at = stop_at or _as_before(state, attempt, now)
        if stop_at is not None:
            return (ev.StopAtMoved(at=now, attempt=attempt.number, stop_at=stop_at),)
    return ()


def _earlier_stop(state: RunState, attempt: Attempt) -> Utc | None:
    """Once its machine is gone, by either clock: the machine's own may be ahead, and says when it stops.

    None where the budget ends it before, or there is none.
    """
    assert attempt.notice is not None, "only one under a notice gives anything back"
    ends_at = max(taken_by(state, attempt), attempt.notice.ends_at)
    return None if attempt.stop_at is None or attempt.stop_at <= ends_at else ends_at


def _as_before(state: RunState, attempt: Attempt, now: Utc) -> Utc | None:
    """What it gave back under a notice that was withdrawn since, as far as the budget still pays for it.

    None where another lives or was asked for, which may spend it now.
    """
    is_alone = len(state.living) == 1 and attempt.number == state.next_attempt - 1
    ends_at = budget_ends_at(state, attempt.offer, now, of=attempt.number)
    if not is_alone or attempt.given_back is None or attempt.stop_at is None or ends_at is None:
        return None
    before = min(attempt.given_back, ends_at)
    return before if now < attempt.stop_at < before else None


def _is_no_dearer(attempt: Attempt, market: MarketView) -> bool:
    priced = [offer.price for offer in market.offers if offer.placement == attempt.offer.placement]
    return bool(priced) and max(priced) <= attempt.offer.price


# --- asking the policy -------------------------------------------------------------------------------------------------------


def _ask(state: RunState, policy: Policy, market: MarketView, watch: Watch, now: Utc) -> Deliberation:
    seen = view(state, now)
    decision = policy.decide(seen, _in_reach(state, market, now))
    next_limit = min(_next_limit(state, now), FOREVER)
    match decision:
        case Hold():
            return Deliberation(wake_at=next_limit, decision=decision)
        case Wait(until=until, reason=reason):
            events = tuple(
                ev.AttemptUnwanted(at=now, attempt=a.number, reason=reason, drain=_may_save(state, a))
                for a in state.wanted
                if a.notice is None and not a.missed
            )
            return Deliberation(events=events, wake_at=min(until, next_limit), decision=decision)
        case Move(ranked=ranked, reason=reason):
            if not ranked or not _may_request(state):
                return Deliberation(wake_at=next_limit, decision=decision)
            requested = _request(state, watch, ranked, reason, now, policy)
            return Deliberation(events=requested, wake_at=next_limit, decision=decision)


def _in_reach(state: RunState, market: MarketView, now: Utc) -> MarketView:
    """Without what is too dear now, and what a quota kept from the plan and still does."""
    recipe, quotas = state.recipe, standing(state.recipe, market.quotas, now)
    if recipe.resources.max_hourly_cost is None and not quotas:
        return market
    reached = (o for o in market.offers if not is_too_dear(recipe, o) and not lacking_quota(recipe, o.placement, quotas))
    return replace(market, offers=tuple(reached))


def _may_request(state: RunState) -> bool:
    """One successor at a time: not while one that is neither leaving nor missed is still on its way up.

    Nor between the end of the writer and its seal, a matter of one look: the seal may show that the run is given up.
    """
    if any(a.needs_seal for a in state.unsettled):
        return False
    rising = [a for a in state.wanted if not a.is_granted and a.notice is None and not a.missed]
    return not rising and len(state.living) < LIVING_MOST


def _next_limit(state: RunState, now: Utc) -> Utc:
    """The next instant at which a verdict may change without news."""
    limits = [FOREVER if state.deadline_at is None else state.deadline_at]
    if state.searching_since is not None:
        limits.append(state.searching_since + state.recipe.retry.capacity)
    # Halfway to it, and halfway again: `later_stop` says when enough is gained.
    limits += [(now + a.stop_at) / 2 for a in state.wanted if a.stop_at is not None and a.offer.price < a.offer.price_cap]
    return min(limit for limit in limits if limit > now) if any(limit > now for limit in limits) else now


def _request(
    state: RunState, watch: Watch, ranked: tuple[Offer, ...], reason: str, now: Utc, policy: Policy
) -> tuple[ev.Event, ...]:
    """A machine at the first offer the budget still pays for; the end of the run where it pays for none and nothing lives."""
    for offer in ranked:
        stop_at = budget_ends_at(state, offer, now)
        if stop_at is None or stop_at - now >= useful_least(restart_cost(state)):
            requested = ev.AttemptRequested(
                at=now,
                # A cloud that shows a higher number knows a history of this run that this store does not: a copy was restored.
                attempt=max(state.next_attempt, watch.newest_listed + 1),
                offer=offer,
                reason=f"{policy.name}: {reason}",
                view=replace(view(state, now), attempts=()),
                stop_at=stop_at,
            )
            return (requested,)
    if state.living or not state.writer_is_sealed:
        return ()
    return (_out_of_money(state, ranked, now),)


def _out_of_money(state: RunState, ranked: tuple[Offer, ...], now: Utc) -> ev.Event:
    cheapest = min(ranked, key=lambda offer: offer.price_cap)
    return ev.RunPaused(at=now, exit_code=4, reason=shortfall(state, cheapest, now), needs=enough(state, ranked[0], now))
