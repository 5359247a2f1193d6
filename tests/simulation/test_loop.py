"""The one loop, driven in simulated time through the real journal and the real store protocol."""

import itertools
from collections import OrderedDict
from dataclasses import replace

import pytest

from launcher import beacon, codec
from launcher.adapters import commits
from launcher.adapters.history import History
from launcher.adapters.store.base import ObjectStore, Span
from launcher.adapters.store.memory import MemoryStore
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, Sealed, read
from launcher.core.contract import Request, RequestKind, commit_key, request_key
from launcher.core.instance import EndCause, FailureKind, InstanceStatus
from launcher.core.market.offer import Capacity
from launcher.core.policy.base import Phase
from launcher.core.recipe import RetrySpec
from launcher.core.run import events as ev
from launcher.core.run.evolve import replay
from launcher.core.run.ledger import ledger
from launcher.core.run.spent import spent
from launcher.core.run.state import EndKind, RunState
from launcher.core.tempo import Tempo
from launcher.errors import Overtaken, StoreUnknown
from launcher.sim.cloud import HONEST, Start
from launcher.sim.trainer import Pace
from launcher.units import HOUR, MINUTE
from tests.simulation.worlds import OFFERS, START, FixedTrace, Sim, recipe


def chain(sim: Sim) -> list[CommitRef]:
    """The commits that are history, oldest first."""
    refs, ref = [], sim.history.state.newest_commit
    while ref is not None:
        refs.append(ref)
        manifest = read(sim.store.get(commit_key(ref)))
        assert not isinstance(manifest, Sealed)
        ref = manifest.parent
    return refs[::-1]


def test_no_commit_of_a_simulated_machine_is_worked_out_from_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    worked_out = []
    monkeypatch.setattr(commits, "_known", OrderedDict())
    monkeypatch.setattr(manifests, "read", lambda data: worked_out.append(read(data)) or worked_out[-1])
    state = Sim(trace=FixedTrace(up=HOUR)).run()
    assert len(state.attempts) > 1
    assert all(isinstance(commit, Sealed) for commit in worked_out)


def test_a_run_without_trouble_succeeds_in_one_attempt():
    sim = Sim(trace=FixedTrace(up=100 * HOUR))
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert len(state.attempts) == 1
    assert state.newest_step == sim.pace.total_steps


def test_a_preempted_run_resumes_elsewhere_from_the_last_save_at_the_notice():
    sim = Sim(trace=FixedTrace(up=HOUR))
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    places = [a.offer.placement.place for a in state.attempts.values()]
    assert all(a != b for a, b in itertools.pairwise(places)), "never the just-preempted place first"
    assert ledger(state, sim.clock.utc_s()).steps_lost == 0


def test_without_a_notice_only_the_steps_since_the_last_save_are_redone():
    sim = Sim(trace=FixedTrace(up=HOUR, notice=lambda place, k: False))
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    lost = [a for a in state.attempts.values() if a.end and a.end.end is EndKind.PREEMPTED]
    assert lost
    assert 0 < ledger(state, sim.clock.utc_s()).steps_lost <= 310 * len(lost)


def test_history_is_one_chain_through_all_attempts():
    sim = Sim(trace=FixedTrace(up=HOUR))
    sim.run()
    refs = chain(sim)
    assert refs == sorted(refs)
    assert {r.attempt for r in refs} == {a.number for a in sim.history.state.attempts.values() if a.is_granted}


def test_the_successor_boots_while_the_old_one_still_saves():
    sim = Sim(trace=FixedTrace(up=HOUR), pace=Pace(boot_s=20))
    sim.run()
    first_end = next(e for e in sim.events if isinstance(e, ev.AttemptExited))
    second = next(e for e in sim.events if isinstance(e, ev.AttemptRequested) and e.attempt == 2)
    grants = [e for e in sim.events if isinstance(e, ev.WriterGranted)]
    assert second.at < first_end.at <= grants[1].at


