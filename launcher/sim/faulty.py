"""The ports of a world in which things go wrong: each call asks the plan what becomes of it.

One set of ports belongs to one process, a supervisor or a machine. A supervisor's process can be ended or put to sleep in any
call (`Process`); a machine's waits cost no time here, since nothing else it does depends on them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from launcher.adapters.cloud.base import Cloud
from launcher.adapters.market.base import Feed
from launcher.adapters.store.base import Chunks, ObjectMeta, Span
from launcher.core.contract import COMMITS_FOLDER, JOURNAL_PREFIX, AttemptSpec, journal_key
from launcher.core.instance import InstanceName, InstancePhase, InstanceStatus
from launcher.core.market.offer import Offer
from launcher.core.tempo import STORE_DEADLINE_S
from launcher.errors import CloudUnreachable, FeedStale, KeyExists, StoreUnknown
from launcher.sim.faults import Fault, FaultPlan
from launcher.sim.store import SimStore
from launcher.sim.timeline import Dismissed, Timeline
from launcher.units import MINUTE, Seconds, Utc

LIST_LAG: Seconds = 60.0
CREATE_LATE: Seconds = 60.0
POLL_LAG: Seconds = 30.0
SLOW: Seconds = 20.0
NUM_OF_BIRTH = 4  # records without which there is no run: where one of them is damaged, a person begins anew
SILENCE: Seconds = STORE_DEADLINE_S  # what a store that cannot be reached costs each call


@dataclass(kw_only=True)
class Process:
    """Whose ports these are. Of a supervisor: it ends by `crash`, and no call of it has an effect afterwards."""

    name: str
    timeline: Timeline
    plan: FaultPlan
    can_stop: bool = False  # a supervisor, whose calls may crash, pause and take time
    is_dead: bool = False
    rests: list[tuple[Utc, Utc]] = field(default_factory=list)  # it was put to sleep, or waited for an answer

    @property
    def now(self) -> Utc:
        return self.timeline.now

    def is_hit(self, fault: Fault) -> bool:
        """Whether this call is hit by a fault. Then the next look may show what this one did not: it must not be skipped."""
        hit = self.plan.hits(fault, self.now)
        if hit:
            self.timeline.tell()
        return hit

    def live(self) -> None:
        """At the door of every call: nothing is done by a process that is gone, and one may be put to sleep here."""
        if self.is_dead:
            raise Dismissed(self.name)
        if self.can_stop and self.is_hit(Fault.PAUSE):
            self.rest(self.plan.uniform(MINUTE, 90 * MINUTE))

    def crash(self, fault: Fault) -> None:
        """Where the plan says so, the process ends here and now."""
        if self.can_stop and self.is_hit(fault):
            self.is_dead = True
            raise Dismissed(self.name)

    def rest(self, seconds: Seconds) -> None:
        if self.can_stop:
            self.rests.append((self.now, self.now + seconds))
            self.timeline.sleep_until(self.now + seconds)
            if self.is_dead:
                raise Dismissed(self.name)


@dataclass(kw_only=True)
class FaultyStore:
    """The store as one process reaches it: what a bucket's adapter gives once it has repeated what it may (`store/remote`)."""

    inner: SimStore
    process: Process
    _on_their_way: dict[str, Utc] = field(default_factory=dict)  # creates that take effect late: until when nobody answers
    _unheard: dict[str, bytes] = field(default_factory=dict)  # created by this process, without an answer: it knows them again

    @property
    def url(self) -> str:
        return self.inner.url

    def create(self, key: str, data: Chunks) -> None:
        self._reach()
        process = self.process
        is_record = key.startswith(JOURNAL_PREFIX)
        if is_record:
            process.crash(Fault.CRASH_AT_APPEND)
        whole = data if isinstance(data, bytes) else b"".join(data)
        if process.is_hit(Fault.CREATE_FAILED):
            raise StoreUnknown(f"{key}: refused before it took effect")
        if self._on_their_way.get(key, 0.0) > process.now:
            raise StoreUnknown(f"{key}: no answer in time, as the one before")
        if process.is_hit(Fault.CREATE_LATE):
            self._on_their_way[key] = process.now + CREATE_LATE
            process.timeline.after(CREATE_LATE, lambda: self._land(key, whole))
            raise StoreUnknown(f"{key}: no answer in time")
        unheard = self._unheard.pop(key, None)
        try:
            self.inner.create(key, whole)
        except KeyExists:
            if unheard != whole:
                raise
        else:
            counts = key > journal_key(NUM_OF_BIRTH) if is_record else COMMITS_FOLDER in key
            if counts and process.is_hit(Fault.WRITE_CORRUPTED):
                self.inner.damage(key, self._bent(whole))  # three of the four servers that were tried store it so
        if process.is_hit(Fault.CREATE_UNANSWERED):
            self._unheard[key] = whole
            raise StoreUnknown(f"{key}: its answer was lost")
        if is_record:
            process.crash(Fault.CRASH_AT_APPEND)

    def _land(self, key: str, data: bytes) -> None:
        try:
            self.inner.create(key, data)
        except KeyExists:
            return
        self._unheard[key] = data

    def _bent(self, data: bytes) -> bytes:
        place = self.process.plan.choice(len(data))
        return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]

    def replace(self, key: str, data: bytes) -> None:
        self._reach()
        if self.process.is_hit(Fault.CREATE_FAILED):
            raise StoreUnknown(f"{key}: refused before it took effect")
        self.inner.replace(key, data)
        if self.process.is_hit(Fault.CREATE_UNANSWERED):
            raise StoreUnknown(f"{key}: its answer was lost")

    def get(self, key: str, span: Span | None = None) -> bytes:
        self._reach()
        data = self.inner.get(key, span)
        plan = self.process.plan
        if data and self.process.is_hit(Fault.READ_TRUNCATED):
            return data[: plan.choice(len(data))]
        return self._bent(data) if data and self.process.is_hit(Fault.READ_CORRUPTED) else data

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        self._reach()
        found = list(self.inner.list(prefix))
        if self.process.is_hit(Fault.LIST_LATE):
            found = [meta for meta in found if self.inner.created_at(meta.key) < self.process.now - LIST_LAG]
        return iter(found)

    def delete(self, key: str) -> None:
        self._reach()
        self.inner.delete(key)

    def _reach(self) -> None:
        process, plan = self.process, self.process.plan
        process.live()
        if plan.during(Fault.STORE_AWAY, process.now):
            process.rest(SILENCE)
            raise StoreUnknown("the store cannot be reached")
        if plan.in_storm(process.now):
            raise StoreUnknown("503 Slow Down")
        if process.can_stop and process.is_hit(Fault.STORE_SLOW):
            process.rest(SLOW)


