"""What a run's journal teaches about its places."""

from dataclasses import replace

import pytest

from launcher.core.instance import EndCause, FailureKind, StartFailure
from launcher.core.market.lives import Lesson, Outcome
from launcher.core.recipe import Recipe, Resources
from launcher.core.run import events as ev
from launcher.core.run.lessons import lessons_of, program_of
from launcher.units import HOUR, MINUTE
from tests import builders as b

ON_AWS = b.recipe(resources=Resources(infra=("aws",)))
UP_AT = b.NOW + 3 * MINUTE
END_AT = UP_AT + 2 * HOUR


def ended(n: int, *, cause: EndCause = EndCause.PREEMPTED, at: float = END_AT) -> ev.InstanceEnded:
    return ev.InstanceEnded(at=at + 60, attempt=n, low=at, likely=at, high=at, cause=cause, wait_status=None)


def trained(n: int, at: float = UP_AT + 2 * MINUTE) -> ev.TrainingStarted:
    return ev.TrainingStarted(at=at, attempt=n, heartbeat=b.heartbeat(n))


def taught(*events: ev.Event, of: Recipe = ON_AWS) -> tuple[Lesson, ...]:
    state = b.new_run(of)
    every = (b.requested(state), *events)
    return lessons_of(b.after(state, *every), every)


BOOTED: tuple[ev.Event, ...] = (b.started(1, at=UP_AT), b.claimed(1, at=UP_AT + MINUTE), b.granted(1, at=UP_AT + MINUTE))
OVER: tuple[ev.Event, ...] = (b.sealed(1), ended(1))


def test_a_preempted_attempt_tells_its_life_its_boot_and_its_notice() -> None:
    beat = replace(b.heartbeat(1, step=720, training_s=3700.0), saving_s=100.0)
    lost = replace(b.lost(1, at=END_AT), heartbeat=beat)
    (found,) = taught(*BOOTED, trained(1), b.noticed(1, at=END_AT - 120), lost, *OVER)
    assert (found.outcome, found.life, found.boot, found.notice) == (Outcome.LOST, 2 * HOUR, 4 * MINUTE, 120.0)
    assert found.steps_per_s == pytest.approx(720 / 3600)
    assert (found.key, found.at) == ("inc-1", END_AT)
    assert found.placement.zone == "us-east-1a"


def test_its_pace_is_of_the_gpus_that_the_recipe_asks_for_and_not_of_all_that_the_machine_has() -> None:
    recipe = b.recipe(resources=Resources(infra=("aws",), accelerators=("A100:1",)))
    for of in (recipe, replace(recipe, num_nodes=4)):
        state = b.new_run(of)
        asked = b.requested(state)
        on_eight = replace(asked, offer=replace(asked.offer, placement=replace(asked.offer.placement, accelerators=8)))
        every = (on_eight, *BOOTED, trained(1), b.lost(1, at=END_AT), *OVER)
        (found,) = lessons_of(b.after(state, *every), every)
        assert (found.placement.accelerators, found.gpus, found.num_nodes) == (8, 1, of.num_nodes)


def test_one_without_a_notice_says_so() -> None:
    (found,) = taught(*BOOTED, trained(1), b.lost(1, at=END_AT), *OVER)
    assert (found.outcome, found.notice, found.steps_per_s) == (Outcome.LOST, None, None)


def test_one_that_we_stopped_would_have_lived_longer() -> None:
    (found,) = taught(*BOOTED, trained(1), b.lost(1, EndCause.STOPPED, at=END_AT), b.sealed(1), ended(1, cause=EndCause.STOPPED))
    assert (found.outcome, found.life, found.notice) == (Outcome.HELD, 2 * HOUR, None)


@pytest.mark.parametrize(
    ("kind", "tells"), [(FailureKind.CAPACITY, True), (FailureKind.QUOTA, True), (FailureKind.RECIPE, False)]
)
def test_a_refusal_is_the_places_where_it_is(kind: FailureKind, tells: bool) -> None:
    refused = ev.AttemptRefused(at=b.NOW + 5, attempt=1, failure=StartFailure(failure=kind, message="no"))
    found = taught(refused, ended(1, cause=EndCause.UNTOLD, at=b.NOW + 5))
    assert [(one.outcome, one.why, one.life) for one in found] == ([(Outcome.REFUSED, kind.value, None)] if tells else [])


def test_a_machine_that_never_said_a_word_is_a_refusal() -> None:
    silent = ev.AttemptUnwanted(at=END_AT, attempt=1, reason="silent", drain=False, silent=True)
    gone = b.lost(1, EndCause.STOPPED, at=END_AT + 9)
    (found,) = taught(b.started(1, at=UP_AT), silent, gone, ended(1, cause=EndCause.STOPPED))
    assert (found.outcome, found.why) == (Outcome.REFUSED, "silent")


def test_what_is_not_settled_yet_tells_nothing_yet() -> None:
    assert taught(*BOOTED, trained(1), b.lost(1, at=END_AT), b.sealed(1)) == ()


def test_a_rehearsal_teaches_nothing_of_the_places_it_was_named_for() -> None:
    rehearsed = b.recipe(resources=Resources(infra=("local",)))
    assert taught(*BOOTED, trained(1), b.lost(1, at=END_AT), *OVER, of=rehearsed) == ()


def test_an_attempt_whose_request_nobody_can_read_tells_nothing() -> None:
    state = b.new_run(ON_AWS)
    events = (*BOOTED, b.lost(1, at=END_AT), *OVER)
    assert lessons_of(b.after(state, *events), events) == ()


def test_a_program_is_the_same_for_any_number_of_steps() -> None:
    base = b.recipe()
    assert program_of(replace(base, trainer={**(base.trainer or {}), "steps": 5})) == program_of(base)
    assert program_of(replace(base, trainer={**(base.trainer or {}), "width": 5})) != program_of(base)
    assert program_of(replace(base, name="other")) != program_of(base)
