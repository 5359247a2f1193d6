"""Where the time and the money went, over all attempts of a run.

Seconds partition the run's elapsed time: at each instant the writer trains (useful, or redone where its steps were lost, or
saving), or a machine is up without a new step yet (restoring), or nothing is (waiting). Dollars partition instance time, so
two instances at once are paid twice; the part of the time with more than one is its own line, `overlap`.
Time between a pause and the resume belongs to nobody and is not counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from launcher.core.instance import EndCause, FailureKind
from launcher.core.plan.unpriced import is_unpriced
from launcher.core.run.billing import cost
from launcher.core.run.state import Attempt, Bill, EndKind, RunState, once
from launcher.units import HOUR, Seconds, Step, Usd, UsdPerHour, Utc

UNHEARD_MOST_S: Seconds = 10.0  # real: one heartbeat; a longer silence was no training we know of


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """An amount of money that is known to lie between `low` and `high`."""

    low: Usd
    likely: Usd
    high: Usd

    def __add__(self, other: "Range") -> "Range":
        return Range(low=self.low + other.low, likely=self.likely + other.likely, high=self.high + other.high)


NOTHING = Range(low=0.0, likely=0.0, high=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Market seconds; `elapsed` is the sum of the five parts, `overlap` lies within them."""

    elapsed: Seconds = 0.0
    useful: Seconds = 0.0
    redone: Seconds = 0.0
    saving: Seconds = 0.0
    restoring: Seconds = 0.0
    waiting: Seconds = 0.0
    overlap: Seconds = 0.0

    def share(self, part: Seconds) -> float:
        return part / self.elapsed if self.elapsed > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    times: Times
    spent: Range
    on_demand: Usd | None  # (useful + one start) x the cheapest on-demand price; None where that or useful work is missing
    steps_lost: Step
    preemptions: int
    just_in_time: int  # preemptions that were announced and cost no work


def has_unpriced(state: RunState) -> bool:
    """Whether some machine's hours are counted as 0, since nobody tells what they cost."""
    return any(is_unpriced(attempt.offer.placement) for attempt in state.attempts.values())


def spent(state: RunState, now: Utc) -> Range:
    """What all instances cost so far, all nodes of each attempt; those still up are counted to `now`."""
    running = (attempt_cost(a, now, state.recipe.num_nodes) for a in state.unsettled if a.bill is None)
    return sum(running, _billed(state))


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
    was_taken = attempt.end is not None and attempt.end.end is EndKind.PREEMPTED
    return EndCause.PREEMPTED if bill.cause is EndCause.UNTOLD and was_taken else bill.cause


