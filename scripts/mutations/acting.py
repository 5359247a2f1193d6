"""Bugs in how the loop acts on what it has decided."""

from collections.abc import Callable
from typing import Any

from launcher import loop
from launcher.core.run import events as ev
from launcher.core.run.evolve import evolve
from launcher.core.run.observation import SealSighted
from launcher.core.run.spec import attempt_spec
from launcher.core.run.state import Attempt, RunState
from launcher.loop import Loop
from launcher.observe import Observer
from launcher.seal import seal
from launcher.sim.faults import Fault
from scripts.mutations.mutant import SEEDS_MOST, Mutant, Swap


def _start_first(append: Callable[[Loop, ev.Event], None]) -> Any:
    def wrong(loop: Loop, event: ev.Event) -> None:
        if isinstance(event, ev.AttemptRequested):
            state = evolve(loop._history.state, event)
            spec = attempt_spec(state, state.attempts[event.attempt], loop._world.store.url)
            loop._world.cloud.start(loop._name(event.attempt), spec)
        append(loop, event)

    return wrong


def _seal_first(append: Callable[[Loop, ev.Event], None]) -> Any:
    def wrong(loop: Loop, event: ev.Event) -> None:
        state = loop._history.state
        if isinstance(event, ev.AttemptLost | ev.AttemptExited) and state.attempts[event.attempt].is_granted:
            seal(loop._world.store, state, event.attempt, loop._supervisor, loop._world.new_nonce())
        append(loop, event)

    return wrong


def _no_seal(seal: Callable[..., None]) -> Any:
    return lambda store, state, attempt, supervisor, nonce: None


def _end_is_seal(follow: Callable[[Observer, Attempt], None]) -> Any:
    def wrong(observer: Observer, attempt: Attempt) -> None:
        follow(observer, attempt)
        newest = observer._newest.get(attempt.number)
        last, step = (newest.ref, newest.step) if newest else (attempt.commit, attempt.commit_step)
        if attempt.end is not None:
            observer._seals.setdefault(attempt.number, SealSighted(last=last, step=step))

    return wrong


def _stop_at_sight(poll: Callable[[Observer, RunState], Any]) -> Any:
    def wrong(observer: Observer, state: RunState) -> Any:
        listed = poll(observer, state)
        for name in observer.strangers:
            observer._cloud.stop(name)
        return listed

    return wrong


def _gone_already(is_over: property) -> Any:
    return property(lambda state: state.phase.is_ended)


MUTANTS = (
    Mutant(
        name="act before journaling",
        breaks="An instance is started before the record that asks for it is written.",
        killer="acts-journaled",
        swaps=(Swap(Loop, "_append", _start_first),),
        only=frozenset({Fault.CRASH_AT_APPEND}),
    ),
    Mutant(
        name="skip the seal",
        breaks="The end of an attempt is taken for its seal, and a late commit of it can still appear.",
        killer="lineage",
        swaps=(Swap(loop, "seal", _no_seal), Swap(Observer, "_follow_commits", _end_is_seal)),
    ),
    Mutant(
        name="seal before the end is journaled",
        breaks="A supervisor that was overtaken may seal an attempt that another one lets live.",
        killer="order",
        swaps=(Swap(Loop, "_append", _seal_first),),
        only=frozenset({Fault.CRASH_AT_APPEND}),
    ),
    Mutant(
        name="stop an instance the state does not know",
        breaks="A supervisor that slept does not read on, and stops the machines of the one that took over.",
        killer="acts-journaled",
        swaps=(Swap(Observer, "_poll", _stop_at_sight),),
        only=frozenset({Fault.PAUSE, Fault.CRON}),
        seeds_most=2 * SEEDS_MOST,  # it must have slept in the middle of a look
    ),
    Mutant(
        name="leave before the machines have",
        breaks="A supervisor ends with its run, though a stop of its was lost.",
        killer="machines-end",
        swaps=(Swap(RunState, "is_over", _gone_already),),
        only=frozenset({Fault.STOP_LOST}),
    ),
)
