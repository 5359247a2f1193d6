"""The steps that an end costs: an estimate after the last sign of life, which no training can outrun."""

from dataclasses import replace

import pytest

from launcher.app.lives import lives_of
from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.run.ledger import ledger, toll
from launcher.core.run.state import RunState
from tests.builders import NOW, after, committed, heartbeat, lost, sealed, training_run

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


def test_a_run_that_has_trained_nothing_useful_is_compared_with_no_on_demand_machine():
    idle = replace(training_run(), startup_s=5.0)
    assert ledger(idle, NOW + 60, on_demand_price=2.0).on_demand is None
    assert ledger(lost_in_silence(4.0), NOW + 60, on_demand_price=2.0).on_demand
