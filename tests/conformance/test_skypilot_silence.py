"""SkyPilot's server where it answers late, or never."""

import itertools
import threading
from collections.abc import Callable, Collection
from dataclasses import replace

import pytest

from launcher.adapters.cloud.base import Machine
from launcher.adapters.cloud.skypilot import cloud as skypilot
from launcher.adapters.cloud.skypilot.base import Cluster, ClusterState, Launch
from launcher.adapters.cloud.skypilot.cloud import SkypilotCloud
from launcher.adapters.cloud.skypilot.handover import Handover
from launcher.adapters.cloud.skypilot.order import AgentHome
from launcher.core.instance import InstancePhase
from launcher.errors import CloudUnreachable
from tests.conformance.clouds import PLACE, eventually
from tests.conformance.test_skypilot_cloud import (
    CLUSTER,
    INCARNATION,
    NAME,
    RUN,
    SPEC,
    FakeProvider,
    FakeSky,
    becomes,
    launched,
    waiting,
)


@pytest.fixture
def sky() -> FakeSky:
    return FakeSky()


def test_a_server_that_is_slow_to_answer_keeps_nobody_waiting(sky: FakeSky) -> None:
    answers = threading.Event()
    slow = SkypilotCloud(Slow(sky, answers.wait), AgentHome(), Handover(waiting(), {}), look_wait=0.01)
    with pytest.raises(CloudUnreachable, match="not answered"):
        slow.poll(RUN, INCARNATION)
    answers.set()

    assert eventually(lambda: _answers(slow))


def test_a_server_that_never_answers_is_asked_again(sky: FakeSky) -> None:
    calls = itertools.count()
    never = threading.Event()
    lost = Slow(sky, lambda: never.wait() if next(calls) == 0 else None)
    cloud = SkypilotCloud(lost, AgentHome(), Handover(waiting(), {}), look_wait=0.01, stuck_after=0.0)
    with pytest.raises(CloudUnreachable, match="not answered"):
        cloud.poll(RUN, INCARNATION)
    assert eventually(lambda: _answers(cloud))
    never.set()


def test_a_deletion_that_never_comes_back_is_asked_for_again(sky: FakeSky) -> None:
    never = threading.Event()
    sky.up[CLUSTER] = Cluster(name=CLUSTER, state=ClusterState.UP, launched_at=900.0)
    cloud = SkypilotCloud(Deaf(sky, never), AgentHome(), Handover(waiting(), {}), stuck_after=0.0)
    cloud.stop(NAME)
    assert eventually(lambda: cloud.stop(NAME) or CLUSTER not in sky.up)
    never.set()


def _answers(cloud: SkypilotCloud) -> bool:
    try:
        return cloud.poll(RUN, INCARNATION) == {}
    except CloudUnreachable:
        return False


class Deaf(FakeSky):
    """The first deletion is lost on its way."""

    def __init__(self, sky: FakeSky, never: threading.Event) -> None:
        super().__init__(up=sky.up)
        self._never = never
        self._is_first = True

    def down(self, name: str) -> bool:
        if self._is_first:
            self._is_first = False
            self._never.wait()
            return False
        return super().down(name)


def test_what_keeps_a_launch_off_is_told_while_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skypilot, "TROUBLE_AFTER_S", 0.0)
    cloud = SkypilotCloud(Closed(), AgentHome(), Handover(waiting(), {}))
    assert cloud.trouble() == ""
    eventually(lambda: cloud.start(NAME, SPEC) or cloud.trouble() == "no launch is taken")
    cloud.poll(RUN, INCARNATION)
    assert cloud.trouble() == "no launch is taken"
    eventually(lambda: cloud.poll(RUN, INCARNATION) == {} and cloud.trouble() == "")


class Closed(FakeSky):
    def newest_launch(self, name: str) -> Launch | None:
        raise CloudUnreachable("no launch is taken")


