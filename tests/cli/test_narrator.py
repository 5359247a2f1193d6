"""The live line says what is so: nothing trains before it was said to, and a total is named where one can be known."""

import re
from collections.abc import Iterable
from dataclasses import replace

import pytest

from launcher import codec
from launcher.adapters.store.memory import MemoryStore
from launcher.app.live import Screen
from launcher.app.lives import lives_of
from launcher.app.narrator import Narrator
from launcher.app.plans import first_plan
from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import ExitKind, Heartbeat, heartbeat_key
from launcher.core.instance import EndCause
from launcher.core.policy.base import Wait
from launcher.core.run import events as ev
from launcher.core.run.evolve import fold
from launcher.core.run.ledger import ledger
from launcher.core.run.spent import spent
from launcher.core.run.state import RunState
from launcher.units import Utc, show_usd
from tests import builders
from tests.builders import NOW
from tests.cli.past import preempted, preempted_silently
from tests.simulation.worlds import Sim


class Lines(Screen):
    """Keeps what the moving line says, and the lines that stay."""

    def __init__(self) -> None:
        super().__init__(is_quiet=True)
        self.moving = ""
        self.events: list[str] = []

    def event(self, mark: str, word: str, text: str) -> None:
        self.events.append(f"{word} {text}")

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


def line(sim: Sim, state: RunState, now: Utc, **told: object) -> str:
    """The moving line while the first attempt's heartbeat is as it was told last, but for `told`."""
    beat: Heartbeat = codec.loads_digested(Heartbeat, sim.store.get(heartbeat_key(1)))
    store = MemoryStore()
    store.create(heartbeat_key(1), codec.dumps_digested(replace(beat, training_s=5.0, **told)))  # type: ignore[arg-type]
    screen = Lines()
    Narrator(screen, store, first_plan(state.recipe)[0]).look(state, now)
    return screen.moving


def told(events: Iterable[ev.Event], state: RunState | None = None) -> tuple[list[str], RunState]:
    """The lines that stay while `events` happen, and the state after them."""
    screen = Lines()
    narrator = Narrator(screen, MemoryStore(), None)
    for event in events:
        state = fold(state, event)
        if state is not None:
            narrator.hear(event, state)
    assert state is not None
    return screen.events, state


def loss_in(line: str) -> int:
    return int(re.findall(r"lost: (\d+) step", line)[0])


def ended(cause: EndCause, *, noticed: bool = False) -> list[ev.Event]:
    """Attempt 1 trained on past its last checkpoint that was seen, made one more, and was killed 3 s after its last word."""
    beat = replace(builders.heartbeat(1, 9, step=150, training_s=60.0), at=NOW + 100, steps_per_s=10.0)
    died_at = NOW + 103
    return [
        ev.TrainingStarted(at=NOW + 40, attempt=1, heartbeat=builders.heartbeat(1, 2, step=1, training_s=0.1)),
        builders.committed(1, 1, 100, at=NOW + 90),
        *([builders.noticed(1, at=NOW + 91)] if noticed else []),
        ev.AttemptLost(at=NOW + 105, attempt=1, cause=cause, evidence="gone", heartbeat=beat),
        builders.sealed(1, CommitRef(1, 2), 140, at=NOW + 106),
        ev.InstanceEnded(at=NOW + 106, attempt=1, low=died_at, likely=died_at, high=died_at, cause=cause, wait_status="signal 9"),
    ]


@pytest.mark.parametrize("cause", [EndCause.PREEMPTED, EndCause.KILLED])
def test_an_end_is_told_once_the_loss_is_known_and_with_the_loss_that_the_report_tells(cause: EndCause):
    lines, state = told(ended(cause), builders.training_run())
    assert loss_in(lines[-1]) == 150 + 30 - 140 == lives_of(state, NOW + 200, {})[0].steps_lost
    assert told(ended(cause)[:-1], builders.training_run())[0] == []


@pytest.mark.parametrize(("status", "how"), [("signal 9", "SIGKILL        "), ("exit 0", "exit 0         "), (None, "")])
def test_a_preemption_is_told_with_what_ended_its_processes_where_the_cloud_tells_that(status: str | None, how: str):
    *before, end = ended(EndCause.PREEMPTED)
    assert isinstance(end, ev.InstanceEnded)
    lines, _ = told([*before, replace(end, wait_status=status)], builders.training_run())
    assert lines[-1].startswith(f"preempted {how}attempt 1, lost"), "and not the word twice"


def test_all_losses_told_on_the_way_are_those_of_the_report():
    lines, state = told(record.event for record in preempted_silently().history.records)
    lost = [life.steps_lost for life in lives_of(state, state.terminal.at if state.terminal else 0.0, {}) if life.is_preempted]
    assert [loss_in(line) for line in lines if line.startswith("preempted")] == lost
    assert sum(lost) > 0


