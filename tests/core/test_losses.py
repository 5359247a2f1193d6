"""The steps that an end costs: an estimate after the last sign of life, which no training can outrun."""

from dataclasses import replace

import pytest

from launcher.app.lives import lives_of
from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import Heartbeat
from launcher.core.run import events as ev
from launcher.core.run.ledger import ledger
from launcher.core.run.life import toll
from launcher.core.run.state import RunState
from tests.builders import NOW, after, claimed, committed, granted, heartbeat, lost, requested, sealed, started, training_run

SAVED = 990
LAST_WORD = replace(heartbeat(1, step=995, training_s=100.0), steps_per_s=5.0, total_steps=1000)


def lost_in_silence(unheard_s: float, total_steps: int | None = 1000) -> RunState:
    said = replace(LAST_WORD, total_steps=total_steps)
    state = after(training_run(), committed(1, 1, SAVED))
    return after(state, replace(lost(1, at=NOW + unheard_s), heartbeat=said), sealed(1, CommitRef(1, 1), SAVED))


@pytest.mark.parametrize(("total_steps", "expected"), [(1000, 10), (None, 25), (995, 5), (900, 5)])
def test_no_step_beyond_the_last_is_lost(total_steps: int | None, expected: int):
    assert toll(lost_in_silence(4.0, total_steps), 1, NOW + 60).steps_lost == expected


def test_a_run_sealed_at_its_last_step_lost_nothing():
    state = after(lost_in_silence(4.0), sealed(1, CommitRef(1, 2), 1000))
    assert toll(state, 1, NOW + 60).steps_lost == 0


@pytest.mark.parametrize("unheard_s", [0.0, 0.8, 4.0])
def test_steps_and_losses_of_an_attempt_add_up(unheard_s: float):
    [life] = lives_of(lost_in_silence(unheard_s), NOW + 60, {})
    assert life.to_step - SAVED == life.steps_lost


def ended_after(state: RunState, step: int, saved: int) -> RunState:
    """The newest attempt made `step` its last, and sealed its second checkpoint at `saved`."""
    n = state.next_attempt - 1
    said = replace(heartbeat(n, step=step, training_s=10.0), restored_step=state.attempts[n].restored_step)
    return after(state, replace(lost(n), heartbeat=said), sealed(n, CommitRef(n, 2), saved))


def going_on(state: RunState, restored_step: int) -> RunState:
    """With one more attempt, which trains from `restored_step`: what it was granted is newer where checkpoints were not whole."""
    n = state.next_attempt
    state = after(state, requested(state), started(n), claimed(n), granted(n, state.newest_commit))
    beat = replace(heartbeat(n, step=restored_step + 1, training_s=1.0), restored_step=restored_step)
    return after(state, ev.TrainingStarted(at=NOW, attempt=n, heartbeat=beat))


def test_the_steps_of_a_checkpoint_that_was_set_aside_are_lost_too():
    state = going_on(ended_after(training_run(), 58, saved=56), restored_step=54)
    assert toll(state, 1, NOW).steps_lost == ledger(state, NOW).steps_lost == 58 - 54


def test_steps_are_lost_by_the_attempt_that_made_them_however_far_back_a_later_one_began():
    second = ended_after(going_on(ended_after(training_run(), 58, saved=56), 56), 90, saved=80)
    assert [toll(second, n, NOW).steps_lost for n in (1, 2)] == [2, 10]
    third = going_on(second, restored_step=50)
    assert [toll(third, n, NOW).steps_lost for n in (1, 2)] == [58 - 50, 90 - 56]
    fourth = going_on(ended_after(third, 90, saved=90), restored_step=90)
    assert [toll(fourth, n, NOW).steps_lost for n in (1, 2, 3)] == [58 - 50, 90 - 56, 0]


@pytest.mark.parametrize("last_heard", [None, replace(heartbeat(1, step=50, training_s=10.0), total_steps=100)])
def test_what_was_saved_after_the_last_word_was_made(last_heard: Heartbeat | None):
    silent = after(training_run(), replace(lost(1), heartbeat=last_heard), sealed(1, CommitRef(1, 2), 56))
    assert toll(silent, 1, NOW).steps_lost == 0
    assert toll(going_on(silent, restored_step=54), 1, NOW).steps_lost == 56 - 54


def test_an_attempt_that_nobody_saw_begin_tells_at_its_end_where_it_did():
    state = ended_after(training_run(), 58, saved=56)
    state = after(state, requested(state), started(2), claimed(2), granted(2, CommitRef(1, 2)))
    said = replace(heartbeat(2, step=60, training_s=2.0), restored_step=54)
    assert toll(after(state, replace(lost(2), heartbeat=said)), 1, NOW).steps_lost == 58 - 54


def test_a_run_that_has_trained_nothing_useful_is_compared_with_no_on_demand_machine():
    idle = replace(training_run(), startup_s=5.0)
    assert ledger(idle, NOW + 60, on_demand_price=2.0).on_demand is None
    assert ledger(lost_in_silence(4.0), NOW + 60, on_demand_price=2.0).on_demand
