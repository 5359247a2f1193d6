"""What the adapter makes of SkyPilot's answers, on a stand-in for its server: no SkyPilot is installed here.

Real SkyPilot is driven in tests/e2e/sky; what it was seen to answer there is what the stand-in answers.
"""

import contextlib
import json
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from launcher.adapters.cloud.base import Machine
from launcher.adapters.cloud.skypilot.base import Cluster, ClusterState, JobState, Launch, LaunchState, Refused, TaskConfig
from launcher.adapters.cloud.skypilot.cloud import LISTED_WITHIN_S, SkypilotCloud
from launcher.adapters.cloud.skypilot.handover import Handover
from launcher.adapters.cloud.skypilot.order import SECRETS_FILE, AgentHome
from launcher.core.contract import AttemptSpec, CommandProgram
from launcher.core.instance import EndCause, FailureKind, InstancePhase, InstanceStatus, StartFailure
from launcher.core.market.offer import Placement
from launcher.errors import CloudUnreachable
from tests.conformance.clouds import PLACE, eventually

RUN, INCARNATION = "quiet-otter-7f3a", "c0ffee"
NAME = f"{RUN}-{INCARNATION}-1"
CLUSTER = f"launch-{NAME}"
NOW = 5000.0
FULL = StartFailure(failure=FailureKind.CAPACITY, message="full")
SPEC = AttemptSpec(
    run=RUN,
    incarnation=INCARNATION,
    attempt=1,
    store="s3://bkt/run",
    placement=PLACE,
    program=CommandProgram(setup=None, command="true"),
    secrets=("TOKEN",),
)


@dataclass
class FakeSky:
    """A server and its cloud. A launch takes until `let_up` or `refuse`."""

    requests: dict[str, Launch] = field(default_factory=dict)
    up: dict[str, Cluster] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    copied: list[tuple[dict[str, str], int]] = field(default_factory=list)  # what was in files of secrets, and their modes
    refusal: StartFailure | None = None
    is_away: bool = False
    job_state: JobState = JobState.RUNNING
    printed: str = ""
    launched: threading.Event = field(default_factory=threading.Event)

    def zone_name(self, placement: Placement) -> str | None:
        return placement.zone

    def newest_launch(self, name: str) -> Launch | None:
        self._reach()
        return self.requests.get(name)

    def launch(self, name: str, task: TaskConfig) -> str:
        self._reach()
        if source := task["file_mounts"].get(SECRETS_FILE):
            self.copied.append((json.loads(Path(source).read_text()), Path(source).stat().st_mode & 0o777))
        self.requests[name] = Launch(request=name, state=LaunchState.OPEN, asked_at=1000.0)
        self.up[name] = Cluster(name=name, state=ClusterState.INIT, launched_at=1045.0)
        self.launched.clear()
        self.sent.append(name)
        return name

    def wait_launched(self, request: str) -> None:
        assert self.launched.wait(30)
        if request not in self.requests:
            raise CloudUnreachable("the server knows no such request")
        if self.refusal is not None:
            raise Refused(self.refusal)

    def cancel(self, request: str) -> None:
        self.refusal = StartFailure(failure=FailureKind.UNREACHABLE, message="cancelled")
        self.launched.set()

    def knows(self, name: str) -> bool:
        return name in self.up

    def clusters(self, prefix: str) -> list[Cluster]:
        self._reach()
        return [cluster for name, cluster in self.up.items() if name.startswith(prefix)]

    def job(self, name: str) -> JobState | None:
        self._reach()
        return self.job_state if self.jobs.get(name, 0) > 0 else None

    def last_words(self, name: str) -> str:
        return self.printed

    def down(self, name: str) -> bool:
        self._reach()
        return self.up.pop(name, None) is not None

    def _reach(self) -> None:
        if self.is_away:
            raise CloudUnreachable("the server is away")

    # --- what a test does ---

    def let_up(self, name: str = CLUSTER) -> None:
        self.up[name] = replace(self.up[name], state=ClusterState.UP)
        self.jobs[name] = self.jobs.get(name, 0) + 1
        self.requests[name] = Launch(request=name, state=LaunchState.SENT, asked_at=1000.0)
        self.launched.set()

    def refuse(self) -> None:
        self.refusal = FULL
        self.requests[CLUSTER] = Launch(request=CLUSTER, state=LaunchState.FAILED, asked_at=1000.0)
        self.launched.set()


