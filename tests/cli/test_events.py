"""The journal in words: every event is a sentence, and a program gets one document."""

import typing

import pytest

from launcher.adapters.history import History
from launcher.app.narrative import ended_by, sentence
from launcher.core.contract import ExitKind, Request, RequestKind
from launcher.core.instance import EndCause, FailureKind, StartFailure
from launcher.core.market.belief import MarketView
from launcher.core.plan.estimate import Task
from launcher.core.plan.planner import Plan, plan
from launcher.core.policy.catalog import POLICIES
from launcher.core.run import events as ev
from launcher.units import HOUR
from tests import builders
from tests.cli.past import (
    INCARNATION,
    document,
    handed_over,
    keep,
    launch,
    local,
    note,
    preempted,
    preempted_silently,
    with_checkpoints,
)
from tests.core.markets import spot

NOW = builders.NOW


def samples() -> list[ev.Event]:
    """At least one event of each kind."""
    simulated = [record.event for sim in (preempted(), handed_over(), preempted_silently()) for record in sim.history.records]
    stop = Request(uuid="u", request=RequestKind.STOP, by="ann@desk")
    refused = StartFailure(failure=FailureKind.CAPACITY, message="no capacity\nin us-east-1a")
    return [
        *simulated,
        ev.PlanMade(at=NOW, plan=a_plan()),
        ev.RunResumed(at=NOW, recipe=builders.recipe(), deadline_at=None, changes={"policy.budget": "5"}, branched=True),
        ev.RequestSeen(at=NOW, request=stop),
        ev.RecordVoided(at=NOW, numbers=(7, 9), digests=("a", "b")),
        ev.RunPaused(at=NOW, exit_code=4, reason="the budget of $0.50 is spent"),
        ev.RunFailed(at=NOW, exit_code=1, reason="the program failed", program_exit_code=3),
        ev.RunCancelled(at=NOW, reason="cancelled on request"),
        ev.AttemptRefused(at=NOW, attempt=1, failure=refused),
        ev.WarningSeen(at=NOW, attempt=1, warning="a save failed"),
        ev.StopAtMoved(at=NOW, attempt=1, stop_at=NOW + HOUR),
        ev.InstanceMissed(at=NOW, attempt=1),
        ev.InstanceFound(at=NOW, attempt=1),
        builders.lost(1),
        builders.noticed(1, withdrawn=True),
        builders.exited(1, ExitKind.PROGRAM_FAILED, exit_code=3),
    ]


def a_plan() -> Plan:
    task = Task(work=HOUR, restart_cost=60.0, stall=1.0, durable=5.0)
    return plan(builders.recipe(), (spot("us-east-1a"),), task, MarketView(), POLICIES["auto"](), NOW)


def test_every_kind_of_event_has_a_sentence():
    told = {type(event): sentence(event) for event in samples()}
    assert set(typing.get_args(ev.Event)) - set(told) == set()
    assert all(text and "\n" not in text for text in told.values())


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("signal 9", "killed by SIGKILL"),
        ("signal 15", "killed by SIGTERM"),
        ("exit 0", "exited with code 0"),
        ("exit 5", "exited with code 5: the checkpoint store refuses this machine; mend its role or its credentials"),
        ("exit 6", "exited with code 6: the checkpoint store was of no use to this machine"),
        ("gone", "gone"),
    ],
)
def test_a_wait_status_is_told_in_words(status: str, words: str):
    assert ended_by(status) == words


def test_a_decision_is_told_with_its_reason_and_its_numbers():
    event = next(r.event for r in preempted().history.records if isinstance(r.event, ev.AttemptRequested))
    assert event.reason in sentence(event)
    assert "$0.90/h" in sentence(event)


def test_an_unsure_end_of_a_bill_says_how_unsure():
    ended = ev.InstanceEnded(at=NOW, attempt=1, low=NOW - 60, likely=NOW, high=NOW + 60, cause=EndCause.UNTOLD, wait_status=None)
    assert "within 2 min" in sentence(ended)


def test_the_kill_is_visible_with_its_wait_status(capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    assert launch("events", "r") == 0
    out = capsys.readouterr().out
    assert "attempt 1: its instance is gone (preempted, killed by SIGKILL)" in out
    assert "+58 min" in out


def test_a_machine_that_handed_over_in_time_ended_by_itself(capsys: pytest.CaptureFixture[str]):
    keep(handed_over())
    assert launch("events", "r") == 0
    assert "attempt 1: its instance is gone (its agent exited, exited with code 0)" in capsys.readouterr().out


def test_json_lists_every_record_with_number_times_and_text(capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    told = document(capsys, "events", "r")
    records = preempted().history.records
    assert told["schema_version"] == 1
    assert [e["number"] for e in told["events"]] == [r.number for r in records]
    notice = next(e for e in told["events"] if e["event"] == "NoticeSeen")
    assert (notice["attempt"], notice["elapsed_s"]) == (1, 3480.0)
    assert notice["details"]["notice"]["source"] == "sim"


def test_a_record_that_cannot_be_read_is_named(capsys: pytest.CaptureFixture[str]):
    store, _ = with_checkpoints()
    store.replace("journal/00000008.json", b"garbage")
    told = document(capsys, "events", "r")
    assert told["unreadable"] == [8]
    assert 8 not in [e["number"] for e in told["events"]]


def test_in_a_rehearsal_the_time_here_stands_beside_the_markets(capsys: pytest.CaptureFixture[str]):
    history = History(note("r"), INCARNATION, writer="s1")
    history.open(ev.SupervisorStarted(at=NOW, supervisor="s1", host="h", pid=1))
    history.append(ev.RunCreated(at=NOW, run="r", incarnation=INCARNATION, recipe=local(), deadline_at=None, code=None))
    history.append(ev.SpeedChosen(at=NOW, speed=600.0, startup_s=1.0, work_s=60.0, reason="test"))
    history.append(ev.RunPaused(at=NOW + HOUR, exit_code=130, reason="stopped on request"))
    assert launch("events", "r") == 0
    assert "+60 min (6.0 s here)  run paused" in capsys.readouterr().out
    told = document(capsys, "events", "r")["events"][-1]
    assert (told["elapsed_s"], told["elapsed_real_s"]) == (HOUR, 6.0)


def test_events_of_one_minute_are_told_apart_by_the_time_here(capsys: pytest.CaptureFixture[str]):
    history = History(note("r"), INCARNATION, writer="s1")
    history.open(ev.SupervisorStarted(at=NOW, supervisor="s1", host="h", pid=1))
    history.append(ev.RunCreated(at=NOW, run="r", incarnation=INCARNATION, recipe=local(), deadline_at=None, code=None))
    history.append(ev.SpeedChosen(at=NOW, speed=600.0, startup_s=1.0, work_s=60.0, reason="test"))
    history.append(ev.RunPaused(at=NOW + 25 * HOUR, exit_code=130, reason="stopped on request"))
    assert launch("events", "r") == 0
    assert "+25.0 h (150.0 s here)  run paused" in capsys.readouterr().out
