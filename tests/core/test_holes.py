"""What a state is where records are void: later records are taken as told, and nothing that production asserts is broken."""

from dataclasses import replace

from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.instance import EndCause
from launcher.core.market.belief import MarketView
from launcher.core.policy.base import Phase
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import Goal
from launcher.core.run import events as ev
from launcher.core.run import invariants
from launcher.core.run.deliberate import deliberate
from launcher.core.run.ledger import ledger
from launcher.core.run.observation import Watch
from launcher.core.run.reconcile import StopInstance, reconcile
from launcher.core.run.spent import spent
from launcher.core.run.state import EndKind, RunState
from launcher.units import HOUR, Utc
from tests.builders import (
    NOW,
    after,
    claimed,
    committed,
    granted,
    heartbeat,
    lost,
    new_run,
    recipe,
    requested,
    sealed,
    started,
    training_run,
)


def worked_run() -> RunState:
    """Attempt 1 committed, was lost and sealed."""
    return after(training_run(), committed(1, 1, 100), lost(1), sealed(1, CommitRef(1, 1), 100))


def paused(at: Utc = NOW) -> ev.RunPaused:
    return ev.RunPaused(at=at, exit_code=130, reason="stopped on request")


def bill(attempt: int, low: Utc, likely: Utc, high: Utc) -> ev.InstanceEnded:
    return ev.InstanceEnded(at=NOW, attempt=attempt, low=low, likely=likely, high=high, cause=EndCause.UNTOLD, wait_status=None)


def test_an_attempt_sealed_without_a_commit_whose_grant_is_void_keeps_the_work_before_it() -> None:
    state = worked_run()
    state = after(state, requested(state), claimed(2), lost(2), sealed(2))
    assert state.newest_commit == CommitRef(1, 1), "step 0 would throw away all work"
    assert state.num_grants == 2
    invariants.check(state)


def test_an_implied_grant_uses_up_the_branch_it_was_given_with() -> None:
    state = after(worked_run(), paused())
    resumed = ev.RunResumed(at=NOW, recipe=state.recipe, deadline_at=None, branched=True, parent=None)
    state = after(state, resumed)
    state = after(state, requested(state), claimed(2), lost(2), sealed(2, CommitRef(2, 3), 30))
    assert not state.branched
    assert state.newest_commit == CommitRef(2, 3)


def test_attempts_stay_in_the_order_of_their_numbers_when_a_request_is_void() -> None:
    state = worked_run()
    two = requested(state)
    three = requested(after(state, two))
    state = after(state, three, started(2), claimed(2))
    assert list(state.attempts) == [1, 2, 3]
    assert [a.number for a in state.wanted] == [3], "what nobody knows to have been requested is not wanted"


def test_a_request_behind_a_void_resume_shows_that_the_run_went_on() -> None:
    state = after(worked_run(), paused(NOW + 10))
    state = after(state, requested(state, at=NOW + 60))
    invariants.check(state)
    assert state.phase is Phase.PROVISIONING
    assert state.pauses == ((NOW + 10, NOW + 60),)
    assert state.request is None
    assert state.first_attempt == 2


def test_a_late_fact_of_an_attempt_that_only_void_records_knew_does_not_wake_a_run_that_succeeded() -> None:
    state = after(worked_run(), ev.RunSucceeded(at=NOW, commit=CommitRef(1, 1), step=100), started(2))
    invariants.check(state)
    assert state.phase is Phase.SUCCEEDED
    assert state.attempts[2].end is not None


def test_the_end_of_a_bill_shows_that_the_attempt_had_ended() -> None:
    state = after(worked_run(), paused(), bill(2, NOW, NOW, NOW))
    invariants.check(state)
    assert state.phase is Phase.PAUSED
    assert state.attempts[2].end is not None
    assert state.attempts[2].end.end is EndKind.OTHER


def test_what_a_machine_whose_request_is_void_may_spend_wakes_nothing() -> None:
    state = after(worked_run(), paused(), ev.StopAtMoved(at=NOW, attempt=2, stop_at=NOW + HOUR))
    invariants.check(state)
    assert not state.wanted


def test_a_number_given_before_a_later_record_voids_more_is_the_attempts_own() -> None:
    """A RecordVoided that is itself void is made up for by the next, which uses up the numbers at a later place."""
    state = new_run()
    request = ev.AttemptRequested(
        at=NOW, attempt=4, offer=requested(state).offer, reason="", view=requested(state).view, stop_at=None
    )
    void = ev.RecordVoided(at=NOW, numbers=(3, 4, 5, 6), digests=("",) * 4)
    state = after(state, requested(state), void, request)
    assert list(state.attempts) == [1, 4]
    assert requested(state).attempt == 6


