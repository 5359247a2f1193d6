"""Where the time and the money went, over all attempts of a run.

Seconds partition the run's elapsed time: at each instant the writer trains (useful, or redone where its steps were lost, or
saving), or a machine is up without a new step yet (restoring), or nothing is (waiting). Dollars partition instance time, so
two instances at once are paid twice; the part of the time with more than one is its own line, `overlap`.
Time between a pause and the resume belongs to nobody and is not counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from launcher.core.run.life import Life, lives
from launcher.core.run.spent import Range, spent
from launcher.core.run.state import RunState
from launcher.units import HOUR, Seconds, Step, Usd, UsdPerHour, Utc


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


def ledger(state: RunState, now: Utc, *, on_demand_price: UsdPerHour | None = None) -> Ledger:
    """The books at `now`, or at the run's end where it has ended. `on_demand_price` is of all nodes together."""
    end = min(now, state.terminal.at) if state.terminal else now
    lived = lives(state, end)
    times = _partition(state, lived, end)
    start_s = (state.startup_s or 0.0) * state.speed
    on_demand = None
    if on_demand_price is not None and times.useful > 0:  # who has trained nothing has saved nothing
        on_demand = (times.useful + start_s) / HOUR * on_demand_price
    return Ledger(
        times=times,
        spent=spent(state, now),
        on_demand=on_demand,
        steps_lost=sum(life.steps_lost for life in lived),
        preemptions=sum(life.preempted for life in lived),
        just_in_time=sum(life.in_time for life in lived),
    )


def _partition(state: RunState, lives: list[Life], end: Utc) -> Times:
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