@dataclass(kw_only=True)
class FaultyCloud:
    """The cloud as one supervisor reaches it."""

    inner: Cloud
    process: Process
    _polled: list[tuple[Utc, dict[InstanceName, InstanceStatus]]] = field(default_factory=list)

    def start(self, name: InstanceName, spec: AttemptSpec) -> None:
        self._command(Fault.START_LOST, Fault.START_UNANSWERED, lambda: self.inner.start(name, spec))

    def stop(self, name: InstanceName) -> None:
        self._command(Fault.STOP_LOST, Fault.STOP_UNANSWERED, lambda: self.inner.stop(name))

    def poll(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        self._reach()
        process, plan = self.process, self.process.plan
        if process.is_hit(Fault.POLL_FAILED):
            raise CloudUnreachable("poll: 500")
        found = self.inner.poll(run, incarnation)
        stale = [old for at, old in self._polled if at >= process.now - POLL_LAG]
        self._polled = [*((at, old) for at, old in self._polled if at >= process.now - POLL_LAG), (process.now, found)]
        if stale and process.is_hit(Fault.POLL_STALE):
            return stale[0]
        if found and process.is_hit(Fault.POLL_PARTIAL):
            missing = sorted(found)[plan.choice(len(found))]
            return {name: status for name, status in found.items() if name != missing}
        if Fault.ENDS_UNTOLD in plan.kinds:
            return {name: status for name, status in found.items() if not self._hides(status)}
        return found

    def _hides(self, status: InstanceStatus) -> bool:
        """A cloud that forgets what has ended."""
        hides = status.phase is InstancePhase.GONE
        self.process.plan.fired[Fault.ENDS_UNTOLD] += hides
        return hides

    def _command(self, lost: Fault, unanswered: Fault, act: Callable[[], None]) -> None:
        self._reach()
        process = self.process
        process.crash(Fault.CRASH_AT_COMMAND)
        if process.is_hit(lost):
            return  # said to be on its way, and never heard of again
        act()
        if process.is_hit(unanswered):
            raise CloudUnreachable("the command's answer was lost")
        process.crash(Fault.CRASH_AT_COMMAND)

    def _reach(self) -> None:
        self.process.live()
        if self.process.plan.during(Fault.CLOUD_AWAY, self.process.now):
            raise CloudUnreachable("the cloud's API does not answer")


@dataclass(kw_only=True)
class FaultyFeed:
    inner: Feed
    process: Process

    def offers(self, now: Utc) -> tuple[Offer, ...]:
        self.process.live()
        if self.process.is_hit(Fault.FEED_STALE):
            raise FeedStale("the feed's newest prices are too old")
        return self.inner.offers(now)