def void(*requests: ev.AttemptRequested) -> ev.RecordVoided:
    return ev.RecordVoided(at=NOW + HOUR, numbers=(3,), digests=("",), requests=requests)


def test_an_attempt_whose_request_is_void_costs_what_its_machine_was_told() -> None:
    request = requested(new_run(), stop_at=NOW + 9 * HOUR)
    state = after(new_run(), started(1), claimed(1), granted(1), void(request))
    attempt = state.attempts[1]
    assert spent(state, NOW + HOUR).high == 1.0
    assert (attempt.offer, attempt.requested_at, attempt.stop_at) == (request.offer, NOW, NOW + 9 * HOUR)
    assert not attempt.is_wanted
    assert attempt.drain, "it trains, and saves before it goes"
    assert after(state, void(request)).attempts == state.attempts


def test_what_a_machine_may_spend_longer_stands_where_its_request_is_void() -> None:
    moved = ev.StopAtMoved(at=NOW, attempt=1, stop_at=NOW + 2 * HOUR)
    assert (
        after(new_run(), started(1), moved, void(requested(new_run(), stop_at=NOW + HOUR))).attempts[1].stop_at == NOW + 2 * HOUR
    )


def test_an_attempt_that_only_its_void_request_tells_of_is_stopped_at_once_and_its_number_is_used_up() -> None:
    state = after(new_run(), void(requested(new_run())))
    invariants.check(state)
    assert reconcile(state, NOW + HOUR) == (StopInstance(1),)
    assert state.next_attempt == 2


def test_a_request_that_proves_void_after_the_runs_end_wakes_nothing() -> None:
    state = after(worked_run(), paused())
    state = after(state, void(requested(state)))
    invariants.check(state)
    assert state.phase is Phase.PAUSED
    assert reconcile(state, NOW + HOUR) == (StopInstance(1), StopInstance(2)), "neither is billed"


def test_a_spent_budget_pauses_the_run_where_the_newest_request_is_void_and_no_price_is_known_of_it() -> None:
    """What a resume needs was asked of a place that nobody knows, and the supervisor ended with a ValueError."""
    state = training_run(recipe(policy=Goal(budget=1.0)))
    state = after(state, lost(1), sealed(1), bill(1, NOW + HOUR, NOW + HOUR, NOW + HOUR), claimed(2), lost(2))
    [pause] = deliberate(state, POLICIES["spot"](), MarketView(), Watch(), NOW + HOUR).events
    assert isinstance(pause, ev.RunPaused)
    assert pause.needs.startswith("policy.budget=")


def test_the_search_for_a_machine_has_begun_where_the_record_of_an_end_is_void() -> None:
    state = after(training_run(), sealed(1, at=NOW + 50))
    assert state.searching_since == NOW + 50


def test_a_bill_whose_witnesses_have_other_clocks_is_a_range_all_the_same() -> None:
    state = after(training_run(), lost(1), sealed(1), bill(1, NOW + HOUR, NOW + HOUR, NOW + HOUR / 2))
    cost = spent(state, NOW + HOUR)
    assert cost.low <= cost.likely <= cost.high == 1.0


def test_stalls_are_not_counted_as_work_to_be_done_again() -> None:
    command = recipe(run="train", trainer=None)
    state = training_run(command)
    beat = replace(heartbeat(1, training_s=100.0), saving_s=30.0, at=NOW + 100)
    state = after(state, replace(lost(1, at=NOW + 100), heartbeat=beat))
    times = ledger(state, NOW + 100).times
    assert times.useful + times.redone + times.saving + times.restoring + times.waiting == times.elapsed


def test_a_machine_that_outlived_its_runs_end_by_another_clock_is_counted_once() -> None:
    state = after(training_run(), lost(1, at=NOW + 100), sealed(1, at=NOW + 100), paused(NOW + 10))
    state = after(state, ev.RunResumed(at=NOW + 200, recipe=state.recipe, deadline_at=None))
    times = ledger(state, NOW + 205).times
    assert times.elapsed == 15.0
    assert times.useful + times.redone + times.saving + times.restoring + times.waiting == times.elapsed
