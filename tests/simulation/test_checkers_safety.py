"""Each checker of safety objects to a history that is wrong in its way, and to none that is right.

A fair world is played; then one thing in what it left behind is made wrong. Two checkers compare readers of one journal: for
them it is a reader that is made wrong.
"""

import copy
import functools
from collections.abc import Callable
from dataclasses import replace

import pytest

from launcher import codec
from launcher.adapters.records import decode_record
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, SetAside
from launcher.core.contract import (
    ExitKind,
    ExitReport,
    Heartbeat,
    claim_key,
    commit_key,
    exit_key,
    heartbeat_key,
    journal_key,
)
from launcher.core.instance import EndCause, FailureKind, StartFailure
from launcher.core.run import events as ev
from launcher.errors import NoCapacity
from launcher.sim.checkers import agreement
from launcher.sim.checkers.base import CHECKERS, judge
from launcher.sim.checkers.evidence import evidence_of
from launcher.sim.cloud import Instance
from launcher.sim.disaster import FaultyWorld
from launcher.sim.faults import Fault
from launcher.sim.machine import SimMachine
from launcher.sim.seeds import world_of
from launcher.sim.store import Written
from launcher.units import HOUR

NOTHING: frozenset[Fault] = frozenset()


@functools.cache
def lively() -> int:
    """The first seed whose fair world passes the right to write on at least twice, each time from a later commit."""
    for seed in range(100):
        world = world_of(seed, only=NOTHING)
        world.play()
        steps = [evidence_of(world).step(grant.parent) for grant in grants(world)]
        if len(steps) > 2 and steps == sorted(set(steps)) and parent_of(world).commit > 1:
            return seed
    raise AssertionError("no seed of a hundred has two preemptions")


def played() -> FaultyWorld:
    world = world_of(lively(), only=NOTHING)
    world.play()
    return world


def objections(checker: str, world: FaultyWorld) -> str:
    return "\n".join(CHECKERS[checker](world))


def grants(world: FaultyWorld) -> list[ev.WriterGranted]:
    return [n.event for n in evidence_of(world).records if isinstance(n.event, ev.WriterGranted)]


def rewrite(world: FaultyWorld, key: str, change: Callable[[Written], Written]) -> None:
    """Let the store have been told something else at `key`."""
    world.store.log[:] = [change(w) if w.key == key else w for w in world.store.log]
    world.store.log.append(Written(world.timeline.now, "touched", b""))  # whoever has read it reads anew


def tell(world: FaultyWorld, kind: type[ev.Event], change: Callable[[ev.Event], ev.Event], *, which: int = 0) -> None:
    """Let the `which`-th record of that kind say something else."""
    number = [n.number for n in evidence_of(world).records if isinstance(n.event, kind)][which]

    def told(written: Written) -> Written:
        assert written.data is not None
        record = decode_record(written.data, ev.Event)
        return replace(written, data=codec.dumps_digested(replace(record, event=change(record.event))))

    rewrite(world, journal_key(number), told)


def recommit(world: FaultyWorld, ref: CommitRef, **changes: object) -> None:
    """Let the manifest at `ref` say something else."""
    said = replace(evidence_of(world).manifests[ref].commit, **changes)  # type: ignore[arg-type]
    rewrite(world, commit_key(ref), lambda written: replace(written, data=manifests.write(said)))


def write(world: FaultyWorld, key: str, data: bytes) -> None:
    world.store.log.append(Written(world.timeline.now, key, data))


def instance_of(world: FaultyWorld, attempt: int) -> Instance:
    return next(i for i in world.cloud.instances.values() if i.spec.attempt == attempt)


def trained(world: FaultyWorld) -> tuple[Instance, SimMachine]:
    return next((i, a) for i in world.cloud.instances.values() for a in i.agents if a.has_trained)


def parent_of(world: FaultyWorld) -> CommitRef:
    """The parent of the second grant: the newest commit of the first."""
    parent = grants(world)[1].parent
    assert parent is not None
    return parent


def test_a_fair_world_gives_no_cause_for_objection():
    assert judge(played()) == []


# --- lineage -----------------------------------------------------------------------------------------------------------------


