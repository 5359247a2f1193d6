"""`launch tick`: what it leaves alone, and what it answers."""

import json
from dataclasses import replace
from typing import Any

import pytest

from launcher.app.commands import tick
from launcher.app.home import Found, Home, find
from launcher.app.opening import begin
from launcher.beacon import Lamp
from launcher.clock import SystemClock
from launcher.core.contract import JOURNAL_PREFIX
from launcher.core.recipe import Recipe
from launcher.core.run import events as ev
from launcher.core.tempo import Tempo
from tests.cli.past import cut, everything, home, keep, launch, number_of, out_of_budget, preempted
from tests.simulation.worlds import Sim
from tests.training.scene import Wrapped


def answered(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert launch("tick", "r", "-o", "json", *words) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_a_run_that_is_over_is_left_as_it_is(capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    before = everything()
    told = answered(capsys)
    assert everything() == before
    assert (told["phase"], told["next_at"], told["seconds"], told["driver"]) == ("SUCCEEDED", None, None, None)
    assert launch("tick", "r") == 0
    assert capsys.readouterr().out.splitlines() == ["r  SUCCEEDED  step 5400/5400  $1.50 rehearsed  over"]


def test_the_end_of_a_run_that_had_ended_before_is_told_and_is_no_failure(capsys: pytest.CaptureFixture[str]):
    keep(out_of_budget())
    told = answered(capsys)
    assert (told["phase"], told["exit_code"]) == ("PAUSED", 4)
    assert "budget" in told["reason"]


def test_a_run_that_somebody_drives_is_left_to_them(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    Lamp(store, SystemClock(), "sup-1").burn(Tempo(), 0.0)
    before = everything()
    told = answered(capsys)
    assert everything() == before
    assert told["driver"].startswith("process ")
    assert told["seconds"] == Tempo().beacon


def test_of_two_that_come_at_once_one_goes_away_quietly(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    true = find(Home(home()), "r")

    def overtake(key: str) -> None:
        if key.startswith(JOURNAL_PREFIX) and not any(record.writer == "other" for record in true.read().records):
            begin(true, supervisor="other")

    def contested(home: Home, text: str) -> Found:
        return replace(true, store=Wrapped(true.store, before=overtake))

    monkeypatch.setattr(tick, "find", contested)
    told = answered(capsys)
    assert told["driver"] == "another supervisor"
    assert true.read().records[-1].writer == "other"


def test_an_end_that_another_saw_between_two_looks_of_this_one_is_told_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    store = keep(out_of_budget())
    whole = {meta.key: store.get(meta.key) for meta in store.list("")}
    cut(store, number_of(out_of_budget(), ev.CheckpointSeen))

    def another_comes_and_goes(recipe: Recipe) -> None:
        for key, data in whole.items():
            store.replace(key, data)

    monkeypatch.setattr(tick, "check_here", another_comes_and_goes)
    assert launch("tick", "r") == 0
    assert capsys.readouterr().out.endswith("  over\n")


def test_what_it_would_do_is_said_and_not_done(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    before = everything()
    assert answered(capsys, "--dry-run")["would"] == "look after it once"
    assert everything() == before


def test_where_the_runs_cloud_cannot_be_asked_from_it_says_what_is_missing_and_writes_nothing(capsys: pytest.CaptureFixture[str]):
    sim = Sim()  # on clouds, and no SkyPilot is installed here
    sim.run()
    store = keep(sim)
    cut(store, number_of(sim, ev.CheckpointSeen))
    before = everything()
    for command in ("tick", "resume"):
        assert launch(command, "r") == 5
        said = capsys.readouterr().err
        assert "SkyPilot, which starts machines there, is not installed" in said
        assert "rehearse" not in said, "a run on clouds does not go on as one"
    assert everything() == before
