"""The simulated machine does what a real one does in the same place, or what is proved in its world is proved of nothing."""

from dataclasses import dataclass

from launcher.adapters.store.base import Chunks
from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import ExitKind, claim_key, exit_key, notice_key
from launcher.core.run import events as ev
from launcher.errors import StoreError, StoreUnknown, StoreUnusable
from launcher.sim.store import SimStore
from launcher.sim.trainer import Pace
from tests.simulation.rig import Bench, keys, spec_of

PACE = Pace(boot_s=60, restore_s=30, step_s=1.0, stall_s=0.0, durable_s=5.0, save_every=100, total_steps=1000)


@dataclass
class Refusing:
    """A store that refuses some creates or all deletes, until it is mended."""

    inner: SimStore
    error: StoreError | None = None
    of: str = "/saves/"
    deletes_fail: bool = False

    def create(self, key: str, data: Chunks) -> None:
        if self.error is not None and self.of in key:
            raise self.error
        self.inner.create(key, data)

    def delete(self, key: str) -> None:
        if self.deletes_fail:
            raise StoreUnusable(f"{key}: may not be deleted")
        self.inner.delete(key)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


def trained(bench: Bench, until: float) -> Bench:
    bench.timeline.pass_until(70)
    bench.grant()
    bench.timeline.pass_until(until)
    return bench


def test_a_machine_claims_once_it_has_booted_and_commits_what_it_trained() -> None:
    bench = Bench()
    bench.machine(pace=PACE)
    bench.timeline.pass_until(59)
    assert keys(bench.store) == []
    trained(bench, 2000)
    assert [commit.step for commit in bench.commits()] == list(range(100, 1001, 100))
    assert [commit.finished for commit in bench.commits()] == [False] * 9 + [True]
    assert bench.report().outcome is ExitKind.FINISHED
    assert bench.exited == ["n"]


def test_a_machine_that_is_killed_before_it_has_booted_never_claims() -> None:
    bench = Bench()
    machine = bench.machine(pace=PACE)
    bench.timeline.pass_until(30)
    machine.kill()
    bench.timeline.pass_until(3600)
    assert keys(bench.store) == []
    assert machine.claimed_at is None


def test_of_two_agents_of_one_attempt_only_one_trains() -> None:
    bench = Bench()
    first, second = bench.machine(pace=PACE, nonce="a"), bench.machine(pace=PACE, nonce="b")
    trained(bench, 500)
    assert first.has_trained
    assert not second.has_trained
    assert bench.exited == ["b"]
    assert keys(bench.store, claim_key(1)) == [claim_key(1)]
    assert keys(bench.store, exit_key(1)) == [], "the loser has nothing to report"


def test_a_machine_goes_on_where_the_grants_parent_stopped() -> None:
    bench = Bench()
    bench.machine(pace=PACE)
    trained(bench, 350).machines[0].kill()
    bench.machine(spec_of(2), pace=PACE, nonce="b")
    bench.timeline.pass_until(450)
    bench.grant(2, parent=CommitRef(1, 2))
    bench.timeline.pass_until(450 + 200)
    assert bench.commits(2)[0].parent == CommitRef(1, 2)
    assert bench.commits(2)[0].step == 300


def test_what_cannot_be_deleted_costs_no_commit() -> None:
    bench = Bench()
    store = Refusing(bench.store, deletes_fail=True)
    bench.machine(pace=PACE, store=store)  # type: ignore[arg-type]
    trained(bench, 2000)
    assert [commit.step for commit in bench.commits()] == list(range(100, 1001, 100)), "one commit a save"
    assert bench.report().last.failed_saves == 0


def test_saves_that_get_no_answer_end_no_attempt_and_refused_ones_do() -> None:
    away, full = Bench(), Bench()
    for bench, error in ((away, StoreUnknown("no answer")), (full, StoreUnusable("no space left"))):
        store = Refusing(bench.store, error=error)
        bench.machine(pace=PACE, store=store)  # type: ignore[arg-type]
        trained(bench, 900)
    assert full.report().outcome is ExitKind.STORE_FAILED
    assert full.report().last.failed_saves == 3, "as many as the spec allows in a row, and no more"
    assert keys(away.store, exit_key(1)) == []