def test_a_grant_from_an_older_commit_than_the_newest_is_no_lineage():
    world = played()
    tell(world, ev.WriterGranted, lambda e: replace(e, parent=CommitRef(1, 0)), which=1)
    assert "the chain ends at" in objections("lineage", world)


def test_a_grant_before_the_seal_of_the_last_writer_is_no_lineage():
    world = played()
    first = grants(world)[0].attempt
    seal = evidence_of(world).seals[first][0]
    rewrite(world, commit_key(CommitRef(first, seal.number)), lambda w: replace(w, at=world.timeline.now))
    assert f"attempt {first} was not sealed" in objections("lineage", world)


def test_a_grant_that_goes_back_to_an_older_attempt_is_no_lineage():
    world = played()
    first = grants(world)[0].attempt
    tell(world, ev.WriterGranted, lambda e: replace(e, attempt=first), which=2)
    assert f"grants attempt {first} after attempt" in objections("lineage", world)


def test_a_commit_that_does_not_follow_the_one_before_it_is_no_lineage():
    world = played()
    recommit(world, CommitRef(parent_of(world).attempt, 2), parent=None)
    assert "not its own attempt's commit before it" in objections("lineage", world)


def test_a_commit_built_on_other_bytes_than_its_parent_has_is_no_lineage():
    world = played()
    recommit(world, parent_of(world), parent_sha256="0" * 64)
    assert "was built on another" in objections("lineage", world)


def test_a_first_commit_from_elsewhere_than_its_grant_is_no_lineage_even_where_it_names_what_it_passed_over():
    world = played()
    ref = CommitRef(grants(world)[1].attempt, 1)
    recommit(world, ref, parent=CommitRef(99, 1), set_aside=(SetAside(ref=parent_of(world), culprit="state"),))
    assert "is no ancestor of" in objections("lineage", world)


def test_a_first_commit_that_falls_back_without_a_word_is_no_lineage():
    world = played()
    older = evidence_of(world).manifests[parent_of(world)].commit
    assert older.parent is not None
    recommit(world, CommitRef(grants(world)[1].attempt, 1), parent=older.parent, parent_sha256=older.parent_sha256)
    assert "does not say what was wrong" in objections("lineage", world)


def test_a_commit_behind_its_attempts_seal_is_no_lineage():
    world = played()
    newest = evidence_of(world).manifests[parent_of(world)].commit
    late = replace(newest, ref=CommitRef(newest.ref.attempt, newest.ref.commit + 2), parent=newest.ref)
    write(world, commit_key(late.ref), manifests.write(late))
    assert "has commits beyond" in objections("lineage", world)


def test_a_commit_without_a_grant_is_no_lineage_once_it_is_history():
    world = played()
    recommit(world, parent_of(world), grant=3)
    assert "was committed without a grant" in objections("lineage", world)


def test_progress_that_falls_is_told_unless_the_world_let_the_newer_checkpoint_rot():
    world = played()
    passed, again = parent_of(world), grants(world)[1].attempt
    recommit(world, CommitRef(again, 1), set_aside=(SetAside(ref=passed, culprit="state"),))
    tell(world, ev.WriterGranted, lambda e: replace(e, parent=None), which=2)
    assert "passed over" in objections("progress", world)
    world.store.damaged.append((world.timeline.now, commit_key(passed)))
    assert objections("progress", world) == ""


# --- numbers -----------------------------------------------------------------------------------------------------------------


def test_a_record_that_changes_is_told_unless_it_rotted():
    world = played()
    world.store.replace(journal_key(6), b"other")
    assert f"{journal_key(6)} is not what was created there" in objections("numbers", world)
    world.store.damaged.append((world.timeline.now, journal_key(6)))
    assert objections("numbers", world) == ""


@pytest.mark.parametrize("of", ["claim", "exit", "commit", "record"])
def test_what_is_created_once_may_not_vanish(of):
    world = played()
    attempt = grants(world)[-1].attempt
    keys = {
        "claim": claim_key(attempt),
        "exit": exit_key(attempt),
        "commit": commit_key(CommitRef(attempt, 1)),
        "record": journal_key(4),
    }
    world.store.delete(keys[of])
    assert f"{keys[of]} was deleted" in objections("numbers", world)


def test_an_attempt_number_that_is_requested_twice_is_told():
    world = played()
    tell(world, ev.AttemptRequested, lambda e: replace(e, attempt=1), which=1)
    assert "attempt 1 was requested 2 times" in objections("numbers", world)


