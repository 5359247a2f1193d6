"""What instances cost, where nobody can say exactly: a range that holds."""

import pytest

from launcher.core.contract import ExitKind
from launcher.core.instance import EndCause, FailureKind, StartFailure
from launcher.core.run import events as ev
from launcher.core.run.spent import CLOCKS_APART, gone_by, reserve, spent
from launcher.units import HOUR, Utc
from tests.builders import NOW, after, claimed, exited, lost, new_run, noticed, recipe, requested, started, training_run


@pytest.mark.parametrize(("kind", "high"), [(FailureKind.UNREACHABLE, 1.0), (FailureKind.CAPACITY, 0.0)])
def test_a_machine_that_nobody_ever_listed_may_have_run_all_the_same(kind: FailureKind, high: float):
    """Unless the cloud itself said that it would not start."""
    failure = StartFailure(failure=kind, message="test")
    refused = ev.AttemptRefused(at=NOW + HOUR, attempt=1, failure=failure)
    end = NOW + HOUR
    ended = ev.InstanceEnded(at=end, attempt=1, low=NOW, likely=end, high=end, cause=EndCause.UNTOLD, wait_status=None)
    state = new_run()
    books = spent(after(state, requested(state), refused, ended), end)
    assert (books.low, books.likely, books.high) == (0.0, 0.0, pytest.approx(high))


@pytest.mark.parametrize("outcome", [ExitKind.FINISHED, ExitKind.DRAINED])
def test_a_machine_whose_program_ended_may_have_been_taken_before_it_was_stopped(outcome: ExitKind):
    """Taken within the first hour it was free, and this cloud does not tell who ended it."""
    end = NOW + HOUR / 2
    ended = ev.InstanceEnded(at=end, attempt=1, low=NOW + 60, likely=end, high=end, cause=EndCause.UNTOLD, wait_status=None)
    books = spent(after(training_run(), exited(1, outcome), ended), end)
    assert (books.low, books.high) == (0.0, pytest.approx(0.5))


def vanished(*facts: ev.Event, stop_at: Utc | None = None) -> Utc:
    """When the machine of an attempt, of which these are known, is gone at the latest, found gone after a weekend."""
    state = new_run(recipe(autostop=12 * HOUR))
    state = after(state, requested(state, stop_at=stop_at), started(1), *facts, lost(1, EndCause.UNTOLD, at=NOW + 60 * HOUR))
    return gone_by(state, state.attempts[1], NOW + 60 * HOUR) - CLOCKS_APART - reserve(state)


def test_a_machine_whose_end_nobody_saw_was_up_no_longer_than_the_budget_that_it_was_told():
    """It was billed to the look that missed it, and the budget was spent by a machine that was gone for days."""
    assert vanished(claimed(1), stop_at=NOW + 2 * HOUR) == NOW + 2 * HOUR
    never_spoke = vanished(stop_at=NOW + 2 * HOUR)
    assert never_spoke > NOW + 59 * HOUR, "an agent that never began does not know it"


def test_a_machine_that_gave_time_back_under_a_notice_may_not_have_heard_of_that():
    moved = ev.StopAtMoved(at=NOW, attempt=1, stop_at=NOW + 180)
    assert vanished(claimed(1), noticed(1), moved, stop_at=NOW + 2 * HOUR) == NOW + 2 * HOUR
