"""Mistakes that seeds found, one scenario each: the smallest world that shows it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from launcher import beacon
from launcher.adapters.cloud.base import Cloud
from launcher.adapters.store.base import Chunks, ObjectMeta, ObjectStore, Span
from launcher.adapters.store.memory import MemoryStore
from launcher.core.checkpoint.manifest import CommitRef, Sealed, write
from launcher.core.contract import (
    JOURNAL_PREFIX,
    AttemptSpec,
    Heartbeat,
    commit_key,
    exit_key,
    heartbeat_key,
    journal_key,
    requested_key,
)
from launcher.core.instance import EndCause, InstanceName, InstancePhase, InstanceStatus
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.core.run.ledger import ledger
from launcher.core.run.spec import attempt_spec
from launcher.core.run.spent import attempt_cost, spent
from launcher.core.run.state import Bill, EndKind, RunState
from launcher.core.tempo import Tempo
from launcher.errors import StoreUnknown
from launcher.observe import Observer
from launcher.seal import seal
from launcher.sim.clock import SimClock
from launcher.sim.cloud import HONEST, Start
from launcher.sim.store import SimStore
from launcher.sim.timeline import Dismissed, Timeline
from launcher.sim.trainer import Pace
from launcher.sim.world import HOME, HomeCloud, MarketFeed, Supervisor
from launcher.units import HOUR, MINUTE, Seconds, Utc
from tests.builders import after, lost, training_run
from tests.simulation.worlds import OFFERS, FixedTrace, Sim, recipe

CENT = 0.01


def seen_late(delay: Seconds) -> Sim:
    """The first machine appears so long after its request."""
    sim = Sim()
    sim.cloud.plan_start = lambda name, spec: Start(delay=delay) if spec.attempt == 1 else HONEST
    return sim


@pytest.mark.parametrize("delay", range(272, 279))
def test_a_machine_that_appears_in_the_look_in_which_patience_ends_is_taken(delay):
    """One look said both that it had started and that no instance had appeared: it was stopped the moment it came up."""
    sim = seen_late(float(delay))
    sim.run()
    started = {e.attempt for e in sim.of(ev.AttemptStarted)}
    refused = {e.attempt for e in sim.of(ev.AttemptRefused)}
    assert not [n for n in started & refused if first(sim, ev.AttemptStarted, n) < first(sim, ev.AttemptRefused, n)]


def first(sim: Sim, kind: type[ev.Event], attempt: int) -> int:
    return next(i for i, event in enumerate(sim.events) if isinstance(event, kind) and event.attempt == attempt)


@dataclass(frozen=True, slots=True)
class ForgetfulCloud:
    """A cloud that lists nothing in one of these phases."""

    inner: Cloud
    hidden: frozenset[InstancePhase]

    def start(self, name: InstanceName, spec: AttemptSpec) -> None:
        self.inner.start(name, spec)

    def stop(self, name: InstanceName) -> None:
        self.inner.stop(name)

    def poll(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        listed = self.inner.poll(run, incarnation)
        return {name: status for name, status in listed.items() if status.phase not in self.hidden}


class ForgetfulSim(Sim):
    hidden = frozenset({InstancePhase.GONE})

    def cloud_of(self, supervisor: Supervisor) -> Cloud:
        return ForgetfulCloud(super().cloud_of(supervisor), self.hidden)


class BlindSim(ForgetfulSim):
    hidden = frozenset(InstancePhase)


def assert_the_books_hold(sim: Sim, state: RunState) -> None:
    for instance in sim.cloud.instances.values():
        told = attempt_cost(state.attempts[instance.spec.attempt], sim.timeline.now, 1)
        assert told.low - CENT <= sim.cloud.bill_of(instance) <= told.high + CENT, instance.name


def test_an_end_that_the_cloud_does_not_tell_of_may_have_been_free():
    """AWS charges nothing where it takes a machine within the hour; the ledger was sure of a charge, as nobody said who did."""
    sim = ForgetfulSim(trace=FixedTrace(up=40 * MINUTE, down=MINUTE, notice=lambda place, k: False))
    state = sim.run()
    assert any(sim.cloud.bill_of(instance) == 0.0 for instance in sim.cloud.instances.values())
    assert_the_books_hold(sim, state)


@pytest.mark.parametrize("kind", [ForgetfulSim, BlindSim])
def test_a_weekend_in_which_nobody_looked_does_not_cost_the_budget(kind: type[Sim]):
    """Its last word said when it had ended, and the machine was billed to the look that read it: exit 4."""
    sim = kind(recipe=recipe(budget=20.0), trace=FixedTrace(up=HOUR, down=MINUTE))
    with pytest.raises(KeyboardInterrupt):
        sim.run(interrupted_in_training)
    sim.timeline.pass_until(sim.timeline.now + 60 * HOUR)
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert spent(state, sim.timeline.now).high < 5.0
    assert_the_books_hold(sim, state)


@pytest.mark.parametrize("kind", [ForgetfulSim, BlindSim])
def test_a_machine_that_vanished_in_a_weekend_without_a_word_costs_no_weekend(kind: type[Sim]):
    """It trained for an hour. The run was paused for its budget, and 56 h of useful work stood in the books."""
    sim = kind(recipe=recipe(budget=20.0), trace=FixedTrace(up=HOUR, down=MINUTE, notice=lambda place, k: False))
    with pytest.raises(KeyboardInterrupt):
        sim.run(interrupted_in_training)
    sim.timeline.pass_until(sim.timeline.now + 60 * HOUR)
    state = sim.run()
    books = ledger(state, sim.timeline.now)
    assert state.phase is Phase.SUCCEEDED
    assert state.attempts[1].ended_as(EndKind.PREEMPTED)
    assert books.spent.likely == pytest.approx(sim.cloud.dollars(), abs=CENT)
    assert books.times.useful + books.times.redone < 2 * HOUR
    assert all(place.life_seen < 2 * HOUR for place in sim.history.market.places.values())
    assert_the_books_hold(sim, state)


def test_a_machine_that_no_look_found_listed_and_that_claimed_was_not_free():
    """Its exit report told of it, and its cost was 0.00 to 0.00 dollars."""
    sim = BlindSim()
    state = sim.run()
    assert sim.cloud.dollars() > CENT
    assert_the_books_hold(sim, state)


def test_the_heartbeat_of_a_machine_that_the_cloud_no_longer_lists_is_no_proof_that_it_is_billed():
    """Seed 7351: it was taken while nobody looked, went on as a zombie, and was in the books for as long as it spoke."""
    sim = ForgetfulSim(trace=FixedTrace(up=65 * MINUTE, down=MINUTE, notice=lambda place, k: False))
    sim.cloud.plan_start = lambda name, spec: Start(comes_back_after=2 * MINUTE)
    with pytest.raises(Dismissed):
        sim.run(killed_when_it_missed_a_machine)
    sim.timeline.pass_until(sim.timeline.now + 3 * MINUTE)
    state = sim.run()
    assert [agent.was_woken for agent in sim.cloud.instances["r-inc-1"].agents] == [True]
    assert attempt_cost(state.attempts[1], sim.timeline.now, 1).high > sim.cloud.bill_of(sim.cloud.instances["r-inc-1"]) + CENT
    assert_the_books_hold(sim, state)


def killed_when_it_missed_a_machine(event: ev.Event, state: RunState) -> None:
    if isinstance(event, ev.InstanceMissed):
        raise Dismissed("its process was killed")


@dataclass(slots=True)
class DeadlyCloud:
    """Who has it start a machine is killed, once."""

    inner: Cloud
    is_deadly: bool = True

    def start(self, name: InstanceName, spec: AttemptSpec) -> None:
        self.inner.start(name, spec)
        if self.is_deadly:
            raise Dismissed("its process was killed")

    def stop(self, name: InstanceName) -> None:
        self.inner.stop(name)

    def poll(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        return self.inner.poll(run, incarnation)


class KilledAtStart(ForgetfulSim):
    """The first supervisor is, and the record of its request rots. What has ended is not listed."""

    def cloud_of(self, supervisor: Supervisor) -> Cloud:
        return DeadlyCloud(super().cloud_of(supervisor), is_deadly=supervisor.number == 1)

    def after_the_blow(self, passed: Seconds) -> RunState:
        with pytest.raises(Dismissed):
            self.run()
        rot_the_request(self)
        self.timeline.pass_until(self.timeline.now + passed)
        return self.run()


def rot_the_request(sim: Sim) -> None:
    key = journal_key(next(r.number for r in sim.history.records if isinstance(r.event, ev.AttemptRequested)))
    sim.store.damage(key, sim.store.get(key)[:40])


def killed_in_training(event: ev.Event, state: RunState) -> None:
    if isinstance(event, ev.CheckpointSeen) and event.ref.commit > 3:
        raise Dismissed("its process was killed")


def test_what_a_machine_cost_whose_request_rotted_is_spent_all_the_same():
    """Seed 1183: it trained, the record of its request rotted, its hours were free, and the budget was spent twice."""
    sim = Sim(recipe=recipe(budget=1.2, steps=7200), trace=FixedTrace(up=100 * HOUR))
    with pytest.raises(Dismissed):
        sim.run(killed_in_training)
    rot_the_request(sim)
    sim.timeline.pass_until(sim.timeline.now + 100 * HOUR)
    state = sim.run()
    assert len(state.voided) == 1
    assert sim.cloud.dollars() <= 1.2
    assert_the_books_hold(sim, state)


def test_a_machine_that_nobody_saw_before_its_request_rotted_is_stopped_at_once_and_billed():
    """It was a stranger: nobody knew what it cost."""
    sim = KilledAtStart(trace=FixedTrace(up=100 * HOUR))
    state = sim.after_the_blow(20 * MINUTE)
    first = sim.cloud.instances["r-inc-1"]
    assert first.ended_at - first.billed_from < 21 * MINUTE
    assert sim.cloud.bill_of(first) > CENT
    assert_the_books_hold(sim, state)


def test_a_machine_that_was_gone_before_anybody_knew_of_it_may_have_cost_something():
    """It booted, waited for its grant in vain and was deleted, and neither the journal nor the cloud told of it."""
    sim = KilledAtStart(trace=FixedTrace(up=100 * HOUR))
    state = sim.after_the_blow(2 * HOUR)
    assert sim.cloud.bill_of(sim.cloud.instances["r-inc-1"]) > CENT
    assert_the_books_hold(sim, state)


def test_a_machine_that_was_started_after_its_request_was_void_is_billed(monkeypatch):
    """Who had requested it slept meanwhile, and woke just before its start."""
    sim = Sim(trace=FixedTrace(up=100 * HOUR))
    create, asleep = sim.store.create, []

    def sleep_once(key: str, data: Chunks) -> None:
        if key == requested_key(1) and not asleep:
            asleep.append(data)
            raise Dismissed("it sleeps")
        create(key, data)

    monkeypatch.setattr(sim.store, "create", sleep_once)
    with pytest.raises(Dismissed):
        sim.run()
    state = sim.history.state
    rot_the_request(sim)

    def wakes(event: ev.Event, _: RunState) -> None:
        if not sim.cloud.instances:
            create(requested_key(1), asleep[0])
            sim.cloud.start("r-inc-1", attempt_spec(state, state.attempts[1], sim.store.url))
            sim.timeline.sleep_until(sim.timeline.now + 5 * MINUTE)

    assert_the_books_hold(sim, sim.run(wakes))
    first = sim.cloud.instances["r-inc-1"]
    assert sim.cloud.bill_of(first) > CENT
    assert first.ended_at - first.billed_from < 6 * MINUTE


def test_a_machine_that_no_second_copy_tells_of_is_stopped_and_the_journal_says_no_more_for_it():
    """Each look that finds it asks for a copy, and would void the same records again."""
    sim = KilledAtStart(trace=FixedTrace(up=100 * HOUR))
    with pytest.raises(Dismissed):
        sim.run()
    sim.store.delete(requested_key(1))
    rot_the_request(sim)
    sim.run()
    assert sim.cloud.instances["r-inc-1"].ended_at is not None
    assert len([r for r in sim.history.records if isinstance(r.event, ev.RecordVoided)]) == 1


def test_a_report_that_arrives_damaged_is_read_again_before_its_attempt_is_taken_for_lost(monkeypatch):
    """Seed 40286: in the look that found the machine gone, its report was cut short, and the end taken for a preemption."""
    sim = Sim(trace=FixedTrace(up=100 * HOUR))
    sim.cloud.reports_ends = False
    get, damaged = sim.store.get, []

    def cut_short_once(key: str, span: Span | None = None) -> bytes:
        data = get(key, span)
        if key == exit_key(1) and not damaged:
            damaged.append(key)
            return data[:40]
        return data

    monkeypatch.setattr(sim.store, "get", cut_short_once)
    state = sim.run()
    assert damaged
    assert state.attempts[1].end.end is EndKind.FINISHED


@dataclass(frozen=True, slots=True)
class SlowToWrite:
    """Journaling takes its time."""

    inner: SimStore
    timeline: Timeline

    @property
    def url(self) -> str:
        return self.inner.url

    def create(self, key: str, data: Chunks) -> None:
        self.inner.create(key, data)
        if key.startswith(JOURNAL_PREFIX):
            self.timeline.sleep_until(self.timeline.now + 5 * MINUTE)

    def replace(self, key: str, data: bytes) -> None:
        self.inner.replace(key, data)

    def get(self, key: str, span: Span | None = None) -> bytes:
        return self.inner.get(key, span)

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        self.inner.delete(key)


@dataclass(frozen=True, slots=True)
class Severed:
    """A way to the store that breaks off."""

    inner: SimStore
    timeline: Timeline
    ends_at: Utc

    @property
    def url(self) -> str:
        return self.inner.url

    def create(self, key: str, data: Chunks) -> None:
        self._reached().create(key, data)

    def replace(self, key: str, data: bytes) -> None:
        self._reached().replace(key, data)

    def get(self, key: str, span: Span | None = None) -> bytes:
        return self._reached().get(key, span)

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        return self._reached().list(prefix)

    def delete(self, key: str) -> None:
        self._reached().delete(key)

    def _reached(self) -> SimStore:
        if self.timeline.now >= self.ends_at:
            raise StoreUnknown("no route to host")
        return self.inner


class SeveredSim(ForgetfulSim):
    def store_of(self, who: str) -> ObjectStore:
        return Severed(self.store, self.timeline, self.start + HOUR) if who == "machine-1" else super().store_of(who)


@pytest.mark.parametrize("budget", [None, 8.0])
def test_a_machine_that_trained_on_unheard_while_nobody_looked_is_in_the_books(budget: float | None):
    """Its last word was no end: it went on to its `autostop`, or to what the budget paid for."""
    steps = 24 * 3600
    sim = SeveredSim(recipe=recipe(budget=budget, steps=steps), trace=FixedTrace(up=100 * HOUR), pace=Pace(total_steps=steps))
    with pytest.raises(KeyboardInterrupt):
        sim.run(interrupted_in_training)
    sim.timeline.pass_until(sim.timeline.now + 60 * HOUR)
    assert 6.0 < sim.cloud.dollars() < 12.0
    assert_the_books_hold(sim, sim.run())


class SlowForgetfulSim(ForgetfulSim):
    def store_of(self, who: str) -> ObjectStore:
        return SlowToWrite(self.store, self.timeline) if who.startswith("sup") else super().store_of(who)


def test_an_end_is_not_taken_to_be_as_late_as_the_record_before_it_took_to_write():
    """The bill's earliest end was counted back from when the loss had been journaled, and not from the look that found it."""
    sim = SlowForgetfulSim(trace=FixedTrace(up=65 * MINUTE, down=MINUTE, notice=lambda place, k: False))
    assert_the_books_hold(sim, sim.run())


