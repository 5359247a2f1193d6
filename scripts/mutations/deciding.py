"""Bugs in what is decided."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from launcher.core.market import belief
from launcher.core.market.belief import PlaceBelief, PlaceLost
from launcher.core.run import barren, deliberate
from launcher.core.run import events as ev
from launcher.core.run.observation import Watch
from launcher.core.run.state import EndKind, RunState
from launcher.sim import disaster, seeds
from launcher.sim.faults import Fault
from launcher.units import Utc
from scripts.mutations.mutant import Mutant, Swap

Decides = Callable[..., tuple[ev.Event, ...]]


def _refused_ones_do_not_count(request: Decides) -> Any:
    def wrong(state: RunState, *others: Any) -> tuple[ev.Event, ...]:
        ran = [a for a in state.attempts.values() if a.end is None or a.end.end is not EndKind.REFUSED]
        events = request(state, *others)
        return tuple(replace(e, attempt=len(ran) + 1) if isinstance(e, ev.AttemptRequested) else e for e in events)

    return wrong


def _loss_is_forgiven(after_loss: Callable[[PlaceBelief, PlaceLost], PlaceBelief]) -> Any:
    def wrong(old: PlaceBelief, lost: PlaceLost) -> PlaceBelief:
        return replace(after_loss(old, lost), failures=old.failures, cools_until=old.cools_until)

    return wrong


def _own_commits_alone(newest: Any) -> Any:
    def wrong(state: RunState) -> Any:
        writer = state.last_writer
        return newest.fget(state) if state.branched or writer is None else writer.commit

    return property(wrong)


def _nobody_makes_room(succeeded: Decides) -> Any:
    return lambda state, now: ()


def _silence_is_fine(silent: Decides) -> Any:
    def wrong(state: RunState, watch: Watch, now: Utc) -> tuple[ev.Event, ...]:
        return ()

    return wrong


def _all_attempts_count(may_request: Callable[[RunState], bool]) -> Any:
    return lambda state: may_request(state) and len(state.attempts) < deliberate.LIVING_MOST


def _every_offer(accepted: Callable[..., Any]) -> Any:
    return lambda recipe, rows: tuple(rows)


def _nobody_is_there(holder: Callable[..., Any]) -> Any:
    return lambda store, opener, *, monotonic, wait: None


MUTANTS = (
    Mutant(
        name="reuse an attempt number",
        breaks="An attempt that was refused gives its number to the next one.",
        killer="numbers",
        swaps=(Swap(deliberate, "_request", _refused_ones_do_not_count),),
        only=frozenset({Fault.CAPACITY}),
    ),
    Mutant(
        name="forget a cooldown",
        breaks="A place that has just taken a machine away is tried again at once.",
        killer="cooldown",
        swaps=(Swap(belief, "_after_loss", _loss_is_forgiven),),
        only=frozenset({Fault.NOTICE_MISSING}),
    ),
    Mutant(
        name="forget the ancestors",
        breaks="After an attempt that committed nothing the next one starts at step 0.",
        killer="progress",
        swaps=(Swap(RunState, "newest_commit", _own_commits_alone),),
        only=frozenset({Fault.DIES}),
    ),
    Mutant(
        name="keep the older attempt",
        breaks="An attempt whose warning was taken back goes on while its successor stands ready and idle.",
        killer="idle-machine",
        swaps=(Swap(deliberate, "_succeeded", _nobody_makes_room),),
        only=frozenset({Fault.NOTICE_WITHDRAWN}),
    ),
    Mutant(
        name="wait for a machine that never speaks",
        breaks="A machine that runs and says nothing is paid for until somebody notices.",
        killer="idle-machine",
        swaps=(Swap(deliberate, "_silent", _silence_is_fine),),
        only=frozenset({Fault.MUTE}),
    ),
    Mutant(
        name="ask a person at the first mute machine",
        breaks="A run pauses as soon as one machine says nothing.",
        killer="ends",
        swaps=(Swap(barren, "MUTE_MOST", lambda most: 1),),
        only=frozenset({Fault.MUTE}),
    ),
    Mutant(
        name="count the dead as living",
        breaks="Once a run has had as many machines as may live at once, it never asks for another.",
        killer="ends",
        swaps=(Swap(deliberate, "_may_request", _all_attempts_count),),
        only=frozenset(),
    ),
    Mutant(
        name="take every offer",
        breaks="Offers beyond the recipe's price and places are bought too.",
        killer="limits",
        swaps=(Swap(seeds, "accepted", _every_offer),),
        only=frozenset(),
    ),
    Mutant(
        name="look for no living supervisor",
        breaks="Who opens a run does not look whether somebody drives it.",
        killer="turns",
        swaps=(Swap(disaster.beacon, "holder", _nobody_is_there),),
        only=frozenset({Fault.CRON}),
    ),
)
