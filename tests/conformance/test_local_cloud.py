"""Local instances: real processes, really killed, on the times a trace says."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import launcher
from launcher import processes
from launcher.adapters.cloud import local_host
from launcher.adapters.cloud.local import LocalCloud
from launcher.adapters.cloud.local_host import LATE_S, Host
from launcher.adapters.cloud.local_registry import clock_of, instance_of
from launcher.clock import ScaledClock
from launcher.core.contract import CommandProgram, TrainerProgram
from launcher.core.instance import EndCause, InstancePhase
from launcher.core.market.offer import Capacity
from launcher.core.market.trace import generated
from launcher.errors import CloudUnreachable
from launcher.sim.clock import SimClock
from tests.conformance.clouds import PLACE, SPEED, START, OneLife, Place, eventually, is_dead


def test_the_kill_takes_the_whole_tree(place: Place) -> None:
    cloud = place.cloud(OneLife(), "tree")
    place.start(cloud)
    tree = place.tree()
    place.pass_until(place.started().kill_at)
    end = place.becomes(cloud, InstancePhase.GONE)
    assert is_dead(tree), "agent, child and the orphan in its own session"
    assert (end.cause, end.wait_status) == (EndCause.PREEMPTED, "signal 9")
    assert eventually(lambda: not instance_of(place.registry, place.name()).work.exists()), "the disk goes with the machine"


def test_an_instance_is_announced_before_it_runs(place: Place) -> None:
    cloud = place.cloud(OneLife(), "looks")
    place.start(cloud)
    seen = json.loads(place.told("seen").read_text())
    folder = instance_of(place.registry, place.name())
    status = place.becomes(cloud, InstancePhase.RUNNING)
    assert seen["env"] == {
        "LAUNCH_CLOCK": str(clock_of(place.registry)),
        "LAUNCH_NOTICE_SOURCE": str(folder.notice),
        "LAUNCH_INSTANCE_ID": status.instance_id,
        "LAUNCH_HOST_PID": str(place.host().pid),
    }
    assert seen["cwd"] == str(folder.work)


@pytest.mark.parametrize(
    ("program", "least_real_s"),
    [(TrainerProgram(module="m", args={}), 1.0), (CommandProgram(setup=None, command="true"), 3.0)],
)
def test_a_notice_leaves_the_real_time_in_which_a_program_can_save_and_exit(
    place: Place, program: TrainerProgram | CommandProgram, least_real_s: float
) -> None:
    cloud = place.cloud(OneLife(), "looks")
    cloud.start(place.name(), replace(place.spec(), program=program))
    place.becomes(cloud, InstancePhase.RUNNING)
    order = instance_of(place.registry, place.name()).order()
    assert order is not None
    assert (order.notice_lead, order.notice_is_stretched) == (least_real_s * SPEED, True)


def test_a_notice_says_when_the_machine_ends_and_that_it_was_stretched(place: Place) -> None:
    cloud = place.cloud(OneLife(up=60 * SPEED), "looks")
    cloud.start(place.name(), replace(place.spec(), speed=20 * SPEED))  # of which the three seconds last a minute here
    noticed = json.loads(place.told("noticed").read_text())
    assert noticed == {"ends_at": place.started().kill_at, "source": "aws, rehearsed", "stretched": True}


def test_some_are_taken_without_a_word(place: Place) -> None:
    cloud = place.cloud(OneLife(up=1.0 * SPEED, notice=False), "looks")
    place.start(cloud)
    assert place.becomes(cloud, InstancePhase.GONE).cause is EndCause.PREEMPTED
    assert not instance_of(place.registry, place.name()).notice.exists()


def test_equal_seeds_give_equal_lives(tmp_path: Path, place: Place) -> None:
    def lives(registry: Path) -> Iterator[float]:
        here = Place(registry, speed=20_000.0)
        now = SimClock(start=START)
        cloud = here.cloud(generated("demo", 7), "polite", now=now)
        for attempt in (1, 2):
            here.start(cloud, attempt)
            end = here.becomes(cloud, InstancePhase.GONE, attempt)
            assert end.ended_at is not None
            assert end.billed_from is not None
            now.wait(end.ended_at + 3600 - now.utc_s())  # past the gap
            yield end.ended_at - end.billed_from

    first, second = list(lives(tmp_path / "a")), list(lives(tmp_path / "b"))
    # Instants of today have a resolution of 2e-7 s.
    assert first == pytest.approx(second, rel=0, abs=1e-5)
    assert first[0] != pytest.approx(first[1], rel=0, abs=1.0)


def test_the_host_outlives_its_starter_and_is_found_again(place: Place) -> None:
    place.cloud(OneLife(), "tree")  # the clock
    starter = (
        f"import os, pickle, sys; sys.path[:0] = {sys.path!r}\n"
        "from tests.conformance.test_local_cloud import *\n"
        f"here = Place(Path({str(place.registry)!r})); here.start(here.cloud(OneLife(), 'tree'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(launcher.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", starter], cwd=root, check=False).returncode == -signal.SIGKILL
    tree = place.tree()
    cloud = place.cloud(OneLife(), "tree")
    assert place.becomes(cloud, InstancePhase.RUNNING).instance_id
    place.pass_until(place.started().kill_at)
    assert place.becomes(cloud, InstancePhase.GONE).cause is EndCause.PREEMPTED
    assert is_dead(tree)


def test_a_kill_that_takes_its_time_is_dated_when_it_was_due(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of three processes with PyTorch on a busy machine does."""
    now = [time.monotonic()]

    class SlowToDie:
        status = None

        def __init__(self, *_: object) -> None: ...

        def reap(self) -> None: ...

        def wait(self, at_most: float) -> None:
            now[0] += max(at_most, 0.01)

        def kill_tree(self) -> tuple[processes.ProcessId, ...]:
            now[0] += 5 * LATE_S
            return ()

    monkeypatch.setattr(local_host, "Agent", SlowToDie)
    monkeypatch.setattr(processes, "me", lambda: processes.ProcessId(pid=os.getpid(), started="another"))
    monkeypatch.setattr(LocalCloud, "_spawn", lambda *_: None)
    cloud = place.cloud(OneLife(up=1.0 * SPEED), "polite")
    place.start(cloud)
    instance = instance_of(place.registry, place.name())
    order = instance.order()
    assert order is not None
    Host(instance, order, ScaledClock(clock_of(place.registry), monotonic=lambda: now[0])).run()
    ended = instance.ended()
    assert ended is not None
    assert (ended.cause, ended.at) == (EndCause.PREEMPTED, place.started().kill_at)


