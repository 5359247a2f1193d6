"""Machines that came up and whose agents never spoke: which count, what breaks the row, and what a person is told."""

from dataclasses import replace

import pytest

from launcher.core.instance import EndCause, FailureKind, StartFailure
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.core.run.barren import MUTE_LIFE_S, MUTE_MOST, mute
from launcher.core.run.state import RunState
from launcher.core.run.verdict import judge
from launcher.units import HOUR, Seconds
from tests import builders as b


def up(state: RunState) -> RunState:
    return b.after(state, b.requested(state), b.started(state.next_attempt))


def unwanted(n: int, *, silent: bool = False) -> ev.AttemptUnwanted:
    return ev.AttemptUnwanted(at=b.NOW, attempt=n, reason="test", drain=False, silent=silent)


def let_go(state: RunState) -> RunState:
    n = state.next_attempt
    return b.after(up(state), unwanted(n, silent=True), b.lost(n, EndCause.STOPPED))


def vanished(
    state: RunState, life_s: Seconds = MUTE_LIFE_S, cause: EndCause = EndCause.UNTOLD, *, found_after: Seconds = 0.0
) -> RunState:
    n = state.next_attempt
    low, at = b.NOW + life_s, b.NOW + life_s + found_after
    bill = ev.InstanceEnded(at=at, attempt=n, low=low, likely=at, high=at, cause=cause, wait_status=None)
    return b.after(up(state), b.lost(n, cause, at=at), bill)


def num_mute(state: RunState) -> int:
    return len(mute(state))


def test_the_third_machine_in_a_row_that_never_spoke_pauses_the_run_with_what_to_look_at():
    state = vanished(let_go(b.new_run()))
    assert judge(state, b.NOW) is None
    for third in (let_go(state), vanished(state)):
        verdict = judge(third, b.NOW)
        assert verdict is not None
        assert (verdict.phase, verdict.exit_code) == (Phase.PAUSED, 5)
        assert verdict.reason.startswith("3 machines in a row came up and none of their agents spoke; ")
        assert "`launch doctor RECIPE`" in verdict.reason


def exited(state: RunState) -> RunState:
    n = state.next_attempt
    told = replace(b.lost(n, EndCause.EXITED), evidence="the cloud says it ended (its agent did not start: no versions of torch)")
    return b.after(up(state), told)


def test_a_machine_whose_agent_never_came_to_start_counts_and_what_its_cloud_says_is_told():
    state = vanished(exited(b.new_run()))
    assert judge(state, b.NOW) is None
    for third in (let_go(state), exited(state)):
        verdict = judge(third, b.NOW)
        assert verdict is not None
        assert (verdict.phase, verdict.exit_code) == (Phase.PAUSED, 5)
        assert verdict.reason.endswith("the cloud says it ended (its agent did not start: no versions of torch)")


def test_it_counts_from_when_it_is_let_go_so_that_no_fourth_is_asked_for():
    state = let_go(let_go(b.new_run()))
    going = b.after(up(state), unwanted(state.next_attempt, silent=True))
    assert num_mute(going) == MUTE_MOST
    assert num_mute(b.after(going, b.claimed(going.next_attempt - 1))) == 0, "it spoke after all"


def test_a_machine_that_vanished_before_its_agent_could_have_spoken_tells_nothing():
    two = let_go(let_go(b.new_run()))
    young = vanished(two, MUTE_LIFE_S - 1, found_after=HOUR)
    assert num_mute(young) == 2
    assert num_mute(let_go(young)) == MUTE_MOST
    slow = replace(two, startup_s=2 * MUTE_LIFE_S)
    assert num_mute(vanished(slow, 2 * MUTE_LIFE_S - 1)) == 2
    assert num_mute(vanished(slow, 2 * MUTE_LIFE_S)) == MUTE_MOST