def test_what_keeps_the_cloud_from_being_seen_is_told_once_it_has_lasted(sky: FakeSky, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = SkypilotCloud(sky, AgentHome(), Handover(waiting(), {}))
    sky.is_away = True
    with pytest.raises(CloudUnreachable):
        cloud.poll(RUN, INCARNATION)
    assert cloud.trouble() == "", "it may pass"
    monkeypatch.setattr(skypilot, "TROUBLE_AFTER_S", 0.0)
    assert cloud.trouble() == "the server is away"
    sky.is_away = False
    assert cloud.poll(RUN, INCARNATION) == {}
    assert cloud.trouble() == ""


class Slow(FakeSky):
    def __init__(self, sky: FakeSky, wait: Callable[[], object]) -> None:
        super().__init__(up=sky.up)
        self._wait = wait

    def clusters(self, prefix: str) -> list[Cluster]:
        self._wait()
        return super().clusters(prefix)


def test_a_machine_is_ended_by_its_cloud_while_skypilot_cannot_be_asked(sky: FakeSky) -> None:
    provider = FakeProvider()
    cloud = launched(sky, provider)
    sky.is_away = True
    cloud.stop(NAME)
    eventually(lambda: provider.ended == ["i-1"])


# --- a cloud that answers in some of its regions -------------------------------------------------------------------------------

AWAY = replace(PLACE, region="ap-east-1", zone="ap-east-1a")
SECOND = f"{RUN}-{INCARNATION}-2"


class Deserted(FakeProvider):
    """No answer comes from one region: its API is away, or the account has not enabled it."""

    def machines(self, run: str, incarnation: str, regions: Collection[str]) -> list[Machine]:
        if AWAY.region in regions:
            raise CloudUnreachable(f"EC2 in {AWAY.region}: answers AuthFailure")
        return super().machines(run, incarnation, regions)


def test_a_region_without_an_answer_hides_no_machine_of_another(sky: FakeSky) -> None:
    """No machine of the cloud was seen any more, and none was launched, once the run had tried a place there."""
    provider = Deserted()
    cloud = launched(sky, provider)
    there = replace(SPEC, attempt=2, placement=AWAY)
    eventually(lambda: cloud.start(SECOND, there) or f"launch-{SECOND}" in sky.sent)
    provider.take()
    becomes(cloud, InstancePhase.GONE)


def test_where_a_machine_may_be_in_it_a_region_without_an_answer_is_asked_again(sky: FakeSky) -> None:
    """Of another SkyPilot, which may have started one."""
    cloud = SkypilotCloud(
        sky,
        AgentHome(),
        Handover(waiting(), {"TOKEN": "s3cr3t"}),
        providers={"aws": Deserted()},
        placements={NAME: AWAY},
        asked_at={NAME: 0.0},
    )
    cloud.start(NAME, replace(SPEC, placement=AWAY))
    for _ in range(3):
        with pytest.raises(CloudUnreachable, match="AuthFailure"):
            cloud.poll(RUN, INCARNATION)
    assert sky.sent == []


def test_a_region_in_which_all_has_ended_need_not_answer_any_more(sky: FakeSky) -> None:
    """Another supervisor had launched there; a run that had moved on saw none of its machines, and waited for their ends."""
    provider = Closing()
    cloud = SkypilotCloud(
        sky, AgentHome(), Handover(waiting(), {}), providers={"aws": provider}, placements={NAME: AWAY, SECOND: PLACE}
    )
    provider.listed = [
        Machine(name=name, cloud="aws", region=place.region, id=name, is_up=True, billed_from=1010.0)
        for name, place in ((NAME, AWAY), (SECOND, PLACE))
    ]
    becomes(cloud, InstancePhase.UNKNOWN)
    provider.listed[0] = replace(provider.listed[0], is_up=False, ended_at=2000.0)
    becomes(cloud, InstancePhase.GONE)
    provider.is_closed = True
    for _ in range(2):
        assert SECOND in cloud.poll(RUN, INCARNATION)


class Closing(FakeProvider):
    """No answer comes from one region once that `is_closed`."""

    is_closed = False

    def machines(self, run: str, incarnation: str, regions: Collection[str]) -> list[Machine]:
        if self.is_closed and AWAY.region in regions:
            raise CloudUnreachable(f"EC2 in {AWAY.region}: answers nothing")
        return super().machines(run, incarnation, regions)
