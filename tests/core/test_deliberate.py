"""What is decided in which state, and what never is."""

from dataclasses import replace

import pytest

from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import EMPTY_FOLDER, ExitKind, Request, RequestKind
from launcher.core.instance import EndCause
from launcher.core.market.belief import MarketView
from launcher.core.policy.base import Phase
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import RetrySpec
from launcher.core.run import events as ev
from launcher.core.run.barren import UNPUBLISHED_MOST, are_too_short, slower, unpublished
from launcher.core.run.deliberate import deliberate
from launcher.core.run.observation import Pulse, Watch
from launcher.core.run.reconcile import SealCommits, StartInstance, StopInstance, reconcile
from launcher.core.run.state import EndKind, RunState
from launcher.core.run.verdict import judge
from launcher.units import HOUR
from tests.builders import (
    NOW,
    after,
    barren,
    claimed,
    exited,
    granted,
    heartbeat,
    lost,
    new_run,
    noticed,
    recipe,
    requested,
    sealed,
    short_lived,
    started,
    training_run,
)
from tests.builders import committed as commit
from tests.core.markets import market, spot

MARKET = market(spot("us-east-1a", 0.9), spot("us-east-1b", 1.0), spot("us-west-2a", 1.1))


def decide(state: RunState, *, watch: Watch | None = None, view: MarketView = MARKET, mono: float = 0.0) -> tuple[ev.Event, ...]:
    return deliberate(state, POLICIES["spot"](), view, watch or Watch(), NOW + mono).events


def ask(kind: RequestKind) -> ev.RequestSeen:
    return ev.RequestSeen(at=NOW, request=Request(uuid="u", request=kind, by="me"))


def test_a_new_run_asks_for_a_machine_and_says_why():
    [event] = decide(new_run())
    assert isinstance(event, ev.AttemptRequested)
    assert event.offer.placement.zone == "us-east-1a"
    assert "$0.90/h" in event.reason


def test_nothing_is_decided_while_the_writer_trains():
    assert decide(training_run()) == ()


def test_no_second_machine_is_asked_for_while_one_is_on_its_way():
    state = new_run()
    state = after(state, requested(state))
    assert decide(state) == ()


def test_at_a_notice_the_next_machine_is_requested_and_not_where_the_old_one_is_lost():
    [event] = decide(after(training_run(), noticed(1)))
    assert isinstance(event, ev.AttemptRequested)
    assert event.offer.placement.zone == "us-east-1b"


def test_the_old_one_ends_when_its_successor_is_ready_and_the_grant_waits_for_its_seal():
    state = after(training_run(), commit(1, 1, 100), noticed(1))
    state = after(state, requested(state, "us-east-1b"), started(2), claimed(2))
    [event] = decide(state)
    assert isinstance(event, ev.AttemptUnwanted)
    assert event.drain
    state = after(state, event)
    assert decide(state) == ()
    state = after(state, exited(1, ExitKind.DRAINED))
    assert decide(state) == ()
    assert SealCommits(1) in reconcile(state, NOW)
    state = after(state, sealed(1, CommitRef(1, 2), 120))
    [grant] = decide(state)
    assert grant == granted(2, CommitRef(1, 2))


def test_of_several_claimed_attempts_the_newest_is_granted_and_the_others_end():
    state = after(training_run(), noticed(1))
    state = after(state, requested(state, "us-east-1b"), started(2), claimed(2), noticed(2))
    state = after(state, requested(state, "us-west-2a"), started(3), claimed(3))
    assert {e.attempt for e in decide(state) if isinstance(e, ev.AttemptUnwanted)} == {1, 2}


def test_a_writer_without_a_commit_passes_on_its_own_parent():
    state = after(training_run(), commit(1, 1, 100), lost(1), sealed(1, CommitRef(1, 1), 100))
    state = after(state, requested(state), started(2), claimed(2), granted(2, CommitRef(1, 1)), lost(2), sealed(2))
    state = after(state, requested(state), started(3), claimed(3))
    assert decide(state) == (granted(3, CommitRef(1, 1)),)


