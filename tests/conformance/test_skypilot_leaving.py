"""A process that does not stay leaves once SkyPilot's server has what it was to be given: then the server goes on by itself."""

import threading

from launcher.adapters.cloud.skypilot.base import LaunchState, TaskConfig
from launcher.core.instance import InstancePhase
from tests.conformance.clouds import eventually
from tests.conformance.test_skypilot_cloud import CLUSTER, INCARNATION, NAME, RUN, SPEC, FakeSky, becomes, made


class SlowToHear(FakeSky):
    """A server that takes its time to take a request, and then a while to carry it out."""

    def __init__(self) -> None:
        super().__init__()
        self.hears = threading.Event()

    def launch(self, name: str, task: TaskConfig) -> str:
        assert self.hears.wait(30)
        return super().launch(name, task)


def test_it_is_busy_until_the_server_has_been_given_the_launch() -> None:
    sky = SlowToHear()
    cloud = made(sky)
    cloud.start(NAME, SPEC)
    assert cloud.is_busy()
    sky.hears.set()
    eventually(lambda: not cloud.is_busy())
    assert sky.requests[CLUSTER].state is LaunchState.OPEN
    sky.let_up()


def test_one_that_joins_an_open_launch_may_leave_and_one_that_finds_it_refused_has_that_to_tell() -> None:
    sky = FakeSky()
    made(sky).start(NAME, SPEC)
    eventually(lambda: CLUSTER in sky.requests)
    second = made(sky)
    second.start(NAME, SPEC)
    eventually(lambda: not second.is_busy())
    assert sky.sent == [CLUSTER]
    sky.refuse()
    third = made(sky)
    third.start(NAME, SPEC)
    assert third.is_busy()
    becomes(third, InstancePhase.FAILED)
    assert not third.is_busy()


def test_a_stop_keeps_it_busy_until_it_is_known_what_became_of_it() -> None:
    cloud = made(FakeSky())
    cloud.stop(NAME)
    assert cloud.is_busy()

    def is_free() -> bool:
        cloud.poll(RUN, INCARNATION)
        return not cloud.is_busy()

    eventually(is_free)