def test_a_supervisor_that_believes_what_the_journal_does_not_say_is_told():
    world = played()
    told = world.journaled[0]
    world.journaled.append(replace(told, event=ev.InstanceMissed(at=0.0, attempt=7)))
    assert "believes it has journaled InstanceMissed" in objections("numbers", world)


# --- machines ----------------------------------------------------------------------------------------------------------------


def test_two_agents_of_one_attempt_that_train_are_told():
    world = played()
    instance, agent = trained(world)
    instance.agents.append(copy.copy(agent))
    assert "2 agents of attempt" in objections("one-trainer", world)


def test_an_agent_that_trains_before_its_grant_is_told():
    world = played()
    _, agent = trained(world)
    number = next(n.number for n in evidence_of(world).of(ev.WriterGranted, agent.attempt))
    rewrite(world, journal_key(number), lambda w: replace(w, at=world.timeline.now))
    assert "and was granted" in objections("one-trainer", world)


def test_an_agent_that_trains_on_another_ones_claim_is_told():
    world = played()
    _, agent = trained(world)
    key = claim_key(agent.attempt)
    claim = replace(evidence_of(world).claims[agent.attempt], nonce="another")
    rewrite(world, key, lambda w: replace(w, data=codec.dumps_digested(claim)))
    assert "did not hold its claim" in objections("one-trainer", world)
    assert "believes it holds a claim" in objections("claims", world)


def test_a_commit_and_an_exit_report_by_the_claims_loser_are_told():
    world = played()
    attempt = grants(world)[-1].attempt
    recommit(world, CommitRef(attempt, 1), nonce="loser")
    report: ExitReport = evidence_of(world).exits[attempt]
    rewrite(world, exit_key(attempt), lambda w: replace(w, data=codec.dumps_digested(replace(report, nonce="loser"))))
    assert "was committed by an agent" in objections("claims", world)
    assert "has an exit report by an agent" in objections("claims", world)


def test_a_heartbeat_by_the_claims_loser_is_told():
    world = played()
    key = heartbeat_key(grants(world)[0].attempt)
    beat = codec.loads_digested(Heartbeat, world.store.get(key))
    world.store.replace(key, codec.dumps_digested(replace(beat, nonce="loser")))
    assert f"the heartbeat of attempt {grants(world)[0].attempt} is by an agent" in objections("claims", world)


def test_a_machine_that_starts_before_its_request_is_written_is_told():
    world = played()
    instance_of(world, 1).requested_at = world.start - 1
    assert "was started before its request was written" in objections("acts-journaled", world)


def test_a_machine_that_is_stopped_while_the_journal_wants_it_is_told():
    world = played()
    instance, agent = trained(world)
    assert agent.trained_from is not None
    instance.cause, instance.ended_at = EndCause.STOPPED, agent.trained_from
    assert "was stopped, and the journal let it go at no time before" in objections("acts-journaled", world)


@pytest.mark.parametrize("ends", ["never", "late"])
def test_a_machine_that_outlives_its_run_is_told(ends):
    world = played()
    assert world.ended_at is not None
    trained(world)[0].ended_at = None if ends == "never" else world.ended_at + HOUR
    assert "after the run's end" in objections("machines-end", world)


# --- agreement ---------------------------------------------------------------------------------------------------------------


def test_a_supervisor_with_another_state_than_its_journal_gives_is_told():
    world = played()
    told = world.journaled[-1]
    world.journaled[-1] = replace(told, state=replace(told.state, newest_step=told.state.newest_step + 1))
    assert "newest_step" in objections("replay", world)


def test_an_agent_that_does_not_hear_of_its_dismissal_is_told(monkeypatch):
    heed = agreement.heed
    monkeypatch.setattr(agreement, "heed", lambda orders, records: replace(heed(orders, records), dismissed=None))
    assert "reads nothing of that" in objections("obedience", played())


def test_an_agent_that_does_not_hear_of_its_grant_is_told(monkeypatch):
    heed = agreement.heed
    monkeypatch.setattr(agreement, "heed", lambda orders, records: replace(heed(orders, records), grant=None))
    assert "and its agent reads None" in objections("obedience", played())


