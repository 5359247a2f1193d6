"""One look at the world for the supervisor: what the cloud says, and what the machines left in the store.

Only the object store joins client and machine, so everything is read by key: the claim, the heartbeat, the exit report, and
the next number of what is numbered. Listings are hints and are used for requests only.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from launcher import codec, log
from launcher.adapters.cloud.base import Cloud
from launcher.adapters.commits import UnreadableCommit, read_commit
from launcher.adapters.market.base import Feed
from launcher.adapters.store.base import ObjectStore
from launcher.core.checkpoint.manifest import Commit, CommitRef, Manifest, Sealed
from launcher.core.contract import (
    REQUESTS_PREFIX,
    Claim,
    ExitReport,
    Heartbeat,
    Notice,
    Request,
    claim_key,
    exit_key,
    heartbeat_key,
    notice_key,
)
from launcher.core.instance import InstanceName, InstancePhase, InstanceStatus, attempt_of
from launcher.core.market.offer import Offer
from launcher.core.run.observation import SealSighted, Sightings
from launcher.core.run.state import Attempt, RunState
from launcher.errors import CloudUnreachable, FeedStale, KeyMissing
from launcher.units import Utc

T = TypeVar("T")

_READS = 2  # a byte may flip on its way, and an end is judged by one look: a report that is there must be found
_UP = (InstancePhase.STARTING, InstancePhase.RUNNING, InstancePhase.BROKEN, InstancePhase.UNKNOWN)


class Observer:
    """Reads the world for one run. Holds only cursors: what it read of numbered things, so that each is read once."""

    def __init__(self, store: ObjectStore, cloud: Cloud, feed: Feed) -> None:
        self._store = store
        self._cloud = cloud
        self._feed = feed
        self._newest: dict[int, Manifest] = {}
        self._seals: dict[int, SealSighted] = {}
        self._requests: dict[str, Request] = {}
        self._complained: set[str] = set()
        self._letters: dict[str, tuple[bytes, Any]] = {}  # by key, as last read: most looks find the bytes of the look before
        self.strangers: tuple[InstanceName, ...] = ()  # instances of this run that nobody wants and no command would stop

    def look(self, state: RunState, now: Utc) -> Sightings:
        # The cloud first: a machine that is seen dead wrote its last word before that, so the reads below find it.
        instances = self._poll(state)
        watched = state.unsettled
        for attempt in watched:
            if attempt.is_granted and not attempt.sealed:
                self._follow_commits(attempt)
        numbers = [a.number for a in watched]
        return Sightings(
            instances=instances,
            claims=self._read(Claim, claim_key, (a.number for a in watched if a.nonce is None)),
            heartbeats=self._read(Heartbeat, heartbeat_key, (a.number for a in watched if a.is_alive)),
            notices=tuple(self._notices(watched)),
            exits=self._exits(watched),
            commits={n: self._newest[n] for n in numbers if n in self._newest},
            seals={n: self._seals[n] for n in numbers if n in self._seals},
            requests=self._read_requests(),
            offers=self._offers(now),
        )

    def seals(self, attempts: Iterable[Attempt]) -> dict[int, SealSighted]:
        """Of those of `attempts` that are sealed."""
        watched = list(attempts)
        for attempt in watched:
            self._follow_commits(attempt)
        return {a.number: self._seals[a.number] for a in watched if a.number in self._seals}

    def _poll(self, state: RunState) -> dict[int, InstanceStatus] | None:
        try:
            listed = self._cloud.poll(state.run, state.incarnation)
        except CloudUnreachable:
            return None
        numbered = [(attempt_of(name), name, status) for name, status in listed.items()]
        self.strangers = tuple(name for number, name, status in numbered if _is_stranger(state, number, status))
        return {number: status for number, _, status in numbered}

    def _offers(self, now: Utc) -> tuple[Offer, ...] | None:
        try:
            return self._feed.offers(now)
        except FeedStale:
            return None

    def _read(self, kind: type[T], key_of: Callable[[int], str], numbers: Iterable[int]) -> dict[int, T]:
        found: dict[int, T] = {}
        for number in numbers:
            value = self._decoded(kind, key_of(number))
            if value is not None:
                found[number] = value
        return found

    def _decoded(self, kind: type[T], key: str) -> T | None:
        """None where there is nothing, or nothing that can be read: one rotten or foreign object must not end the loop."""
        unreadable = ""
        for _ in range(_READS):
            try:
                data = self._store.get(key)
                before = self._letters.get(key)
                value: T = before[1] if before is not None and before[0] == data else codec.loads_digested(kind, data)
            except KeyMissing:
                return None
            except ValueError as error:
                unreadable = str(error)
            else:
                self._letters[key] = (data, value)
                return value
        if key not in self._complained:
            self._complained.add(key)
            log.warning("object_unreadable", key=key, error=unreadable)
        return None

    def _exits(self, watched: Iterable[Attempt]) -> dict[int, ExitReport]:
        """Reports by the agent that holds the claim; nobody else's word counts."""
        unreported = (a.number for a in watched if a.end is None or a.end.report is None)
        reports = self._read(ExitReport, exit_key, unreported)
        nonces = {a.number: a.nonce for a in watched}
        return {n: r for n, r in reports.items() if nonces[n] is None or r.nonce == nonces[n]}

    def _notices(self, watched: Iterable[Attempt]) -> Iterable[Notice]:
        for attempt in watched:
            if attempt.is_alive:
                notice = self._decoded(Notice, notice_key(attempt.number, attempt.num_notices + 1))
                if notice is not None:
                    yield notice

    def _read_requests(self) -> tuple[Request, ...]:
        for meta in self._store.list(REQUESTS_PREFIX):
            if meta.key not in self._requests:
                request = self._decoded(Request, meta.key)
                if request is not None:
                    self._requests[meta.key] = request
        return tuple(self._requests.values())

    def _follow_commits(self, attempt: Attempt) -> None:
        """Reads the attempt's commits upwards from the last one known, to its end or its seal."""
        number = attempt.number
        newest = self._newest.get(number)
        at = newest.ref.commit if newest else attempt.num_commits
        while number not in self._seals:
            found = read_commit(self._store, CommitRef(number, at + 1))
            if found is None:
                return
            if isinstance(found, Sealed):
                last = self._newest.get(number)
                if last is None and at > 0:
                    last = _as_manifest(read_commit(self._store, CommitRef(number, at)))
                self._seals[number] = _sighted(CommitRef(number, at) if at else None, last)
            elif isinstance(found, Manifest):
                self._newest[number] = found
            at += 1


def _sighted(newest: CommitRef | None, read: Manifest | None) -> SealSighted:
    """`read` is the newest commit that could be."""
    if read is None:
        return SealSighted(last=newest, step=None)
    return SealSighted(last=newest, step=read.step, finished=read.finished)


def _is_stranger(state: RunState, number: int, status: InstanceStatus) -> bool:
    """Up, though its attempt is unknown (its request was in a voided record) or its bill was closed (it came up too late)."""
    known = state.attempts.get(number)
    return (known is None or known.bill is not None) and status.phase in _UP


def _as_manifest(commit: Commit | UnreadableCommit | None) -> Manifest | None:
    return commit if isinstance(commit, Manifest) else None