def test_starting_twice_gives_one_host(place: Place) -> None:
    first = place.cloud(OneLife(), "polite")
    second = place.cloud(OneLife(), "polite")
    for cloud in (first, second, first):
        place.start(cloud)
    place.tree()
    place.start(second)
    place.pass_until(place.started().kill_at)
    place.becomes(second, InstancePhase.GONE)
    place.start(first)
    assert place.becomes(first, InstancePhase.GONE).cause is EndCause.PREEMPTED
    assert len(place.told("agents").read_text().splitlines()) == 1


def test_a_start_that_crashed_before_its_host_is_made_good(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    crashing = place.cloud(OneLife(), "polite")
    with monkeypatch.context() as crash:
        crash.setattr(LocalCloud, "_spawn", lambda *_: None)
        place.start(crashing)
    again = place.cloud(OneLife(), "polite")
    assert place.status(again) is None, "absent: nothing was started yet"
    place.start(again)
    place.becomes(again, InstancePhase.RUNNING)
    order = instance_of(place.registry, place.name()).order()
    assert order is not None
    assert order.number == 1


def test_a_killed_host_takes_its_instance_with_it(place: Place) -> None:
    cloud = place.cloud(OneLife(), "tree")
    place.start(cloud)
    tree, host = place.tree(), place.host()
    assert processes.send(host, signal.SIGKILL)
    end = place.becomes(cloud, InstancePhase.GONE)
    assert end.cause is EndCause.KILLED
    assert end.ended_at is not None
    assert is_dead(tree), "the orphan in its own session too"
    place.start(cloud)
    assert place.status(cloud) == end, "never started again"


def test_a_stop_leaves_the_agent_time_to_end(place: Place) -> None:
    cloud = place.cloud(OneLife(), "polite")
    place.start(cloud)
    place.tree()
    cloud.stop(place.name())
    status = place.status(cloud)
    assert status is not None
    assert status.phase in (InstancePhase.STOPPING, InstancePhase.GONE)
    end = place.becomes(cloud, InstancePhase.GONE)
    assert (end.cause, end.wait_status) == (EndCause.STOPPED, "exit 0")


def test_an_agent_deaf_to_a_stop_is_killed_after_the_grace(place: Place) -> None:
    cloud = place.cloud(OneLife(), "tree")
    cloud.start(place.name(), replace(place.spec(), kill_grace_real=0.1))
    tree = place.tree()
    cloud.stop(place.name())
    end = place.becomes(cloud, InstancePhase.GONE)
    assert (end.cause, end.wait_status) == (EndCause.STOPPED, "signal 9")
    assert is_dead(tree)


def test_what_is_stopped_before_it_began_never_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = place.cloud(OneLife(), "polite")
    with monkeypatch.context() as crash:
        crash.setattr(LocalCloud, "_spawn", lambda *_: None)
        place.start(cloud)
    cloud.stop(place.name())
    place.start(cloud)
    end = place.becomes(cloud, InstancePhase.GONE)
    assert (end.cause, end.billed_from) == (EndCause.STOPPED, None)


@pytest.mark.parametrize(
    ("mode", "cause", "wait_status"), [("fails", EndCause.EXITED, "exit 3"), ("dies", EndCause.KILLED, "signal 9")]
)
def test_an_agent_that_ends_by_itself_ends_the_instance(place: Place, mode: str, cause: EndCause, wait_status: str) -> None:
    cloud = place.cloud(OneLife(), mode)
    place.start(cloud)
    end = place.becomes(cloud, InstancePhase.GONE)
    assert (end.cause, end.wait_status) == (cause, wait_status)
    left = instance_of(place.registry, place.name()).path / "tree"
    assert all(processes.identify(pid) is None for pid in (json.loads(left.read_text()) if left.exists() else []))


def test_on_demand_machines_are_not_taken(place: Place) -> None:
    cloud = place.cloud(generated("harsh", 1), "polite")
    place.start(cloud, placement=replace(PLACE, capacity=Capacity.ON_DEMAND))
    place.becomes(cloud, InstancePhase.RUNNING)
    started = instance_of(place.registry, place.name()).started()
    assert started is not None
    assert started.kill_at - started.started_at > 10 * 365 * 86400


def test_a_host_that_cannot_begin_fails_the_start(place: Place) -> None:
    cloud = place.cloud(OneLife(), "polite", now=SimClock(start=START))
    clock_of(place.registry).write_text("not a clock")
    place.start(cloud)
    failed = place.becomes(cloud, InstancePhase.FAILED)
    assert failed.failure is not None
    assert "host.log" in failed.failure.message


def test_a_registry_that_cannot_be_read_is_no_absence(place: Place) -> None:
    cloud = place.cloud(OneLife(), "polite")
    in_the_way = place.registry / "instances"
    in_the_way.write_text("not a folder")
    with pytest.raises(CloudUnreachable):
        cloud.poll(place.run, place.incarnation)
    with pytest.raises(CloudUnreachable):
        place.start(cloud)
    in_the_way.unlink()


def test_two_supervisors_cannot_admit_at_once(place: Place) -> None:
    cloud = place.cloud(OneLife(), "polite")
    with (place.registry / "start.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CloudUnreachable, match="another supervisor"):
            place.start(cloud)
    place.start(cloud)
    place.becomes(cloud, InstancePhase.RUNNING)
    assert os.listdir(place.registry / "instances") == [place.name()]
