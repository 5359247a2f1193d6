"""What the machines of a run cost: to the cent, or between two bounds where the cloud did not tell when one ended."""

from dataclasses import dataclass

from launcher.core.instance import EndCause, FailureKind
from launcher.core.plan.goal import reserved
from launcher.core.plan.unpriced import is_unpriced
from launcher.core.run.billing import cost
from launcher.core.run.once import once
from launcher.core.run.state import Attempt, Bill, EndKind, RunState
from launcher.core.tempo import Tempo
from launcher.units import Seconds, Usd, Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """An amount of money that is known to lie between `low` and `high`."""

    low: Usd
    likely: Usd
    high: Usd

    def __add__(self, other: "Range") -> "Range":
        return Range(low=self.low + other.low, likely=self.likely + other.likely, high=self.high + other.high)


CLOCKS_APART: Seconds = 900.0  # of two machines, at the most

NOTHING = Range(low=0.0, likely=0.0, high=0.0)


def has_unpriced(state: RunState) -> bool:
    """Whether some machine's hours are counted as 0, since nobody tells what they cost."""
    return any(is_unpriced(attempt.offer.placement) for attempt in state.attempts.values())


def spent(state: RunState, now: Utc) -> Range:
    """What all instances cost so far, all nodes of each attempt; those still up are counted to `now`."""
    running = (attempt_cost(a, gone_by(state, a, now), state.recipe.num_nodes) for a in state.unbilled)
    return sum(running, _billed(state))


def gone_by(state: RunState, attempt: Attempt, now: Utc) -> Utc:
    """When its machine is gone at the latest, as far as its agent's last word tells; else `now`.

    After a weekend in which nobody looked, no cloud tells any more when it went.
    """
    last = _last_by_its_clock(state, attempt)
    return now if last is None else min(now, last + CLOCKS_APART)


def _last_by_its_clock(state: RunState, attempt: Attempt) -> Utc | None:
    """None where its agent was not heard, or has no idea of the time.

    One that nobody hears any more ends at its `stop_at`, and where it hears of no supervisor; the machine of a dead one is idle.
    """
    end, recipe, tempo = attempt.end, state.recipe, Tempo(state.speed)
    word = None if end is None else end.report or end.heartbeat
    if end is None or not attempt.has_spoken or (word and attempt.billed_from is not None and word.at < attempt.billed_from):
        return None
    if end.report is not None:
        stayed = recipe.retry.keep_failed if end.end is EndKind.FAILED else 0.0
        return end.report.at + stayed + tempo.autodown_max
    told = attempt.given_back or attempt.stop_at  # it may not have heard that it ends sooner
    limits = [] if told is None else [told]
    if end.heartbeat is not None:
        limits.append(end.heartbeat.at + max(recipe.autostop, tempo.autostop_floor))
    return min(limits) + reserve(state) if limits else None


def gone_about(state: RunState, attempt: Attempt) -> Utc:
    """When the machine of an attempt that has ended most likely went: where nobody looked for long, soon after its last word."""
    assert attempt.end is not None, "what lives is not gone"
    end, tempo = attempt.end, Tempo(state.speed)
    if end.report is not None:
        return min(end.at, end.report.at + tempo.autodown_max)
    if end.heartbeat is None or end.cause is EndCause.STOPPED or attempt.is_silent:  # there until it was stopped
        return end.at
    return min(end.at, end.heartbeat.at + tempo.heartbeat)


def reserve(state: RunState) -> Seconds:
    """Time between an attempt's `stop_at` and the end of its bill: one save, and the machine's deletion."""
    durable_s = max((a.durable_s for a in state.attempts.values()), default=0.0)  # real; of the slowest save so far
    return reserved(state.speed, Tempo(state.speed).market(durable_s))


@once
def _billed(state: RunState) -> Range:
    """What those cost whose bill has ended, whenever one asks."""
    nodes = state.recipe.num_nodes
    ended = [_node_cost(a) for a in state.attempts.values() if a.bill is not None]
    return Range(
        low=sum([nodes * usd.low for usd in ended], 0.0),
        likely=sum([nodes * usd.likely for usd in ended], 0.0),
        high=sum([nodes * usd.high for usd in ended], 0.0),
    )


@once
def _node_cost(attempt: Attempt) -> Range:
    """Of one node of an attempt whose bill has ended."""
    assert attempt.bill is not None
    return attempt_cost(attempt, attempt.bill.high, 1)


def attempt_cost(attempt: Attempt, now: Utc, num_nodes: int) -> Range:
    start = attempt.billed_from
    if start is None:
        return _unlisted_cost(attempt, now, num_nodes)
    if attempt.bill is None:
        so_far = num_nodes * cost(attempt.offer, start, now, EndCause.UNTOLD)
        return Range(low=so_far, likely=so_far, high=so_far)
    bill = attempt.bill
    low, high = (num_nodes * cost(attempt.offer, start, at, bill.cause) for at in (bill.low, bill.high))
    likely = num_nodes * cost(attempt.offer, start, bill.likely, _likely_cause(attempt, bill))
    if bill.cause in (EndCause.PREEMPTED, EndCause.UNTOLD):  # what is done may be taken too, before it is stopped
        low = min(low, num_nodes * cost(attempt.offer, start, bill.low, EndCause.PREEMPTED))  # some such ends are free
    return Range(low=low, likely=likely, high=high)


def _unlisted_cost(attempt: Attempt, now: Utc, num_nodes: int) -> Range:
    """Of one that no look found running. It may have run, between its request and its end, and has where it claimed."""
    failure = attempt.end.failure if attempt.end else None
    if failure is not None and failure.failure is not FailureKind.UNREACHABLE:
        return NOTHING  # the cloud's own word
    likely_end, last_end = (now, now) if attempt.bill is None else (attempt.bill.likely, attempt.bill.high)
    likely, high = (num_nodes * cost(attempt.offer, attempt.requested_at, at, EndCause.UNTOLD) for at in (likely_end, last_end))
    return Range(low=0.0, likely=0.0 if attempt.nonce is None else likely, high=high)


def _likely_cause(attempt: Attempt, bill: Bill) -> EndCause:
    was_taken = attempt.ended_as(EndKind.PREEMPTED)
    return EndCause.PREEMPTED if bill.cause is EndCause.UNTOLD and was_taken else bill.cause