def looks(sim: Sim) -> dict[type, int]:
    """After how many looks at the cloud the first event of each kind was journaled."""
    num_looks, first, poll = 0, {}, sim.cloud.poll

    def counted(run: str, incarnation: str, *, home: str = "") -> dict[str, InstanceStatus]:
        nonlocal num_looks
        num_looks += 1
        return poll(run, incarnation, home=home)

    def note(event: ev.Event, state: object) -> None:
        first.setdefault(type(event), num_looks)

    sim.cloud.poll = counted
    sim.run(note)
    return first


def test_a_seal_is_decided_on_without_another_look_at_the_cloud():
    first = looks(Sim(trace=FixedTrace(up=100 * HOUR)))
    assert first[ev.AttemptExited] == first[ev.AttemptSealed] == first[ev.RunSucceeded]


def test_between_a_grant_and_the_first_word_of_training_nobody_looks_where_looks_are_skipped():
    first = looks(Sim(trace=FixedTrace(up=100 * HOUR), skips=True, pace=Pace(restore_s=120)))
    assert first[ev.TrainingStarted] == first[ev.WriterGranted] + 1


@pytest.mark.parametrize("number", range(1, 40, 4))
def test_a_supervisor_that_dies_after_any_record_is_replaced_by_one_that_finishes(number: int):
    sim = Sim(trace=FixedTrace(up=HOUR))
    seen = 0

    def die(event: ev.Event, state: object) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            raise Died

    try:
        sim.run(die)
        return  # the run has fewer records than that
    except Died:
        pass
    sim.clock.wait(300)
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert len(sim.cloud.starts) == len(set(sim.cloud.starts))
    assert [r.attempt for r in chain(sim)] == sorted(r.attempt for r in chain(sim))
    events = [r.event for r in sim.history.records]
    assert replay(events) == state


def test_two_supervisors_on_one_run_and_the_older_one_stops_without_harm():
    sim = Sim(trace=FixedTrace(up=HOUR))

    def usurp(event: ev.Event, state: object) -> None:
        if isinstance(event, ev.TrainingStarted) and event.attempt == 1:
            sim.open()

    with pytest.raises(Overtaken):
        sim.run(usurp)
    assert sim.run().phase is Phase.SUCCEEDED


def test_a_stop_request_saves_and_pauses_and_resume_goes_on_from_there():
    sim = Sim(trace=FixedTrace(up=100 * HOUR))

    def ask(event: ev.Event, state: object) -> None:
        if isinstance(event, ev.CheckpointSeen) and event.ref == CommitRef(1, 2):
            request = Request(uuid="u1", request=RequestKind.STOP, by="me")
            sim.store.create(request_key("u1"), codec.dumps_digested(request))

    state = sim.run(ask)
    assert state.phase is Phase.PAUSED
    assert state.terminal is not None
    assert state.terminal.exit_code == 130
    history = sim.open()
    now = sim.clock.utc_s()
    history.append(ev.RunResumed(at=now, recipe=sim.recipe, deadline_at=None))
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert sim.of(ev.WriterGranted)[-1].parent is not None
    assert ledger(state, sim.clock.utc_s()).steps_lost == 0


def test_cancel_ends_at_once_and_can_be_resumed():
    sim = Sim(trace=FixedTrace(up=100 * HOUR))

    def ask(event: ev.Event, state: object) -> None:
        if isinstance(event, ev.TrainingStarted) and event.attempt == 1:
            request = Request(uuid="u1", request=RequestKind.CANCEL, by="me")
            sim.store.create(request_key("u1"), codec.dumps_digested(request))

    state = sim.run(ask)
    assert state.phase is Phase.CANCELLED
    assert state.terminal is not None
    assert state.terminal.exit_code == 131
    assert state.attempts[1].bill is not None
    assert state.attempts[1].bill.cause is EndCause.STOPPED


def test_a_program_that_fails_is_tried_again_as_often_as_allowed_and_never_called_preempted():
    sim = Sim(recipe=recipe(retry=RetrySpec(error=2, same_checkpoint=9)), pace=Pace(fails_at=50), trace=FixedTrace(up=100 * HOUR))
    state = sim.run()
    assert state.phase is Phase.FAILED
    assert state.terminal is not None
    assert (state.terminal.exit_code, state.terminal.program_exit_code) == (1, 3)
    assert [a.end.end for a in state.attempts.values() if a.end] == [EndKind.FAILED] * 3
    assert ledger(state, sim.clock.utc_s()).preemptions == 0