def test_a_run_never_ends_before_its_last_writer_is_sealed():
    state = after(training_run(), exited(1, ExitKind.FINISHED, exit_code=0))
    assert decide(state) == ()
    [event] = decide(after(state, sealed(1, CommitRef(1, 1), 1000)))
    assert event == ev.RunSucceeded(at=NOW, commit=CommitRef(1, 1), step=1000)


@pytest.mark.parametrize("how", [(), (ask(RequestKind.STOP),)], ids=["lost", "stopped"])
def test_a_run_whose_last_step_is_saved_buys_no_machine_to_find_that_out(how: tuple[ev.Event, ...]):
    state = after(training_run(), commit(1, 1, 1000), *how, lost(1))
    assert decide(state) == (), "the seal may show more"
    [event] = decide(after(state, sealed(1, CommitRef(1, 1), 1000, finished=True)))
    assert event == ev.RunSucceeded(at=NOW, commit=CommitRef(1, 1), step=1000)


def test_only_a_commit_that_says_so_is_an_end_and_only_a_trainer_of_ours_is_believed():
    for of, finished in ((recipe(), False), (PROGRAM, True)):
        state = after(training_run(of), commit(1, 1, 1000), lost(1), sealed(1, CommitRef(1, 1), 1000, finished=finished))
        [event] = decide(state)
        assert isinstance(event, ev.AttemptRequested)


def test_a_last_step_that_a_resume_went_back_behind_or_added_to_is_trained_again():
    state = after(training_run(), commit(1, 1, 1000), lost(1), sealed(1, CommitRef(1, 1), 1000, finished=True))
    state = after(state, ev.RunPaused(at=NOW, exit_code=130, reason="test"))
    longer = recipe(trainer={"kind": "launcher.trainers.gpt", "steps": 2000})
    back = ev.RunResumed(at=NOW, recipe=state.recipe, deadline_at=None, branched=True, parent=None, step=0)
    for resumed in (back, ev.RunResumed(at=NOW, recipe=longer, deadline_at=None)):
        [event] = decide(after(state, resumed))
        assert isinstance(event, ev.AttemptRequested)


def test_cancel_does_not_wait_for_a_save_and_stop_does():
    [stop] = decide(after(training_run(), ask(RequestKind.STOP)))
    [cancel] = decide(after(training_run(), ask(RequestKind.CANCEL)))
    assert isinstance(stop, ev.AttemptUnwanted)
    assert isinstance(cancel, ev.AttemptUnwanted)
    assert (stop.drain, cancel.drain) == (True, False)
    assert reconcile(after(training_run(), stop), NOW) == ()
    assert reconcile(after(training_run(), cancel), NOW) == (StopInstance(1),)


def test_a_cancel_after_a_stop_no_longer_waits_for_the_save():
    state = after(training_run(), ask(RequestKind.STOP))
    state = after(state, *decide(state))
    again = ev.RequestSeen(at=NOW, request=Request(uuid="v", request=RequestKind.CANCEL, by="me"))
    [event] = decide(after(state, again))
    assert isinstance(event, ev.AttemptUnwanted)
    assert not event.drain


def test_an_instance_under_notice_is_left_for_the_cloud_to_take():
    state = after(training_run(), noticed(1, ends_in=120), exited(1, ExitKind.DRAINED), sealed(1))
    assert reconcile(state, NOW + 60) == ()
    assert reconcile(state, NOW + 181) == (StopInstance(1),)


def test_a_notice_ends_by_our_clock_though_the_machines_is_minutes_ahead():
    seen = replace(noticed(1, at=NOW + 600, ends_in=120), at=NOW)
    state = after(training_run(), seen, exited(1, ExitKind.DRAINED), sealed(1))
    assert reconcile(state, NOW + 60) == ()
    assert reconcile(state, NOW + 181) == (StopInstance(1),)


def test_a_clock_that_was_set_back_does_not_wait_for_the_cloud_a_second_time():
    """Found by seed 4739 of the soak: set back by 8 min, it left a machine to the cloud, and to the bill, for as long."""
    state = after(training_run(), noticed(1, ends_in=120), replace(exited(1, ExitKind.DRAINED), at=NOW + 120), sealed(1))
    assert reconcile(state, NOW + 121) == ()
    assert reconcile(state, NOW + 119) == (StopInstance(1),)


