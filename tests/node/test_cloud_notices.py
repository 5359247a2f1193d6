"""Each cloud's notice, from a server that speaks as the cloud's page says, and from one that does not."""

import os
import resource
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from launcher.core.contract import ExitKind
from launcher.node.notices import aws, gcp
from launcher.node.notices.azure import ScheduledEvents
from launcher.node.notices.base import Hint, Warned
from launcher.node.notices.clouds import cloud_watches
from launcher.node.notices.metadata import ANSWERS_S, MetadataServer, Unanswered
from launcher.node.notices.signals import GRACE_S, grace_on
from launcher.node.notices.watch import NEAR_S, Oracle, Watch
from launcher.units import HOUR, Utc
from tests.node.rig import PATIENCE_S, PLACEMENT, SPEED, Rig, eventually
from tests.servers.metadata import FakeMetadata

NOW: Utc = 1_800_000_000.0
ENDS_AT: Utc = NOW + 120
SPOILED_S = 0.3  # real; what a question that gets no answer takes
DATE_S = 1.0  # how much earlier an end is taken to be, since a server says its time in whole seconds
CLOUDS = ("aws", "gcp", "azure")
SAVES_AT_TERM = """trap 'echo saved > "$LAUNCH_CHECKPOINT_DIR/last"; exit 0' TERM; touch started; while :; do sleep 0.05; done"""


@pytest.fixture
def cloud() -> Iterator[FakeMetadata]:
    with FakeMetadata(lambda: NOW) as fake:
        yield fake


def iso(at: Utc) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(at: Utc | None, kind: str = "Preempt", **changes: Any) -> dict[str, Any]:
    plain = {
        "EventId": "602d9444-d2cd-49c7-8624-8643e7171297",
        "EventType": kind,
        "ResourceType": "VirtualMachine",
        "Resources": ["trainer-1"],
        "EventStatus": "Scheduled" if at else "Started",
        "NotBefore": format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True) if at else "",
        "Description": "",
        "EventSource": "Platform",
        "DurationInSeconds": -1,
    }
    return {**plain, **changes}


def oracle(cloud: FakeMetadata, name: str, answers_s: float = ANSWERS_S) -> Oracle:
    server = MetadataServer(cloud.url, answers_s=answers_s)
    return {
        "aws": lambda: aws.InstanceAction(server, lambda: NOW),
        "gcp": lambda: gcp.preempted(server, lambda: NOW),
        "azure": lambda: ScheduledEvents(server, lambda: NOW),
    }[name]()


def announce(cloud: FakeMetadata, name: str) -> Warned:
    cloud.action = {"action": "terminate", "time": iso(ENDS_AT)}
    cloud.events = [event(ENDS_AT)]
    cloud.say("preempted", "TRUE")
    return {
        "aws": Warned(ends_at=ENDS_AT - DATE_S, source="aws, terminate"),
        "gcp": Warned(ends_at=NOW + 30, source="gcp, preempted"),
        "azure": Warned(ends_at=ENDS_AT - DATE_S, source="azure, Preempt"),
    }[name]


def withdraw(cloud: FakeMetadata) -> None:
    cloud.action, cloud.events = None, []
    cloud.say("preempted", "FALSE")


@pytest.mark.parametrize("name", CLOUDS)
def test_nothing_stands_until_an_end_is_announced_and_again_once_it_is_withdrawn(cloud: FakeMetadata, name: str) -> None:
    asked = oracle(cloud, name)
    assert asked.told(None) is None
    announced = announce(cloud, name)
    assert asked.told(None) == announced
    withdraw(cloud)
    assert asked.told(announced) is None