@pytest.fixture
def sky() -> FakeSky:
    return FakeSky()


@pytest.fixture
def cloud(sky: FakeSky) -> SkypilotCloud:
    return made(sky)


def made(sky: FakeSky) -> SkypilotCloud:
    return SkypilotCloud(sky, AgentHome(), Handover(waiting(), {"TOKEN": "s3cr3t", "OTHER": "kept"}))


def waiting() -> Path:
    """Where secrets wait for a launch."""
    return Path(os.environ["HOME"]) / "secrets"


def becomes(cloud: SkypilotCloud, phase: InstancePhase, *, start: bool = False) -> InstanceStatus:
    def status() -> InstanceStatus | None:
        if start:
            cloud.start(NAME, SPEC)
        found = polled(cloud)
        return found if found is not None and found.phase is phase else None

    return eventually(status)


def polled(cloud: SkypilotCloud) -> InstanceStatus | None:
    return cloud.poll(RUN, INCARNATION).get(NAME)


def asked(cloud: SkypilotCloud, sky: FakeSky) -> None:
    before = len(sky.sent)

    def is_sent() -> bool:
        cloud.start(NAME, SPEC)  # as each tick does
        return len(sky.sent) > before

    eventually(is_sent)


def running(cloud: SkypilotCloud, sky: FakeSky) -> InstanceStatus:
    asked(cloud, sky)
    sky.let_up()
    return eventually(lambda: (found := polled(cloud)) and found.billed_from and found)


def test_a_launch_asked_for_at_every_tick_is_sent_once(cloud: SkypilotCloud, sky: FakeSky) -> None:
    asked(cloud, sky)
    becomes(cloud, InstancePhase.STARTING, start=True)
    sky.let_up()
    found = becomes(cloud, InstancePhase.RUNNING, start=True)
    assert found.instance_id == NAME
    assert sky.sent == [CLUSTER]


def test_a_full_disk_here_puts_a_launch_off_and_ends_no_supervisor(cloud: SkypilotCloud, sky: FakeSky) -> None:
    waiting().write_bytes(b"no folder can be made here")
    for _ in range(20):
        cloud.start(NAME, SPEC)
        with contextlib.suppress(CloudUnreachable):
            cloud.poll(RUN, INCARNATION)
    assert sky.sent == []
    waiting().unlink()
    asked(cloud, sky)
    sky.let_up()


def test_a_supervisor_that_comes_back_joins_the_launch_under_way(cloud: SkypilotCloud, sky: FakeSky) -> None:
    asked(cloud, sky)
    other = made(sky)
    becomes(other, InstancePhase.STARTING, start=True)
    sky.let_up()
    becomes(other, InstancePhase.RUNNING)
    assert sky.sent == [CLUSTER]


def test_a_machine_that_is_up_without_its_task_is_launched_again(cloud: SkypilotCloud, sky: FakeSky) -> None:
    """The server was killed in the middle: the request is forgotten, and the cluster says UP."""
    sky.up[CLUSTER] = Cluster(name=CLUSTER, state=ClusterState.UP, launched_at=900.0)
    found = polled(cloud)
    assert found is not None
    assert (found.phase, found.billed_from) == (InstancePhase.STARTING, None)
    assert running(cloud, sky).phase is InstancePhase.RUNNING
    assert sky.sent == [CLUSTER]


def test_a_launch_whose_server_died_is_no_refusal(cloud: SkypilotCloud, sky: FakeSky) -> None:
    asked(cloud, sky)
    sky.is_away = True
    with pytest.raises(CloudUnreachable):
        cloud.poll(RUN, INCARNATION)
    sky.is_away = False
    sky.requests.clear()
    sky.launched.set()
    becomes(cloud, InstancePhase.STARTING)
    assert running(cloud, sky).phase is InstancePhase.RUNNING
    assert sky.sent == [CLUSTER, CLUSTER]