def test_an_attempt_with_a_claim_is_never_started_again():
    state = new_run()
    state = after(state, requested(state))
    assert reconcile(state, NOW) == (StartInstance(1),)
    assert reconcile(after(state, claimed(1)), NOW) == ()


@pytest.mark.parametrize("state", [training_run(), after(new_run(), requested(new_run()), claimed(1), granted(1))])
def test_a_machine_whose_heart_stands_still_is_let_go_without_waiting_for_a_save(state: RunState):
    """Whether the cloud has said that it costs money or only its claim tells of it."""
    almost, still = (Watch(pulses={1: Pulse(heartbeat=heartbeat(1), still_s=s)}) for s in (179.0, 180.0))
    assert decide(state, watch=almost) == ()
    event = decide(state, watch=still)[0]
    assert isinstance(event, ev.AttemptUnwanted)
    assert not event.drain


def test_killed_is_retried_without_limit_while_it_makes_progress():
    state = new_run()
    for n in range(1, 30):
        state = after(state, requested(state), started(n), claimed(n), granted(n, state.newest_commit))
        state = after(state, commit(n, 1, n), lost(n, EndCause.KILLED), sealed(n, CommitRef(n, 1), n))
        assert judge(state, NOW) is None


def test_a_preemption_counts_neither_as_an_error_nor_as_dying_at_a_checkpoint():
    state = new_run(recipe(retry=RetrySpec(error=0, same_checkpoint=1)))
    for n in range(1, 10):
        state = after(state, requested(state), started(n), claimed(n), granted(n), lost(n), sealed(n))
        assert judge(state, NOW) is None
    assert state.failures.preemptions == 9


def test_an_error_count_starts_anew_at_a_new_commit():
    state = new_run(recipe(retry=RetrySpec(error=1, same_checkpoint=99)))
    for n in range(1, 6):
        state = after(state, requested(state), started(n), claimed(n), granted(n, state.newest_commit), commit(n, 1, n))
        state = after(state, exited(n, ExitKind.PROGRAM_FAILED, exit_code=3), sealed(n, CommitRef(n, 1), n))
        assert judge(state, NOW) is None


@pytest.mark.parametrize("code", [126, 127])
def test_what_could_not_be_started_is_not_tried_again_unless_it_has_saved_something(code: int):
    failed = exited(1, ExitKind.PROGRAM_FAILED, exit_code=code)
    verdict = judge(after(training_run(), failed, sealed(1)), NOW)
    assert verdict is not None
    assert (verdict.phase, verdict.exit_code, verdict.program_exit_code) == (Phase.FAILED, 1, code)
    assert judge(after(training_run(), commit(1, 1, 10), failed, sealed(1, CommitRef(1, 1), 10)), NOW) is None


def test_what_trained_before_and_is_not_found_on_one_machine_is_tried_on_another():
    """The image of another place had no torchrun, and days of training ended with 1."""
    state = after(training_run(), commit(1, 1, 10), lost(1), sealed(1, CommitRef(1, 1), 10))
    paused = ev.RunPaused(at=NOW, exit_code=130, reason="stopped on request")
    resumed = after(state, paused, ev.RunResumed(at=NOW, recipe=recipe(), deadline_at=None))
    for before, ends in ((state, False), (resumed, True)):  # a resume may have changed the line
        again = after(before, requested(before), started(2), claimed(2), granted(2, CommitRef(1, 1)))
        assert (judge(after(again, exited(2, ExitKind.PROGRAM_FAILED, exit_code=127)), NOW) is not None) is ends


def test_the_users_exit_code_is_in_the_verdict():
    state = new_run(recipe(retry=RetrySpec(error=0)))
    state = after(state, requested(state), started(1), claimed(1), granted(1), exited(1, ExitKind.PROGRAM_FAILED, exit_code=3))
    verdict = judge(after(state, sealed(1)), NOW)
    assert verdict is not None
    assert (verdict.phase, verdict.exit_code, verdict.program_exit_code) == (Phase.FAILED, 1, 3)
    assert verdict.reason.startswith("the program failed once: ")