def test_a_program_that_dies_at_the_same_checkpoint_is_given_up():
    sim = Sim(
        recipe=recipe(retry=RetrySpec(error=99, same_checkpoint=2)), pace=Pace(fails_at=350), trace=FixedTrace(up=100 * HOUR)
    )
    state = sim.run()
    assert state.phase is Phase.FAILED
    assert "3 times in a row at checkpoint 0001-0001" in (state.terminal.reason if state.terminal else "")


def test_a_budget_pauses_the_run_before_it_is_overspent():
    sim = Sim(recipe=recipe(budget=1.5), trace=FixedTrace(up=100 * HOUR))
    state = sim.run()
    assert state.phase is Phase.PAUSED
    assert state.terminal is not None
    assert state.terminal.exit_code == 4
    assert 0.5 < spent(state, sim.clock.utc_s()).high <= 1.5
    assert state.newest_step > 0


DEAR_LATER = tuple(replace(offer, price_cap=3.0) for offer in OFFERS)


@pytest.mark.parametrize("skips", [False, True])
def test_a_machine_that_costs_a_third_of_what_it_might_is_not_ended_while_the_budget_pays_for_it(skips: bool):
    sim = Sim(recipe=recipe(budget=2.5), trace=FixedTrace(up=100 * HOUR), rows=DEAR_LATER, skips=skips)
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert len(state.attempts) == 1
    assert 0 < len(sim.of(ev.StopAtMoved)) < 10


def test_a_machine_whose_supervisor_has_died_ends_where_it_was_told_last():
    sim = Sim(recipe=recipe(budget=2.5, steps=10**6), trace=FixedTrace(up=100 * HOUR), rows=DEAR_LATER)

    class Died(BaseException):
        pass

    def die(event: ev.Event, state: RunState) -> None:
        if isinstance(event, ev.StopAtMoved):
            raise Died

    with pytest.raises(Died):
        sim.run(die)
    [moved] = sim.of(ev.StopAtMoved)
    assert isinstance(moved, ev.StopAtMoved)
    sim.timeline.sleep_until(START + 20 * HOUR)
    [instance] = sim.cloud.instances.values()
    assert instance.ended_at is not None
    assert moved.stop_at <= instance.ended_at < moved.stop_at + 5 * MINUTE


@pytest.mark.parametrize("budget", [0.1, 0.3, 0.5, 1.0, 1.5])
def test_the_budget_that_a_pause_asks_for_finishes_the_run_the_first_time(budget: float):
    sim = Sim(recipe=recipe(budget=budget), trace=FixedTrace(up=HOUR))
    state = sim.run()
    assert state.terminal is not None
    key, _, needed = state.terminal.needs.partition("=")
    assert key == "policy.budget"
    more = replace(sim.recipe, policy=replace(sim.recipe.policy, budget=float(needed)))
    sim.open().append(ev.RunResumed(at=sim.clock.utc_s(), recipe=more, deadline_at=None))
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert spent(state, sim.clock.utc_s()).high > 0.5 * float(needed), "and asks for no fortune"


def test_the_deadline_that_a_pause_asks_for_finishes_the_run_the_first_time():
    sim = Sim(policy="greedy", recipe=recipe(use_spot="auto"), deadline_at=START + HOUR)
    state = sim.run()
    assert state.terminal is not None
    assert (state.terminal.exit_code, len(state.attempts)) == (4, 0), (
        "an hour is too little for 90 min of work: nothing is bought"
    )
    assert state.terminal.needs == "policy.deadline=4h"
    sim.open().append(ev.RunResumed(at=sim.clock.utc_s(), recipe=sim.recipe, deadline_at=START + 4 * HOUR))
    assert sim.run().phase is Phase.SUCCEEDED


