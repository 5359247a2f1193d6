"""What a finished world left behind, as it was written: records, commits, claims and exit reports, each with its true time.

Taken from the store's log and not from the store, so that what rotted later, or was never read, is here as it was meant. What
the journal said at some moment is a *prefix* of the records: all up to a number, without those that one of them declares void.
"""

import functools
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

from launcher import codec
from launcher.adapters.records import Record, decode_record
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, Manifest, Sealed
from launcher.core.contract import JOURNAL_PREFIX, Claim, ExitReport, commit_key
from launcher.core.run import events as ev
from launcher.core.run.evolve import fold, replay
from launcher.core.run.state import RunState
from launcher.sim.disaster import FaultyWorld, Journaled
from launcher.sim.store import SimStore
from launcher.units import Utc


@dataclass(frozen=True, slots=True)
class Noted:
    """A record of the journal, whether or not anybody could read it."""

    at: Utc  # true time
    record: Record

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def writer(self) -> str:
        return self.record.writer

    @property
    def event(self) -> ev.Event:
        event: ev.Event = self.record.event
        return event


@dataclass(frozen=True, slots=True)
class Committed:
    at: Utc
    sha256: str
    commit: Manifest


@dataclass(frozen=True, slots=True)
class Seal:
    at: Utc
    number: int


@dataclass(frozen=True)
class Evidence:
    records: tuple[Noted, ...]  # by number
    manifests: dict[CommitRef, Committed]
    seals: dict[int, list[Seal]]  # by attempt
    claims: dict[int, Claim]
    exits: dict[int, ExitReport]
    damaged: frozenset[str]  # keys that rotted at rest, or on their way there
    bent: frozenset[CommitRef]  # numbers of commits that were damaged on their way, which are neither manifest nor seal

    def prefixes(self) -> Iterator[tuple[Noted, list[Noted]]]:
        return prefixes(self.records)

    @functools.cached_property
    def states(self) -> tuple[RunState | None, ...]:
        """After each record; folded from the first on wherever one is declared void. None: no run, or no journal of one."""
        return tuple(_states(self.records))

    @property
    def state(self) -> RunState | None:
        """What the journal adds up to in the end."""
        return self.states[-1] if self.states else None

    def of(self, kind: type[ev.Event], attempt: int) -> Iterator[Noted]:
        """Records of one kind about one attempt, those voided later too."""
        return (n for n in self.records if isinstance(n.event, kind) and getattr(n.event, "attempt", None) == attempt)

    def grant(self, attempt: int) -> Noted | None:
        return next(self.of(ev.WriterGranted, attempt), None)

    def granted_parent(self, attempt: int) -> CommitRef | None:
        grant = self.grant(attempt)
        return grant.event.parent if grant is not None and isinstance(grant.event, ev.WriterGranted) else None

    def newest_below(self, attempt: int, commit: int) -> CommitRef | None:
        """The attempt's newest commit below a number."""
        below = (CommitRef(attempt, number) for number in range(commit - 1, 0, -1))
        return next((ref for ref in below if ref in self.manifests), None)

    def past_bent(self, ref: CommitRef | None) -> CommitRef | None:
        """What somebody finds who is sent to `ref`: where its bytes were damaged on their way, the commit before."""
        while ref in self.bent:
            ref = self.newest_below(ref.attempt, ref.commit) or self.granted_parent(ref.attempt)
        return ref

    def step(self, ref: CommitRef | None) -> int:
        ref = self.past_bent(ref)
        return 0 if ref is None or ref not in self.manifests else self.manifests[ref].commit.step

    def is_damaged(self, ref: CommitRef) -> bool:
        """Whether the world let a part of that checkpoint rot."""
        made = self.manifests.get(ref)
        keys = {commit_key(ref)} | ({file.key for file in made.commit.files} if made else set())
        return bool(keys & self.damaged)


def prefixes(records: tuple[Noted, ...]) -> Iterator[tuple[Noted, list[Noted]]]:
    """Each record, with all that stood when it was there, itself last. The list is only lent."""
    standing: list[Noted] = []
    void: set[int] = set()
    for noted in records:
        if isinstance(noted.event, ev.RecordVoided):
            void |= set(noted.event.numbers)
            standing = [n for n in standing if n.number not in void]
        if noted.number not in void:
            standing.append(noted)
        yield noted, standing


def _states(records: tuple[Noted, ...]) -> Iterator[RunState | None]:
    state: RunState | None = None
    for noted, standing in prefixes(records):
        try:
            if isinstance(noted.event, ev.RecordVoided):
                state = replay(n.event for n in standing)
            elif standing and standing[-1] is noted:
                state = fold(state, noted.event)
        except AssertionError:
            state = None
        yield state


_KNOWN: "weakref.WeakKeyDictionary[SimStore, tuple[tuple[int, int], Evidence]]" = weakref.WeakKeyDictionary()


def evidence_of(world: FaultyWorld) -> Evidence:
    """Read once for all checkers."""
    store = world.store
    size = (len(store.log), len(store.damaged))
    known = _KNOWN.get(store)
    if known is None or known[0] != size:
        known = _KNOWN[store] = (size, _gather(world))
    return known[1]


def _gather(world: FaultyWorld) -> Evidence:
    records: list[Noted] = []
    made: dict[CommitRef, Committed] = {}
    seals: dict[int, list[Seal]] = {}
    claims: dict[int, Claim] = {}
    exits: dict[int, ExitReport] = {}
    lost: set[CommitRef] = set()
    bent = {key for at, key in world.store.damaged if at == world.store.created_at(key)}
    for at, key, data in ((w.at, w.key, w.data) for w in world.store.log if w.data is not None):
        if key.startswith(JOURNAL_PREFIX):
            records.append(Noted(at, decode_record(data, ev.Event)))  # as it lies there, whatever its writer holds
        elif "/commits/" in key:
            commit = manifests.read(data)
            if key in bent:
                lost.add(commit.ref)
            elif isinstance(commit, Sealed):
                seals.setdefault(commit.ref.attempt, []).append(Seal(at, commit.ref.commit))
            else:
                made[commit.ref] = Committed(at, manifests.sha256_of(data), commit)
        elif key.endswith("/claim.json"):
            claim: Claim = codec.loads_digested(Claim, data)
            claims[claim.attempt] = claim
        elif key.endswith("/exit.json"):
            report: ExitReport = codec.loads_digested(ExitReport, data)
            exits[report.attempt] = report
    return Evidence(
        records=tuple(sorted(records, key=lambda n: n.number)),
        manifests=made,
        seals=seals,
        claims=claims,
        exits=exits,
        damaged=frozenset(key for _, key in world.store.damaged),
        bent=frozenset(lost),
    )


def believed(world: FaultyWorld) -> Iterator[tuple[Journaled, Noted | None]]:
    """What each supervisor believed it had journaled, with the record that says it; None where none does."""
    written: dict[str, list[Noted]] = {}
    for noted in reversed(evidence_of(world).records):
        written.setdefault(noted.writer, []).append(noted)
    for told in world.journaled:
        own = written.get(told.supervisor, [])
        while own and own[-1].event != told.event:
            own.pop()
        yield told, own.pop() if own else None
