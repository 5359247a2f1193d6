"""`launch simulate` answers what policies would do and cost, names what it assumed, and touches nothing."""

import json
from dataclasses import replace
from typing import Any

import pytest

from launcher.app import cli, grammar, wiring
from launcher.app.home import Home
from launcher.app.simulated import Summary, summary_json, summary_lines
from launcher.app.workload import workload_of
from launcher.core.policy.base import Phase
from launcher.core.run.ledger import Times
from launcher.sim.outcome import Outcome
from launcher.units import HOUR
from tests.cli import past
from tests.cli.past import document, everything, keep, launch, preempted, preempted_silently
from tests.simulation.worlds import OFFERS

TRAINER = "trainer: {kind: launcher.trainers.gpt, steps: 1000}\nlocal: {trace: demo, seed: 5}\n"
PROGRAM = "run: python train.py\n"
CLOUDS = "run: python train.py\nresources: {infra: [aws], accelerators: V100:1}\n"
TRACE = "tick,us-east-1a_v100_1,us-west-2b_v100_1\n" + "".join(f"{i},{int(i % 9 > 2)},{int(i % 7 > 3)}\n" for i in range(63))
INDEX = '{"own": {"gap_seconds": 3600, "on_demand_usd_h": 3.0, "spot_usd_h": 1.0}}'


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code, and the one line that says why."""
    code = launch("simulate", *words)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[-1].startswith("launch: ")
    assert not any(line.startswith("Traceback") for line in lines)
    return code, lines[-1]


@pytest.fixture
def own_trace(recipe_at) -> str:
    recipe_at(INDEX, "index.json")
    return recipe_at(TRACE, "own.csv")


# --- what is answered --------------------------------------------------------------------------------------------------------


def test_all_policies_in_one_table_and_what_was_assumed_on_stderr(recipe_at, capsys: pytest.CaptureFixture[str]):
    assert launch("simulate", recipe_at(TRAINER), "--policy", "all", "--seeds", "2") == 0
    captured = capsys.readouterr()
    head, *rows = captured.out.splitlines()
    assert head.split()[:3] == ["POLICY", "TRACE", "DONE"]
    assert [row.split()[:3] for row in rows] == [[p, "demo", "2/2"] for p in ("greedy", "spot", "on-demand", "cheapest")]
    assert "note: pace assumed" in captured.err
    assert "train it once and it is known" in captured.err


def test_the_document_has_what_a_picture_needs(recipe_at, capsys: pytest.CaptureFixture[str]):
    found = document(capsys, "simulate", recipe_at(TRAINER), "--seeds", "3")
    assert (found["schema_version"], found["simulated"], found["seeds"], found["recorded"]) == (1, True, [5, 6, 7], None)
    (greedy,) = found["policies"]
    assert greedy["finished"] == greedy["runs"] == len(greedy["finish_hours"]) == len(greedy["costs_usd"]) == 3
    assert greedy["finish_hours"] == sorted(greedy["finish_hours"])
    assert greedy["hours"]["median"] == greedy["finish_hours"][1]
    spending = greedy["median_run"]["spending"]
    assert spending[0] == [0.0, 0.0]
    assert spending[-1][1] == greedy["costs_usd"][1]
    assert {o["seed"] for o in greedy["outcomes"]} == {5, 6, 7}


def test_equal_questions_have_equal_answers(recipe_at, capsys: pytest.CaptureFixture[str]):
    words = ("simulate", recipe_at(TRAINER), "--seeds", "2", "--seed", "9")
    assert document(capsys, *words) == document(capsys, *words)


def test_nothing_is_written(recipe_at, capsys: pytest.CaptureFixture[str]):
    keep(preempted_silently(), "r")
    before = everything()
    assert launch("simulate", recipe_at(TRAINER), "--seeds", "1") == 0
    assert launch("simulate", "--replay", "r") == 0
    assert everything() == before


def test_several_traces_are_simulated_one_after_the_other(recipe_at, capsys: pytest.CaptureFixture[str]):
    found = document(capsys, "simulate", recipe_at(TRAINER), "--seeds", "1", "--trace", "demo", "--trace", "calm")
    assert [s["trace"] for s in found["policies"]] == ["demo", "calm"]


def test_a_file_of_ones_own_is_met_as_it_was_recorded(recipe_at, own_trace: str, capsys: pytest.CaptureFixture[str]):
    words = ("simulate", recipe_at(TRAINER), "--trace", own_trace, "--policy", "spot", "--seeds", "4", "--work", "20h")
    found = document(capsys, *words)
    (spot,) = found["policies"]
    assert spot["finished"] == 4
    assert spot["preemptions"]["median"] >= 2  # lives of 6 h at most, for 20 h of work
    assert len({o["cost_usd"] for o in spot["outcomes"]}) > 1  # each seed begins elsewhere
    assert any("2 places with V100:1, recorded over 63 h" in note for note in found["notes"])
    assert found["work_hours"] == 20


def test_a_recipe_for_clouds_is_simulated_with_the_work_that_was_said(recipe_at, capsys: pytest.CaptureFixture[str]):
    found = document(capsys, "simulate", recipe_at(CLOUDS), "--work", "5h", "--seeds", "2", "--policy", "on-demand")
    (sure,) = found["policies"]
    assert (found["speed"], sure["finished"]) == (1.0, 2)
    assert sure["hours"]["median"] == pytest.approx(5.1, abs=0.1)


def test_a_deadline_is_met_or_the_run_is_paused_there(recipe_at, own_trace: str, capsys: pytest.CaptureFixture[str]):
    words = ("simulate", recipe_at(TRAINER), "--trace", own_trace, "--work", "20h", "--seeds", "3")
    found = document(capsys, *words, "policy.deadline=40h")
    assert any("deadline is 40.0 h after the start" in note for note in found["notes"])
    assert found["policies"][0]["finished"] == 3
    assert max(found["policies"][0]["finish_hours"]) <= 40
    (late,) = document(capsys, *words, "policy.deadline=10h")["policies"]
    assert late["phases"] == {"PAUSED": 3}
    assert {o["exit_code"] for o in late["outcomes"]} == {4}


def test_the_pace_of_an_earlier_run_of_the_same_recipe_is_used(recipe_at, capsys: pytest.CaptureFixture[str]):
    sim = preempted_silently()
    keep(sim, "slow-otter")
    recipe_of_run = past.local()
    found = workload_of(recipe_of_run, Home(past.home()), work=None, of=None)
    assert "pace measured in run r" in found.note
    assert found.pace.step_s == pytest.approx(sim.pace.step_s, rel=0.02)
    assert found.pace.total_steps == 5400


def test_an_earlier_run_at_a_speed_of_its_own_tells_the_pace_and_not_the_speed():
    keep(preempted_silently(), "slow-otter")
    told = past.local()
    told = replace(told, local=replace(told.local, speed=100.0))
    assert workload_of(past.local(), Home(past.home()), work=None, of=None).speed == 1.0
    known = workload_of(told, Home(past.home()), work=None, of=None)
    assert known.speed == 100.0
    assert "1 s of it 100 s there" in known.note


@pytest.mark.parametrize(("speed", "is_calm"), [("100", True), ("900", False), ("auto", False)])
def test_work_that_ends_before_a_life_does_is_said_to_show_no_restarts(
    recipe_at, capsys: pytest.CaptureFixture[str], speed: str, is_calm: bool
):
    words = ("simulate", recipe_at(TRAINER), "--seeds", "1", f"local.speed={speed}")
    found = document(capsys, *words)
    assert any("few restarts are to be seen; a higher local.speed shows more" in note for note in found["notes"]) is is_calm
    assert (found["policies"][0]["restarts"]["median"] == 0) is is_calm


OTHERS = {
    "another name": {"name": "another"},
    "other arguments": {"trainer": {"kind": "launcher.trainers.gpt", "steps": 5400, "width": 999}},
    "a program": {"trainer": None, "run": "python train.py"},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_the_pace_of_another_recipe_is_nobody_elses(changes: dict[str, Any]):
    keep(preempted_silently(), "r")
    found = workload_of(replace(past.local(), **changes), Home(past.home()), work=10 * HOUR, of=None)
    assert "pace assumed" in found.note
    assert "measured" not in found.note


@pytest.mark.parametrize(("age_s", "boots_slowly"), [(60.0, True), (7200.0, False)])
def test_of_several_runs_of_a_recipe_the_newest_tells_its_pace(age_s: float, boots_slowly: bool):
    keep(preempted(), "slow", age_s=age_s)
    keep(preempted_silently(), "fast", age_s=3600.0)
    found = workload_of(past.local(), Home(past.home()), work=None, of=None)
    assert (found.measured.boot > 120) is boots_slowly


def test_a_replay_stands_beside_what_really_happened(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wiring, "offers_of", lambda trace: OFFERS)
    sim = preempted_silently()
    keep(sim, "r")
    found = document(capsys, "simulate", "--replay", "r", "--policy", "all")
    state = sim.history.state
    assert found["recorded"]["run"] == "r"
    assert found["recorded"]["restarts"] == len(state.attempts) - 1
    by_policy = {s["policy"]: s for s in found["policies"]}
    assert by_policy["spot"]["restarts"]["median"] == found["recorded"]["restarts"]
    assert by_policy["spot"]["cost_usd"]["median"] == pytest.approx(found["recorded"]["cost_usd"], rel=0.05)
    assert launch("simulate", "--replay", "r") == 0
    assert "as it went" in capsys.readouterr().out


# --- what is refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "needs a RECIPE, or --replay RUN"),
        (("policy.budget=3",), 2, "needs a RECIPE, or --replay RUN"),
        (("recipe.yaml", "--policy", "best"), 2, "--policy best: there is no such policy; those are all, auto, greedy"),
        (("recipe.yaml", "--trace", "stormy"), 2, "--trace stormy: there is no such file, and the bundled traces are demo, calm"),
        (("recipe.yaml", "--seeds", "0"), 2, "--seeds 0: write a number from 1"),
        (("recipe.yaml", "--seed", "-1"), 2, "--seed -1: seeds are 0 or above"),
        (("recipe.yaml", "--work", "soon"), 2, "--work: 'soon' is not a quantity"),
        (("recipe.yaml", "--work", "0h"), 2, "--work 0h: write how long it trains, such as 10h"),
        (("recipe.yaml", "--replay", "nobody"), 2, "no run 'nobody' was seen"),
        (("recipe.yaml", "policy.deadline=2020-01-01T00:00:00Z"), 2, "policy.deadline has passed already"),
        (("program.yaml",), 2, "say so with --work, such as --work 10h, or train it once"),
        (("recipe.yaml", "resources.max_hourly_cost=0.01"), 3, "above resources.max_hourly_cost"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(recipe_at, capsys, words, code: int, said: str):
    recipe_at(TRAINER)
    recipe_at(PROGRAM, "program.yaml")
    found, line = refusal(capsys, *words)
    assert (found, said in line) == (code, True), line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tick,us-east-1a_v100_1\n0,1\n1,up\n", "own.csv: line 3: 'up' is no amount; write numbers only"),
        ("zone\n0\n", "own.csv: line 1 must be 'tick,ZONE,…'"),
        ("tick,us-east-1a_v100_1\n0,1\n5,1\n", "own.csv: line 3 is tick 5 where tick 1 is due; write one row for each tick"),
        (b"tick,\xff\n", "own.csv: byte 5 is no UTF-8"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_line_and_remedy(recipe_at, capsys, text: str | bytes, said: str):
    own = recipe_at(text, "own.csv")
    code, line = refusal(capsys, recipe_at(TRAINER), "--trace", own)
    assert (code, said in line) == (2, True), line


def test_a_bad_index_is_refused_too(recipe_at, own_trace: str, capsys: pytest.CaptureFixture[str]):
    recipe_at('{"own": {"gap_seconds": -1}}', "index.json")
    code, line = refusal(capsys, recipe_at(TRAINER), "--trace", own_trace)
    assert (code, "index.json: own: gap_seconds is -1" in line) == (2, True), line


def test_a_file_without_the_gpu_that_is_asked_for_names_the_nearest(recipe_at, own_trace: str, capsys):
    code, line = refusal(capsys, recipe_at(TRAINER), "--trace", own_trace, "resources.accelerators=H100:1")
    assert (code, "it has V100:1, not H100:1" in line) == (3, True), line


def test_a_replay_takes_no_other_market(capsys: pytest.CaptureFixture[str]):
    keep(preempted_silently(), "r")
    for words in (("--trace", "demo"), ("--seeds", "3")):
        code, line = refusal(capsys, "--replay", "r", *words)
        assert (code, "leave out --trace and --seeds" in line) == (2, True)


def test_the_policies_of_the_grammar_are_those_there_are():
    assert ("all", *wiring.policy_names()) == grammar.POLICIES


def test_a_failure_is_a_document_under_json(recipe_at, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["simulate", recipe_at(PROGRAM), "-o", "json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


# --- figures -----------------------------------------------------------------------------------------------------------------


def made(cost: float, hours: float = 1.0, phase: Phase = Phase.SUCCEEDED, reason: str = "") -> Outcome:
    return Outcome(
        policy="spot",
        trace="t",
        seed=int(cost),
        phase=phase,
        exit_code=3,
        reason=reason,
        took=hours * HOUR,
        cost=cost,
        on_demand=10.0,
        attempts=2,
        preemptions=1,
        steps_lost=0,
        checkpoints=3,
        times=Times(elapsed=hours * HOUR, useful=hours * HOUR / 2),
        spending=((0.0, 0.0), (hours * HOUR, cost)),
    )


def summary(*outcomes: Outcome) -> Summary:
    return Summary(policy="spot", trace="t", outcomes=outcomes)


def test_the_median_run_is_one_of_the_runs_and_p95_is_by_rank():
    found = summary(*(made(float(usd)) for usd in range(20, 0, -1)))
    assert (found.typical.cost, found.middle(lambda o: o.cost), found.p95(lambda o: o.cost)) == (10.0, 10.5, 19.0)


def test_figures_are_of_the_runs_that_finished_and_the_others_are_told_with_their_reason():
    found = summary(made(2.0, 3.0), made(9.0, 99.0, Phase.PAUSED, "no machine within 6 h"), made(9.0, 99.0, Phase.RUNNING))
    lines = summary_lines([found])
    assert lines[1].split()[:3] == ["spot", "t", "1/3"]
    assert "$2.00" in lines[1]
    assert lines[2:] == [
        "spot on t, 1 not done: PAUSED, no machine within 6 h",
        "spot on t, 1 not done: got nowhere in 4.1 d",
    ]
    assert summary_json(found)["phases"] == {"SUCCEEDED": 1, "PAUSED": 1, "RUNNING": 1}


def test_where_none_finished_the_figures_are_of_all():
    found = summary(made(2.0, phase=Phase.PAUSED), made(4.0, phase=Phase.PAUSED))
    assert (found.middle(lambda o: o.cost), summary_json(found)["costs_usd"]) == (3.0, [])


def test_savings_are_against_the_same_work_on_demand():
    assert summary(made(2.5)).cost_ratio == 0.25
    assert "75 %" in summary_lines([summary(made(2.5))])[1]
    assert "20 % more" in summary_lines([summary(made(12.0))])[1]
