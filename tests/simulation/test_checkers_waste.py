"""Each checker of waste and liveness objects to a history that is wrong in its way, and to none that is right.

The histories are played; then one thing in them is made wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from launcher import codec
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import Manifest
from launcher.core.contract import Request, RequestKind, commit_key, exit_key, request_key
from launcher.core.instance import FailureKind
from launcher.core.market.belief import MarketView
from launcher.core.policy.base import Decision, Hold, Move, Phase, RunView, Wait
from launcher.core.recipe import RetrySpec
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.core.run.verdict import Verdict
from launcher.sim.checkers.base import CHECKERS, judge
from launcher.sim.checkers.idleness import STOP_MOST
from launcher.sim.checkers.tale import told_of
from launcher.sim.cloud import Instance, Start
from launcher.sim.disaster import FaultyWorld
from launcher.sim.faults import Fault
from launcher.sim.seeds import world_of
from launcher.sim.soak import silence
from launcher.sim.store import Written
from launcher.units import HOUR, MINUTE, Utc

PREEMPTED = 18  # a seed whose fair world has several lives, and no limit that ends it
NOTHING: frozenset[Fault] = frozenset()


def played(
    seed: int = PREEMPTED, only: frozenset[Fault] | None = NOTHING, change: Callable[[FaultyWorld], None] = lambda w: None
) -> FaultyWorld:
    world = world_of(seed, only=only)
    change(world)
    with silence():
        world.play()
    return world


def objections(checker: str, world: FaultyWorld) -> list[str]:
    return list(CHECKERS[checker](world))


def later_grant(world: FaultyWorld) -> ev.WriterGranted:
    """One that names a parent."""
    return next(t.event for t in told_of(world, ev.WriterGranted) if t.event.parent is not None)


def instance_of(world: FaultyWorld, attempt: int) -> Instance:
    return next(i for i in world.cloud.instances.values() if i.spec.attempt == attempt)


@pytest.mark.parametrize("seed", range(12))
def test_a_world_in_which_nothing_goes_wrong_gives_no_cause_for_objection(seed):
    assert judge(played(seed)) == []


def test_an_announced_preemption_costs_no_step_where_the_warning_leaves_time_for_a_save():
    world = played()
    state = world.reader().state
    announced = [a for a in state.attempts.values() if a.notice is not None and a.offer.notice_lead > 2 * world.pace.durable_s]
    assert announced, "the world shows what the test is about"
    made = {a.number: a.end.report.last.step for a in announced if a.end is not None and a.end.report is not None}
    assert made == {a.number: a.commit_step for a in announced}


def test_durable_steps_objects_to_a_grant_that_passes_over_a_commit():
    world = played()
    parent = later_grant(world).parent
    at, written = next((i, w) for i, w in enumerate(world.store.log) if w.key == commit_key(parent))
    found = manifests.read(written.data)
    assert isinstance(found, Manifest)
    newer = replace(found, ref=replace(parent, commit=parent.commit + 1), step=found.step + 10)
    world.store.log.insert(at + 1, Written(written.at, commit_key(newer.ref), manifests.write(newer)))
    assert any("was durable" in what for what in objections("durable-steps", world))


def test_redone_work_objects_to_a_restore_further_back_than_the_grant_allowed():
    world = played()
    parent = later_grant(world).parent
    at, written = next((i, w) for i, w in enumerate(world.store.log) if w.key == commit_key(parent))
    found = manifests.read(written.data)
    world.store.log[at] = replace(written, data=manifests.write(replace(found, step=found.step + 100)))
    assert any("was whole" in what for what in objections("redone-work", world))


def test_double_training_objects_to_an_attempt_that_trains_on_beside_its_successor():
    world = played()
    first = min(t.event.attempt for t in told_of(world, ev.WriterGranted))
    instance = instance_of(world, first)
    second = min(t.at for t in told_of(world, ev.WriterGranted) if t.event.attempt > first)
    world.store.log[:] = [w for w in world.store.log if w.key != exit_key(first)]
    instance.ended_at = second + HOUR
    for agent in instance.agents:
        agent.ended_at = second + HOUR
    assert objections("double-training", world) == [f"attempt {first} trained for 3600 s after the right to write had passed on"]


def test_idle_machine_objects_to_one_that_stands_ready_without_a_grant():
    world = played()
    last = max(t.event.attempt for t in told_of(world, ev.WriterGranted))
    for agent in instance_of(world, last).agents:
        assert agent.claimed_at is not None
        agent.claimed_at -= HOUR
    assert any(f"attempt {last} stood ready" in what for what in objections("idle-machine", world))


def test_idle_machine_objects_to_one_that_never_speaks_and_is_kept():
    world = played()
    last = max(t.event.attempt for t in told_of(world, ev.WriterGranted))
    instance = instance_of(world, last)
    instance.billed_from -= HOUR
    for agent in instance.agents:
        agent.claimed_at = None
    assert any("without a word" in what for what in objections("idle-machine", world))


def test_idle_machine_objects_to_one_that_stays_up_after_its_attempt():
    world = played()
    first = min(t.event.attempt for t in told_of(world, ev.WriterGranted))
    instance_of(world, first).ended_at += 20 * MINUTE
    assert any("stayed up" in what for what in objections("idle-machine", world))


def test_idle_machine_leaves_one_to_the_cloud_that_announced_its_end_by_the_clock_of_whoever_waits():
    """Minutes behind: the end that the journal tells of had passed, in truth, before the attempt ended."""
    world = played(0, only=frozenset({Fault.CLOCK_STEP}))
    exits = [(told, told.state.attempts[told.event.attempt]) for told in told_of(world, ev.AttemptExited)]
    told, attempt = next((t, a) for t, a in exits if t.record.at < a.notice_ends_at < t.at)
    left_to_the_cloud = attempt.notice_ends_at - told.record.at
    assert left_to_the_cloud > 2, "else it makes no difference"
    instance = instance_of(world, attempt.number)
    instance.ended_at = told.at + left_to_the_cloud + STOP_MOST - 1
    assert objections("idle-machine", world) == []
    instance.ended_at += 2
    assert any("stayed up" in what for what in objections("idle-machine", world))


@dataclass(frozen=True)
class Stubborn:
    """Goes back to the first place after five minutes, whatever it did."""

    name: str = "stubborn"

    def decide(self, run: RunView, market: MarketView) -> Decision:
        if run.current is not None and run.notice_ends_at is None:
            return Hold(reason="stands")
        last = run.attempts[-1].ended_at if run.attempts else None
        if last is not None and run.now < last + 5 * MINUTE:
            return Wait(until=last + 5 * MINUTE, reason="a little while")
        return Move(ranked=market.offers[:1], reason="always there")


def test_cooldown_objects_to_a_policy_that_goes_back_at_once():
    def stubborn(world: FaultyWorld) -> None:
        world.policy = Stubborn()

    refusing = played(only=frozenset({Fault.CAPACITY}), change=stubborn)
    assert any("after it had failed: stubborn" in what for what in objections("cooldown", refusing))


def test_self_overtaken_objects_to_a_supervisor_that_yields_to_nobody():
    world = played()
    world.lives[0].outcome = "overtaken"
    assert any("sup-1 was overtaken, and nobody else" in what for what in objections("self-overtaken", world))


def test_turns_objects_to_a_takeover_that_nobody_asked_for():
    world = played(only=frozenset({Fault.RIVAL}))
    assert objections("turns", world) == []
    assert world.plan.fired[Fault.RIVAL]
    for life in world.lives:
        life.insists = False
    assert any("unasked" in what for what in objections("turns", world))


def test_turns_does_not_object_to_who_takes_the_run_in_the_instant_in_which_it_was_left():
    world = played(only=frozenset({Fault.RIVAL}))
    second = next(life for life in world.lives if life.insists)
    second.insists = False
    first = world.lives[0]
    first.outcome, first.ended_at = "ended", second.started_at
    assert not any(second.supervisor.name in what for what in objections("turns", world))


def test_ends_objects_to_a_run_that_never_ends():
    world = played()
    world.ended_at = None
    assert any("has not ended" in what for what in objections("ends", world))


def test_ends_objects_to_an_end_that_nothing_explains():
    def hurried(world: FaultyWorld) -> None:
        world.recipe = replace(world.recipe, retry=RetrySpec(capacity=MINUTE))
        world.deadline_at = None

    world = played(only=frozenset({Fault.START_SLOW}), change=hurried)
    assert objections("ends", world) == []
    world.plan.kinds = frozenset()
    assert any("without a cause" in what for what in objections("ends", world))


def test_ends_objects_to_a_pause_for_mute_machines_where_fewer_than_three_were(monkeypatch):
    def mute(world: FaultyWorld) -> None:
        world.deadline_at = None
        world.cloud.plan_start = lambda name, spec: Start(pace=replace(world.pace, is_mute=True))

    assert objections("ends", played(change=mute)) == []
    monkeypatch.setattr("launcher.core.run.barren.MUTE_MOST", 2)
    assert any("without a cause" in what for what in objections("ends", played(change=mute)))


def test_ends_objects_to_a_search_that_ends_with_a_machine_at_hand(monkeypatch):
    def impatient(state: RunState, now: Utc) -> Verdict | None:
        is_up = any(attempt.billed_from is not None for attempt in state.attempts.values())
        return Verdict(phase=Phase.PAUSED, reason="no machine", exit_code=3) if is_up else None

    def refused(world: FaultyWorld) -> None:
        world.cloud.plan_start = lambda name, spec: Start(refused=FailureKind.CAPACITY) if name.endswith("-1") else Start()

    monkeypatch.setattr("launcher.core.run.deliberate.judge", impatient)
    assert any("the run gave up" in what for what in objections("ends", played(change=refused)))


def test_requests_objects_to_one_that_nobody_heard():
    world = played()
    asked = Request(uuid="u", request=RequestKind.STOP, by="somebody")
    world.store.log.append(Written(world.start + MINUTE, request_key("u"), codec.dumps_digested(asked)))
    assert any("was not heard" in what for what in objections("requests", world))


def test_requests_objects_to_one_that_ended_in_another_way():
    world = played(1, only=frozenset({Fault.STOP_REQUEST}))
    assert world.plan.fired[Fault.STOP_REQUEST]
    assert objections("requests", world) == []
    at, written = next((i, w) for i, w in enumerate(world.store.log) if w.key.startswith("requests/"))
    request = codec.loads_digested(Request, written.data)
    assert request.request is not RequestKind.CANCEL, "the run was paused"
    world.store.log[at] = replace(written, data=codec.dumps_digested(replace(request, request=RequestKind.CANCEL)))
    assert objections("requests", world) == ["a request to cancel ended PAUSED"]
