"""What a run was worth, in text and as a document that holds all that `train` says and more."""

from dataclasses import replace
from datetime import datetime

import pytest

from launcher.adapters.history import History
from launcher.app import result
from launcher.app.home import at
from launcher.app.show import final_block, show_cost
from launcher.core.checkpoint.manifest import SetAside
from launcher.core.run import events as ev
from tests import builders
from tests.cli.past import (
    INCARNATION,
    document,
    failed,
    keep,
    launch,
    local,
    note,
    preempted,
    preempted_silently,
    with_checkpoints,
)


def test_the_document_holds_all_of_trains_and_more(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    found = at(store.url)
    history = found.read()
    trains = result.as_json(result.result_of(history, found.market_now(history)))
    told = document(capsys, "report", "r")
    assert {key: told[key] for key in trains if key != "proof"} == {key: trains[key] for key in trains if key != "proof"}
    assert told["goodput"] == pytest.approx(1 - (2 * 180 - 120) / 5655, abs=1e-3), "two starts, the second behind a notice"


def test_beginning_and_end_are_told_on_one_clock_whose_name_is_in_the_key(capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    told = document(capsys, "report", "r")
    began, ended = (datetime.fromisoformat(told[key]) for key in ("created_at_market", "ended_at_market"))
    assert (ended - began).total_seconds() == pytest.approx(told["rehearsed_hours"] * 3600, abs=2)
    assert told["ended_at"] == told["ended_at_market"]


def test_attempts_are_told_with_place_life_steps_cost_and_cause(capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    first, second = document(capsys, "report", "r")["attempts_detail"]
    assert (first["zone"], first["life_s"], first["state"], first["wait_status"]) == (
        "us-east-1a",
        3600.0,
        "preempted",
        "signal 9",
    )
    assert (first["from_step"], first["to_step"], first["noticed"], first["steps_lost"]) == (0, 3412, True, 0)
    assert (second["from_step"], second["to_step"], second["state"]) == (3412, 5400, "finished")
    assert first["cost_usd"] == pytest.approx(0.90)


def test_the_costs_of_the_attempts_add_up_to_the_runs(capsys: pytest.CaptureFixture[str]):
    keep(preempted_silently())
    told = document(capsys, "report", "r")
    assert sum(a["cost_usd"] for a in told["attempts_detail"]) == pytest.approx(told["cost"]["spent_usd"], abs=1e-3)
    assert sum(a["steps_lost"] for a in told["attempts_detail"]) == told["steps_lost"] > 0


def test_a_checkpoint_that_was_set_aside_is_named_once(capsys: pytest.CaptureFixture[str]):
    store, made = with_checkpoints()
    bad = SetAside(ref=made[-1].ref, culprit="model.bin is damaged")
    history = History(store, INCARNATION, writer="s1")
    history.poll()
    history.open(ev.SupervisorStarted(at=builders.NOW, supervisor="s2", host="h", pid=1))
    history.append(ev.RunResumed(at=builders.NOW, recipe=local(), deadline_at=None))
    begun = replace(builders.heartbeat(2, step=21, training_s=1.0), restored_step=20, set_aside=(bad,))
    history.append(builders.requested(history.state))
    for event in (builders.started(2), builders.claimed(2), builders.granted(2, made[-1].ref)):
        history.append(event)
    history.append(ev.TrainingStarted(at=builders.NOW, attempt=2, heartbeat=begun))
    history.append(replace(builders.lost(2), heartbeat=begun))

    told = document(capsys, "report", "r")
    assert told["set_aside"] == [{"ref": str(bad.ref), "culprit": bad.culprit}]
    assert told["attempts_detail"][0]["steps_lost"] == 30 - 20
    assert launch("report", "r") == 0
    assert capsys.readouterr().out.count(f"checkpoint {bad.ref} was set aside: {bad.culprit}") == 1


def test_preemptions_with_and_without_notice_are_told_apart(capsys: pytest.CaptureFixture[str]):
    keep(preempted(), "noticed")
    keep(preempted_silently(), "silent")
    noticed, silent = document(capsys, "report", "noticed"), document(capsys, "report", "silent")
    assert (noticed["preemptions_with_notice"], noticed["preemptions_without_notice"]) == (1, 0)
    assert silent["preemptions_with_notice"] == 0
    assert silent["preemptions_without_notice"] == silent["preemptions"] > 0


def test_the_text_says_money_time_and_attempts(capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    assert launch("report", "r") == 0
    out = capsys.readouterr().out
    assert "$1.50 rehearsed" in out
    assert "goodput 96 %" in out
    assert "1 of 1 preemptions were announced" in out
    assert "killed by SIGKILL" in out


@pytest.mark.parametrize(
    ("spent", "told"), [(20.0, "saved 80 %"), (100.0, "saved 0 %"), (150.0, "50 % more"), (2779.0, "28 times as much")]
)
def test_what_on_demand_would_have_cost_is_compared_in_words_a_person_can_weigh(spent: float, told: str):
    history = preempted().history
    past = result.result_of(history, preempted().clock.utc_s())
    cost = result.Cost(spent=spent, on_demand=100.0, simulated=True)
    assert any(line.endswith(f"on-demand $100.00 · {told}") for line in final_block(replace(past, cost=cost)))


def test_a_failed_run_is_reported_with_the_programs_own_code(capsys: pytest.CaptureFixture[str]):
    keep(failed())
    told = document(capsys, "report", "r")
    assert (told["state"], told["exit_code"], told["program_exit_code"]) == ("FAILED", 1, 3)
    assert {a["state"] for a in told["attempts_detail"]} == {"failed"}


@pytest.mark.parametrize("output", ["html", "md"])
def test_pictures_come_later_and_say_so(output: str, capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    assert launch("report", "r", "-o", output) == 2
    assert "later version" in capsys.readouterr().err


def test_all_runs_are_reported_together_and_bad_ones_left_out_with_a_word(capsys: pytest.CaptureFixture[str]):
    keep(preempted(), "new")
    keep(failed(), "old", age_s=40 * 86400)
    note("bad").replace("run.json", b"{")
    assert launch("report", "--all") == 0
    said = capsys.readouterr()
    assert "rehearsed money is not counted" in said.out
    assert "bad is left out" in said.err
    assert len(document(capsys, "report", "--all")["runs"]) == 2
    assert [run["state"] for run in document(capsys, "report", "--all", "--since", "30d")["runs"]] == ["SUCCEEDED"]


@pytest.mark.parametrize("words", [["--since", "30d"], ["--all", "--since", "soon"], ["r", "--all"]])
def test_senseless_ranges_are_usage_errors(words: list[str], capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    assert launch("report", *words) == 2


def test_a_broken_reference_is_no_proof_and_no_traceback(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    store.replace("reference.json", b"?")
    assert "cannot be read" in document(capsys, "report", "r")["proof"]["reason"]


def test_machines_that_have_no_price_are_said_beside_the_money() -> None:
    assert show_cost(result.Cost(spent=1.5, on_demand=None, simulated=False, unpriced=True)) == "$1.50 and unpriced machines"