def test_one_that_the_market_took_does_not_count_and_does_not_break_the_row():
    two = let_go(let_go(b.new_run()))
    told = vanished(two, HOUR, EndCause.PREEMPTED)
    n = two.next_attempt
    warned = b.after(up(two), b.noticed(n), b.lost(n, EndCause.UNTOLD, at=b.NOW + HOUR))
    at = b.NOW + HOUR
    bill = ev.InstanceEnded(at=at, attempt=n, low=at, likely=at, high=at, cause=EndCause.PREEMPTED, wait_status=None)
    told_later = b.after(up(two), b.lost(n, EndCause.UNTOLD, at=at), bill)
    taken_as_it_was_let_go = b.after(up(two), unwanted(n, silent=True), b.lost(n))
    for taken in (told, warned, told_later, taken_as_it_was_let_go):
        assert num_mute(taken) == 2
        assert num_mute(let_go(taken)) == MUTE_MOST


def test_one_that_was_let_go_for_another_reason_or_never_came_up_does_not_count():
    two = let_go(let_go(b.new_run()))
    n = two.next_attempt
    moved = b.after(up(two), unwanted(n), b.lost(n, EndCause.UNTOLD, at=b.NOW + HOUR))
    failure = StartFailure(failure=FailureKind.CAPACITY, message="none left")
    refused = b.after(two, b.requested(two), ev.AttemptRefused(at=b.NOW, attempt=n, failure=failure))
    for other in (moved, refused):
        assert num_mute(other) == 2
        assert num_mute(let_go(other)) == MUTE_MOST


def test_one_that_spoke_breaks_the_row_and_so_does_a_resume():
    two = let_go(let_go(b.new_run()))
    n = two.next_attempt
    claimed = b.after(up(two), b.claimed(n), b.lost(n, EndCause.UNTOLD, at=b.NOW + HOUR))
    beat = replace(b.lost(n, EndCause.UNTOLD, at=b.NOW + HOUR), heartbeat=b.heartbeat(n))
    heard = b.after(up(two), beat)
    resumed = b.after(let_go(two), ev.RunResumed(at=b.NOW, recipe=b.recipe(), deadline_at=None))
    for broken in (claimed, heard, resumed):
        assert num_mute(broken) == 0
        assert num_mute(let_go(broken)) == 1


def test_successors_that_stay_mute_while_an_older_machine_trains_end_nothing_and_are_not_held_against_the_next():
    state = let_go(let_go(let_go(b.training_run())))
    assert judge(state, b.NOW) is None
    later = b.NOW + HOUR
    alone = b.after(state, b.lost(1, at=later), b.sealed(1))
    assert judge(alone, later) is None
    assert num_mute(alone) == 0


def test_a_search_in_vain_tells_of_machines_that_came_up():
    of = b.recipe(retry=replace(b.recipe().retry, capacity=2 * HOUR))
    for state, reason in (
        (b.new_run(of), "no machine within 2.0 h (retry.capacity)"),
        (let_go(b.new_run(of)), "no machine came to train within 2.0 h (retry.capacity), though 1 came up"),
    ):
        verdict = judge(state, b.NOW + 3 * HOUR)
        assert verdict is not None
        assert (verdict.exit_code, verdict.reason) == (3, reason)


def test_one_whose_claim_may_be_in_a_voided_record_does_not_count():
    two = let_go(let_go(b.new_run()))
    n = two.next_attempt
    doubtful = b.after(up(two), ev.RecordVoided(at=b.NOW, numbers=(9,), digests=("",)))
    assert num_mute(b.after(doubtful, b.lost(n, EndCause.UNTOLD, at=b.NOW + HOUR))) == 2


@pytest.mark.parametrize("ghostly", [unwanted(7, silent=True), b.lost(7, EndCause.UNTOLD, at=b.NOW + HOUR)])
def test_a_journal_with_holes_has_no_mute_machines_of_which_no_request_tells(ghostly: ev.AttemptEvent):
    voided = ev.RecordVoided(at=b.NOW, numbers=(2,), digests=("",))
    assert num_mute(b.after(b.new_run(), voided, ghostly)) == 0