def test_a_refusal_is_final_and_says_why(cloud: SkypilotCloud, sky: FakeSky) -> None:
    asked(cloud, sky)
    sky.refuse()
    assert becomes(cloud, InstancePhase.FAILED).failure == FULL
    cloud.start(NAME, SPEC)
    assert becomes(cloud, InstancePhase.FAILED).failure == FULL
    assert becomes(made(sky), InstancePhase.FAILED, start=True).failure == FULL, "the server remembers it"
    assert sky.sent == [CLUSTER]


def test_a_launch_that_failed_leaves_no_machine(cloud: SkypilotCloud, sky: FakeSky) -> None:
    asked(cloud, sky)
    sky.refuse()
    becomes(cloud, InstancePhase.FAILED)
    assert not sky.up


def test_a_machine_that_was_taken_is_gone_and_nobody_says_by_whom(cloud: SkypilotCloud, sky: FakeSky) -> None:
    running(cloud, sky)
    sky.up.clear()
    end = becomes(cloud, InstancePhase.GONE)
    assert (end.cause, end.billed_from, end.instance_id) == (EndCause.UNTOLD, 1000.0, NAME)
    cloud.start(NAME, SPEC)
    assert polled(cloud) == end, "what has ended is never started again"


def test_a_machine_another_supervisor_launched_is_absent_and_not_gone(sky: FakeSky, cloud: SkypilotCloud) -> None:
    assert cloud.poll(RUN, INCARNATION) == {}


def test_a_machine_that_was_up_and_is_not_of_this_skypilot_is_unknown_and_not_absent(sky: FakeSky) -> None:
    """Its cloud cannot be asked: absence would have it replaced while it trains."""
    cloud = resumed(sky)
    assert becomes(cloud, InstancePhase.UNKNOWN).billed_from is None
    assert becomes(cloud, InstancePhase.UNKNOWN), "at every look"
    cloud.stop(NAME)
    assert becomes(cloud, InstancePhase.GONE).cause is EndCause.STOPPED


def test_a_machine_that_this_skypilot_launched_and_does_not_show_is_absent(cloud: SkypilotCloud, sky: FakeSky) -> None:
    running(cloud, sky)
    shown = resumed(sky)
    becomes(shown, InstancePhase.RUNNING)
    sky.up.clear()
    assert polled(resumed(sky)) is None, "the server knows the launch"
    sky.requests.clear()
    assert becomes(shown, InstancePhase.GONE), "it was shown before"


def resumed(sky: FakeSky) -> SkypilotCloud:
    """By a run whose machine was seen to run."""
    return SkypilotCloud(sky, AgentHome(), Handover(waiting(), {}), placements={NAME: PLACE})


def test_what_is_stopped_is_gone_as_stopped(cloud: SkypilotCloud, sky: FakeSky) -> None:
    running(cloud, sky)
    cloud.stop(NAME)
    assert becomes(cloud, InstancePhase.GONE).cause is EndCause.STOPPED
    assert not sky.up


def test_a_launch_that_is_stopped_is_called_off(cloud: SkypilotCloud, sky: FakeSky) -> None:
    asked(cloud, sky)
    cloud.stop(NAME)
    assert becomes(cloud, InstancePhase.GONE).cause is EndCause.STOPPED


def test_stopping_what_is_unknown_is_fine(cloud: SkypilotCloud) -> None:
    cloud.stop(NAME)
    assert polled(cloud) is None


def test_a_machine_that_is_not_well_is_neither_running_nor_gone(cloud: SkypilotCloud, sky: FakeSky) -> None:
    running(cloud, sky)
    sky.up[CLUSTER] = replace(sky.up[CLUSTER], state=ClusterState.INIT)
    assert becomes(cloud, InstancePhase.UNKNOWN).billed_from == 1000.0


# --- where the cloud itself is asked -------------------------------------------------------------------------------------------