def test_a_machine_that_lingers_takes_no_new_work() -> None:
    bench = Bench()
    machine = bench.machine(pace=PACE)
    bench.timeline.pass_until(70)
    machine.warn(70 + 120)
    bench.timeline.pass_until(190)
    assert bench.report().outcome is ExitKind.DRAINED
    bench.grant()
    bench.timeline.pass_until(240)
    assert not machine.has_trained
    assert bench.exited == [], "it stays until the cloud takes it"
    bench.timeline.pass_until(260)
    assert bench.exited == ["n"]


def test_a_notice_brings_a_save_at_once_and_the_last_one_just_in_time() -> None:
    bench = Bench()
    machine = bench.machine(pace=PACE)
    trained(bench, 250)
    machine.warn(250 + 120)
    bench.timeline.pass_until(260)
    assert bench.commits()[-1].urgent
    assert machine.is_training, "it goes on meanwhile"
    bench.timeline.pass_until(369.9)
    assert bench.report().outcome is ExitKind.DRAINED
    assert bench.commits()[-1].step == machine.step_at(369.9)
    assert bench.exited == []


def test_a_notice_that_is_taken_back_ends_nothing() -> None:
    bench = Bench()
    machine = bench.machine(pace=PACE)
    trained(bench, 250)
    machine.warn(250 + 120)
    bench.timeline.pass_until(300)
    machine.warn(0, withdrawn=True)
    bench.timeline.pass_until(2000)
    assert bench.report().outcome is ExitKind.FINISHED
    assert keys(bench.store, "attempts/0001/notices/") == [notice_key(1, 1), notice_key(1, 2)]


def test_a_second_notice_moves_the_end_and_the_first_one_has_no_say_any_more() -> None:
    bench = Bench()
    machine = bench.machine(pace=PACE)
    trained(bench, 250)
    machine.warn(250 + 60)
    bench.timeline.pass_until(260)
    machine.warn(250 + 600)
    bench.timeline.pass_until(400)
    assert machine.is_training
    bench.timeline.pass_until(250 + 600)
    assert bench.report().outcome is ExitKind.DRAINED


def test_a_zombie_meets_the_seal_of_what_it_was_about_to_commit() -> None:
    bench = Bench()
    machine = bench.machine(pace=PACE)
    trained(bench, 302)  # its second save is on the way
    machine.cut_off()
    bench.timeline.pass_until(400)
    bench.seal(1, 2)
    bench.journal(ev.AttemptSealed(at=400.0, attempt=1, last=CommitRef(1, 1), step=100))
    machine.wake_late()
    bench.timeline.pass_until(500)
    assert len(bench.commits()) == 1
    assert bench.report().outcome is ExitKind.SEALED
    assert machine.is_over


def test_a_zombie_that_nobody_sealed_commits_late() -> None:
    bench = Bench()
    machine = bench.machine(pace=PACE)
    trained(bench, 302)
    machine.cut_off()
    bench.timeline.pass_until(4000)
    assert len(bench.commits()) == 1
    machine.wake_late()
    assert [commit.step for commit in bench.commits()] == [100, 200]


def test_a_machine_that_is_cut_off_says_nothing_and_hears_nothing() -> None:
    bench = Bench()
    machine = bench.machine(pace=PACE)
    trained(bench, 250)
    before = keys(bench.store, "attempts/")
    machine.cut_off()
    bench.journal(ev.AttemptUnwanted(at=250.0, attempt=1, reason="x", drain=False))
    machine.warn(700)
    machine.say()
    bench.timeline.pass_until(800)
    assert keys(bench.store, "attempts/") == before
    assert not machine.is_over


def test_what_a_machine_had_planned_is_no_news_once_it_is_gone() -> None:
    bench = Bench()
    machine = bench.machine(pace=PACE)
    trained(bench, 1050)  # its end is planned
    machine.kill()
    known = bench.timeline.num_news
    bench.timeline.pass_until(1e6)
    assert bench.timeline.num_news == known
