"""What the journal orders one attempt to do: train from this parent, end, or nothing yet.

The agent tails the whole journal and keeps only this. The journal alone decides who may write, so every way of losing that right
is read here: its grant voided, a later attempt granted, its commits sealed, the run over.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from launcher.adapters.journal import Entry, Record, Unreadable
from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.run.events import (
    AttemptExited,
    AttemptLost,
    AttemptRefused,
    AttemptRequested,
    AttemptSealed,
    AttemptUnwanted,
    Event,
    RunCancelled,
    RunFailed,
    RunPaused,
    RunSucceeded,
    StopAtMoved,
    WriterGranted,
)
from launcher.units import Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The right to write, journaled as record `number`."""

    number: int
    parent: CommitRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissed:
    """The attempt is to end: after a save if `drain`. With `sealed` a save would be refused: no longer the writer.

    `lost`: it is taken to have ended already, which of a gang may be true of another machine.
    """

    reason: str
    drain: bool
    sealed: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """The fold of the journal for one attempt. `grants` names the parent of every attempt that was granted.

    `stop_at`: where the budget ends it, None while that is as it was told at its start.
    """

    attempt: int
    grant: Grant | None = None
    dismissed: Dismissed | None = None
    grants: dict[int, CommitRef | None] = field(default_factory=dict)
    unreadable: tuple[int, ...] = ()
    stop_at: Utc | None = None


def read_orders(before: Orders, entries: Sequence[Entry]) -> Orders:
    """The orders that the whole journal gives (from record 1, voided records left out); `before` are those that stood.

    Nothing behind an unreadable record is acted on. A grant that was read stands until its record is voided.
    """
    unreadable = tuple(entry.number for entry in entries if isinstance(entry, Unreadable))
    orders = Orders(attempt=before.attempt, unreadable=unreadable)
    readable = itertools.takewhile(lambda entry: isinstance(entry, Record), entries)
    orders = heed(orders, [entry for entry in readable if isinstance(entry, Record)])
    if before.grant is None or orders.grant is not None:
        return orders
    if any(number <= before.grant.number for number in unreadable):
        return replace(before, unreadable=unreadable)
    voided = Dismissed(reason=f"its grant, record {before.grant.number}, was voided", drain=False, sealed=True)
    return _dismiss(replace(orders, grant=before.grant), voided)


def heed(orders: Orders, records: Sequence[Record]) -> Orders:
    """`read_orders` for a journal that only grew by whole `records`, none of which voids another."""
    granted = {record.event.attempt: record.event.parent for record in records if isinstance(record.event, WriterGranted)}
    if granted:
        orders = replace(orders, grants={**orders.grants, **granted})
    for record in records:
        orders = _heed(orders, record.number, record.event)
    return orders


def _heed(orders: Orders, number: int, event: Event) -> Orders:
    match event:
        case AttemptRequested(attempt=orders.attempt):
            return replace(orders, dismissed=None)  # an end of the run before this record was followed by a `resume`
        case WriterGranted(attempt=attempt, parent=parent):
            return _granted(orders, number, attempt, parent)
        case AttemptUnwanted(attempt=orders.attempt, reason=reason, drain=drain):
            return _dismiss(orders, Dismissed(reason=reason, drain=drain))
        case StopAtMoved(attempt=orders.attempt, stop_at=stop_at):
            return replace(orders, stop_at=stop_at)
        case AttemptLost(attempt=orders.attempt, evidence=evidence):
            return _dismiss(orders, Dismissed(reason=f"given up for lost: {evidence}", drain=True, lost=True))
        case AttemptRefused(attempt=orders.attempt) | AttemptExited(attempt=orders.attempt):
            return _dismiss(orders, Dismissed(reason="the journal shows this attempt ended", drain=False))
        case AttemptSealed(attempt=orders.attempt):
            return _dismiss(orders, Dismissed(reason="its commits are sealed", drain=False, sealed=True))
        case RunSucceeded() | RunPaused() | RunFailed() | RunCancelled():
            return _dismiss(orders, Dismissed(reason="the run has ended", drain=False))
        case _:
            return orders


def _granted(orders: Orders, number: int, attempt: int, parent: CommitRef | None) -> Orders:
    if attempt == orders.attempt:
        return replace(orders, grant=Grant(number=number, parent=parent))
    if attempt > orders.attempt:
        return _dismiss(orders, Dismissed(reason=f"attempt {attempt} is the writer now", drain=False, sealed=True))
    return orders


def _dismiss(orders: Orders, dismissed: Dismissed) -> Orders:
    """The first dismissal stands, unless a later one is harder: a stop may become a cancel, never the reverse."""
    if orders.dismissed is None or (orders.dismissed.drain and not dismissed.drain):
        return replace(orders, dismissed=dismissed)
    return orders