def test_just_in_time_is_said_of_the_preemptions_that_the_report_counts(sim: Sim):
    lines, state = told(record.event for record in sim.history.records)
    ends = [line for line in lines if line.startswith("preempted")]
    assert [line.endswith("lost: 0 steps  (just in time)") for line in ends] == [True]
    assert ledger(state, NOW).just_in_time == 1
    late, state = told(ended(EndCause.PREEMPTED, noticed=True), builders.training_run())
    assert "just in time" not in late[-1]
    assert ledger(state, NOW + 200).just_in_time == 0


def test_no_loss_is_told_of_a_program_whose_steps_nobody_knows():
    program = builders.training_run(replace(builders.recipe(), trainer=None, run="true"))
    assert "lost:" not in told(ended(EndCause.PREEMPTED), program)[0][-1]


def test_an_attempt_that_finds_all_steps_done_is_shown_to_resume_and_why_it_trains_nothing():
    at_end = replace(builders.heartbeat(1, 3, step=1000), restored=CommitRef(1, 7), restored_step=1000)
    report = replace(builders.report(1, ExitKind.FINISHED), reason="all 1000 steps were done already", last=at_end)
    ends = [ev.AttemptExited(at=NOW + 9, attempt=1, report=report), builders.sealed(1, at=NOW + 9)]
    said, state = told(ends, builders.training_run())
    assert said == ["resumed at step 1000 (checkpoint 0001-0007, digest ok): all 1000 steps were done already"]
    assert lives_of(state, NOW + 9, {})[0].reason == "all 1000 steps were done already"


def program_run() -> RunState:
    return builders.training_run(replace(builders.recipe(), trainer=None, run="true"))


def test_of_a_program_that_tells_no_steps_the_commits_are_counted():
    beat = replace(builders.heartbeat(1, 2, training_s=1.0), restored=CommitRef(1, 3), restored_step=3)
    events = [
        ev.TrainingStarted(at=NOW + 1, attempt=1, heartbeat=beat),
        builders.noticed(1, at=NOW + 2),
        replace(builders.committed(1, 1, 4, at=NOW + 3), urgent=True),
        builders.exited(1, ExitKind.FINISHED, at=NOW + 4),
        builders.sealed(1, CommitRef(1, 1), 4, at=NOW + 4),
        ev.RunSucceeded(at=NOW + 5, commit=CommitRef(1, 1), step=4),
    ]
    lines, _ = told(events, program_run())
    assert lines[0] == "resumed at commit 3 (checkpoint 0001-0003, digest ok)"
    assert lines[2].startswith("saved commit 4 at the notice")
    assert lines[-1] == "done commit 4"
    assert not any("step" in line for line in lines)


def test_just_in_time_is_said_of_no_program_whose_work_nobody_knows():
    start, _, *end = ended(EndCause.PREEMPTED, noticed=True)
    lines, state = told([start, builders.committed(1, 1, 1, at=NOW + 103), *end], program_run())
    assert ledger(state, NOW + 200).just_in_time == 1
    assert lines[-1].endswith("attempt 1")


def test_a_program_under_run_that_tells_steps_is_told_of_in_steps():
    steps = replace(builders.committed(1, 1, 100, at=NOW + 3), tells_steps=True)
    end = [builders.exited(1, ExitKind.DRAINED, at=NOW + 4), builders.sealed(1, CommitRef(1, 1), 100, at=NOW + 4)]
    lines, _ = told([steps, *end, ev.RunPaused(at=NOW + 5, exit_code=130, reason="stopped on request")], program_run())
    assert lines[-1] == "paused stopped on request; at step 100"


def test_a_pause_before_any_commit_says_that_nothing_is_saved():
    end = [builders.exited(1, ExitKind.DRAINED, at=NOW + 4), builders.sealed(1, at=NOW + 4)]
    lines, _ = told([*end, ev.RunPaused(at=NOW + 5, exit_code=130, reason="stopped on request")], program_run())
    assert lines[-1] == "paused stopped on request; nothing saved yet"


def test_a_warning_is_shown_once_however_many_attempts_say_it():
    warnings = [ev.WarningSeen(at=NOW + n, attempt=1, warning=text) for n, text in enumerate(["a", "b", "a"])]
    assert told(warnings, program_run())[0] == ["warning a", "warning b"]