def test_a_run_that_falls_behind_its_deadline_goes_on_as_cheaply_as_it_can_until_then():
    """It bought on-demand at several times the price for nothing."""
    sim = Sim(policy="greedy", recipe=recipe(use_spot="auto"), deadline_at=START + 110 * MINUTE)
    refused = Start(refused=FailureKind.CAPACITY)
    sim.cloud.plan_start = lambda name, spec: refused if sim.timeline.now < START + 40 * MINUTE else HONEST
    state = sim.run()
    assert state.terminal is not None
    assert state.terminal.reason == "the deadline has passed"
    late = [e for e in sim.of(ev.AttemptRequested) if "which nothing can meet now" in e.reason]
    assert late
    assert {e.offer.placement.capacity for e in late} == {Capacity.SPOT}
    assert state.newest_step > 0


def test_a_cloud_that_does_not_answer_for_an_hour_ends_nothing():
    sim = Sim(trace=FixedTrace(up=3 * HOUR))
    sim.cloud.outages = ((START + 600, START + 600 + HOUR),)
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert len(state.attempts) == 1


def test_the_books_agree_with_the_clouds_own_bill():
    sim = Sim(trace=FixedTrace(up=90 * 60))
    state = sim.run()
    books = ledger(state, sim.clock.utc_s(), on_demand_price=3.0)
    assert books.spent.likely == pytest.approx(sim.cloud.dollars())
    assert books.spent.low == books.spent.high
    parts = books.times
    assert parts.useful + parts.redone + parts.saving + parts.restoring + parts.waiting == pytest.approx(parts.elapsed)
    assert books.on_demand == pytest.approx((parts.useful + 90) / HOUR * 3.0)


def test_a_commit_nobody_saw_is_found_by_the_seal_and_one_after_it_cannot_exist():
    sim = Sim(trace=FixedTrace(up=HOUR))
    planted = False

    def plant(event: ev.Event, state: object) -> None:
        # The machine's last save lands in the instant between the last look at it and the journaling of its end.
        nonlocal planted
        if isinstance(event, ev.AttemptExited | ev.AttemptLost) and event.attempt == 1 and not planted:
            planted = True
            newest = sim.cloud.poll("r", "inc")  # brings the machine up to date
            assert newest

    sim.run(plant)
    seals = [e for e in sim.events if isinstance(e, ev.AttemptSealed)]
    first = seals[0]
    assert isinstance(read(sim.store.get(commit_key(CommitRef(1, (first.last.commit if first.last else 0) + 1)))), Sealed)
    assert sim.of(ev.WriterGranted)[1].parent == first.last