def test_what_happened_more_than_once_is_counted_and_what_happened_once_is_not():
    state = new_run(recipe(retry=RetrySpec(error=1, preemption=0)))
    for n in (1, 2):
        state = after(
            state, requested(state), started(n), claimed(n), granted(n), exited(n, ExitKind.PROGRAM_FAILED, exit_code=3)
        )
        state = after(state, sealed(n))
    verdict = judge(state, NOW)
    assert verdict is not None
    assert verdict.reason.startswith("the program failed 2 times without a new checkpoint in between: ")
    state = new_run(recipe(retry=RetrySpec(preemption=0)))
    verdict = judge(after(state, requested(state), started(1), claimed(1), granted(1), lost(1), sealed(1)), NOW)
    assert verdict is not None
    assert verdict.reason == "preempted once, and retry.preemption is 0"


def test_nothing_valid_to_restore_pauses_and_names_the_way_out():
    state = after(training_run(), exited(1, ExitKind.NOTHING_VALID), sealed(1))
    verdict = judge(state, NOW)
    assert verdict is not None
    assert (verdict.exit_code, verdict.reason, verdict.needs) == (6, "test", "--from 0")


FULL = "the save of step 9 failed: the disk is full; free some space"


def preempted_while_saves_fail(state: RunState, failed_saves: int, *, commits: int = 0, told: int | None = None) -> RunState:
    """After one more attempt, taken by the market; its last heartbeat knows of `told` commits, of all where None."""
    n = state.next_attempt
    beat = replace(heartbeat(n), failed_saves=failed_saves, warnings=(FULL,), last_commit=commits if told is None else told)
    begun = (requested(state), started(n), claimed(n), granted(n, state.newest_commit))
    seal = sealed(n, CommitRef(n, commits), commits) if commits else sealed(n)
    return after(state, *begun, replace(lost(n), heartbeat=beat), seal)


def test_no_other_machine_is_bought_once_saves_in_a_row_have_failed_to_the_end_of_a_life():
    [paused] = decide(preempted_while_saves_fail(new_run(), 2, commits=4))
    assert isinstance(paused, ev.RunPaused)
    assert (paused.exit_code, paused.reason) == (6, f"2 saves in a row failed: {FULL}")


def test_failed_saves_in_a_row_are_counted_over_lives():
    state = preempted_while_saves_fail(new_run(), 1, commits=4)
    assert judge(state, NOW) is None, "one may be a passing thing"
    state = preempted_while_saves_fail(state, 0)
    assert judge(state, NOW) is None
    verdict = judge(preempted_while_saves_fail(state, 1), NOW)
    assert verdict is not None
    assert (verdict.exit_code, verdict.reason) == (6, f"2 saves in a row failed: {FULL}")


def test_a_commit_starts_the_count_of_failed_saves_anew_be_it_one_that_no_heartbeat_told_and_so_does_a_resume():
    state = preempted_while_saves_fail(new_run(), 1)
    assert judge(preempted_while_saves_fail(state, 1, commits=1), NOW) is None
    assert judge(preempted_while_saves_fail(state, 2, commits=1, told=0), NOW) is None
    full = preempted_while_saves_fail(state, 1)
    assert judge(full, NOW) is not None
    assert judge(after(full, ev.RunResumed(at=NOW, recipe=recipe(), deadline_at=None)), NOW) is None


def test_whoever_trains_meanwhile_may_yet_save():
    full = preempted_while_saves_fail(preempted_while_saves_fail(new_run(), 0), 1)
    n = full.next_attempt
    training = after(full, requested(full), started(n), claimed(n), granted(n))
    assert judge(training, NOW) is None


def preempted_unpublished(state: RunState, times: int) -> RunState:
    for _ in range(times):
        state = after(state, *barren(state))
    return state


PROGRAM = recipe(trainer=None, run="python train.py")


def test_a_program_that_publishes_nothing_attempt_after_attempt_is_paused_with_the_reason_and_the_way_out():
    state = preempted_unpublished(new_run(PROGRAM), UNPUBLISHED_MOST - 1)
    assert judge(state, NOW) is None
    verdict = judge(preempted_unpublished(state, 1), NOW)
    assert verdict is not None
    assert (verdict.phase, verdict.exit_code) == (Phase.PAUSED, 6)
    assert verdict.reason == "10 attempts in a row published nothing: model.pt kept changing"