def test_a_beacon_whose_write_failed_is_written_at_the_next_look():
    """It was next written a whole interval later, and two such failures in a row looked like a dead supervisor."""
    timeline = Timeline(0.0)
    store, failures = SimStore(timeline), 1

    class Failing(MemoryStore):
        def replace(self, key: str, data: bytes) -> None:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise StoreUnknown("503")
            store.replace(key, data)

    lamp = beacon.Lamp(Failing(), SimClock(timeline), "sup-1")
    with pytest.raises(StoreUnknown):
        lamp.burn(Tempo(), 0.0)
    lamp.burn(Tempo(), 0.0)
    assert beacon.read(store) is not None


def test_a_beacon_says_what_its_supervisor_waits_for_and_no_longer_than_that():
    sim, said = Sim(pace=Pace(total_steps=9000), rows=OFFERS[:1]), []

    def note(event: ev.Event, state: RunState) -> None:
        if isinstance(event, ev.AttemptRequested | ev.CheckpointSeen) and (light := beacon.read(sim.store)):
            said.append((type(event), state.next_attempt - 1, "cool" in light.waits_for))

    sim.run(note)
    assert (ev.AttemptRequested, 2, True) in said
    assert {waits for kind, _, waits in said if kind is ev.CheckpointSeen} == {False}


