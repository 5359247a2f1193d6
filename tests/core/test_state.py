"""What follows from a state is worked out once for it, and anew for the next one."""

from dataclasses import replace

import pytest

from launcher.core.instance import EndCause
from launcher.core.run import events as ev
from launcher.core.run import spent
from launcher.core.run.once import once
from launcher.core.run.state import RunState
from launcher.core.run.view import view
from launcher.units import HOUR
from tests.builders import NOW, after, claimed, granted, lost, new_run, requested, sealed, started, training_run


def preempted(state: RunState, n: int, *, hours: float) -> RunState:
    """Attempt `n` ends and is billed for `hours`."""
    at = NOW + hours * HOUR
    billed = ev.InstanceEnded(at=at, attempt=n, low=at, likely=at, high=at, cause=EndCause.STOPPED, wait_status=None)
    return after(state, lost(n, at=at), sealed(n, at=at), billed)


def third_attempt() -> RunState:
    """Two attempts are settled and the third one trains."""
    state = preempted(training_run(), 1, hours=1)
    state = preempted(after(state, requested(state), started(2), claimed(2), granted(2)), 2, hours=2)
    return after(state, requested(state), started(3), claimed(3), granted(3))


def test_what_follows_from_a_state_is_worked_out_once_and_anew_for_the_next_state() -> None:
    asked: list[int] = []

    @once
    def num_attempts(state: RunState) -> int:
        asked.append(len(state.attempts))
        return len(state.attempts)

    state = new_run()
    following = after(state, requested(state))
    assert [num_attempts(state), num_attempts(state), num_attempts(following), num_attempts(state)] == [0, 0, 1, 0]
    assert asked == [0, 1]


def test_what_was_asked_of_a_state_is_no_part_of_it() -> None:
    asked, untouched = third_attempt(), third_attempt()
    assert asked.living
    assert asked.phase
    assert asked == untouched
    assert repr(asked) == repr(untouched)
    assert replace(asked) == untouched


def test_an_attempt_is_settled_once_it_has_ended_is_sealed_and_billed() -> None:
    state = third_attempt()
    assert [a.number for a in state.unsettled] == [3]
    ended = after(state, lost(3))
    assert [a.number for a in after(ended, sealed(3)).unsettled] == [3], "its bill runs"
    assert [a.number for a in preempted(state, 3, hours=3).unsettled] == []


def test_after_an_event_what_was_settled_before_is_not_priced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    state = third_attempt()
    spent.spent(state, NOW)
    priced: list[int] = []
    attempt_cost = spent.attempt_cost
    monkeypatch.setattr(spent, "attempt_cost", lambda a, *rest: (priced.append(a.number), attempt_cost(a, *rest))[1])
    whole = spent.spent(preempted(state, 3, hours=3), NOW)
    assert priced == [3]
    assert whole == sum((attempt_cost(a, NOW, 1) for a in preempted(state, 3, hours=3).attempts.values()), spent.NOTHING)


def test_a_look_without_news_prices_only_what_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    state = third_attempt()
    priced: list[int] = []
    attempt_cost = spent.attempt_cost
    monkeypatch.setattr(spent, "attempt_cost", lambda a, *rest: (priced.append(a.number), attempt_cost(a, *rest))[1])
    first, second = view(state, NOW + 1), view(state, NOW + HOUR)
    assert priced == [3, 3]
    assert first.attempts is second.attempts
    total = sum(attempt_cost(a, NOW + HOUR, 1).high for a in state.attempts.values())
    assert second.spent == pytest.approx(total)
    assert first.spent < second.spent
