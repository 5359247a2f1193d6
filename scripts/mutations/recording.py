"""Bugs in the journal, and in what is read off it."""

from collections.abc import Callable, Iterable
from typing import Any

from launcher.adapters.history import History
from launcher.adapters.journal import Entry, Journal, VoidContent
from launcher.core.run import events as ev
from launcher.errors import StoreUnknown
from launcher.node import orders
from launcher.node.orders import Orders
from launcher.sim.disaster import FaultyWorld
from launcher.sim.faults import Fault
from launcher.units import HOUR, Utc
from scripts.mutations.mutant import SEEDS_MOST, Mutant, Swap


def _open_in_silence(open_journal: Callable[..., list[Entry]]) -> Any:
    def wrong(journal: Journal, event: ev.Event, at: Utc, *, insist: bool = False) -> list[Entry]:
        if not journal._has_read:
            journal._read_on()
        journal._is_open = True
        return journal.known()

    return wrong


def _send_anew(settle: Callable[[Journal], Any]) -> Any:
    def wrong(journal: Journal) -> Any:
        try:
            return settle(journal)
        except StoreUnknown:
            journal._pending = None
            raise

    return wrong


def _newest_void_alone(void_content: Callable[..., VoidContent]) -> Any:
    def wrong(journal: Journal, also: Iterable[int] = ()) -> VoidContent:
        numbers, digests = void_content(journal, also)
        new = [n for n in numbers if n not in journal._voided][-1:]
        return VoidContent(tuple(new), tuple(digests[numbers.index(n)] for n in new)) if new else VoidContent(numbers, digests)

    return wrong


def _fold_on(append: Callable[[History, ev.Event], None]) -> Any:
    def wrong(history: History, event: ev.Event) -> None:
        if isinstance(event, ev.RecordVoided):
            history._take([history._journal.append(event, event.at)])
        else:
            append(history, event)

    return wrong


def _nothing_told(told: Callable[[History, int], ev.AttemptRequested | None]) -> Any:
    return lambda history, attempt: None


def _never_unwanted(heed: Callable[[Orders, int, ev.Event], Orders]) -> Any:
    def wrong(known: Orders, number: int, event: ev.Event) -> Orders:
        return known if isinstance(event, ev.AttemptUnwanted) else heed(known, number, event)

    return wrong


def _deaf_once_granted(heed: Callable[[Orders, int, ev.Event], Orders]) -> Any:
    return lambda known, number, event: heed(known, number, event) if known.grant is None else known


def _is_away_for_long(world: FaultyWorld) -> bool:
    """A stop of ours must not reach the machine that hears nothing."""
    return any(span.end - span.start > HOUR / 2 for span in world.plan.spans)


MUTANTS = (
    Mutant(
        name="skip SupervisorStarted",
        breaks="A supervisor takes a run over without a word, so that the one before it drives on.",
        killer="turns",
        swaps=(Swap(Journal, "open", _open_in_silence),),
        only=frozenset({Fault.CRASH_AT_APPEND}),
    ),
    Mutant(
        name="recompute an unsettled create",
        breaks="A record whose create got no answer is forgotten, and another is written in its place.",
        killer="self-overtaken",
        swaps=(Swap(Journal, "_settle", _send_anew),),
        only=frozenset({Fault.CREATE_LATE}),
    ),
    Mutant(
        name="void only the last record",
        breaks="A RecordVoided does not repeat the numbers that were void before it.",
        killer="readers",
        swaps=(Swap(Journal, "void_content", _newest_void_alone),),
        only=frozenset({Fault.RECORD_DAMAGED}),
    ),
    Mutant(
        name="fold on past a void record",
        breaks="Who declares a record void goes on with the state that it had added to.",
        killer="replay",
        swaps=(Swap(History, "append", _fold_on),),
        only=frozenset({Fault.RECORD_DAMAGED}),
    ),
    Mutant(
        name="forget what a void request bought",
        breaks="A machine whose request is void costs nothing in the books.",
        killer="bill",
        swaps=(Swap(History, "_second_copy", _nothing_told),),
        only=frozenset({Fault.RECORD_DAMAGED, Fault.CRASH_AT_APPEND}),
    ),
    Mutant(
        name="never hear that one is unwanted",
        breaks="An agent goes on until its machine is stopped, and its last steps are lost.",
        killer="obedience",
        swaps=(Swap(orders, "_heed", _never_unwanted),),
        only=frozenset({Fault.NOTICE_FALSE}),
    ),
    Mutant(
        name="hear nothing once granted",
        breaks="An agent trains on whatever the journal says of it, beside its successor.",
        killer="double-training",
        swaps=(Swap(orders, "_heed", _deaf_once_granted),),
        only=frozenset({Fault.POLL_PARTIAL, Fault.CLOUD_AWAY}),
        fits=_is_away_for_long,
        seeds_most=2 * SEEDS_MOST,
    ),
)
