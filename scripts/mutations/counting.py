"""Bugs in the books."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from launcher.core.run import events as ev
from launcher.core.run import interpret, purse, spent
from launcher.core.run.observation import Sightings, Watch
from launcher.core.run.spent import Range
from launcher.core.run.state import Attempt, RunState
from launcher.sim.faults import Fault
from launcher.units import Usd, Utc
from scripts.mutations.mutant import Mutant, Swap, has_budget


def _twice(billed: Callable[[RunState], Range]) -> Any:
    return lambda state: billed(state) + billed(state)


def _from_the_claim(alive: Callable[..., Iterator[ev.AttemptEvent]]) -> Any:
    def wrong(state: RunState, attempt: Attempt, seen: Sightings, watch: Watch, now: Utc) -> Iterator[ev.AttemptEvent]:
        for event in alive(state, attempt, seen, watch, now):
            if not isinstance(event, ev.AttemptStarted):
                yield event
            elif attempt.nonce is not None:
                yield replace(event, billed_from=now)

    return wrong


def _past_is_free(committed: Callable[..., Usd]) -> Any:
    return lambda state, now, but=None: committed(state, now) if but is None else 0.0


def _by_the_last_word(gone_by: Callable[..., Utc]) -> Any:
    def wrong(state: RunState, attempt: Attempt, now: Utc) -> Utc:
        return gone_by(state, attempt, now) if attempt.last_beat is None else min(now, attempt.last_beat.at)

    return wrong


MUTANTS = (
    Mutant(
        name="bill twice",
        breaks="What an instance cost is added to the books a second time when it has ended.",
        killer="bill",
        swaps=(Swap(spent, "_billed", _twice),),
        only=frozenset(),
    ),
    Mutant(
        name="bill nothing while starting",
        breaks="The books begin when an agent has claimed, and the cloud's bill when the instance ran.",
        killer="bill",
        swaps=(Swap(interpret, "_alive", _from_the_claim),),
        only=frozenset(),
    ),
    Mutant(
        name="bill nothing after the last word",
        breaks="A machine that nobody hears any more is taken to be gone at its last word, and trains on unheard.",
        killer="bill",
        swaps=(Swap(interpret, "gone_by", _by_the_last_word),),
        only=frozenset({Fault.DEAF, Fault.ENDS_UNTOLD}),
    ),
    Mutant(
        name="go on for nothing",
        breaks="A machine that may go on for longer is given the whole budget anew.",
        killer="limits",
        swaps=(Swap(purse, "committed", _past_is_free),),
        fits=has_budget,
    ),
)