def test_a_reader_that_keeps_what_is_void_is_told(monkeypatch):
    world = played()
    grant = next(n.number for n in evidence_of(world).records if isinstance(n.event, ev.WriterGranted))
    monkeypatch.setattr(world, "dice", lambda of: FixedDice(grant))
    assert objections("readers", world) == ""
    monkeypatch.setattr(agreement, "read_orders", deaf_to_voids)
    assert "holds a grant that the journal does not tell of" in objections("readers", world)


class FixedDice:
    def __init__(self, number: int) -> None:
        self._number = number

    def choice(self, among: object) -> int:
        return self._number


def deaf_to_voids(before, entries, read=agreement.read_orders):
    orders = read(before, entries)
    return orders if before.grant is None else replace(before, dismissed=None)


# --- money -------------------------------------------------------------------------------------------------------------------


def test_a_machine_that_cost_more_than_the_ledger_says_is_told():
    world = played()
    instance, _ = trained(world)
    assert instance.ended_at is not None
    instance.ended_at += 2 * HOUR
    assert "and the ledger says" in objections("bill", world)


def test_a_few_seconds_that_the_ledger_claims_to_know_are_told():
    world = played()
    dearest = max(world.cloud.instances.values(), key=world.cloud.bill_of)  # one that ended at once is billed a minute
    assert dearest.ended_at is not None
    dearest.ended_at += 60 * 0.01 / dearest.offer.price * 60
    assert "and the ledger says" in objections("bill", world)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: replace(r, policy=replace(r.policy, budget=0.01)), "and the budget is"),
        (lambda r: replace(r, resources=replace(r.resources, max_hourly_cost=0.01)), "is the most"),
        (lambda r: replace(r, residency=("us",) if r.residency == ("eu",) else ("eu",)), "and data must stay in"),
        (lambda r: replace(r, resources=replace(r.resources, infra=("elsewhere",))), "and the recipe names elsewhere"),
        (lambda r: replace(r, resources=replace(r.resources, use_spot="false")), "the recipe wants on-demand alone"),
    ],
)
def test_what_a_recipe_forbids_is_told(change, told):
    world = played()
    world.recipe = change(world.recipe)
    assert told in objections("limits", world)


# --- outcomes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "told"),
    [(ExitKind.PROGRAM_FAILED, "its training did not finish"), (None, "its training did not finish")],
)
def test_an_end_that_is_not_what_its_report_says_is_told(outcome, told):
    world = played()
    last = grants(world)[-1].attempt
    report = replace(evidence_of(world).exits[last], outcome=outcome or ExitKind.DRAINED)
    rewrite(world, exit_key(last), lambda w: replace(w, data=codec.dumps_digested(report)))
    assert told in objections("outcomes", world)
    assert "the report that is quoted is not the one it left" in objections("outcomes", world)


def test_a_failure_that_was_a_preemption_is_told():
    world = played()
    failed = replace(evidence_of(world).exits[grants(world)[-1].attempt], outcome=ExitKind.PROGRAM_FAILED)
    tell(world, ev.AttemptExited, lambda e: replace(e, report=failed, attempt=e.attempt))
    assert "is written down as failed" in objections("outcomes", world)


def test_a_refusal_of_a_machine_that_was_seen_to_run_is_told():
    world = played()
    ended = ev.AttemptExited if any(isinstance(n.event, ev.AttemptExited) for n in evidence_of(world).records) else ev.AttemptLost
    failure = StartFailure(failure=FailureKind.CAPACITY, message="none")
    tell(world, ended, lambda e: ev.AttemptRefused(at=e.at, attempt=e.attempt, failure=failure))
    assert "it was seen to run before" in objections("outcomes", world)


def test_a_supervisor_that_ends_by_a_mistake_of_ours_is_told():
    world = played()
    world.lives[0].outcome, world.lives[0].error = "bug", AssertionError("an attempt is granted once")
    assert "AssertionError: an attempt is granted once" in objections("no-bug", world)


def test_a_supervisor_that_refuses_for_no_reason_of_the_worlds_is_told():
    world = played()
    world.lives[0].outcome, world.lives[0].error = "refused", NoCapacity("nothing fits")
    assert "refused with NoCapacity" in objections("no-bug", world)