def after_short_lives(state: RunState, said: str, *, trains_s: float = 3.0) -> RunState:
    """As many as it takes; each second one trains a second longer."""
    for turn in range(UNPUBLISHED_MOST):
        state = after(state, *short_lived(state, said=said, trains_s=trains_s + turn % 2))
    return state


def rehearsed(speed: float = 300.0) -> RunState:
    return replace(new_run(PROGRAM), speed=speed)


EMPTY = f"no file published yet: {EMPTY_FOLDER}; write into $LAUNCH_CHECKPOINT_DIR"


@pytest.mark.parametrize("said", ["", EMPTY])
def test_lives_too_short_for_a_save_are_told_with_how_long_they_were(said: str):
    state = after_short_lives(rehearsed(), said)
    verdict = judge(state, NOW)
    assert verdict is not None
    figures = "in lives of 12 to 13 s here starting took 9 s, and the program's 3 to 4 s came to no whole save"
    assert verdict.reason == f"10 attempts in a row published nothing: {figures}"
    assert are_too_short(state)
    assert slower(state) == 90, "39 s for a start and enough of training, in lives of an hour there"


def test_a_file_in_the_way_is_the_cause_however_short_the_lives():
    state = after_short_lives(rehearsed(), "no file published yet: model.pt open for writing; leave 5 s between saves")
    verdict = judge(state, NOW)
    assert verdict is not None
    assert verdict.reason == "10 attempts in a row published nothing: model.pt open for writing"
    assert not are_too_short(state)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (EMPTY, "the program wrote nothing into $LAUNCH_CHECKPOINT_DIR in 60 to 61 s of training"),
        ("", "launcher.train came to no save in 60 to 61 s of training"),
    ],
)
def test_lives_that_were_long_enough_are_not_blamed(said: str, why: str):
    state = after_short_lives(rehearsed(), said, trains_s=60.0)
    verdict = judge(state, NOW)
    assert verdict is not None
    assert verdict.reason == f"10 attempts in a row published nothing: {why}"
    assert not are_too_short(state)


def test_nowhere_but_in_a_rehearsal_are_lives_called_too_short():
    assert not are_too_short(after_short_lives(rehearsed(speed=1.0), EMPTY))


def test_one_published_file_starts_the_count_of_barren_attempts_anew_and_so_does_a_resume():
    state = preempted_unpublished(new_run(PROGRAM), UNPUBLISHED_MOST - 1)
    n = state.next_attempt
    published = after(state, requested(state), started(n), claimed(n), granted(n), commit(n, 1, 1))
    published = after(published, lost(n), sealed(n, CommitRef(n, 1), 1))
    assert len(unpublished(preempted_unpublished(published, 2))) == 2
    resumed = ev.RunResumed(at=NOW, recipe=PROGRAM, deadline_at=None)
    assert unpublished(after(preempted_unpublished(state, 1), resumed)) == ()


def test_a_recipe_that_wants_no_checkpoints_and_a_trainer_of_ours_have_none_to_miss():
    wants_none = replace(PROGRAM, checkpoint=replace(PROGRAM.checkpoint, every="never"))
    for of in (wants_none, recipe()):
        assert judge(preempted_unpublished(new_run(of), UNPUBLISHED_MOST), NOW) is None


def test_a_passed_deadline_pauses_with_exit_4():
    verdict = judge(replace(training_run(), deadline_at=NOW - 1), NOW)
    assert verdict is not None
    assert verdict.exit_code == 4


def test_resume_forgets_failures_and_requests_and_can_branch_off():
    state = after(training_run(), ask(RequestKind.STOP), exited(1, ExitKind.DRAINED), sealed(1, CommitRef(1, 3), 90))
    state = after(state, *decide(state))
    assert state.phase is Phase.PAUSED
    resumed = ev.RunResumed(at=NOW, recipe=state.recipe, deadline_at=None, branched=True, parent=CommitRef(1, 1), step=30)
    state = after(state, resumed)
    assert (state.newest_commit, state.newest_step) == (CommitRef(1, 1), 30)
    state = after(state, requested(state), started(2), claimed(2))
    assert decide(state) == (granted(2, CommitRef(1, 1)),)