@pytest.mark.parametrize(
    ("how", "value"),
    [
        ("status", 503),
        ("status", 429),
        ("body", "<html>sign in</html>"),
        ("body", "[" * 50_000),
        ("body", "{}"),
        ("body", "[1]"),
        ("body", "\xff\xfe"),
        ("raw", b"\x00\x01\x02"),
        ("raw", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"),
        ("raw", b""),
        ("silence", None),
    ],
)
@pytest.mark.parametrize("name", CLOUDS)
def test_warning_stands_while_the_server_says_nothing_that_can_be_read(
    cloud: FakeMetadata, name: str, how: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcp, "HELD_S", 0)
    watch = Watch(oracle(cloud, name, answers_s=SPOILED_S), lambda: NOW)
    announced = announce(cloud, name)
    eventually(lambda: watch.ask() or watch.read() == announced, "the warning is seen")
    withdraw(cloud)
    cloud.spoil(how, value)
    for _ in range(2):
        watch.ask()
        assert watch.read() == announced
    cloud.mend()
    eventually(lambda: watch.ask() or watch.read() is None, "the withdrawal is seen, once it can be read")


def test_look_does_not_wait_for_a_server_that_is_silent(cloud: FakeMetadata) -> None:
    cloud.spoil("silence")
    watch = Watch(oracle(cloud, "aws"), lambda: NOW)
    asking = threading.Thread(target=watch.ask)
    asking.start()
    eventually(lambda: cloud.num_held == 1, "the question is with the server")
    assert watch.read() is None
    assert cloud.num_held == 1, "it answered before the server did"
    cloud.mend()
    asking.join()


def test_answer_is_given_up_at_its_instant_though_bytes_still_come(cloud: FakeMetadata) -> None:
    cloud.spoil("drip")
    with pytest.raises(Unanswered):
        MetadataServer(cloud.url, answers_s=0.2).ask("/", {})


def test_machine_without_a_metadata_server_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: whoever calls is refused
        server = MetadataServer(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        watch = Watch(aws.InstanceAction(server, lambda: NOW), lambda: NOW)
        with pytest.raises(Unanswered):
            server.ask("/", {})
        watch.ask()
        assert watch.read() is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("off", [-600.0, 0.0, 600.0])
@pytest.mark.parametrize("name", ["aws", "azure"])
def test_end_is_told_on_the_machines_own_clock_however_far_off_that_is(cloud: FakeMetadata, name: str, off: float) -> None:
    announce(cloud, name)
    times = [NOW + off, NOW + off + 0.3, NOW + off + 1.2]
    asked = {
        "aws": aws.InstanceAction(MetadataServer(cloud.url), lambda: times[0]),
        "azure": ScheduledEvents(MetadataServer(cloud.url), lambda: times[0]),
    }[name]
    watch = Watch(asked, lambda: times[0])
    watch.ask()
    first = watch.read()
    assert isinstance(first, Warned)
    assert first.ends_at == ENDS_AT + off - DATE_S
    while len(times) > 1:
        times.pop(0)
        watch.ask()
        assert watch.read() == first, "the seconds of the server's clock make no other notice"
    cloud.action = {"action": "terminate", "time": iso(ENDS_AT + 60)}
    cloud.events = [event(ENDS_AT + 60)]
    watch.ask()
    moved = watch.read()
    assert isinstance(moved, Warned)
    assert moved.ends_at > first.ends_at + 30


def test_server_that_tells_no_time_is_believed(cloud: FakeMetadata) -> None:
    announce(cloud, "aws")
    cloud.clock = None
    assert oracle(cloud, "aws").told(None) == Warned(ends_at=ENDS_AT, source="aws, terminate")


# --- AWS -----------------------------------------------------------------------------------------------------------------------


def test_token_is_asked_for_once_and_again_where_it_expired(cloud: FakeMetadata) -> None:
    asked = oracle(cloud, "aws")
    announced = announce(cloud, "aws")
    for _ in range(3):
        assert asked.told(None) == announced
    assert cloud.asked.count("PUT /latest/api/token") == 1
    cloud.expire_tokens()
    assert asked.told(None) == announced
    assert cloud.asked.count("PUT /latest/api/token") == 2


def test_what_is_no_token_is_not_kept(cloud: FakeMetadata) -> None:
    asked = oracle(cloud, "aws")
    cloud.spoil("body", "<html>\nsign in\n</html>")
    with pytest.raises(Unanswered):
        asked.told(None)
    cloud.mend()
    assert asked.told(None) is None


@pytest.mark.parametrize("action", ["stop", "hibernate"])
def test_machine_that_stops_or_hibernates_ends_too(cloud: FakeMetadata, action: str) -> None:
    cloud.action = {"action": action, "time": iso(ENDS_AT)}
    assert oracle(cloud, "aws").told(None) == Warned(ends_at=ENDS_AT - DATE_S, source=f"aws, {action}")


def test_rebalance_recommendation_is_a_hint_and_no_end(cloud: FakeMetadata) -> None:
    asked = aws.Rebalance(MetadataServer(cloud.url))
    assert asked.told(None) is None
    cloud.rebalance = {"noticeTime": iso(NOW)}
    hint = asked.told(None)
    assert isinstance(hint, Hint)
    assert "08:00:00 UTC" in hint.text


# --- GCP -----------------------------------------------------------------------------------------------------------------------


def test_change_is_waited_for_and_told_at_once(cloud: FakeMetadata) -> None:
    asked = oracle(cloud, "gcp")
    assert asked.told(None) is None
    found: list[Warned | Hint | None] = []
    waiting = threading.Thread(target=lambda: found.append(asked.told(None)))
    waiting.start()
    eventually(lambda: cloud.num_held == 1, "the answer is held back")
    announced = announce(cloud, "gcp")
    waiting.join()
    assert found == [announced]


def test_lead_counts_from_when_the_value_was_first_seen(cloud: FakeMetadata) -> None:
    times = iter((NOW, NOW + 10))
    asked = gcp.preempted(MetadataServer(cloud.url), lambda: next(times))
    cloud.say("preempted", "TRUE")
    first = asked.told(None)
    cloud.say("preempted", "FALSE")
    cloud.say("preempted", "TRUE")
    asked._etag = gcp.UNSEEN
    assert asked.told(first) == first == Warned(ends_at=NOW + 30, source="gcp, preempted")


def test_answer_without_the_flavor_is_somebody_elses(cloud: FakeMetadata) -> None:
    cloud.spoil("body", "TRUE")
    with pytest.raises(Unanswered):
        oracle(cloud, "gcp").told(None)


@pytest.mark.parametrize(("has_gpu", "lead"), [(True, HOUR), (False, 60.0)])
def test_maintenance_that_terminates_is_an_end_and_a_migration_is_none(cloud: FakeMetadata, has_gpu: bool, lead: float) -> None:
    asked = gcp.maintenance(MetadataServer(cloud.url), lambda: NOW, has_gpu=has_gpu)
    assert asked.told(None) is None
    cloud.say("maintenance-event", "MIGRATE_ON_HOST_MAINTENANCE")
    assert asked.told(None) is None
    cloud.say("maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE")
    assert asked.told(None) == Warned(ends_at=NOW + lead, source="gcp, maintenance-event")


# --- Azure ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Preempt", "Terminate", "Reboot", "Redeploy"])
def test_event_that_ends_the_program_is_an_end(cloud: FakeMetadata, kind: str) -> None:
    cloud.events = [event(NOW + 900, "Freeze"), event(NOW + 600, kind)]
    assert oracle(cloud, "azure").told(None) == Warned(ends_at=NOW + 600 - DATE_S, source=f"azure, {kind}")


def test_events_of_other_machines_and_pauses_are_no_end_of_ours(cloud: FakeMetadata) -> None:
    cloud.events = [event(ENDS_AT, Resources=["trainer-2"]), event(ENDS_AT, "Freeze")]
    assert oracle(cloud, "azure").told(None) is None
    cloud.events = [event(ENDS_AT, Resources=["trainer-2", "TRAINER-1"])]
    assert oracle(cloud, "azure").told(None) is not None


def test_event_that_has_started_ends_when_it_was_to_and_one_that_nobody_announced_ends_now(cloud: FakeMetadata) -> None:
    asked = oracle(cloud, "azure")
    announced = announce(cloud, "azure")
    cloud.events = [event(None)]
    assert asked.told(announced) == announced
    assert asked.told(None) == Warned(ends_at=NOW, source="azure, Preempt")


def test_only_what_ends_this_machine_is_acknowledged_and_the_answer_is_insisted_on(cloud: FakeMetadata) -> None:
    watch = Watch(oracle(cloud, "azure"), lambda: NOW)
    cloud.events = [event(ENDS_AT, EventId="ours"), event(ENDS_AT, EventId="theirs", Resources=["trainer-2"])]
    watch.ask()
    assert watch.read() is not None
    cloud.spoil("status", 503)
    watch.let_go()
    watch.ask()
    assert cloud.asked[-1].startswith("POST")
    assert cloud.started == []
    cloud.mend()
    for _ in range(2):
        watch.ask()
        assert cloud.started == ["ours"]


def test_end_that_is_days_off_is_no_notice_yet(cloud: FakeMetadata) -> None:
    now = [NOW]
    watch = Watch(oracle(cloud, "azure"), lambda: now[0])
    cloud.events = [event(NOW + 5 * 24 * HOUR, "Redeploy")]
    watch.ask()
    assert watch.read() is None
    now[0] += 5 * 24 * HOUR - NEAR_S
    assert watch.read() == Warned(ends_at=NOW + 5 * 24 * HOUR - DATE_S, source="azure, Redeploy")


# --- which, and signals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aws", ["notices-instanceaction", "notices-rebalance"]),
        ("gcp", ["notices-value", "notices-value"]),
        ("azure", ["notices-scheduledevents"]),
        ("k8s", []),
        ("slurm", []),
        ("lambda", []),
    ],
)
def test_machine_asks_the_cloud_that_it_was_placed_on(cloud: FakeMetadata, name: str, expected: list[str]) -> None:
    watches = cloud_watches(replace(PLACEMENT, cloud=name), MetadataServer(cloud.url), lambda: NOW)
    assert [watch.thread.name for watch in watches] == expected


