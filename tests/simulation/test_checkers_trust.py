"""The checkers of order and trust object to a history that is wrong in their way. Histories are played, then made wrong."""

from dataclasses import replace

from launcher.core.contract import JOURNAL_PREFIX, journal_key
from launcher.core.run import events as ev
from launcher.sim.checkers.base import CHECKERS
from launcher.sim.checkers.evidence import evidence_of
from launcher.sim.checkers.tale import told_of
from launcher.sim.disaster import FaultyWorld
from launcher.sim.faults import Fault
from launcher.sim.seeds import world_of
from launcher.sim.soak import silence
from launcher.units import HOUR

PREEMPTED = 18  # a seed whose fair world has several lives


def played(*only: Fault) -> FaultyWorld:
    world = world_of(PREEMPTED, only=frozenset(only))
    with silence():
        world.play()
    return world


def objections(checker: str, world: FaultyWorld) -> list[str]:
    return list(CHECKERS[checker](world))


def put_first(world: FaultyWorld, late: str, early: str) -> None:
    """Make the log tell that `late` was written before `early`."""
    log = world.store.log
    keys = [written.key for written in log]
    log.insert(keys.index(early), log.pop(keys.index(late)))


def test_a_checkpoint_that_was_committed_before_its_files_is_objected_to():
    world = played()
    assert objections("order", world) == []
    ref, made = next(iter(evidence_of(world).manifests.items()))
    put_first(world, f"attempts/{ref.attempt:04d}/commits/{ref.commit:04d}.json", made.commit.files[0].key)
    assert "before" in objections("order", world)[0]


def test_a_seal_that_came_before_the_end_of_its_attempt_was_written_is_objected_to():
    world = played()
    end = next(n for n in evidence_of(world).records if isinstance(n.event, ev.AttemptExited))
    seal = evidence_of(world).seals[end.event.attempt][0]
    put_first(world, f"attempts/{end.event.attempt:04d}/commits/{seal.number:04d}.json", journal_key(end.number))
    assert f"attempt {end.event.attempt} was sealed before its end was written" in objections("order", world)


def test_a_machine_that_was_written_down_as_lost_and_trains_on_is_objected_to():
    world = played(Fault.NOTICE_MISSING)
    assert objections("false-loss", world) == []
    lost = told_of(world, ev.AttemptLost)[0]
    instance = next(i for i in world.cloud.instances.values() if i.spec.attempt == lost.attempt)
    instance.ended_at = instance.agents[0].ended_at = lost.at + HOUR
    assert "was up and spoke" in objections("false-loss", world)[0]


def test_a_machine_that_was_written_down_as_missed_is_objected_to_where_every_poll_listed_it():
    world = played(Fault.POLL_PARTIAL)
    assert told_of(world, ev.InstanceMissed)
    assert objections("false-loss", world) == []
    world.plan.kinds = frozenset()
    assert "missed" in objections("false-loss", world)[0]


def test_a_supervisor_that_wrote_without_saying_that_it_had_begun_is_objected_to():
    world = played()
    assert objections("turns", world) == []
    opening = next(n.number for n in evidence_of(world).records if isinstance(n.event, ev.SupervisorStarted))
    world.store.log[:] = [written for written in world.store.log if written.key != journal_key(opening)]
    assert "never said" in objections("turns", world)[0]


def test_a_supervisor_that_was_overtaken_before_anybody_else_wrote_is_objected_to():
    world = played(Fault.RIVAL)
    assert objections("self-overtaken", world) == []
    overtaken = next(life for life in world.lives if life.outcome == "overtaken")
    overtaken.ended_at = overtaken.started_at
    log = world.store.log
    log[:] = [w if not w.key.startswith(JOURNAL_PREFIX) else replace(w, at=w.at + 1) for w in log]
    assert objections("self-overtaken", world)