@dataclass
class FakeProvider:
    listed: list[Machine] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def machines(self, run: str, incarnation: str, regions: Collection[str]) -> list[Machine]:
        assert (run, incarnation) == (RUN, INCARNATION)
        return [machine for machine in self.listed if machine.region in regions]

    def end(self, machine: Machine) -> None:
        self.ended.append(machine.id)
        self.take(cause=EndCause.UNTOLD)

    def bring_up(self, machine: str = "i-1") -> None:
        self.listed.append(Machine(name=NAME, cloud="aws", region="us-east-1", id=machine, is_up=True, billed_from=1010.0))

    def take(self, *, cause: EndCause = EndCause.PREEMPTED) -> None:
        self.listed = [replace(machine, is_up=False, ended_at=2000.0, cause=cause) for machine in self.listed]


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


def asking(sky: FakeSky, provider: FakeProvider, asked_s_ago: float | None = None) -> SkypilotCloud:
    """`asked_s_ago`: that somebody asked for the machine before."""
    return SkypilotCloud(
        sky,
        AgentHome(),
        Handover(waiting(), {"TOKEN": "s3cr3t"}),
        providers={"aws": provider},
        placements={NAME: PLACE},
        asked_at={} if asked_s_ago is None else {NAME: NOW - asked_s_ago},
        now=lambda: NOW,
    )


def launched(sky: FakeSky, provider: FakeProvider) -> SkypilotCloud:
    cloud = asking(sky, provider)
    asked(cloud, sky)
    provider.bring_up()
    sky.let_up()
    becomes(cloud, InstancePhase.RUNNING)
    return cloud


def test_the_cloud_tells_when_a_machine_began_and_ended_and_who_took_it(sky: FakeSky, provider: FakeProvider) -> None:
    cloud = launched(sky, provider)
    provider.take()
    end = becomes(cloud, InstancePhase.GONE)
    assert (end.billed_from, end.ended_at, end.cause) == (1010.0, 2000.0, EndCause.PREEMPTED)
    cloud.start(NAME, SPEC)
    assert polled(cloud) == end, "what has ended is never started again"


def test_a_machine_that_its_cloud_does_not_list_any_more_is_absent_and_not_gone(sky: FakeSky, provider: FakeProvider) -> None:
    """A list may lag behind; the loop sees absence twice, and asks the heartbeat."""
    cloud = launched(sky, provider)
    provider.listed.clear()
    assert eventually(lambda: polled(cloud) is None)
    provider.bring_up()
    becomes(cloud, InstancePhase.RUNNING)


def test_a_machine_that_is_up_without_its_task_is_launched_again_whatever_its_cloud_says(
    sky: FakeSky, provider: FakeProvider
) -> None:
    sky.up[CLUSTER] = Cluster(name=CLUSTER, state=ClusterState.UP, launched_at=900.0)
    provider.bring_up()
    cloud = asking(sky, provider)
    found = polled(cloud)
    assert found is not None
    assert (found.phase, found.billed_from) == (InstancePhase.STARTING, None)
    asked(cloud, sky)
    sky.let_up()
    assert becomes(cloud, InstancePhase.RUNNING).billed_from == 1010.0


def test_a_machine_that_another_skypilot_launched_is_seen_and_never_launched_twice(sky: FakeSky, provider: FakeProvider) -> None:
    provider.bring_up()
    cloud = asking(sky, provider)
    cloud.start(NAME, SPEC)
    found = becomes(cloud, InstancePhase.UNKNOWN)
    assert found.billed_from == 1010.0, "it costs money"
    becomes(cloud, InstancePhase.RUNNING, start=True)
    assert sky.sent == []


@pytest.mark.parametrize("asked_s_ago", [LISTED_WITHIN_S - 1.0, -1.0])
def test_a_machine_that_another_skypilot_may_be_launching_is_waited_for(
    sky: FakeSky, provider: FakeProvider, asked_s_ago: float
) -> None:
    """Whoever asked may have a clock that is ahead of ours."""
    cloud = asking(sky, provider, asked_s_ago)
    cloud.start(NAME, SPEC)
    eventually(lambda: polled(cloud) is None and not cloud.is_busy())
    provider.bring_up()
    becomes(cloud, InstancePhase.UNKNOWN, start=True)
    assert sky.sent == []


