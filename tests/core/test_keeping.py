"""A failed machine that stays up for a look: which one, until when, and what ends it before."""

from dataclasses import replace

import pytest

from launcher.core.contract import ExitKind, Request, RequestKind
from launcher.core.market.belief import MarketView
from launcher.core.recipe import RetrySpec
from launcher.core.run import events as ev
from launcher.core.run.interpret import interpret
from launcher.core.run.keeping import kept, kept_until
from launcher.core.run.observation import Sightings, Watch
from launcher.core.run.reconcile import StopInstance, reconcile
from launcher.core.run.spec import attempt_spec
from launcher.core.run.state import RunState
from launcher.units import MINUTE
from tests.builders import NOW, after, exited, gone, new_run, recipe, requested, sealed, training_run

KEEP = 30 * MINUTE
FAILED = exited(1, ExitKind.PROGRAM_FAILED, exit_code=1)
GIVEN_UP = (FAILED, sealed(1), ev.RunFailed(at=NOW, exit_code=1, reason="the program failed"))


def keeping() -> RunState:
    return training_run(recipe(retry=RetrySpec(error=0, keep_failed=KEEP)))


def given_up() -> RunState:
    return after(keeping(), *GIVEN_UP)


def stops(state: RunState, at: float) -> bool:
    return StopInstance(1) in reconcile(state, at)


def test_the_machine_of_the_last_failure_is_stopped_only_once_its_time_is_over() -> None:
    state = given_up()
    assert not stops(state, NOW + KEEP - 1)
    assert stops(state, NOW + KEEP)


def test_it_is_not_stopped_between_its_end_and_the_runs() -> None:
    assert not stops(after(keeping(), FAILED), NOW)


def test_nothing_is_kept_where_nobody_asked_for_it() -> None:
    assert stops(after(training_run(), *GIVEN_UP), NOW)


@pytest.mark.parametrize("outcome", [ExitKind.FINISHED, ExitKind.DRAINED, ExitKind.KILLED, ExitKind.STORE_FAILED])
def test_only_the_users_own_error_is_worth_a_look(outcome: ExitKind) -> None:
    assert stops(after(keeping(), exited(1, outcome)), NOW)


def test_a_failed_setup_is_the_users_error_too() -> None:
    assert not stops(after(keeping(), exited(1, ExitKind.SETUP_FAILED)), NOW)


def test_where_another_attempt_follows_the_failed_machine_goes() -> None:
    state = after(keeping(), FAILED, sealed(1))
    assert stops(after(state, requested(state)), NOW)


def test_a_run_that_goes_on_keeps_nothing_though_it_waits_for_the_next_machine() -> None:
    state = after(training_run(recipe(retry=RetrySpec(error=2, keep_failed=KEEP))), FAILED)
    assert not stops(state, NOW), "the seal may show that it is given up"
    assert stops(after(state, sealed(1)), NOW)


def test_a_run_that_ends_for_another_reason_keeps_nothing() -> None:
    assert stops(after(keeping(), FAILED, sealed(1), ev.RunPaused(at=NOW, exit_code=4, reason="the deadline has passed")), NOW)


def test_the_budget_ends_it_earlier() -> None:
    state = new_run(recipe(retry=RetrySpec(error=0, keep_failed=KEEP)))
    state = after(state, requested(state, stop_at=NOW + MINUTE), *GIVEN_UP)
    assert kept_until(state, state.attempts[1]) == NOW + MINUTE
    assert stops(state, NOW + MINUTE)


def test_autostop_ends_it_earlier_since_its_agent_hears_of_no_supervisor_any_more() -> None:
    state = after(training_run(recipe(retry=RetrySpec(error=0, keep_failed=KEEP), autostop=MINUTE)), *GIVEN_UP)
    assert kept_until(state, state.attempts[1]) == NOW + MINUTE
    assert attempt_spec(state, state.attempts[1], "file:///s").keep_failed == MINUTE


def test_one_that_the_cloud_took_meanwhile_is_kept_no_more() -> None:
    state = given_up()
    facts = interpret(state, Sightings(instances={1: gone(1)}), Watch(), MarketView(), NOW)
    assert kept(state, NOW) is not None
    assert kept(after(state, *facts), NOW) is None


def test_a_request_to_stop_ends_it_though_the_run_is_over() -> None:
    asked = Sightings(requests=(Request(uuid="u", request=RequestKind.STOP, by="me@here"),))
    state = given_up()
    assert interpret(state, asked, Watch(), MarketView(), NOW + KEEP) == (), "nothing is kept then, and no request heard"
    facts = interpret(state, asked, Watch(), MarketView(), NOW)
    assert facts == (ev.RequestSeen(at=NOW, request=asked.requests[0]),)
    assert stops(after(state, *facts), NOW)


def test_a_rehearsal_leaves_a_person_a_minute_to_look() -> None:
    state = replace(given_up(), speed=300.0)
    assert kept_until(state, state.attempts[1]) == NOW + 60 * 300
    assert attempt_spec(state, state.attempts[1], "file:///s").keep_failed == 60 * 300
    slow = replace(given_up(), speed=2.0)
    assert kept_until(slow, slow.attempts[1]) == NOW + KEEP
    assert attempt_spec(replace(training_run(), speed=300.0), training_run().attempts[1], "file:///s").keep_failed == 0.0