def test_a_damaged_record_is_voided_and_the_run_goes_on():
    sim = Sim(trace=FixedTrace(up=HOUR))

    def rot(event: ev.Event, state: object) -> None:
        if isinstance(event, ev.CheckpointSeen) and event.ref == CommitRef(1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sim.run(rot)
    victim = next(r.number for r in sim.history.records if isinstance(r.event, ev.CheckpointSeen))
    key = f"journal/{victim:08d}.json"
    sim.store.replace(key, sim.store.get(key)[:-9])
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert state.voided == {victim}
    fresh = History(sim.store, "inc")
    fresh.poll()
    assert fresh.state == state


class Died(BaseException):
    """The supervisor's process is gone."""


def run_until(sim: Sim, kind: type, count: int) -> None:
    """Supervise until the `count`-th event of a kind is journaled, then die."""
    seen = 0

    def die(event: ev.Event, state: object) -> None:
        nonlocal seen
        seen += isinstance(event, kind)
        if seen == count:
            raise Died

    with pytest.raises(Died):
        sim.run(die)


@pytest.mark.parametrize("victim", range(3, 30))
def test_whichever_record_rots_the_run_is_opened_again_and_ends_well(victim: int):
    sim = Sim(trace=FixedTrace(up=HOUR / 4), pace=Pace(total_steps=1800, save_every=225))
    run_until(sim, ev.TrainingStarted, 3)
    if victim > sim.history.records[-1].number:
        return
    key = f"journal/{victim:08d}.json"
    sim.store.replace(key, sim.store.get(key)[:-9])
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert len(sim.cloud.starts) == len(set(sim.cloud.starts))
    fresh = History(sim.store, "inc")
    fresh.poll()
    assert fresh.state == state


def test_a_seal_tells_whether_the_commit_before_it_is_the_end_of_the_training():
    sim = Sim(trace=FixedTrace(up=HOUR))
    sim.run()
    *earlier, last = [record.event for record in sim.history.records if isinstance(record.event, ev.AttemptSealed)]
    assert last.finished
    assert earlier
    assert not any(event.finished for event in earlier)


def test_an_outage_of_the_store_is_nobodys_silence():
    class CutOff(Sim):
        """The supervisor reaches no store for a while; the machines do."""

        until = 0.0

        def store_of(self, who: str) -> ObjectStore:
            world = self

            class Outage(MemoryStore):
                def get(self, key: str, span: Span | None = None) -> bytes:
                    if world.timeline.now < world.until:
                        raise StoreUnknown("the store does not answer")
                    return world.store.get(key, span)

                create, replace, list, delete = (world.store.create, world.store.replace, world.store.list, world.store.delete)

            return Outage() if who.startswith("sup") else self.store

    sim = CutOff(trace=FixedTrace(up=100 * HOUR))

    def cut(event: ev.Event, state: object) -> None:
        if isinstance(event, ev.CheckpointSeen) and event.ref == CommitRef(1, 2):
            sim.until = sim.timeline.now + 200

    state = sim.run(cut)
    assert state.phase is Phase.SUCCEEDED
    assert len(state.attempts) == 1


@pytest.mark.parametrize("up", [HOUR, 3 * HOUR])
def test_skipping_the_looks_that_show_nothing_changes_nothing(up: float):
    """But for how often a checkpoint is seen, and to the look: what happens is looked at when it would have been."""

    def told(skips: bool) -> list[tuple[float, str, int]]:
        trace = FixedTrace(up=up, notice=lambda place, k: k % 2 == 0)
        sim = Sim(trace=trace, skips=skips, pace=Pace(total_steps=7 * 3600, save_every=600))
        sim.run()
        events = [e for e in sim.events if not isinstance(e, ev.CheckpointSeen)]
        return [(round((e.at - START) / 3), type(e).__name__, getattr(e, "attempt", 0)) for e in events]

    assert told(skips=True) == told(skips=False)


def test_an_overtaken_supervisor_leaves_the_beacon_of_the_other_alone():
    sim = Sim(trace=FixedTrace(up=HOUR))

    def usurp(event: ev.Event, state: object) -> None:
        if isinstance(event, ev.TrainingStarted) and event.attempt == 1:
            sim.open()
            beacon.Lamp(sim.store, sim.clock, "sup-2").burn(Tempo(), wake_at=0.0)

    with pytest.raises(Overtaken):
        sim.run(usurp)
    held = beacon.read(sim.store)
    assert held is not None
    assert (held.supervisor, held.released) == ("sup-2", False)


@pytest.mark.parametrize("key", ["requests/x.json", "attempts/0001/exit.json", "attempts/0001/notices/01.json"])
def test_an_object_nobody_can_read_does_not_end_the_loop(key: str):
    sim = Sim(trace=FixedTrace(up=100 * HOUR))
    sim.store.create(key, b"not json")
    assert sim.run().phase is Phase.SUCCEEDED


def test_old_shards_are_deleted_once_no_restore_is_ahead_and_commits_never():
    sim = Sim(trace=FixedTrace(up=HOUR))
    state = sim.run()
    last = state.last_writer
    assert last is not None
    shards = [m.key for m in sim.store.list("attempts/") if m.key.endswith("shard")]
    of_sealed_before = [key for key in shards if not key.startswith(f"attempts/{last.number:04d}/")]
    commits = [m.key for m in sim.store.list("attempts/") if "/commits/" in m.key]
    assert len(shards) <= 3 < len(commits)
    assert len(of_sealed_before) <= 3