def slurm_says(folder: Path, script: str) -> None:
    client = folder / "scontrol"
    client.write_text(f"#!/bin/sh\n{script}\n")
    client.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            "echo 'KillOnBadExit           = 0'; echo 'KillWait                = 90 sec'",
            90,
        ),
        ("echo 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2; exit 1", GRACE_S["slurm"]),
        ("exec sleep 60", GRACE_S["slurm"]),
    ],
)
def test_slurm_tells_its_grace_where_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: float
) -> None:
    slurm_says(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert grace_on("slurm") == expected
    assert grace_on("k8s") == 30.0
    assert grace_on("aws") == 10.0


# --- an agent ------------------------------------------------------------------------------------------------------------------


def test_agent_hears_its_cloud_saves_and_lets_the_machine_go(rig: Rig, cloud: FakeMetadata) -> None:
    cloud.clock = rig.clock.utc_s
    waits = SAVES_AT_TERM.replace("echo saved", "while [ ! -e go ]; do sleep 0.05; done; echo saved")
    spec = rig.spec(waits, placement=replace(PLACEMENT, cloud="azure"), kill_grace_real=PATIENCE_S)
    agent = rig.start(spec, LAUNCH_NOTICE_SOURCE="", LAUNCH_METADATA_URL=cloud.url)
    rig.grant()
    agent.has_started()
    cloud.events = [event(rig.clock.utc_s() + 5 * SPEED)]
    assert agent.notice(1).source == "azure, Preempt"
    assert eventually((agent.root / "notice").exists, "the program's flag")
    assert cloud.started == []
    (agent.root / "code/go").touch()
    assert agent.report().outcome is ExitKind.DRAINED
    assert rig.commit(1, 1) is not None
    eventually(lambda: cloud.started == [event(None)["EventId"]], "the end is let go on with")


def test_hint_is_told_in_the_log_once_and_ends_nothing(rig: Rig, cloud: FakeMetadata) -> None:
    cloud.rebalance = {"noticeTime": iso(NOW)}
    agent = rig.start(rig.spec(SAVES_AT_TERM), LAUNCH_NOTICE_SOURCE="", LAUNCH_METADATA_URL=cloud.url)
    rig.grant()
    agent.has_started()
    eventually(lambda: "raised risk" in agent.log(), "the hint")
    assert not (agent.root / "notice").exists()
    rig.dismiss()
    agent.report()
    assert agent.log().count("raised risk") == 1


def test_pod_ends_after_the_grace_that_it_was_told(rig: Rig) -> None:
    spec = rig.spec(SAVES_AT_TERM, placement=replace(PLACEMENT, cloud="k8s"))
    agent = rig.start(spec, LAUNCH_NOTICE_SOURCE="", LAUNCH_TERM_GRACE_S="45")
    rig.grant()
    agent.has_started()
    agent.process.terminate()
    notice = agent.notice(1)
    assert notice.source == "SIGTERM"
    assert notice.ends_at - notice.at == pytest.approx(45 * SPEED, abs=5 * SPEED)
    assert agent.report().outcome is ExitKind.DRAINED


def test_a_machine_out_of_file_handles_goes_on_asking(cloud: FakeMetadata) -> None:
    """What opening a socket raises is no answer either: the asking thread must outlive it."""
    server, (soft, hard) = MetadataServer(cloud.url), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(Unanswered, match="Too many open files"):
            server.ask("/", {})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
