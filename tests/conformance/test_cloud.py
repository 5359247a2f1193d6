"""What every cloud promises, on real processes and in simulated time."""

from collections.abc import Callable

import pytest

from launcher.core.instance import EndCause, FailureKind, InstancePhase
from tests.conformance.clouds import SPEED, Ground, LocalGround, OneLife, Place, SimGround

GROUNDS: dict[str, type[LocalGround] | type[SimGround]] = {"local": LocalGround, "simulated": SimGround}
MakeGround = Callable[..., Ground]


@pytest.fixture(params=GROUNDS)
def ground(request: pytest.FixtureRequest, place: Place) -> MakeGround:
    def make(life: OneLife | None = None, *, exits: bool = False) -> Ground:
        return GROUNDS[request.param](place, life or OneLife(), exits=exits)

    return make


def test_a_machine_lives_as_long_as_the_market_says_and_is_then_taken(ground: MakeGround) -> None:
    here = ground(OneLife(up=1.0 * SPEED))
    here.start()
    end = here.becomes(InstancePhase.GONE)
    assert (end.cause, end.wait_status) == (EndCause.PREEMPTED, "signal 9")
    assert end.billed_from is not None
    assert end.ended_at == end.billed_from + 1.0 * SPEED


def test_starting_twice_gives_one_machine_and_what_has_ended_is_never_started_again(ground: MakeGround) -> None:
    here = ground()
    here.start()
    first = here.becomes(InstancePhase.RUNNING)
    here.start()
    assert here.status() == first
    here.cloud.stop(name_of(here))
    end = here.becomes(InstancePhase.GONE)
    here.start()
    assert here.status() == end


def test_what_is_stopped_ends_as_stopped(ground: MakeGround) -> None:
    here = ground()
    here.start()
    running = here.becomes(InstancePhase.RUNNING)
    here.cloud.stop(name_of(here))
    end = here.becomes(InstancePhase.GONE)
    assert end.cause is EndCause.STOPPED
    assert (end.instance_id, end.billed_from) == (running.instance_id, running.billed_from)


def test_stopping_what_is_unknown_or_ended_is_fine(ground: MakeGround) -> None:
    here = ground(exits=True)
    here.start()
    name = name_of(here)
    here.cloud.stop(name[:-1] + "5")
    end = here.becomes(InstancePhase.GONE)
    here.cloud.stop(name)
    assert here.status() == end
    assert here.status(5) is None


def test_an_agent_that_ends_by_itself_ends_the_instance_with_its_exit_code(ground: MakeGround) -> None:
    here = ground(exits=True)
    here.start()
    end = here.becomes(InstancePhase.GONE)
    assert end.cause is EndCause.EXITED
    assert end.wait_status is not None
    assert end.wait_status.startswith("exit ")


def test_a_place_refuses_until_its_gap_is_over_and_a_refusal_is_final(ground: MakeGround) -> None:
    here = ground(OneLife(up=0.3 * SPEED, down=7200))
    here.start(1)
    end = here.becomes(InstancePhase.GONE, 1)
    assert end.ended_at is not None
    here.wait_until(end.ended_at + 7000)
    here.start(2)
    refused = here.status(2)
    assert refused is not None
    assert refused.failure is not None
    assert (refused.phase, refused.failure.failure) == (InstancePhase.FAILED, FailureKind.CAPACITY)
    here.wait_until(end.ended_at + 7300)
    here.start(2)
    assert here.status(2) == refused, "the next attempt asks anew"
    here.start(3)
    assert here.becomes(InstancePhase.GONE, 3).cause is EndCause.PREEMPTED


def test_a_place_that_was_left_does_not_refuse(ground: MakeGround) -> None:
    here = ground(OneLife(down=7200), exits=True)
    for attempt in (1, 2):
        here.start(attempt)
        assert here.becomes(InstancePhase.GONE, attempt).cause is EndCause.EXITED


def test_ended_instances_are_told_for_a_day(ground: MakeGround) -> None:
    here = ground(exits=True)
    here.start()
    end = here.becomes(InstancePhase.GONE)
    assert end.ended_at is not None
    here.wait_until(end.ended_at + 86000)
    assert here.status() == end
    here.wait_until(end.ended_at + 87000)
    assert here.status() is None


def test_instances_of_another_run_are_not_ours(ground: MakeGround) -> None:
    here = ground()
    here.start()
    here.becomes(InstancePhase.RUNNING)
    assert here.cloud.poll("quiet-otter-7f3a", "another") == {}
    assert here.cloud.poll("quiet-otter", "c0ffee") == {}


def name_of(here: Ground) -> str:
    (name,) = here.cloud.poll("quiet-otter-7f3a", "c0ffee")
    return name
