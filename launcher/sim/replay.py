"""The market that a run met, for other policies to meet: its machines' lives as they were, and beyond them the trace it ran on.

The k-th machine in a place lives for as long as the k-th did there, whoever asks for it and when. What the run never tried, and
how long a machine would have lived that it gave back by itself, only the trace knows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from launcher.core.instance import EndCause
from launcher.core.market.trace import FOREVER, Life, Trace
from launcher.core.run.state import Attempt, EndKind, RunState
from launcher.units import Seconds, Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedTrace:
    name: str
    lives: dict[tuple[str, int], Life]  # by place and number in it
    beyond: Trace

    def life(self, place: str, k: int) -> Life:
        return self.lives.get((place, k)) or self.beyond.life(place, k)

    def mean_life(self, place: str) -> Seconds:
        return self.beyond.mean_life(place)


def replayed(state: RunState, beyond: Trace) -> ReplayedTrace:
    """The trace of the run in `state`, which ran on `beyond`."""

    def place(attempt: Attempt) -> str:
        return attempt.offer.placement.place

    by_place = groupby(sorted(state.attempts.values(), key=lambda a: (place(a), a.number)), key=place)
    return ReplayedTrace(
        name=state.run,
        lives={(where, k): life for where, attempts in by_place for k, life in _lives(list(attempts), where, beyond)},
        beyond=beyond,
    )


def _lives(attempts: list[Attempt], place: str, beyond: Trace) -> Iterator[tuple[int, Life]]:
    """Of the attempts in one place, in order, by their number among those that had a machine."""
    had_machine = [(at, attempt) for at, attempt in enumerate(attempts) if attempt.billed_from is not None]
    for k, (at, attempt) in enumerate(had_machine, start=1):
        assert attempt.billed_from is not None
        life, ended_at = beyond.life(place, k), _end_by_market(attempt)
        if ended_at is not None:
            # It refused until its gap was over, as far as anybody asked.
            refused = [b.end.at - ended_at for b in _refusals(attempts[at + 1 :]) if b.end is not None]
            notice = attempt.num_notices > 0
            yield k, Life(up=ended_at - attempt.billed_from, down=max([life.down, *refused]), notice=notice)
        elif attempt.bill is None or attempt.bill.likely - attempt.billed_from >= life.up:
            yield k, Life(up=FOREVER, down=life.down, notice=False)  # it outlived what the trace says; nobody saw its end


def _end_by_market(attempt: Attempt) -> Utc | None:
    """When the market took it, or would have: it had said so before we gave it back."""
    if attempt.bill is not None and attempt.bill.cause is EndCause.PREEMPTED:
        return attempt.bill.likely
    return attempt.notice.ends_at if attempt.notice is not None else None


def _refusals(attempts: list[Attempt]) -> Iterator[Attempt]:
    """Up to the next that got a machine."""
    for attempt in attempts:
        if attempt.billed_from is not None:
            return
        if attempt.ended_as(EndKind.REFUSED):
            yield attempt
