"""A run's history: its journal, folded. What the supervisor drives, and what every other command reads.

The fold is redone from the first record when a record is voided, because that record may be one that was folded already.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from launcher import codec
from launcher.adapters.journal import Entry, Journal, Record, Unreadable
from launcher.adapters.records import Slot
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import RUN_KEY, RunHead, RunRemoval, requested_key
from launcher.core.market.belief import MarketView, update
from launcher.core.plan.planner import Plan
from launcher.core.run import events as ev
from launcher.core.run import invariants
from launcher.core.run.evolve import fold
from launcher.core.run.state import RunState
from launcher.core.run.view import learnt, learnt_at_end
from launcher.errors import Damaged, KeyMissing, UsageError
from launcher.units import Utc

_READS = 2  # a byte may flip on its way


def read_head(store: ObjectStore, *, otherwise: str | None = None) -> RunHead:
    """`run.json`. Raises UsageError where there is no run, or one that is being deleted; Damaged where it is not whole.

    `otherwise` is what is said where there is none.
    """
    head = read_head_or_removal(store)
    if head is None:
        raise UsageError(otherwise or f"there is no run at {store.url}; `launch runs` lists those of this home")
    if isinstance(head, RunRemoval):
        raise UsageError(f"the run at {store.url} is being deleted; `launch rm {store.url}` finishes that")
    return head


def read_head_or_removal(store: ObjectStore) -> RunHead | RunRemoval | None:
    """What stands at `run.json`, None where nothing does. Raises Damaged."""
    try:
        head: RunHead | RunRemoval = codec.loads_digested(RunHead | RunRemoval, store.get(RUN_KEY))
    except KeyMissing:
        return None
    except ValueError as error:
        raise Damaged(RUN_KEY, str(error)) from error
    return head


class History:
    """The journal of one run, and what it adds up to. Read-only unless `writer` is given and `open` was called."""

    def __init__(
        self,
        store: ObjectStore,
        incarnation: str,
        writer: str | None = None,
        *,
        new_nonce: Callable[[], str] = lambda: uuid.uuid4().hex,
        known: dict[bytes, Slot] | None = None,
    ) -> None:
        self.store = store
        self.incarnation = incarnation
        self._journal = Journal(
            store, incarnation=incarnation, writer=writer, event_type=ev.Event, new_nonce=new_nonce, known=known
        )
        self.records: list[Record] = []
        self.market = MarketView()
        self.plan: Plan | None = None
        self._state: RunState | None = None

    @property
    def is_created(self) -> bool:
        return self._state is not None

    @property
    def state(self) -> RunState:
        if self._state is None:
            raise UsageError(f"the run at {self.store.url} was never started: its journal tells of no creation")
        return self._state

    @property
    def opener(self) -> str | None:
        """Who opened the journal last, as far as it was read."""
        events = (record.event for record in reversed(self.records))
        return next((event.supervisor for event in events if isinstance(event, ev.SupervisorStarted)), None)

    def open(self, event: ev.Event, *, insist: bool = False) -> None:
        """Opens for writing, with `event` appended behind all there is. Raises Overtaken where another opens too."""
        self._refold(self._journal.open(event, event.at, insist=insist))
        void = self.voiding(event.at, ())
        if void is not None:  # nothing may be decided on a journal with a hole that is not owned to
            self.append(void)

    def poll(self) -> list[Record]:
        """Folds what was appended since, and returns it; our own record too, where its answer had been lost."""
        entries = self._journal.poll()
        last = self.records[-1].number if self.records else 0
        if any(isinstance(e, Unreadable) and e.number <= last for e in entries) or any(map(_voids, entries)):
            self._refold(self._journal.known())
        else:
            self._take(entries)
        return [entry for entry in entries if isinstance(entry, Record)]

    def append(self, event: ev.Event) -> None:
        """Journals `event`, then folds it. Raises Overtaken, and StoreUnknown: then `poll` comes first."""
        before = self._state
        record = self._journal.append(event, event.at)
        if _voids(record):
            self._refold(self._journal.known())
            return
        self._take([record])
        if before is not None and self._state is not None:
            invariants.check_step(before, self._state)

    def request_of(self, attempt: int) -> ev.AttemptRequested:
        """The record that an attempt follows from. Of one whose record is void there is none: it is never started."""
        events = (record.event for record in reversed(self.records))
        return next(e for e in events if isinstance(e, ev.AttemptRequested) and e.attempt == attempt)

    def voiding(self, at: Utc, also: Iterable[int], strangers: Iterable[int] = ()) -> ev.RecordVoided | None:
        """The record that must be appended next, where numbers cannot be read here or, as `also` says, by an agent.

        `strangers`: attempts whose machines are up though nobody wants them. One that nobody knows may be of a request that was
        void before its second copy was written, by somebody who slept meanwhile.
        """
        numbers, digests = self._journal.void_content(n for n in also if n <= self._journal.last)
        state = self._state
        new = set(numbers) - (state.voided if state else set())
        unknown = set(strangers) - (state.attempts.keys() if state else set())
        if not numbers or not (new or unknown):
            return None
        used = range(1, len(new) + (state.next_attempt if state else 1))
        requests = tuple(self._void_requests({*used, *unknown}, frozenset(numbers)))
        if not new and not any(request.attempt in unknown for request in requests):
            return None
        return ev.RecordVoided(at=at, numbers=numbers, digests=digests, requests=requests)

    def _void_requests(self, attempts: Iterable[int], void: frozenset[int]) -> Iterator[ev.AttemptRequested]:
        """Second copies of those that no readable record tells of. No machine was started for one that has none."""
        told = {r.event.attempt for r in self.records if isinstance(r.event, ev.AttemptRequested) and r.number not in void}
        for attempt in sorted(set(attempts) - told):
            request = self._second_copy(attempt)
            if request is not None:
                yield request

    def _second_copy(self, attempt: int) -> ev.AttemptRequested | None:
        for _ in range(_READS):
            try:
                request: ev.AttemptRequested = codec.loads_digested(ev.AttemptRequested, self.store.get(requested_key(attempt)))
            except KeyMissing:
                return None
            except ValueError:
                continue
            return request
        return None

    def copy_all(self) -> None:
        """Copy every record so far into one segment, from which a damaged one is mended. Repeating it does nothing."""
        self._journal.write_segment(1, self._journal.last)

    def write_due_segments(self) -> None:
        self._journal.write_due_segments()

    def _refold(self, entries: Iterable[Entry]) -> None:
        self.records, self.market, self.plan, self._state = [], MarketView(), None, None
        self._take(entries)

    def _take(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, Record):
                self.records.append(entry)
                self._fold(entry.event)

    def _fold(self, event: ev.Event) -> None:
        before = self._state
        after = fold(before, event)
        if isinstance(event, ev.PlanMade):
            self.plan = event.plan
            self.market = replace(self.market, places={**event.seed, **self.market.places}, quotas=event.quotas)
        if before is not None and after is not None:
            for sighting in (learnt(before, event), learnt_at_end(before, after, event)):
                if sighting is not None:
                    self.market = update(self.market, sighting)
        self._state = after


def _voids(entry: Entry) -> bool:
    return isinstance(entry, Record) and isinstance(entry.event, ev.RecordVoided)
