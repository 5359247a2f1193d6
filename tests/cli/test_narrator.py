"""The live line says what is so: nothing trains before it was said to, and a total is named where one can be known."""

from dataclasses import replace

import pytest

from launcher import codec
from launcher.adapters.store.memory import MemoryStore
from launcher.app.live import Screen
from launcher.app.narrator import Narrator
from launcher.app.plans import first_plan
from launcher.core.contract import Heartbeat, heartbeat_key
from launcher.core.run import events as ev
from launcher.core.run.evolve import fold
from launcher.core.run.ledger import spent
from launcher.core.run.state import RunState
from launcher.units import Utc, show_usd
from tests.cli.past import preempted
from tests.simulation.worlds import Sim


class Lines(Screen):
    """Keeps what the moving line says."""

    def __init__(self) -> None:
        super().__init__(is_quiet=True)
        self.moving = ""

    def move(self, text: str, *, is_progress: bool = True) -> None:
        self.moving = text


@pytest.fixture
def sim() -> Sim:
    return preempted()


def state_after(sim: Sim, kind: type, *, before: bool = False) -> tuple[RunState, Utc]:
    """As the first event of a kind left the run, or found it."""
    state = None
    for record in sim.history.records:
        is_it = isinstance(record.event, kind)
        if is_it and before:
            break
        state = fold(state, record.event)
        if is_it:
            break
    assert state is not None
    return state, record.at


def line(sim: Sim, state: RunState, now: Utc, *, step: int) -> str:
    """The moving line while the first attempt's heartbeat tells of `step`."""
    beat: Heartbeat = codec.loads(Heartbeat, sim.store.get(heartbeat_key(1)))
    store = MemoryStore()
    store.create(heartbeat_key(1), codec.dumps(replace(beat, step=step, training_s=5.0)))
    screen = Lines()
    Narrator(screen, store, first_plan(state.recipe)[0]).look(state, now)
    return screen.moving


def test_no_step_is_shown_before_the_attempt_is_said_to_train(sim: Sim):
    assert line(sim, *state_after(sim, ev.TrainingStarted, before=True), step=3).startswith("restoring attempt 1")
    assert line(sim, *state_after(sim, ev.TrainingStarted), step=3).startswith("training    step 3/5400")


def test_an_attempt_that_has_ended_is_not_shown_as_training(sim: Sim):
    assert "training" not in line(sim, *state_after(sim, ev.AttemptExited), step=3)


def test_a_program_that_tells_no_step_is_not_said_to_be_at_step_0(sim: Sim):
    assert "step 0" not in line(sim, *state_after(sim, ev.TrainingStarted), step=0)


def test_the_total_is_as_planned_at_first_then_as_it_went_so_far(sim: Sim):
    state, now = state_after(sim, ev.NoticeSeen)
    paid = spent(state, now).likely
    assert line(sim, state, now, step=2700).endswith(f"{show_usd(paid)} of about {show_usd(2 * paid)}")
    assert not line(sim, state, now, step=50).endswith(show_usd(paid * 5400 / 50))


def test_where_the_work_is_not_known_no_total_is_named(sim: Sim):
    state, now = state_after(sim, ev.NoticeSeen)
    program = replace(state, recipe=replace(state.recipe, trainer=None, run="true"), work_s=None)
    assert line(sim, program, now, step=2).endswith(show_usd(spent(program, now).likely))
    assert "of about" not in line(sim, program, now, step=2)
