"""Waste that seeds found, one scenario each: the smallest world that shows it."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from launcher import beacon
from launcher.core.contract import SUPERVISOR_KEY, journal_key
from launcher.core.instance import FailureKind, InstanceName
from launcher.core.policy.base import Phase
from launcher.core.recipe import RetrySpec
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.core.tempo import Tempo
from launcher.errors import CloudUnreachable
from launcher.processes import ProcessId
from launcher.seal import seal
from launcher.sim.clock import SimClock
from launcher.sim.cloud import HONEST, Start
from launcher.sim.store import SimStore
from launcher.sim.timeline import Actor, Dismissed, Timeline
from launcher.sim.trainer import Pace
from launcher.sim.world import START, Supervisor
from launcher.units import HOUR, MINUTE
from tests.simulation.worlds import Sim, recipe


def test_a_run_behind_its_deadline_asks_a_cloud_that_refuses_once_a_minute():
    """With every place cooling down and no slack left it asked at each look, every three seconds, for hours.

    It asks while the net's reserve lasts, and as long again as a start takes: then the deadline is lost, and nothing presses.
    """
    sim = Sim(policy="spot", deadline_at=START + 2 * HOUR, pace=Pace(boot_s=20 * MINUTE))
    refused = Start(refused=FailureKind.CAPACITY)
    sim.cloud.plan_start = lambda name, spec: refused if sim.timeline.now < START + HOUR else HONEST
    state = sim.run()
    hurried = [e.at for e in sim.of(ev.AttemptRequested) if "no time to wait" in e.reason]
    assert len(hurried) > 10, "it goes on asking"
    assert min(b - a for a, b in pairwise(hurried)) >= MINUTE
    assert max(hurried) - min(hurried) <= 31 * MINUTE
    assert state.phase is Phase.PAUSED
    assert state.terminal.reason == "the deadline has passed"


class GarblingStore(SimStore):
    """One read of it arrives damaged: the one of that number, from 0."""

    def __init__(self, timeline: Timeline, garbled: int) -> None:
        super().__init__(timeline)
        self.garbled = garbled
        self.num_reads = 0

    def get(self, key, span=None):
        data = super().get(key, span)
        self.num_reads += 1
        return data[: len(data) // 2] if self.num_reads == self.garbled + 1 else data


def lit_elsewhere(timeline: Timeline, store: SimStore) -> None:
    """A beacon that burns on another machine, for as long as the timeline goes on."""
    lamp = beacon.Lamp(store, SimClock(timeline), "sup-1", beacon.Seat(boot_id="another"))

    def burn() -> None:
        lamp.burn(Tempo(), 0.0)
        timeline.after(Tempo().beacon, burn)

    burn()


def test_a_supervisor_in_another_container_of_this_machine_is_not_taken_for_dead():
    """Containers share the boot, and each counts its processes from 1: a tick in one took the run from another's supervisor."""
    timeline = Timeline(START)
    store = SimStore(timeline)
    seat = beacon.Seat(pid_space="another container's", process=ProcessId(pid=1, started="1"))
    beacon.Lamp(store, SimClock(timeline), "sup-1", seat).burn(Tempo(), 0.0)
    assert beacon.judge(beacon.read(store)) is beacon.Holder.UNSURE


@pytest.mark.parametrize("garbled", range(4))
def test_a_beacon_that_arrives_damaged_is_not_taken_for_a_dead_one(garbled):
    """One read of `supervisor.json` was damaged on its way, and a cron tick took the run from the supervisor that drove it."""
    timeline = Timeline(START)
    store = GarblingStore(timeline, garbled)
    lit_elsewhere(timeline, store)
    clock = SimClock(timeline)
    found = beacon.holder(store, lambda: None, monotonic=clock.monotonic_s, wait=clock.wait)
    assert store.num_reads > garbled
    assert found is not None
    assert found.supervisor == "sup-1"


def test_a_beacon_that_rots_where_it_lies_is_dead_after_twice_its_interval():
    timeline = Timeline(START)
    store = SimStore(timeline)
    store.replace(SUPERVISOR_KEY, b"{")
    clock = SimClock(timeline)
    assert beacon.holder(store, lambda: None, monotonic=clock.monotonic_s, wait=clock.wait) is None
    assert clock.monotonic_s() == 2 * Tempo().beacon


