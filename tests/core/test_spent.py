"""What instances cost, where nobody can say exactly: a range that holds."""

import pytest

from launcher.core.contract import ExitKind
from launcher.core.instance import EndCause, FailureKind, StartFailure
from launcher.core.run import events as ev
from launcher.core.run.spent import spent
from launcher.units import HOUR
from tests.builders import NOW, after, exited, new_run, requested, training_run


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