def test_why_a_run_waits_is_told_once_and_again_where_it_has_changed_after_a_while():
    state = builders.training_run()
    screen = Lines()
    narrator = Narrator(screen, MemoryStore(), None)
    for seconds, reason in ((0, "a 9 s more"), (1, "a 8 s more"), (599, "b"), (600, "b"), (1300, "b"), (1301, "c")):
        narrator.wait(Wait(until=NOW + 9999, reason=reason), state, NOW + seconds * state.speed)
    assert screen.events == ["waiting a 9 s more", "waiting b", "waiting c"]
    narrator.hear(ev.AttemptStarted(at=NOW + 1302, attempt=1, instance_id=None, billed_from=NOW + 1302), state)
    narrator.wait(Wait(until=NOW + 9999, reason="c"), state, NOW + 1303 * state.speed)
    assert screen.events[-1] == "waiting c"


def test_a_notice_that_passed_while_nobody_looked_says_when_it_ran_out():
    seen = replace(builders.noticed(1, at=NOW, ends_in=120.0), at=NOW + 360)
    assert told([seen], builders.training_run())[0] == ["notice ran out 4 min ago"]


@pytest.mark.parametrize(
    ("source", "drain", "line", "announced"),
    [
        ("SIGTERM", False, "ending attempt 1 is told to end", False),
        ("SIGTERM", True, "notice", True),  # clouds may announce an end by SIGTERM too
        ("cloud", False, "notice", True),
    ],
)
def test_an_end_of_our_own_is_not_told_as_a_notice_of_the_market(source: str, drain: bool, line: str, announced: bool):
    unwanted = ev.AttemptUnwanted(at=NOW, attempt=1, reason="stopped at once on request", drain=drain)
    seen = builders.noticed(1, at=NOW)
    lines, state = told([unwanted, replace(seen, notice=replace(seen.notice, source=source))], builders.training_run())
    assert lines[-1].startswith(line)
    assert [life.noticed for life in lives_of(state, NOW, {})] == [announced]


def test_no_step_is_shown_before_the_attempt_is_said_to_train(sim: Sim):
    assert line(sim, *state_after(sim, ev.TrainingStarted, before=True), step=3).startswith("restoring attempt 1")
    assert line(sim, *state_after(sim, ev.TrainingStarted), step=3).startswith("training    step 3/5400")


def test_an_attempt_that_has_ended_is_not_shown_as_training(sim: Sim):
    assert "training" not in line(sim, *state_after(sim, ev.AttemptExited), step=3)


def test_a_program_that_tells_no_step_is_not_said_to_be_at_step_0(sim: Sim):
    assert "step 0" not in line(sim, *state_after(sim, ev.TrainingStarted), step=0)


def test_a_heartbeat_from_before_a_checkpoint_that_was_told_is_not_shown_behind_it(sim: Sim):
    state, now = state_after(sim, ev.CheckpointSeen)
    saved = state.attempts[1].commit_step
    assert line(sim, state, now, step=saved - 2, last_commit_step=0) == ""
    assert line(sim, state, now, step=saved + 2, last_commit_step=saved).startswith(f"training    step {saved + 2}/")


@pytest.mark.parametrize(("last", "said"), [({"step": 1000, "loss": 2.06}, "  loss 2.06"), ({"step": 990, "loss": 2.14}, "")])
def test_the_loss_at_the_end_is_the_last_steps_or_none(last: dict[str, float], said: str):
    report = replace(builders.report(1, ExitKind.FINISHED), last=replace(builders.heartbeat(1, 9, training_s=1.0), **last))  # type: ignore[arg-type]
    end = [
        ev.TrainingStarted(at=NOW + 1, attempt=1, heartbeat=builders.heartbeat(1, 2, step=1, training_s=0.1)),
        builders.committed(1, 1, 1000, at=NOW + 3),
        ev.AttemptExited(at=NOW + 4, attempt=1, report=report),
        builders.sealed(1, CommitRef(1, 1), 1000, at=NOW + 4),
        ev.RunSucceeded(at=NOW + 5, commit=CommitRef(1, 1), step=1000),
    ]
    assert told(end, builders.training_run())[0][-1].endswith(f"1000{said}")


def test_while_nothing_is_durable_the_line_says_so(sim: Sim):
    now = state_after(sim, ev.TrainingStarted)
    assert "nothing saved yet" in line(sim, *now, step=3, last_commit=0, restored=None)
    assert "nothing saved yet" not in line(sim, *now, step=3, last_commit=0, restored=CommitRef(1, 1))
    assert "nothing saved yet" not in line(sim, *now, step=3, last_commit=1, restored=None)


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


def test_where_a_machine_has_no_price_the_money_says_so(sim: Sim):
    state, now = state_after(sim, ev.NoticeSeen)
    own = replace(state.attempts[1].offer, placement=replace(state.attempts[1].offer.placement, cloud="slurm"), price=0.0)
    unpriced = replace(state, attempts={1: replace(state.attempts[1], offer=own)})
    assert line(sim, unpriced, now, step=2700).endswith("$0.00 and unpriced machines")