def test_a_beacon_that_somebody_else_released_is_not_the_drivers_word():
    """A tick slept on its way out and woke an hour later: it released the beacon of whoever drove the run by then (seed 4474)."""
    timeline = Timeline(START)
    store, clock = SimStore(timeline), SimClock(timeline)
    seat = beacon.Seat(boot_id="elsewhere")
    driver, sleeper = (beacon.Lamp(store, SimClock(timeline), name, seat) for name in ("driver", "sleeper"))
    sleeper.burn(Tempo(), 0.0)
    driver.burn(Tempo(), 0.0)
    sleeper.release()
    timeline.after(30.0, lambda: driver.burn(Tempo(), 0.0))
    timeline.after(61.0, lambda: driver.burn(Tempo(), 0.0))
    found = beacon.holder(store, lambda: "driver", monotonic=clock.monotonic_s, wait=clock.wait)
    assert found is not None
    assert found.supervisor == "driver"
    driver.release()
    assert beacon.holder(store, lambda: "driver", monotonic=clock.monotonic_s, wait=clock.wait) is None


def test_two_supervisors_that_doze_do_not_wait_for_each_other_within_one_instant():
    """A rival had opened the run, the first had not looked yet, nothing else was due: simulated time stood still for ever."""
    sim = Sim(skips=True)
    sim.open()
    both = [sim.supervisors[0], sim.supervisor()]
    both[1].open()

    def doze_twice(supervisor: Supervisor) -> None:
        supervisor.doze(5 * MINUTE, 30.0)  # there was news: the first time is one look long
        supervisor.doze(5 * MINUTE, 30.0)

    actors = [Actor(sim.timeline, s.name, partial(doze_twice, s)) for s in both]
    for actor in actors:
        actor.start(START)
    left = iter(range(1000))
    sim.timeline.pass_while(lambda: next(left, None) is not None, START + HOUR)
    assert [actor.is_over for actor in actors] == [True, True]
    assert [actor.error for actor in actors] == [None, None]


def test_a_search_ends_with_the_machine_that_came_up_and_not_with_its_claim():
    """The search had lasted `retry.capacity` while a machine, up and paid for, was a minute from its claim: it was let go."""
    sim = Sim(policy="spot", recipe=recipe(retry=RetrySpec(capacity=90 * MINUTE + 40)))
    refused = Start(refused=FailureKind.CAPACITY)
    sim.cloud.plan_start = lambda name, spec: refused if sim.timeline.now < START + 80 * MINUTE else HONEST
    state = sim.run()
    claimed = sim.of(ev.AttemptClaimed)[0]
    assert START + 90 * MINUTE + 40 < claimed.at < START + 95 * MINUTE, "the search was over between the start and the claim"
    assert state.phase is Phase.SUCCEEDED


def test_work_made_under_a_grant_that_rotted_is_not_lost():
    """The grant's record rotted after an hour of training: the next attempt was granted step 0 instead of the newest commit."""
    sim = Sim(policy="spot")
    rotten: list[int] = []

    def rot(event: ev.Event, state: RunState) -> None:
        if isinstance(event, ev.CheckpointSeen) and event.ref.commit > 3 and not rotten:
            rotten.append(next(r.number for r in sim.history.records if isinstance(r.event, ev.WriterGranted)))
            key = journal_key(rotten[0])
            sim.store.damage(key, sim.store.get(key)[:40])
            raise Dismissed("its process was killed; the next one reads the journal anew")

    with pytest.raises(Dismissed):
        sim.run(rot)
    state = sim.run()
    assert state.voided == frozenset(rotten)
    second = next(e for e in sim.of(ev.WriterGranted) if e.attempt > 1)
    assert second.parent is not None
    assert second.parent.attempt == 1
    assert second.parent.commit > 3
    assert state.phase is Phase.SUCCEEDED


@pytest.mark.parametrize("is_away", [False, True])
def test_a_machine_is_stopped_before_its_seal_is_waited_for_and_sealed_also_where_it_cannot_be_stopped(
    monkeypatch: pytest.MonkeyPatch, is_away: bool
) -> None:
    """A seal that a slow store took a minute for kept a machine that had ended up for three (seed 1111)."""
    sim = Sim()
    sim.cloud.plan_start = lambda name, spec: Start(autodown=5 * MINUTE)
    acts: list[str] = []

    def stop(name: InstanceName, stop: Callable[[InstanceName], None] = sim.cloud.stop) -> None:
        acts.append("stop")
        if is_away and acts.count("stop") < 10:
            raise CloudUnreachable("its API is away")
        stop(name)

    def sealed(*args: Any) -> None:
        acts.append("seal")
        seal(*args)

    monkeypatch.setattr(sim.cloud, "stop", stop)
    monkeypatch.setattr("launcher.loop.seal", sealed)
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert acts[:2] == ["stop", "seal"]
    assert acts.count("seal") == 1