@pytest.mark.parametrize("asked_s_ago", [LISTED_WITHIN_S, -LISTED_WITHIN_S, None])
def test_what_nobody_can_be_launching_any_more_is_launched(
    sky: FakeSky, provider: FakeProvider, asked_s_ago: float | None
) -> None:
    """Nor where a clock was set back: it would wait for what has long passed."""
    asked(asking(sky, provider, asked_s_ago), sky)


def test_a_launch_that_this_skypilot_was_given_is_joined_at_once(sky: FakeSky, provider: FakeProvider) -> None:
    asked(asking(sky, provider), sky)
    successor = asking(sky, provider, asked_s_ago=1.0)
    sky.let_up()
    provider.bring_up()
    becomes(successor, InstancePhase.RUNNING, start=True)
    assert sky.sent == [CLUSTER]


def test_a_machine_that_another_skypilot_launched_is_ended_by_its_label(sky: FakeSky, provider: FakeProvider) -> None:
    provider.bring_up()
    cloud = asking(sky, provider)
    becomes(cloud, InstancePhase.UNKNOWN)
    cloud.stop(NAME)
    end = becomes(cloud, InstancePhase.GONE)
    assert end.cause is EndCause.STOPPED
    assert provider.ended == ["i-1"]


def test_the_end_of_a_machine_whose_launch_is_under_way_is_no_end_of_the_attempt(sky: FakeSky, provider: FakeProvider) -> None:
    """SkyPilot may be making another; it says itself when it gives up."""
    cloud = asking(sky, provider)
    asked(cloud, sky)
    provider.bring_up()
    provider.take()
    becomes(cloud, InstancePhase.STARTING)
    sky.refuse()
    assert becomes(cloud, InstancePhase.FAILED).failure == FULL


def test_only_secrets_that_the_recipe_names_travel(cloud: SkypilotCloud, sky: FakeSky) -> None:
    running(cloud, sky)
    assert sky.copied == [({"TOKEN": "s3cr3t"}, 0o600)]
    eventually(lambda: not list(waiting().iterdir()))  # no longer than it takes to copy them


def test_secrets_of_a_launch_that_is_refused_or_called_off_do_not_stay_here(cloud: SkypilotCloud, sky: FakeSky) -> None:
    cloud.start(NAME, SPEC)
    eventually(lambda: sky.sent)
    assert len(list(waiting().iterdir())) == 1
    sky.refuse()
    becomes(cloud, InstancePhase.FAILED)
    eventually(lambda: not list(waiting().iterdir()))


def test_secrets_whose_sender_left_before_they_arrived_are_deleted_by_the_next(cloud: SkypilotCloud, sky: FakeSky) -> None:
    cloud.start(NAME, SPEC)
    eventually(lambda: sky.sent)
    sky.up[CLUSTER] = replace(sky.up[CLUSTER], state=ClusterState.UP)
    sky.requests[CLUSTER] = replace(sky.requests[CLUSTER], state=LaunchState.SENT)
    becomes(made(sky), InstancePhase.RUNNING)
    assert list(waiting().iterdir()) == []
    sky.launched.set()


def test_secrets_of_a_machine_that_was_gone_before_anybody_looked_are_deleted(sky: FakeSky, provider: FakeProvider) -> None:
    asked(asking(sky, provider), sky)
    provider.bring_up()
    provider.take()
    assert len(list(waiting().iterdir())) == 1
    becomes(asking(sky, provider), InstancePhase.GONE)
    assert list(waiting().iterdir()) == []
    sky.launched.set()


def test_a_secret_that_has_no_value_here_is_told_before_a_machine_is_paid_for(sky: FakeSky) -> None:
    elsewhere = SkypilotCloud(sky, AgentHome(), Handover(waiting(), {}))
    failure = becomes(elsewhere, InstancePhase.FAILED, start=True).failure
    assert failure is not None
    assert failure.failure is FailureKind.CREDENTIALS
    assert "TOKEN" in failure.message
    assert sky.sent == []
