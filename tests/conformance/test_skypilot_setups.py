"""Machines whose agents did not come to start, as SkyPilot alone can tell: they are ended at once, and the reason is told."""

import threading

import pytest

from launcher.adapters.cloud.skypilot.base import Cluster, ClusterState, JobState
from launcher.adapters.cloud.skypilot.cloud import STUCK_AFTER_S, SkypilotCloud
from launcher.adapters.cloud.skypilot.handover import Handover
from launcher.adapters.cloud.skypilot.order import AgentHome
from launcher.adapters.cloud.skypilot.setups import LOOK_EVERY_S, SetUps
from launcher.core.instance import EndCause, InstancePhase
from launcher.errors import CloudUnreachable
from tests.conformance.clouds import PLACE, eventually
from tests.conformance.test_skypilot_cloud import CLUSTER, NAME, FakeProvider, FakeSky, becomes, made, waiting

NO_INDEX = "no versions of torch"


@pytest.fixture
def sky() -> FakeSky:
    """With a machine that has had its task."""
    sky = FakeSky(printed=NO_INDEX)
    sky.up[CLUSTER] = Cluster(name=CLUSTER, state=ClusterState.UP, launched_at=900.0)
    sky.jobs[CLUSTER] = 1
    return sky


def test_a_machine_whose_set_up_failed_is_ended_and_says_why(sky: FakeSky) -> None:
    cloud = made(sky)
    becomes(cloud, InstancePhase.RUNNING)
    sky.job_state = JobState.FAILED
    later = made(sky)  # the first may have looked just before
    end = becomes(later, InstancePhase.GONE)
    assert (end.cause, end.wait_status) == (EndCause.EXITED, f"its agent did not start: {NO_INDEX}")
    assert end.billed_from == 900.0, "it was paid for"
    assert not sky.up


def test_its_cloud_tells_when_it_ended_and_skypilot_why(sky: FakeSky) -> None:
    provider = FakeProvider()
    provider.bring_up()
    sky.job_state = JobState.FAILED
    cloud = SkypilotCloud(sky, AgentHome(), Handover(waiting(), {}), providers={"aws": provider}, placements={NAME: PLACE})
    end = becomes(cloud, InstancePhase.GONE)
    assert end.cause is EndCause.EXITED
    assert NO_INDEX in (end.wait_status or "")
    assert sky.up == {}


@pytest.mark.parametrize("state", [JobState.OPEN, JobState.RUNNING, JobState.ENDED])
def test_a_machine_whose_job_waits_runs_or_has_ended_well_is_left_alone(sky: FakeSky, state: JobState) -> None:
    sky.job_state = state
    cloud = made(sky)
    becomes(cloud, InstancePhase.RUNNING)
    eventually(lambda: not cloud.is_busy())
    becomes(cloud, InstancePhase.RUNNING)
    assert CLUSTER in sky.up


def test_nobody_asks_about_a_machine_whose_agent_has_spoken(sky: FakeSky) -> None:
    sky.job_state = JobState.FAILED
    cloud = SkypilotCloud(sky, AgentHome(), Handover(waiting(), {}), heard=[NAME])
    becomes(cloud, InstancePhase.RUNNING)
    assert not cloud.is_busy()
    becomes(cloud, InstancePhase.RUNNING)


def test_what_cannot_be_asked_is_asked_again_and_a_visit_stays_until_it_is_told(sky: FakeSky) -> None:
    clock = Clock()
    set_ups = SetUps(sky, [], STUCK_AFTER_S, clock)
    sky.is_away = True
    looked(set_ups)
    assert set_ups.failed == {}
    sky.is_away = False
    sky.job_state = JobState.FAILED
    looked(set_ups)
    assert set_ups.failed == {}, "not at once: each look costs the server a second"
    clock.now += LOOK_EVERY_S
    set_ups.look([NAME])
    assert set_ups.is_busy()
    looked(set_ups)
    assert set_ups.failed == {NAME: NO_INDEX}


def test_a_machine_just_launched_is_looked_at_later_and_one_whose_job_still_runs_never_again(sky: FakeSky) -> None:
    clock = Clock()
    set_ups = SetUps(sky, [], STUCK_AFTER_S, clock)
    set_ups.launched(NAME)
    set_ups.look([NAME])
    assert not set_ups.is_busy()
    for _ in range(2):
        clock.now += LOOK_EVERY_S
        looked(set_ups)
    sky.job_state = JobState.FAILED  # what its agent comes to later, its report tells
    clock.now += LOOK_EVERY_S
    looked(set_ups)
    assert set_ups.failed == {}


def test_a_machine_whose_log_cannot_be_read_is_ended_all_the_same(sky: FakeSky, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(name: str) -> str:
        raise CloudUnreachable("no log")

    monkeypatch.setattr(sky, "last_words", unreadable)
    sky.job_state = JobState.FAILED
    assert "its log cannot be read: no log" in (becomes(made(sky), InstancePhase.GONE).wait_status or "")


def test_a_secret_in_what_the_installer_printed_is_not_told(sky: FakeSky) -> None:
    sky.job_state, sky.printed = JobState.FAILED, "cannot reach https://me:hunter2@index.example/simple"
    set_ups = SetUps(sky, [], STUCK_AFTER_S)
    looked(set_ups)
    assert "index.example" in set_ups.failed[NAME]
    assert "hunter2" not in set_ups.failed[NAME]


def test_a_look_that_never_comes_back_is_taken_again() -> None:
    never = threading.Event()
    set_ups = SetUps(Deaf(never), [], 0.0, Clock())
    for names in ([NAME], []):
        set_ups.look(names)
    assert not set_ups.is_busy(), "the first was given up"
    set_ups.look([NAME])
    assert set_ups.is_busy()
    never.set()


class Deaf(FakeSky):
    """Of jobs nothing is heard until `answers`."""

    def __init__(self, answers: threading.Event) -> None:
        super().__init__()
        self._answers = answers

    def job(self, name: str) -> JobState | None:
        self._answers.wait()
        return None


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def looked(set_ups: SetUps) -> None:
    set_ups.look([NAME])
    eventually(lambda: set_ups.look([]) or not set_ups.is_busy())