@pytest.mark.parametrize("home", [HOME, "home-2"])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_machine_that_no_command_would_stop_is_a_stranger_from_another_home_too(home: str, is_known: bool):
    """Its record was void, or its bill was closed before it came up, and the home that took over knew of it only by its label."""
    sim = Sim(trace=FixedTrace(up=100 * HOUR))
    with pytest.raises(KeyboardInterrupt):
        sim.run(interrupted_in_training)
    begun, at = sim.history.state, sim.timeline.now
    bill = Bill(low=at, likely=at, high=at, cause=EndCause.UNTOLD, wait_status=None)
    state = replace(begun, attempts={1: replace(begun.attempts[1], bill=bill)} if is_known else {})
    observer = Observer(sim.store, HomeCloud(sim.cloud, home), MarketFeed(sim.market))
    observer.look(state, at)
    assert observer.strangers == ("r-inc-1",)


def interrupted_in_training(event: ev.Event, state: RunState) -> None:
    if isinstance(event, ev.TrainingStarted):
        raise KeyboardInterrupt


@pytest.mark.parametrize("word", [b'"sequence":', b'"nonce":"', b'"step":'])
def test_a_heartbeat_with_one_flipped_digit_is_none(word: bytes):
    """A number that a bit had flipped in was believed: a sequence far ahead made every later heartbeat look old."""
    sim = Sim(trace=FixedTrace(up=100 * HOUR))
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    data = sim.store.get(heartbeat_key(1))
    place = data.index(word) + len(word)
    flipped = data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :]
    living = replace(state, attempts={1: replace(state.attempts[1], end=None, bill=None)})

    def heartbeats(stored: bytes) -> dict[int, Heartbeat]:
        store = MemoryStore()
        store.replace(heartbeat_key(1), stored)
        return Observer(store, HomeCloud(sim.cloud, HOME), MarketFeed(sim.market)).look(living, sim.timeline.now).heartbeats

    assert 1 in heartbeats(data)
    assert heartbeats(flipped) == {}


class SealedMeanwhile(MemoryStore):
    """Another supervisor seals the attempt just before our seal arrives."""

    def create(self, key: str, data: Chunks) -> None:
        if not self.list_of("attempts/0001/commits/"):
            other = Sealed(run="run", incarnation="inc", ref=CommitRef(1, 1), supervisor="sup-2", nonce="other")
            super().create(key, write(other))
        super().create(key, data)

    def list_of(self, prefix: str) -> list[str]:
        return [meta.key for meta in self.list(prefix)]


def test_a_seal_that_finds_another_supervisors_seal_in_its_place_is_content():
    """Seed 4245: one that had been paused took what stood there for a manifest, and sealed the attempt again one number on."""
    store = SealedMeanwhile()
    seal(store, after(training_run(), lost(1)), 1, "sup-1", "mine")
    assert store.list_of("attempts/0001/commits/") == [commit_key(CommitRef(1, 1))]