def test_a_voided_record_uses_up_a_number_and_whoever_waited_for_a_grant_is_unwanted():
    state = new_run()
    state = after(state, requested(state), started(1), claimed(1))
    state = after(state, ev.RecordVoided(at=NOW, numbers=(7,), digests=("d",)))
    assert state.next_attempt == 3
    [event] = decide(state)
    assert isinstance(event, ev.AttemptUnwanted)


def test_only_one_that_may_have_trained_is_given_time_to_save():
    """A machine that never spoke was given a quarter of an hour to save, on a budget that was spent (seed 8559)."""
    state = new_run()
    booting = after(state, requested(state), started(1), claimed(1), ask(RequestKind.STOP))
    [event] = decide(booting)
    assert isinstance(event, ev.AttemptUnwanted)
    assert not event.drain
    [event] = decide(after(training_run(), ask(RequestKind.STOP)))
    assert isinstance(event, ev.AttemptUnwanted)
    assert event.drain


def test_the_grant_of_an_attempt_whose_request_was_voided_still_makes_history():
    state = after(new_run(), claimed(1), granted(1), commit(1, 1, 50))
    assert state.newest_commit == CommitRef(1, 1)
    assert not state.wanted


def test_a_wait_for_other_places_lets_no_missed_writer_go():
    state = after(training_run(), ev.InstanceMissed(at=NOW, attempt=1))
    assert decide(state, view=MarketView()) == ()


def test_of_two_requests_the_harder_stands():
    later = ev.RequestSeen(at=NOW, request=Request(uuid="v", request=RequestKind.STOP, by="me"))
    assert after(training_run(), ask(RequestKind.CANCEL), later).request is RequestKind.CANCEL


def test_an_agent_that_ends_again_and_again_without_a_word_is_given_up():
    state = new_run(recipe(retry=RetrySpec(same_checkpoint=2)))
    for n in range(1, 4):
        assert judge(state, NOW) is None
        state = after(state, requested(state), started(n), claimed(n), lost(n, EndCause.EXITED))
    verdict = judge(state, NOW)
    assert verdict is not None
    assert verdict.exit_code == 1


def test_giving_up_does_not_depend_on_the_clock():
    state = after(
        training_run(recipe(retry=RetrySpec(error=0))), exited(1, ExitKind.PROGRAM_FAILED, at=NOW - 6 * HOUR), sealed(1)
    )
    verdict = judge(state, NOW - 6 * HOUR)
    assert verdict is not None
    assert verdict.phase is Phase.FAILED


def test_our_own_stop_is_no_preemption_though_it_sounds_like_a_notice():
    unwanted = ev.AttemptUnwanted(at=NOW, attempt=1, reason="stopped at once", drain=False)
    state = after(training_run(), unwanted, noticed(1), exited(1, ExitKind.DRAINED))
    end = state.attempts[1].end
    assert end is not None
    assert end.end is EndKind.STOPPED


def test_a_number_the_cloud_knows_is_never_used_again():
    [event] = decide(new_run(), watch=Watch(newest_listed=7))
    assert isinstance(event, ev.AttemptRequested)
    assert event.attempt == 8


def test_no_machine_is_bought_between_the_writers_end_and_its_seal():
    assert decide(after(training_run(), lost(1))) == ()


@pytest.mark.parametrize("missing", range(6))
def test_any_one_record_may_be_void_and_the_rest_still_folds(missing: int):
    state = new_run()
    told: list[ev.Event] = [requested(state), started(1), claimed(1), granted(1), exited(1, ExitKind.DRAINED), sealed(1)]
    state = after(state, *(e for n, e in enumerate(told) if n != missing))
    state = after(state, ev.RecordVoided(at=NOW, numbers=(missing + 2,), digests=("d",)))
    state = after(state, requested(state), started(3), claimed(3), granted(3), lost(3), sealed(3))
    state = after(state, ev.RunPaused(at=NOW, exit_code=130, reason="test"))
    assert state.phase is Phase.PAUSED
    assert after(state, ev.RunResumed(at=NOW, recipe=state.recipe, deadline_at=None)).phase is Phase.WAITING
