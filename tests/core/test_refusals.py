"""How a run ends that no cloud gives a machine to, and what its end says to do."""

from dataclasses import replace

import pytest

from launcher.core.instance import FailureKind, StartFailure
from launcher.core.recipe import Resources, RetrySpec
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.core.run.verdict import judge
from launcher.core.run.view import learnt
from launcher.units import HOUR
from tests import builders as b

AN_HOUR = b.recipe(resources=Resources(infra=("aws",)), retry=RetrySpec(capacity=HOUR))


def refused(kind: FailureKind) -> RunState:
    state = b.new_run(AN_HOUR)
    failure = StartFailure(failure=kind, message="what the cloud said.")
    return b.after(state, b.requested(state), ev.AttemptRefused(at=b.NOW, attempt=1, failure=failure))


@pytest.mark.parametrize(
    ("kind", "exit_code", "helps"),
    [
        (FailureKind.CREDENTIALS, 5, "renew the credentials for aws"),
        (FailureKind.PERMISSION, 5, "`launch doctor`"),
        (FailureKind.RECIPE, 2, "resources"),
    ],
)
def test_what_asking_again_does_not_change_ends_the_run_at_once(kind: FailureKind, exit_code: int, helps: str) -> None:
    verdict = judge(refused(kind), b.NOW + 1)
    assert verdict is not None
    assert verdict.exit_code == exit_code
    assert "what the cloud said; " in verdict.reason
    assert helps in verdict.reason


@pytest.mark.parametrize(
    ("kind", "exit_code", "helps"),
    [(FailureKind.QUOTA, 5, "servicequotas"), (FailureKind.CAPACITY, 3, "use_spot=auto"), (FailureKind.UNREACHABLE, 3, "places")],
)
def test_a_search_in_vain_ends_with_the_last_refusal_and_what_helps(kind: FailureKind, exit_code: int, helps: str) -> None:
    state = refused(kind)
    assert judge(state, b.NOW + 1) is None, "another place may have one"
    verdict = judge(state, b.NOW + 2 * HOUR)
    assert verdict is not None
    assert verdict.exit_code == exit_code
    assert "(retry.capacity); the last refusal: what the cloud said; " in verdict.reason
    assert helps in verdict.reason


def test_a_search_that_is_over_waits_for_the_machine_that_it_has_asked_for() -> None:
    """It was called off in the middle of its launch, and paid for."""
    state = refused(FailureKind.CAPACITY)
    asked = b.after(state, b.requested(state))
    assert judge(asked, b.NOW + 2 * HOUR) is None
    failure = StartFailure(failure=FailureKind.CAPACITY, message="none left")
    assert judge(b.after(asked, ev.AttemptRefused(at=b.NOW, attempt=2, failure=failure)), b.NOW + 2 * HOUR) is not None


def test_a_place_that_cannot_do_what_the_recipe_asks_ends_no_run_that_has_had_a_machine() -> None:
    """Days of training ended with 2 where a run came to a region without an image of its own."""
    state = b.after(b.new_run(AN_HOUR), b.requested(b.new_run(AN_HOUR)), b.started(1), b.lost(1), b.sealed(1))
    failure = StartFailure(failure=FailureKind.RECIPE, message="No image found in catalog for region me-central-1.")
    refusal = ev.AttemptRefused(at=b.NOW, attempt=2, failure=failure)
    asked = b.after(state, b.requested(state))
    assert judge(b.after(asked, refusal), b.NOW + 1) is None
    assert learnt(asked, refusal) is not None, "it is not asked again at once"
    resumed = b.after(asked, refusal, ev.RunResumed(at=b.NOW, recipe=AN_HOUR, deadline_at=None))
    again = b.after(resumed, b.requested(resumed), replace(refusal, attempt=3))
    verdict = judge(again, b.NOW + 1)
    assert verdict is not None
    assert verdict.exit_code == 2, "a resume may have changed the recipe"