def ledger(state: RunState, now: Utc, *, on_demand_price: UsdPerHour | None = None) -> Ledger:
    """The books at `now`, or at the run's end where it has ended. `on_demand_price` is of all nodes together."""
    end = min(now, state.terminal.at) if state.terminal else now
    lives = [_life_of(state, attempt, later_step, end) for attempt, later_step in _with_later(state)]
    times = _partition(state, lives, end)
    start_s = (state.startup_s or 0.0) * state.speed
    on_demand = None
    if on_demand_price is not None and times.useful > 0:  # who has trained nothing has saved nothing
        on_demand = (times.useful + start_s) / HOUR * on_demand_price
    return Ledger(
        times=times,
        spent=spent(state, now),
        on_demand=on_demand,
        steps_lost=sum(life.steps_lost for life in lives),
        preemptions=sum(life.preempted for life in lives),
        just_in_time=sum(life.in_time for life in lives),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Toll:
    """What the end of one attempt cost."""

    steps_lost: Step = 0  # made in vain; 0 while it lives, and where nobody knows steps: of most programs under `run:`
    just_in_time: bool = False  # preempted, announced, and no work lost
    reached_step: Step = 0  # its last step, as `steps_lost` counts it: after the last sign of life an estimate; 0 where unknown


def toll(state: RunState, number: int, now: Utc) -> Toll:
    """Of attempt `number`. Before it `is_told` its last checkpoint or its last instant is not known yet.

    After that it grows only where a later attempt goes on from further back: a checkpoint was set aside, or a resume says so.
    """
    for attempt, later_step in _with_later(state):
        if attempt.number == number:
            life = _life_of(state, attempt, later_step, now)
            reached = _reached_step(state, attempt, life.over_at)
            return Toll(steps_lost=life.steps_lost, just_in_time=life.in_time, reached_step=reached)
    return Toll()


def is_told(attempt: Attempt) -> bool:
    """Whether all is known that its toll depends on: its last commit, and its last instant by its own word or by its bill."""
    end = attempt.end
    if end is None or (attempt.is_granted and not attempt.sealed):
        return False
    return end.report is not None or attempt.bill is not None


# --- one attempt's life ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Life:
    up_at: Utc
    training_at: Utc | None  # None: it never came to train
    over_at: Utc
    saving: Seconds
    redone: Seconds  # training whose result is in no checkpoint
    steps_lost: Step
    preempted: bool
    noticed: bool

    @property
    def in_time(self) -> bool:
        """Warned, and all it had done is kept."""
        return self.preempted and self.noticed and self.training_at is not None and self.redone == 0


def _with_later(state: RunState) -> list[tuple[Attempt, float]]:
    """Each attempt that ran, the newest first, with the lowest step that a later one began at: what lies beyond is made anew."""
    found, later_step = [], inf
    for attempt in reversed(state.attempts.values()):
        if attempt.billed_from is not None:
            found.append((attempt, later_step))
            later_step = min(later_step, began_step(attempt) if _has_trained(attempt) else inf)
    return found


def began_step(attempt: Attempt) -> Step:
    """Where it went on from: by its own last word where it was gone before anybody saw it train."""
    beat = attempt.end.heartbeat if attempt.end else None
    return beat.restored_step if beat is not None and beat.training_s > 0 else attempt.restored_step


def _has_trained(attempt: Attempt) -> bool:
    beat = attempt.end.heartbeat if attempt.end else None
    return attempt.training_at is not None or (beat is not None and beat.training_s > 0)


def _life_of(state: RunState, attempt: Attempt, later_step: float, end: Utc) -> _Life:
    assert attempt.billed_from is not None
    over_at = max(attempt.billed_from, min(_over_at(attempt), end))
    beat = attempt.end.heartbeat if attempt.end else None
    training_at, saving = attempt.training_at, 0.0
    if beat is not None and beat.training_s > 0:
        # The machine's own stopwatch is finer than the moments at which we looked.
        last_word_at = attempt.end.report.at if attempt.end and attempt.end.report else beat.at
        training_at, saving = min(over_at, last_word_at) - beat.training_s, beat.saving_s
    if training_at is not None:
        training_at = min(max(training_at, attempt.billed_from), over_at)
    own = 0.0 if training_at is None else over_at - training_at
    kept, has_lost = _steps_kept(attempt, later_step), attempt.end is not None and attempt.is_granted
    lost = max(0, _reached_step(state, attempt, over_at) - began_step(attempt) - kept) if has_lost else 0
    redone = (own - min(saving, own)) * (lost / (lost + kept) if lost else 0.0)
    if state.counts_commits and training_at is not None and attempt.end is not None:
        redone = _unpublished(attempt, training_at, over_at)
    return _Life(
        up_at=attempt.billed_from,
        training_at=training_at,
        over_at=over_at,
        saving=min(saving, own),
        redone=min(redone, own - min(saving, own)),
        steps_lost=lost,
        preempted=attempt.end is not None and attempt.end.end is EndKind.PREEMPTED,
        noticed=attempt.notice is not None,
    )


def _over_at(attempt: Attempt) -> Utc:
    """When it ended, by the nearest witness; a supervisor that was away saw it late."""
    if attempt.end is None:
        return inf
    if attempt.end.report is not None:
        return min(attempt.end.at, attempt.end.report.at)
    return min(attempt.end.at, attempt.bill.high) if attempt.bill else attempt.end.at


def _steps_kept(attempt: Attempt, later_step: float) -> Step:
    """Those of its own that are in its newest checkpoint, and that no later attempt makes anew."""
    saved = attempt.commit_step if attempt.commit else 0
    return max(0, int(min(saved, later_step)) - began_step(attempt))


def _reached_step(state: RunState, attempt: Attempt, over_at: Utc) -> Step:
    """The last step it made; 0 where nobody knows. After the last heartbeat of a sudden end the pace is taken to hold.

    The guess ends where the training does: nobody makes a step beyond the last one.
    """
    if state.counts_commits:
        return 0
    saved = attempt.commit_step if attempt.commit else 0
    beat = attempt.end.heartbeat if attempt.end else None
    if beat is None:
        return saved
    unheard_s = 0.0 if attempt.end is None or attempt.end.report is not None else max(0.0, over_at - beat.at) / state.speed
    guessed = int(min(unheard_s, UNHEARD_MOST_S) * (beat.steps_per_s or 0.0)) if beat.training_s > 0 else 0
    most = inf if beat.total_steps is None else beat.total_steps
    return max(saved, beat.step, int(min(beat.step + guessed, most)))


def _unpublished(attempt: Attempt, training_at: Utc, over_at: Utc) -> Seconds:
    """Where steps are not known all since the last whole files is to be done again, unless the program had finished."""
    assert attempt.end is not None
    if attempt.end.end is EndKind.FINISHED:
        return 0.0
    since = attempt.commit_at if attempt.commit is not None and attempt.commit_at is not None else training_at
    return max(0.0, over_at - max(since, training_at))


def _partition(state: RunState, lives: list[_Life], end: Utc) -> Times:
    """Every second between the run's start and its end goes to exactly one part, though clocks that step may contradict."""
    start = min([state.created_at, *(life.up_at for life in lives)])
    idle = _union([(max(start, pause), min(end, resumed)) for pause, resumed in state.pauses])
    lived = _union([(life.up_at, life.over_at) for life in lives])
    up_s = _length(_outside(lived, idle))
    trained_s = _length(
        _outside(_union([(life.training_at, life.over_at) for life in lives if life.training_at is not None]), idle)
    )
    elapsed = max(up_s, end - start - _length(idle))
    saving = min(trained_s, sum(life.saving for life in lives))
    redone = min(trained_s - saving, sum(life.redone for life in lives))
    return Times(
        elapsed=elapsed,
        useful=trained_s - saving - redone,
        redone=redone,
        saving=saving,
        restoring=up_s - trained_s,
        waiting=elapsed - up_s,
        overlap=max(0.0, sum(life.over_at - life.up_at for life in lives) - _length(lived)),
    )


_Span = tuple[Utc, Utc]


def _union(spans: Iterable[_Span]) -> list[_Span]:
    """The time in any of `spans`, in order; one that ends before it starts is none."""
    merged: list[_Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _outside(spans: list[_Span], idle: list[_Span]) -> list[_Span]:
    """What of `spans` lies in none of `idle`; each a union."""
    edges = [-inf, *(edge for span in idle for edge in span), inf]
    gaps = list(zip(edges[::2], edges[1::2], strict=True))
    return _union((max(start, opens), min(end, closes)) for start, end in spans for opens, closes in gaps)


def _length(spans: list[_Span]) -> Seconds:
    return sum((end - start for start, end in spans), 0.0)
